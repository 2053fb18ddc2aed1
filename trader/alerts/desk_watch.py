"""What is news of the riskd's of a desk.

Each trader has one, and each account of the published copy has the status of its own.  What is the same for several
accounts is one piece of news.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from riskd.journal.discovery import gateway_words
from riskd.journal.gateway_identity import DESK
from riskd.model.desk_status import DAEMON_GONE, LAGGING, LINK_LOST, OF_RELAY, WAITING, trader_in
from riskd.model.events import DaemonStatus, Status
from trader.alerts.alert import Alert, Kind, Urgency, Variant, make_alert
from trader.model.formatting import age

LAG_SECONDS: Final = 30.0
"""Events that are late for a shorter time are no news; the link catches up."""

_REMEMBERED: Final = 20
"""The troubles of an account that are remembered, each to be reported once."""

_SINCE: Final = re.compile(r" since \w{3} \d\d \d\d:\d\d:\d\d UTC")
"""When a trouble began; after a restart of the relay, it may be a second off."""

_LOST: Final = Variant("A link is LOST", Urgency.FAILURE)
_ERROR: Final = Variant("An ERROR at the desk", Urgency.FAILURE)
_ENDED: Final = Variant("riskd RUNNING again", Urgency.SUCCESS)

OF_RELAY_ITSELF: Final = {
    Kind.GONE: Variant("The relay is GONE", Urgency.FAILURE),
    Kind.BACK: Variant("The relay is back", Urgency.SUCCESS),
    Kind.ERROR: Variant("The relay has an ERROR", Urgency.FAILURE),
    Kind.RUNNING: Variant("The relay's error has ended", Urgency.SUCCESS),
}
"""How alerts of the relay itself differ from those of a riskd."""


def is_of_relay(status: DaemonStatus) -> bool:
    """Return whether a status is of the relay itself, or ends one of it.

    While the relay has a problem, it says no RUNNING.
    """
    return status.status is Status.RUNNING or status.message.startswith(OF_RELAY)


class DeskWatch:
    """Finds the news of the statuses of a desk's accounts."""

    def __init__(self) -> None:
        self._troubles: dict[int, deque[str]] = {}
        # Since when, by a steady clock, an account lags, and since when its riskd is gone.
        self._late: dict[int, float] = {}
        self._gone: dict[int, float] = {}
        self._traders: dict[int, str] = {}

    def look(
        self, statuses: Mapping[int, DaemonStatus | None], seconds: float, now: datetime
    ) -> list[Alert]:
        """Return the news since the last call; to the first one, each trouble is news.

        :param statuses: of all accounts that are watched.
        :param seconds: by a steady clock.
        """
        self._forget_all_but(statuses)
        told: dict[tuple[Status, str], list[int]] = {}
        for account_id, status in statuses.items():
            if status is None:
                continue
            if self._is_news(account_id, status, seconds):
                told.setdefault((status.status, status.message), []).append(account_id)
        return [
            self._alert(status, message, accounts, seconds, now)
            for (status, message), accounts in told.items()
        ]

    def named(self, alert: Alert, account_id: int, status: DaemonStatus | None) -> Alert:
        """Return an alert of one account with its trader's name, as far as that is known.

        :param status: of the account.
        """
        if status is not None and (found := trader_in(status.message)):
            self._traders[account_id] = found
        name = self._traders.get(account_id, "")
        if not name:
            return alert
        gateway = f"{alert.fields['gateway']}, {name}"
        return msgspec.structs.replace(alert, fields={**alert.fields, "gateway": gateway})

    def _forget_all_but(self, known: Iterable[int]) -> None:
        for remembered in (self._troubles, self._late, self._gone, self._traders):
            for account_id in remembered.keys() - set(known):
                remembered.pop(account_id)

    def _is_news(self, account_id: int, status: DaemonStatus, seconds: float) -> bool:
        known = self._troubles.setdefault(account_id, deque(maxlen=_REMEMBERED))
        if status.status is Status.RUNNING:
            had_trouble = bool(known)
            known.clear()
            self._late.pop(account_id, None)
            return had_trouble
        if status.status is not Status.ERROR or status.message.startswith(WAITING):
            return False
        if not status.message.startswith(LAGGING):
            self._late.pop(account_id, None)
        elif seconds - self._late.setdefault(account_id, seconds) < LAG_SECONDS:
            return False
        trouble = _SINCE.sub("", status.message.partition(";")[0])
        if trouble in known:
            return False
        known.append(trouble)
        if trouble.startswith(DAEMON_GONE):
            self._gone.setdefault(account_id, seconds)
        return True

    def _alert(
        self, status: Status, message: str, accounts: list[int], seconds: float, now: datetime
    ) -> Alert:
        listed = ", ".join(map(str, accounts))
        whose = {"account": listed, "gateway": gateway_words(DESK)}
        of_which = f"account{'' if len(accounts) == 1 else 's'} {listed}"
        if status is Status.RUNNING:
            gone = [self._gone.pop(each) for each in accounts if each in self._gone]
            if not gone:
                text = f"RUNNING again ({of_which}): {message}"
                alert = make_alert(Kind.RUNNING, now, text=text, message=message, **whose)
                return msgspec.structs.replace(alert, variant=_ENDED)
            away = age(seconds - min(gone))
            text = f"riskd is back, after {away} ({of_which}): {message}"
            return make_alert(Kind.BACK, now, text=text, away=away, **whose)
        if message.startswith(DAEMON_GONE):
            return make_alert(Kind.GONE, now, text=message, reason=message, **whose)
        is_lost = message.startswith(LINK_LOST)
        text = (
            f"{message}. Whether riskd enforces there is not known"
            if is_lost
            else f"ERROR at the desk: {message}"
        )
        alert = make_alert(Kind.ERROR, now, text=text, message=message, **whose)
        return msgspec.structs.replace(alert, variant=_LOST if is_lost else _ERROR)
