"""A trader's session: what arrived, kept as one view that says how far it can be trusted.

The session knows no socket and no screen.  A :class:`trader.client.DaemonClient` feeds it and the
console draws its view.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, Final

import msgspec

from riskd.account import AccountState, apply
from riskd.events import DaemonStatus, MarketQuote, UnknownEventTypeError, from_fields
from trader.activity import Line, line_for
from trader.client import CONNECTION_STATUS

FLASH_SECONDS: Final = 5
_REMEMBERED_LINES: Final = 500


class Source(Enum):
    """Where the numbers on the screen come from."""

    NOTHING = "nothing yet"
    """There has been no connection; nothing is known."""
    LIVE = "live"
    """The daemon is connected and tells what happens."""
    LAST_KNOWN = "last known"
    """The connection is lost; this is what was known when it broke."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All that the screen shows, at one moment.

    :ivar account: what is known of the account.
    :ivar source: where that comes from.
    :ivar since: when the connection was made whose events ``account`` is made of.
    :ivar last_event_at: when the last event of that connection came; ``None`` before the first.
    :ivar trouble: why there is no connection; empty while there is one.
    :ivar retry_in: seconds to the next try; ``None`` when none is due.
    :ivar gateway_name: the kind of gateway; ``None`` while unknown.
    :ivar lines: the activity feed, oldest first.
    :ivar flash: the line that flashes; ``None`` when none does.
    """

    account: AccountState
    source: Source = Source.NOTHING
    since: datetime | None = None
    last_event_at: datetime | None = None
    trouble: str = ""
    retry_in: float | None = None
    gateway_name: str | None = None
    lines: tuple[Line, ...] = ()
    flash: Line | None = None


class Session:
    """Turns what a client reports into views.

    :param account_id: the account to follow.
    :param now: gives the time of day, aware.
    :param changed: called when the view has changed; its argument tells whether more than quotes did.
    """

    def __init__(
        self, account_id: int, now: Callable[[], datetime], changed: Callable[[bool], None]
    ) -> None:
        self._now = now
        self._changed = changed
        self._view = View(account=AccountState(account_id=account_id))

    def view(self, retry_in: float | None = None, gateway_name: str | None = None) -> View:
        """Return the view of this moment.

        :param retry_in: the client's seconds to its next try.
        :param gateway_name: what the client heard of the gateway.
        """
        flash = self._view.flash
        if flash is not None and (self._now() - flash.at).total_seconds() >= FLASH_SECONDS:
            flash = None
        return msgspec.structs.replace(
            self._view, retry_in=retry_in, gateway_name=gateway_name, flash=flash
        )

    def take(self, event_type: str, data: dict[str, Any]) -> None:
        """Take what a client calls back with."""
        if event_type == CONNECTION_STATUS:
            self._take_status(connected=data["connected"], reason=data["reason"])
            self._changed(True)
            return
        account_id = None if event_type == "daemon_status" else self._view.account.account_id
        try:
            event = from_fields(event_type, account_id, data)
        except UnknownEventTypeError:
            return
        now = self._now()
        before = self._view.account
        self._view = msgspec.structs.replace(
            self._view, account=apply(before, event), last_event_at=now
        )
        line = line_for(event, before, now)
        if line is not None:
            self._add(line)
        self._changed(not isinstance(event.data, MarketQuote))

    def note(self, text: str) -> None:
        """Put a line of the program's own into the feed: something went wrong in it."""
        self._add(Line(self._now(), text, "alert"))
        self._changed(True)

    def _take_status(self, *, connected: bool, reason: str) -> None:
        now = self._now()
        if connected:
            # What happened between two connections is unknown, so nothing of before is carried over.
            fresh = AccountState(account_id=self._view.account.account_id)
            self._view = msgspec.structs.replace(
                self._view,
                account=fresh,
                source=Source.LIVE,
                since=now,
                last_event_at=None,
                trouble="",
            )
            self._add(Line(now, "Connected to daemon", "good"))
            return
        was_live = self._view.source is Source.LIVE
        if self._view.source is Source.LAST_KNOWN:
            # Why the connection was lost says more than that it is not back yet.
            reason = self._view.trouble
        self._view = msgspec.structs.replace(
            self._view,
            source=Source.LAST_KNOWN if was_live else self._view.source,
            trouble=reason[:1].upper() + reason[1:],
        )
        if was_live:
            self._add(Line(now, self._view.trouble, "alert"))

    def _add(self, line: Line) -> None:
        lines = (*self._view.lines, line)[-_REMEMBERED_LINES:]
        flash = line if line.flashes else self._view.flash
        self._view = msgspec.structs.replace(self._view, lines=lines, flash=flash)


def is_stopping(status: DaemonStatus | None) -> bool:
    """Tell whether the daemon's last word was that it stops."""
    return status is not None and status.status == "STOPPING"
