"""Lockouts and enforcement: reason, end, what is allowed, what was done."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from riskd.model.account import end_of_lock
from riskd.model.events import EnforcementAction, LockoutSet, Status
from riskd.model.formatting import ACTIONS
from riskd.model.reduce_only import reduce_only_stage
from riskd.rules.builtin import news_blackout, session_block_outside
from trader.model.day_trades import trades_behind
from trader.model.formatting import clock, sentence, until
from trader.model.gauge_words import current_words, figure
from trader.model.limit_usage import limit_usages, rule_name, unlocked_beyond
from trader.model.reduce_only_end import stage_end
from trader.model.ui_state import UiState
from trader.model.view import Source, View, unknown_reason
from trader.ui.disconnected import current_style, data_age, riskd_count, unknown_line
from trader.ui.header import lock_end
from trader.ui.styled_text import StyledLine, panel_title, wrap
from trader.ui.trades_page import trade_row

_MAX_TRADES: Final = 5
_MAX_LINES: Final = 4
"""Trades of a lockout, and lines of a sentence about it."""

_ACTIONS: Final = 3
"""So many actions should be beside the lockouts without scrolling; they have fewer trades then."""

_LOCKS_AGAIN: Final = (
    "The next trade that leaves it beyond the limit locks it again, and so does a tighter limit."
)
_NOT_ENFORCED: Final = "Dry run: nothing is enforced."
_STAGE_ALLOWED: Final = "Still allowed: keeping what you hold, and orders that only reduce it."
_STAGE_FORBIDDEN: Final = (
    "Orders that open, add or reverse are canceled, and what they fill is closed."
)
_TIMED: Final = (session_block_outside.RULE.rule_id, news_blackout.RULE.rule_id)
_ALLOWED: Final = "Still allowed: closing positions, stops and limits that only close them."
_FORBIDDEN: Final = "Not allowed: other orders are canceled, new positions are closed."


def heading(
    view: View, _ui_state: UiState, now: datetime, columns: int, rows: int
) -> list[StyledLine]:
    """Return each lockout, the one that ends last first, and the actions' title."""
    locked_at = [lockout.locked_at for lockout in view.account.lockouts.values()]
    # The age of an account that is live and not locked would say nothing.
    is_dated = locked_at or not view.is_live
    lines = [panel_title("Lockouts", columns, data_age(view, locked_at, now) if is_dated else "")]
    actions = view.account.enforcement
    lines += _lockouts(view, now, columns, rows - 2 - min(len(actions), _ACTIONS))
    name = "Breaches today" if view.is_dry_run else "Enforced today"
    age = data_age(view, [action.timestamp for action in actions], now)
    title = panel_title(f"{name} {riskd_count(view, len(actions))}", columns, age)
    return [*lines, title]


def _lockouts(view: View, now: datetime, columns: int, room: int) -> list[StyledLine]:
    """Return why the account is locked, with the trades that have room."""
    locks = sorted(view.account.lockouts.values(), key=end_of_lock, reverse=True)
    if not locks:
        return [
            *(_reduce_only(view, now, columns) or [_not_locked(view)]),
            *_unlocked(view, columns),
            *_times(view, now, columns),
        ]
    for max_trades in range(_MAX_TRADES, 0, -1):
        lines = [line for lock in locks for line in _lockout(view, lock, now, columns, max_trades)]
        if len(lines) <= room:
            break
    return lines


def _reduce_only(view: View, now: datetime, columns: int) -> list[StyledLine]:
    """Return why the account may only close what it holds; nothing if it may trade."""
    stage = reduce_only_stage(view.account)
    if stage is None:
        return []
    end = stage_end(view.account, now)
    words = "" if end is None else end.words(now)
    state = f"Reduce only {words}".strip()
    lines = wrap("caution", f"{state}; not locked", columns)
    rules = ", ".join(f"{rule_id} {rule_name(rule_id)}" for rule_id in stage.reasons)
    effect = [_NOT_ENFORCED] if stage.is_dry_run else [_STAGE_ALLOWED, _STAGE_FORBIDDEN]
    rule = f"Rule: {rules}, reduce only since {until(stage.since, now)}"
    return lines + _sentences([f"Why: {stage.reason}", rule, *effect], columns)


