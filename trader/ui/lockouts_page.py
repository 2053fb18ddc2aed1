"""Lockouts and enforcement: why the account is locked, until when, what still works, what was done."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from riskd.model.descriptions import ACTIONS
from riskd.model.events import EnforcementAction, Status
from trader.model.day_trades import LockoutCause, lockout_causes
from trader.model.formatting import UNKNOWN, clock, until
from trader.model.ui_state import UiState
from trader.model.view import Source, View, unknown_reason
from trader.ui.disconnected import freshness, measured, own_count, shade
from trader.ui.gauges import figure
from trader.ui.header import lock_end
from trader.ui.limits_page import rule_title
from trader.ui.styled_text import Markup, cut, title, wrapped
from trader.ui.trades_page import trade_row

_TRADES_TOLD: Final = 5
_LINES_FOR_SENTENCE: Final = 4
_ACTIONS_TOLD: Final = 3
"""There is room for so many rows of what was done, however long it takes to say why."""

_WORKS: Final = "Still works: closing what you hold, stops and limits that only close it."
_FORBIDDEN: Final = "Does not: other orders are canceled, new positions are closed."


def heading(
    view: View, _ui_state: UiState, now: datetime, columns: int, rows: int
) -> list[Markup]:
    """Return why the account is locked, the lock that ends last first; then the title of what was done."""
    lines = [title("Lockouts", columns, _known(view, now))]
    done = view.account.enforcement
    moments = [action.timestamp for action in done]
    what = "Breaches today" if view.is_dry_run else "Enforced today"
    foot = title(f"{what} {own_count(view, len(done))}", columns, freshness(view, moments, now))
    room = max(1, rows - 1 - min(len(done), _ACTIONS_TOLD))
    lines += _locks(view, now, columns, room - len(lines))
    return [*cut(lines, room), foot]


def _locks(view: View, now: datetime, columns: int, room: int) -> list[Markup]:
    """Return why the account is locked, with as many of the trades that led there as there is room for."""
    causes = lockout_causes(view.account)
    if not causes:
        return [[("dim", _not_locked(view))]]
    for most in range(_TRADES_TOLD, 0, -1):
        lines = [line for cause in causes for line in _lock(view, cause, now, columns, most)]
        if len(lines) <= room:
            break
    return lines


def _known(view: View, now: datetime) -> str:
    moments = [lock.locked_at for lock in view.account.lockouts.values()]
    return freshness(view, moments, now) if moments or view.source is not Source.LIVE else ""


def _not_locked(view: View) -> str:
    if view.source is Source.NOTHING:
        return f"{UNKNOWN}  {unknown_reason(view)}"
    if view.events_only_since is not None:
        return "No lock was seen; the state file does not tell"
    if view.source is Source.LAST_KNOWN:
        return "Not locked when this was known; it may be by now"
    is_well = view.daemon is None or view.daemon.status is Status.RUNNING
    return "Not locked: you may trade" if is_well else "Not locked; but the daemon is in trouble"


def _lock(
    view: View, cause: LockoutCause, now: datetime, columns: int, most_trades: int
) -> list[Markup]:
    lock = cause.lock
    how = "" if lock.locked_until else " (riskctl unlock)"
    lines = wrapped("alert", f"Locked {lock_end(lock, now)}{how}", columns)
    lines += _sentence(f"Why: {lock.reason}", columns)
    since = until(lock.locked_at, now)
    lines += _sentence(f"Rule: {rule_title(lock.rule_id)}, locked at {since}", columns)
    for usage in measured(view, now):
        if usage.rule_id == lock.rule_id and usage.limit is not None:
            current = figure(usage.current, usage.unit)
            told = f"Limit: {figure(usage.limit, usage.unit)}, {usage.name} now {current}"
            lines += _sentence(f"{told} {usage.unknown}", columns)
    lines += _trades(view, cause, most_trades)
    return lines + _sentence(_WORKS, columns) + _sentence(_FORBIDDEN, columns)


def _trades(view: View, cause: LockoutCause, most: int) -> list[Markup]:
    if not cause.trades:
        return []
    told = cause.trades[-most:]
    of = "" if told == cause.trades else f" (last {len(told)} of {len(cause.trades)})"
    head: Markup = [("dim", f" Trades that led there{of}: size, P&L, total")]
    return [head, *([" ", *trade_row(view, one)] for one in told)]


def _sentence(text: str, columns: int) -> list[Markup]:
    return wrapped("text", text.strip(), columns, _LINES_FOR_SENTENCE)


def rows(view: View, _ui_state: UiState, _now: datetime, _width: int) -> list[Markup]:
    """Return a row for each thing that was enforced in the day, newest first."""
    return [_action(view, action) for action in reversed(view.account.enforcement)]


def _action(view: View, action: EnforcementAction) -> Markup:
    if action.details.dry_run is True:
        outcome, style = "NOT DONE (dry run)", "caution"
    elif action.success:
        outcome, style = "done", "text"
    else:
        outcome, style = "FAILED", "loss"
    return [
        ("dim", f"{clock(action.timestamp)} "),
        (shade(view, "strong"), f"{action.rule_id} "),
        (shade(view, style), f"{ACTIONS[action.action]}, {outcome}: {action.reason}"),
    ]
