"""What riskd and its operator did, and when an account was locked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from riskd.journal.audit_log import BALANCE, CORRECTION, OPERATOR_COMMAND, SETTINGS, LogLine
from riskd.model.events import (
    OPERATOR,
    EnforcementAction,
    EventError,
    LockoutCleared,
    LockoutSet,
)
from riskd.model.formatting import ACTIONS, CLEARED_BY, counted
from riskd.model.safe_text import json_text
from riskd.model.settings_changes import describe_change
from riskd.model.wire import from_fields
from riskd.report.canvas import Band
from riskd.report.journaled import TradingDay
from riskd.report.levels import name_of
from riskd.rules.registry import RULES

_NAMES: Final = {rule.rule_id: name_of(rule.key) for rule in RULES} | {OPERATOR: "operator"}
_OTHERS: Final = {CORRECTION: "Trade corrected", BALANCE: "Balance"}


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    :ivar is_marked: whether the chart has a mark of it: an enforcement or a lock.
    :ivar rule: the name of the rule, or ``operator``; may be empty.
    """

    at: datetime
    what: str
    rule: str = ""
    why: str = ""
    is_marked: bool = False


def event_of(line: LogLine) -> Any:
    """Return the event of a line of the log; ``None`` if it is of none of the nine."""
    try:
        # The envelope's account is not needed.
        return from_fields(line.kind, 0, line.data).data
    except (EventError, ValueError):
        return None


def actions_of(log: Sequence[LogLine], day: TradingDay) -> list[EnforcementAction]:
    """Return the enforcement actions of a day, oldest first."""
    events = [event_of(line) for line in log if day.began <= line.at < day.ended]
    return [each for each in events if isinstance(each, EnforcementAction)]


def was_done(action: EnforcementAction) -> bool:
    """Return whether riskd acted; in a dry run it only says what it would have done."""
    return action.details.dry_run is not True


def happened(log: Sequence[LogLine], day: TradingDay) -> list[Happened]:
    """Return what happened on a day, oldest first."""
    found = [_happened(line, day) for line in log if day.began <= line.at < day.ended]
    return [each for each in found if each is not None]


def _happened(line: LogLine, day: TradingDay) -> Happened | None:
    if line.kind == OPERATOR_COMMAND:
        what = f"Operator: {line.data.get('command')} by {line.data.get('operator')}"
        return Happened(at=line.at, what=what, why=str(line.data.get("reason", "")))
    if line.kind == SETTINGS:
        return _changed_settings(line)
    if line.kind in _OTHERS:
        why = str(line.data.get("message", ""))
        return Happened(at=line.at, what=_OTHERS[line.kind], why=why)
    return _event(line, day)


def _event(line: LogLine, day: TradingDay) -> Happened | None:
    match event_of(line):
        case EnforcementAction() as action:
            return Happened(
                at=line.at,
                what=_enforced(action),
                rule=rule_name(action.rule_id),
                why=action.reason,
                is_marked=True,
            )
        case LockoutSet() as lock:
            until = lock.locked_until
            end = "an operator unlocks it" if until is None else local_time(until, day)
            return Happened(
                at=line.at,
                what=f"Locked until {end}",
                rule=rule_name(lock.rule_id),
                why=lock.reason,
                is_marked=True,
            )
        case LockoutCleared() as cleared:
            return Happened(at=line.at, what="Trading resumed", why=CLEARED_BY[cleared.cleared_by])
    return None


def _changed_settings(line: LogLine) -> Happened:
    data = line.data
    change = describe_change(str(data.get("key")), data.get("before"), data.get("after"))
    by = data.get("operator")
    what = f"Settings changed by {by}" if by else "Settings changed"
    if "operator" not in data:
        what = "Limits in force changed"
    return Happened(at=line.at, what=what, why=change if change else json_text(data))


def _enforced(action: EnforcementAction) -> str:
    details = action.details
    what = ACTIONS[action.action].capitalize()
    if details.dry_run is True:
        what = f"NOT ENFORCED (dry run): {what}"
    elif not action.success:
        what = f"FAILED: {what}"
    counts = [
        counted(number, thing)
        for number, thing in (
            (details.positions_closed, "position"),
            (details.orders_canceled, "order"),
        )
        if number
    ]
    return f"{what} ({', '.join(counts)})" if counts else what


def rule_name(rule_id: str) -> str:
    """Return the name of a rule; its id, if it is not built in."""
    return _NAMES.get(rule_id, rule_id)


def local_time(moment: datetime, day: TradingDay) -> str:
    """Return a time in the day's time zone, with its date if that is another."""
    local = day.local(moment)
    if local.date() == day.key:
        return f"{local:%H:%M:%S}"
    return f"{local:%a %H:%M:%S}" if day.began <= moment < day.ended else f"{local:%Y-%m-%d %H:%M}"


def locked_times(log: Sequence[LogLine], began: datetime, ended: datetime) -> list[Band]:
    """Return when the account was locked between two moments.

    :param log: the whole log, since a lock may be older.
    """
    return [
        Band(max(since, began), min(until, ended), "locked")
        for since, until in _locks(log, ended)
        if until > began and since < ended
    ]


def _locks(log: Sequence[LogLine], now: datetime) -> Iterator[tuple[datetime, datetime]]:
    since: datetime | None = None
    end: datetime | None = None
    for line in log:
        match event_of(line) if line.kind.startswith("lockout") else None:
            case LockoutSet() as lock:
                if since is not None and end is not None and end < line.at:
                    # The daemon did not run when it ended.
                    yield since, end
                    since = None
                until = now if lock.locked_until is None else lock.locked_until
                end = until if since is None or end is None else max(end, until)
                since = since or line.at
            case LockoutCleared() if since is not None:
                yield since, line.at
                since = None
    if since is not None:
        yield since, now if end is None else min(end, now)
