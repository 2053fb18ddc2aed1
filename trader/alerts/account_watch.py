"""What is news of one account, by comparing one view with the next.

Views come from the stream and from the published copy, so whatever happened while there was no connection is news
when the copy is read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from riskd.journal.discovery import gateway_words
from riskd.model.account import AccountState
from riskd.model.events import (
    DailyReset,
    EnforcementAction,
    EventData,
    LockoutCleared,
    LockoutSet,
)
from riskd.model.formatting import ACTIONS, describe
from riskd.model.money import ZERO
from trader.alerts.alert import (
    ACTION_FAILED,
    NOT_ENFORCED,
    Alert,
    Kind,
    make_alert,
)
from trader.alerts.day_summary import (
    EndedDay,
    published_figures,
    summary_fields,
    summary_words,
)
from trader.alerts.limit_marks import LimitMarks
from trader.model.formatting import until
from trader.model.gauge_words import figure, usage_words, whole_percent
from trader.model.limit_usage import LimitUsage, can_be_neared, limit_usages
from trader.model.summary import state_words
from trader.model.view import Source, View, is_current

_UNENDING: Final = "an operator unlocks it"
_OUTCOMES: Final = {True: "ENFORCED", False: "ENFORCEMENT FAILED"}
_DRY_RUN: Final = "NOT ENFORCED (dry run)"
_SECONDS: Final = "s"
_LOOKS_AT_DAY: Final = 5
"""After so many seconds a summary does without figures that are not published."""

_MANY: Final = 5_000
"""Actions that are remembered; an account has fewer in a day."""


class AccountWatch:
    """Finds the news of one account.

    :param marks: the shares of a limit at which its use is news.
    """

    def __init__(self, account_id: int, marks: Sequence[Decimal]) -> None:
        self._account = str(account_id)
        self._marks = LimitMarks(marks)
        self._gateway: str | None = None
        self._is_begun = self._was_locked = False
        self._locks: set[LockoutSet] = set()
        self._actions: dict[EnforcementAction, None] = {}
        self._reset: DailyReset | None = None
        self._before: AccountState | None = None
        self._file_problem = ""
        self._ended_day: EndedDay | None = None
        self._looks_at_day = 0

    def look(self, view: View, now: datetime, event: EventData | None = None) -> list[Alert]:
        """Return the news since the last call, without limits and the end of a day.

        What the first view has is no news; it is in the alert that the watch has begun.

        :param now: by the broker's clock.
        :param event: the event that has led to ``view``.
        """
        if view.source is Source.NOTHING:
            return []
        if view.gateway_name not in (None, self._gateway):
            # The account of this number at another gateway is another account.
            self._gateway = view.gateway_name
            self._is_begun = False
        news = [*self._file(view, now), *self._begin(view, now)]
        news += self._actions_of(view)
        news += self._locks_of(view, now, event)
        self._note_day(view)
        self._before = view.account
        return news

    @property
    def has_ended_day(self) -> bool:
        """Whether :meth:`look_at_day` has something to wait for."""
        return self._ended_day is not None

    def look_at_day(self, copy: AccountState | None, now: datetime) -> list[Alert]:
        """Return the summary of a day that has ended, once the copy has its figures.

        To be called each second.  The summary does not wait for long.

        :param copy: the account in the published copy; ``None`` if that cannot be read.
        """
        day = self._ended_day
        if day is None:
            return []
        figures = None if copy is None else published_figures(day, copy)
        self._looks_at_day += 1
        if figures is None and self._looks_at_day < _LOOKS_AT_DAY:
            return []
        self._ended_day = None
        fields = summary_fields(day, figures)
        summary = self._alert(Kind.SUMMARY, now, summary_words(fields), **fields)
        key = max(copy.days) if copy is not None and figures is not None else None
        return [msgspec.structs.replace(summary, day=key)]

    def look_at_limits(self, view: View, now: datetime) -> list[Alert]:
        """Return the limits whose use has become news.

        To measure them all takes too long to be done for each event.
        """
        if not (self._is_begun and is_current(view)) or view.events_only_since is not None:
            return []
        news = []
        for usage in limit_usages(view, now):
            # A grace period runs out by itself, and soon; what follows is news enough.
            if not can_be_neared(usage) or usage.share is None or usage.unit == _SECONDS:
                continue
            if self._marks.reach((usage.rule_id, usage.name), usage.share, now):
                fields = _limit_fields(usage)
                left = "" if usage.share >= 1 else f", {fields['left']} left"
                text = f"{usage.name} at {fields['percent']} %: {fields['figures']}{left}"
                news.append(self._alert(Kind.LIMIT, now, text, **fields))
        return news

    def _alert(self, kind: Kind, at: datetime, text: str, **fields: str) -> Alert:
        gateway = gateway_words(self._gateway)
        return make_alert(kind, at, account=self._account, gateway=gateway, text=text, **fields)

    def _file(self, view: View, now: datetime) -> Iterable[Alert]:
        """Report a connection without a copy: what happened before it is not known."""
        problem = view.file_problem if view.is_live and view.events_only_since else ""
        if problem and problem != self._file_problem:
            text = f"what happened before {now:%H:%M:%S} UTC is not known: {problem}"
            yield self._alert(Kind.ERROR, now, text, message=text)
        self._file_problem = problem

    def _begin(self, view: View, now: datetime) -> Iterable[Alert]:
        if self._is_begun or not view.is_live:
            return
        self._is_begun = True
        account = view.account
        self._locks, self._was_locked = set(account.lockouts.values()), bool(account.lockouts)
        self._actions = dict.fromkeys(account.enforcement)
        self._reset = account.last_reset
        self._marks.begin_day()
        state = state_words(view, now)
        yield self._alert(Kind.STARTED, now, f"watched from now on: {state}", state=state)

    def _actions_of(self, view: View) -> Iterable[Alert]:
        for action in view.account.enforcement:
            if self._is_begun and action not in self._actions:
                self._actions[action] = None
                is_dry_run = action.details.dry_run is True
                alert = self._alert(
                    Kind.ENFORCEMENT,
                    action.timestamp,
                    describe(action, until),
                    outcome=_DRY_RUN if is_dry_run else _OUTCOMES[action.success],
                    action=ACTIONS[action.action],
                    reason=action.reason,
                    rule=action.rule_id,
                )
                variant = None if action.success else ACTION_FAILED
                yield msgspec.structs.replace(
                    alert, variant=NOT_ENFORCED if is_dry_run else variant
                )
        if len(self._actions) > _MANY:
            self._actions = dict.fromkeys(view.account.enforcement)

    def _locks_of(self, view: View, now: datetime, event: EventData | None) -> Iterable[Alert]:
        locks = set(view.account.lockouts.values())
        if not self._is_begun:
            return
        for lock in sorted(locks - self._locks, key=lambda lock: (lock.locked_at, lock.rule_id)):
            end = _UNENDING if lock.locked_until is None else until(lock.locked_until, now)
            yield self._alert(
                Kind.LOCKOUT,
                lock.locked_at,
                describe(lock, until),
                reason=lock.reason,
                rule=lock.rule_id,
                until=end,
            )
        self._locks |= locks
        if locks:
            self._was_locked = True
        elif self._was_locked and view.events_only_since is None:
            self._was_locked = False
            self._locks.clear()
            cleared = describe(event, until) if isinstance(event, LockoutCleared) else ""
            yield self._alert(Kind.LOCKOUT_ENDED, now, cleared or "Trading resumed")

    def _note_day(self, view: View) -> None:
        reset = view.account.last_reset
        if not self._is_begun or reset is None or reset == self._reset:
            return
        is_later = self._reset is None or reset.reset_time > self._reset.reset_time
        self._reset = reset
        if is_later:
            self._marks.begin_day()
            self._ended_day, self._looks_at_day = EndedDay(reset, self._before), 0


def _limit_fields(usage: LimitUsage) -> dict[str, str]:
    return {
        "limit": usage.name,
        "percent": str(whole_percent(usage.share or ZERO)),
        "figures": usage_words(usage),
        "left": figure(usage.headroom, usage.unit),
    }
