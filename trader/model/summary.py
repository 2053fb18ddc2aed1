"""The account's state in one line."""

from __future__ import annotations

from datetime import datetime

from riskd.model.events import LockoutSet
from riskd.model.formatting import counted
from riskd.model.reduce_only import reduce_only_stage
from trader.model.formatting import money, stamp
from trader.model.reduce_only_end import stage_end
from trader.model.view import View, unknown_reason


def summary(view: View, now: datetime) -> str:
    """Return the account and its state in one line."""
    gateway = (view.gateway_name or "gateway unknown").upper()
    return f"account {view.account.account_id}, {gateway}, {state_words(view, now)}"


def state_words(view: View, now: datetime) -> str:
    """Return the account's state in one line."""
    lockout = view.account.lockout
    parts = [
        *(["DRY RUN"] if view.is_dry_run else []),
        *_figures(view),
        f"LOCKED OUT {_end(lockout)}: {lockout.reason}" if lockout else _unlocked(view, now),
    ]
    problems = [] if view.events_only_since is None else [view.file_problem]
    if view.daemon is not None and view.has_daemon_error:
        problems.append(f"Daemon {view.daemon.status}: {view.daemon.message}")
    return "; ".join([", ".join(parts), *problems])


def _unlocked(view: View, now: datetime) -> str:
    """Return that the account is not locked, or that it may only close what it holds."""
    stage, end = reduce_only_stage(view.account), stage_end(view.account, now)
    if stage is None or end is None:
        return "not locked"
    return f"REDUCE ONLY {end.words(now)}".strip() + f": {stage.reason}"


def _end(lockout: LockoutSet) -> str:
    until = lockout.locked_until
    return "until an operator unlocks it" if until is None else f"until {stamp(until)}"


def _figures(view: View) -> list[str]:
    if reason := unknown_reason(view):
        return [f"P&L, positions and orders: {reason}"]
    account = view.account
    return [
        f"realized {money(account.realized_pnl)} in {counted(account.trade_count, 'trade')}",
        counted(len(account.open_positions), "position"),
        counted(len(account.working_orders), "working order"),
    ]