def _unlocked(view: View, columns: int) -> list[StyledLine]:
    """Return the limits beyond which the account is unlocked, and what follows."""
    beyond = unlocked_beyond(view.account)
    if not beyond:
        return []
    rules = ", ".join(f"{rule_id} {rule_name(rule_id)}" for rule_id in beyond)
    sentences = [f"An operator unlocked the account beyond the limit of {rules}.", _LOCKS_AGAIN]
    return [line for sentence in sentences for line in wrap("caution", sentence, columns)]


def _times(view: View, now: datetime, columns: int) -> list[StyledLine]:
    """Return the trading hours and the news, which need no lock to cancel orders."""
    return [
        line
        for usage in limit_usages(view, now)
        if usage.rule_id in _TIMED and usage.words
        for line in wrap("text", f"{sentence(usage.name)}: {usage.words}", columns)
    ]


def _not_locked(view: View) -> StyledLine:
    if view.source is Source.NOTHING:
        return unknown_line(unknown_reason(view))
    if view.events_only_since is not None:
        return [("dim", "No lockout seen, but the state file cannot be read")]
    if view.source is Source.LAST_KNOWN:
        return [("dim", "Not locked when last known; may be locked by now")]
    if view.daemon is None or view.daemon.status is Status.RUNNING:
        return [("dim", "Not locked: you may trade within the limits")]
    return [("dim", f"Not locked, but the daemon reports {view.daemon.status}")]


def _lockout(
    view: View, lockout: LockoutSet, now: datetime, columns: int, max_trades: int
) -> list[StyledLine]:
    command = "" if lockout.locked_until else " (riskctl unlock)"
    lines = wrap("alert", f"Locked {lock_end(lockout, now)}{command}", columns)
    name = rule_name(lockout.rule_id)
    rule = lockout.rule_id if name == lockout.rule_id else f"{lockout.rule_id} {name}"
    sentences = [
        f"Why: {lockout.reason}",
        f"Rule: {rule}, locked at {until(lockout.locked_at, now)}",
        *(
            f"Limit: {figure(usage.limit, usage.unit)}, "
            f"{usage.name} now {current_words(usage)} {usage.unknown}"
            for usage in limit_usages(view, now)
            if usage.rule_id == lockout.rule_id and usage.limit is not None
        ),
    ]
    lines += _sentences(sentences, columns)
    if trades := trades_behind(lockout, view.account):
        shown = trades[-max_trades:]
        count = "" if shown == trades else f" (last {len(shown)} of {len(trades)})"
        lines.append([("dim", f" Trades that led to it{count}: size, P&L, total")])
        lines += [[(None, " "), *trade_row(view, trade)] for trade in shown]
    return lines + _sentences([_ALLOWED, _FORBIDDEN], columns)


def _sentences(sentences: list[str], columns: int) -> list[StyledLine]:
    return [
        line
        for sentence in sentences
        for line in wrap("text", sentence.strip(), columns, _MAX_LINES)
    ]


def rows(view: View, _ui_state: UiState, _now: datetime, _width: int) -> list[StyledLine]:
    """Return a row for each enforcement action of the day, newest first."""
    return [_action(view, action) for action in reversed(view.account.enforcement)]


def _action(view: View, action: EnforcementAction) -> StyledLine:
    if action.details.dry_run is True:
        outcome, style = "NOT ENFORCED (dry run)", "caution"
    elif action.success:
        outcome, style = "done", "text"
    else:
        outcome, style = "FAILED", "loss"
    return [
        ("dim", f"{clock(action.timestamp)} "),
        (current_style(view, "strong"), f"{action.rule_id} "),
        (current_style(view, style), f"{ACTIONS[action.action]}, {outcome}: {action.reason}"),
    ]
