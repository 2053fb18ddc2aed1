"""RULE-003: the largest loss of a trading day.

The gateway's P&L is gross.  The rule uses it as it is, unless ``include_fees`` tells it to subtract the
broker's charges.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.formatting import dollars
from riskd.model.money import ZERO
from riskd.rules.interface import (
    NOTHING,
    Flatten,
    Gauge,
    Kind,
    Rule,
    RuleResult,
    Trigger,
    recall,
    remember,
)
from riskd.rules.settings import LockoutUntil, RuleSettings


class Action(StrEnum):
    """What the rule does about a breach."""

    CLOSE_ALL_AND_LOCKOUT = "CLOSE_ALL_AND_LOCKOUT"
    CLOSE_ALL_POSITIONS = "CLOSE_ALL_POSITIONS"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``daily_realized_loss``.

    :ivar loss_limit: dollars; a loss of as much is a breach.
    :ivar lockout_until: when the lock ends; without effect if ``action`` sets no lock.
    :ivar include_fees: whether the broker's fees and commissions count as losses.
    """

    loss_limit: Decimal = Decimal("500.00")
    action: Action = Action.CLOSE_ALL_AND_LOCKOUT
    lockout_until: LockoutUntil = LockoutUntil.DAILY_RESET
    include_fees: bool = False


class _Breach(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of the last breach.

    The rule does not act on the same figures again.

    An operator who lifts the lock has seen them, and a restart does not make them new.

    :ivar day_began: the beginning of their trading day, since another day may reach the same figures.
    """

    day_began: datetime | None
    result: Decimal
    trades: int


class _Memory(msgspec.Struct, frozen=True):
    fired: _Breach | None = None


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close everything, and lock the account, when the day's loss reaches the limit."""
    result = _result(state, settings)
    known = recall(state, RULE.rule_id, _Memory)
    if result > -settings.loss_limit:
        # Gains may make up for the loss; if the day then loses as much again, that is a new breach.
        return RuleResult(memory=remember(_Memory())) if known.fired else NOTHING
    breach = _Breach(day_began=state.day_began, result=result, trades=state.trade_count)
    if breach == known.fired:
        return NOTHING
    reason = f"Daily loss limit hit: {dollars(result)} (limit {dollars(settings.loss_limit)})"
    locks = settings.action is Action.CLOSE_ALL_AND_LOCKOUT
    lock = settings.lockout_until.lock(trigger) if locks else None
    return RuleResult(
        commands=(Flatten(reason=reason, lock=lock),), memory=remember(_Memory(breach))
    )


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return how much the day has lost; a day in profit has a negative loss."""
    return (
        Gauge(
            name="daily loss after fees" if settings.include_fees else "daily loss",
            limit=settings.loss_limit,
            current=-_result(state, settings),
            unit="$",
        ),
    )


def _result(state: AccountState, settings: Settings) -> Decimal:
    """Return the day's profit or loss in dollars."""
    if not settings.include_fees:
        return state.realized_pnl
    charges = state.risk.charges.values()
    counted = (charge.amount for charge in charges if state.is_of_trading_day(charge.at))
    return state.realized_pnl - sum(counted, ZERO)


RULE: Final = Rule(
    "RULE-003",
    "daily_realized_loss",
    Settings,
    frozenset({Kind.TRADE}),
    check,
    gauges,
    # A loss that is realized during a cooldown must still end the day.
    runs_while_locked=True,
)
