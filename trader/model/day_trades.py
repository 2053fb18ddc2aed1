"""The day's trades, their running total, and the trades behind a lockout."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.broker import BrokerTrade
from riskd.model.events import GatewayUserTrade, LockoutSet
from riskd.model.money import ZERO
from trader.model.same import Same

COOLDOWN_AFTER_LOSS: Final = "RULE-007"
_TRADE_RULES: Final = ("RULE-003", "RULE-006", COOLDOWN_AFTER_LOSS)
"""Daily realized loss, trade frequency and cooldown: rules that count trades or add up their P&L."""


_CACHED: Final = 8
"""Accounts whose trades are kept in order: a console has one on the screen, several pages have one each."""


class DayTrade(msgspec.Struct, frozen=True):
    """A full-turn trade of the day.

    :ivar total: dollars realized in the day up to and including this trade.
    """

    trade: GatewayUserTrade
    total: Decimal


def trades_of_the_day(state: AccountState) -> tuple[DayTrade, ...]:
    """Return the trading day's full-turn trades, oldest first, with their totals."""
    return _trades_since(Same(state.trades), state.day_began)


# The trades change a few times a minute, the screen several times a second.
@lru_cache(maxsize=_CACHED)
def _trades_since(
    known: Same[Mapping[int, BrokerTrade]], began: datetime | None
) -> tuple[DayTrade, ...]:
    trades = sorted(
        (
            trade
            for trade in known.value.values()
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


@lru_cache(maxsize=_CACHED)
def latest_trade(known: Same[Mapping[int, BrokerTrade]]) -> datetime | None:
    """Return when the latest of an account's trades was received; ``None`` for none."""
    return max([trade.timestamp for trade in known.value.values()], default=None)


def trades_behind(lock: LockoutSet, state: AccountState) -> tuple[DayTrade, ...]:
    """Return the trades that led to a lockout, oldest first.

    Empty if the lockout's rule counts no trades.
    """
    if lock.rule_id not in _TRADE_RULES:
        return ()
    before = tuple(
        one for one in trades_of_the_day(state) if one.trade.execution_time <= lock.locked_at
    )
    # A cooldown follows a single loss; the other rules add up the day.
    return before[-1:] if lock.rule_id == COOLDOWN_AFTER_LOSS else before
