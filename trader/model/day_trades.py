"""The trading day as its trades tell it: the running total, and what led to a lock."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from riskd.model.account import AccountState, end_of_lock
from riskd.model.events import GatewayUserTrade, LockoutSet
from riskd.model.money import ZERO

_COOLDOWN_AFTER_LOSS: Final = "RULE-007"
_RULES_ABOUT_TRADES: Final = ("RULE-003", "RULE-006", _COOLDOWN_AFTER_LOSS)


class DayTrade(msgspec.Struct, frozen=True):
    """A full-turn trade of the day.

    :ivar total: dollars realized in the day, this trade among them.
    """

    trade: GatewayUserTrade
    total: Decimal


class LockoutCause(msgspec.Struct, frozen=True):
    """Why an account is locked.

    :ivar trades: those that led there, oldest first; none where the rule is not about trades.
    """

    lock: LockoutSet
    trades: tuple[DayTrade, ...]


def trades_of_the_day(state: AccountState) -> tuple[DayTrade, ...]:
    """Return the full-turn trades of the trading day, oldest first, with the running total."""
    began = state.day_began
    trades = sorted(
        (
            trade
            for trade in state.trades.values()
            if began is None or trade.execution_time >= began
        ),
        key=lambda trade: (trade.execution_time, trade.id),
    )
    found, total = [], ZERO
    for trade in trades:
        total += trade.profit_and_loss
        found.append(DayTrade(trade, total))
    return tuple(found)


def lockout_causes(state: AccountState) -> tuple[LockoutCause, ...]:
    """Return why the account is locked, the lock that ends last first."""
    locks = sorted(state.lockouts.values(), key=end_of_lock, reverse=True)
    trades = trades_of_the_day(state) if locks else ()
    return tuple(_story(lock, trades) for lock in locks)


def _story(lock: LockoutSet, trades: tuple[DayTrade, ...]) -> LockoutCause:
    before = tuple(one for one in trades if one.trade.execution_time <= lock.locked_at)
    if lock.rule_id not in _RULES_ABOUT_TRADES:
        before = ()
    elif lock.rule_id == _COOLDOWN_AFTER_LOSS:
        before = before[-1:]
    return LockoutCause(lock, before)
