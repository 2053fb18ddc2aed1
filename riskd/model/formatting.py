"""Amounts, names and events in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from riskd.model.events import (
    Action,
    ClearedBy,
    DailyReset,
    EnforcementAction,
    LockoutCleared,
    LockoutSet,
)
from riskd.model.money import to_cents

if TYPE_CHECKING:
    # Programs that show amounts alone do without the model of an account.
    from riskd.model.account import AccountState

ACTIONS: Final = {
    Action.CLOSE_ALL_POSITIONS: "close positions",
    Action.CLOSE_ALL_AND_LOCKOUT: "close all and lock",
    Action.COOLDOWN: "close all and pause",
    Action.REJECT_ORDER: "cancel an order",
    Action.AUTO_STOP_LOSS: "place a stop",
}
"""Actions in words that fit whether the action succeeded, failed, or was left out in a dry run."""

CLEARED_BY: Final = {
    ClearedBy.TIMER_EXPIRY: "the lock has ended",
    ClearedBy.ADMIN_OVERRIDE: "an operator or the broker lifted the lock",
    ClearedBy.DAILY_RESET: "a new trading day began",
}
"""Why trading resumed, in words."""

RiskEvent = LockoutSet | LockoutCleared | EnforcementAction | DailyReset


def dollars(amount: Decimal) -> str:
    """Return an amount as ``$1,234.50`` or ``-$1,234.50``."""
    cents = to_cents(amount)
    return f"{'-' if cents < 0 else ''}${abs(cents):,.2f}"


def counted(number: int, thing: str) -> str:
    """Return ``1 contract``, ``2 contracts``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def contract_name(state: AccountState, contract_id: str) -> str:
    """Return a contract's name, such as ``MNQZ6``; its id while that is unknown."""
    contract = state.contract(contract_id)
    return contract.name if contract else contract_id


def describe(data: RiskEvent, local_time: Callable[[datetime, datetime], str]) -> str:
    """Return an event in a sentence.

    :param local_time: formats a moment, given the moment from which a reader sees it.
    """
    match data:
        case LockoutSet():
            until = "an operator unlocks it"
            if data.locked_until is not None:
                until = local_time(data.locked_until, data.locked_at)
            return f"LOCKED OUT until {until}: {data.reason} ({data.rule_id})"
        case LockoutCleared():
            return f"Trading resumed: {CLEARED_BY[data.cleared_by]}"
        case EnforcementAction():
            return _describe_enforcement(data)
    pnl, trades = dollars(data.previous_pnl), counted(data.previous_trade_count, "trade")
    return f"Daily reset executed: {pnl} in {trades} the day before"


def _describe_enforcement(action: EnforcementAction) -> str:
    details = action.details
    is_dry_run = details.dry_run is True
    if is_dry_run:
        outcome = "NOT ENFORCED (dry run)"
    else:
        outcome = "ENFORCED" if action.success else "ENFORCEMENT FAILED"
    sentence = f"{outcome}: {ACTIONS[action.action]} ({action.rule_id}): {action.reason}"
    counts = [
        f"{counted(number, thing)} {verb}"
        for number, thing, verb in (
            (details.positions_closed, "position", "closed"),
            (details.orders_canceled, "order", "canceled"),
        )
        if number
    ]
    if counts:
        sentence += f"; {'would be: ' if is_dry_run else ''}{', '.join(counts)}"
    return sentence
