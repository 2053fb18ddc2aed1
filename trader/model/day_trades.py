"""The day's trades, their running total, and the trades behind a lockout."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from riskd.model.account import AccountState, end_of_lock
from riskd.model.events import GatewayUserTrade, LockoutSet
from riskd.model.money import ZERO

_COOLDOWN_AFTER_LOSS: Final = "RULE-007"
_TRADE_RULES: Final = ("RULE-003", "RULE-006", _COOLDOWN_AFTER_LOSS)
"""Daily realized loss, trade frequency and cooldown: rules that go by trades."""


class DayTrade(msgspec.Struct, frozen=True):
    """A full-turn trade of the day.

    :ivar total: dollars realized in the day up to this trade, with it.
    """

    trade: GatewayUserTrade
    total: Decimal


class LockoutCause(msgspec.Struct, frozen=True):
    """A lockout and the trades that led to it.

    :ivar trades: oldest first; empty if the rule does not go by trades.
    """

    lock: LockoutSet
    trades: tuple[DayTrade, ...]


def trades_of_the_day(state: AccountState) -> tuple[DayTrade, ...]:
    """Return the trading day's full-turn trades, oldest first, with their totals."""
    began = state.day_began
    trades = sorted(
        (
            trade
            for trade in state.trades.values()
            if began is None or trade.execution_time >= began
        ),
        # Trades may have the same time; their ids give them one order.
        key=lambda trade: (trade.execution_time, trade.id),
    )
    found, total = [], ZERO
    for trade in trades:
        total += trade.profit_and_loss
        found.append(DayTrade(trade, total))
    return tuple(found)


def lockout_causes(state: AccountState) -> tuple[LockoutCause, ...]:
    """Return the causes of all lockouts in force, the lockout that ends last first."""
    locks = sorted(state.lockouts.values(), key=end_of_lock, reverse=True)
    trades = trades_of_the_day(state) if locks else ()
    return tuple(LockoutCause(lock, _trades_behind(lock, trades)) for lock in locks)


def _trades_behind(lock: LockoutSet, trades: tuple[DayTrade, ...]) -> tuple[DayTrade, ...]:
    if lock.rule_id not in _TRADE_RULES:
        return ()
    before = tuple(one for one in trades if one.trade.execution_time <= lock.locked_at)
    # A cooldown follows a single loss; the other rules add up the day.
    return before[-1:] if lock.rule_id == _COOLDOWN_AFTER_LOSS else before
