"""RULE-003: what may be lost in a trading day.

The gateway's P&L is gross.  The rule takes it as it comes, unless it is told to subtract what the
broker charges.
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
from riskd.rules.interface import NOTHING, Flatten, Gauge, Lock, RuleResult, Trigger
from riskd.rules.settings import LockoutUntil, RuleSettings

_RULE_ID: Final = "RULE-003"


class Action(StrEnum):
    """What is done when too much is lost."""

    CLOSE_ALL_AND_LOCKOUT = "CLOSE_ALL_AND_LOCKOUT"
    CLOSE_ALL_POSITIONS = "CLOSE_ALL_POSITIONS"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """What may be lost in a trading day.

    :ivar loss_limit: dollars; to lose them is a breach.
    :ivar lockout_until: when a lock ends; without one it says nothing.
    :ivar include_fees: count the broker's fees and commissions as losses, too.
    """

    loss_limit: Decimal = Decimal("500.00")
    action: Action = Action.CLOSE_ALL_AND_LOCKOUT
    lockout_until: LockoutUntil = LockoutUntil.DAILY_RESET
    include_fees: bool = False


class _Fired(msgspec.Struct, frozen=True, kw_only=True):
    """The figures on which the rule fired last; on these very figures it does not fire again.

    An operator who lifts the lock has seen them.  A restart is no news.

    :ivar day_began: of their trading day, as another day may come to the same figures.
    """

    day_began: datetime | None
    result: Decimal
    trades: int


class _Memory(msgspec.Struct, frozen=True):
    fired: _Fired | None = None


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close everything, and lock the account, when the day's loss reaches the limit."""
    result = _result(state, settings)
    remembered = _remembered(state)
    if result > -settings.loss_limit:
        # The day may come back to figures that were made good, and then they are news again.
        return RuleResult(memory=_written(None)) if remembered else NOTHING
    fired = _Fired(day_began=state.day_began, result=result, trades=state.trade_count)
    if fired == remembered:
        return NOTHING
    reason = f"Daily loss limit hit: {dollars(result)} (limit {dollars(settings.loss_limit)})"
    return RuleResult(
        commands=(Flatten(reason=reason, lock=_lock(settings, trigger)),), memory=_written(fired)
    )


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Say how much of the day's limit is lost; a day in profit has lost less than nothing."""
    return (
        Gauge(
            name="daily loss after fees" if settings.include_fees else "daily loss",
            limit=settings.loss_limit,
            current=-_result(state, settings),
            unit="$",
        ),
    )


def _result(state: AccountState, settings: Settings) -> Decimal:
    """Return what the day has brought, in dollars."""
    if not settings.include_fees:
        return state.realized_pnl
    charges = (
        charge.amount
        for charge in state.risk.charges.values()
        if state.day_began is None or charge.at >= state.day_began
    )
    return state.realized_pnl - sum(charges, ZERO)


def _lock(settings: Settings, trigger: Trigger) -> Lock | None:
    if settings.action is Action.CLOSE_ALL_POSITIONS:
        return None
    is_permanent = settings.lockout_until is LockoutUntil.PERMANENT
    return Lock(until=None if is_permanent else trigger.next_reset)


def _remembered(state: AccountState) -> _Fired | None:
    text = state.risk.memory.get(_RULE_ID)
    return msgspec.json.decode(text, type=_Memory).fired if text else None


def _written(fired: _Fired | None) -> str:
    return msgspec.json.encode(_Memory(fired)).decode()
