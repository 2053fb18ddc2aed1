"""RULE-004: what open positions may lose before they are closed.

Realized losses are RULE-003's; none is counted twice.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserPosition
from riskd.model.formatting import contract_name, dollars
from riskd.model.open_pnl import pnl_warnings, position_pnl, total_pnl
from riskd.rules.affected import affected_positions
from riskd.rules.interface import Flatten, Gauge, Lock, RuleResult, Trigger
from riskd.rules.settings import LockoutUntil, RuleSettings, Scope


class Action(StrEnum):
    """What is done when too much is lost."""

    CLOSE_POSITION = "CLOSE_POSITION"
    CLOSE_ALL_AND_LOCKOUT = "CLOSE_ALL_AND_LOCKOUT"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """What open positions may lose.

    :ivar loss_limit: dollars; to be that far under water is a breach.
    :ivar scope: whether each position has the limit for itself, or all of them together.
    :ivar lockout: lock the account, too; ``action: CLOSE_ALL_AND_LOCKOUT`` says the same.
    :ivar lockout_until: when a lock ends; without one it says nothing.
    """

    loss_limit: Decimal = Decimal("300.00")
    scope: Scope = Scope.PER_POSITION
    action: Action = Action.CLOSE_POSITION
    lockout: bool = False
    lockout_until: LockoutUntil = LockoutUntil.DAILY_RESET

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope is Scope.TOTAL:
            return
        if self.lockout:
            raise ValueError(f"lockout: expected false with scope {self.scope}, got true")
        if self.action is Action.CLOSE_ALL_AND_LOCKOUT:
            raise ValueError(
                f"action: expected {Action.CLOSE_POSITION} with scope {self.scope}, "
                f"got {self.action}"
            )

    @property
    def locks(self) -> bool:
        """Whether a breach locks the account."""
        return self.lockout or self.action is Action.CLOSE_ALL_AND_LOCKOUT


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close the positions that have lost too much, or all when together they have."""
    if settings.scope is Scope.TOTAL:
        breaches = _breach_of_total(state, settings, trigger)
    else:
        breaches = _breaches_of_positions(state, settings, affected_positions(state, trigger))
    return RuleResult(commands=breaches, warnings=pnl_warnings(state, trigger.now))


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Say how much is lost, in each position or in all; what gains has lost less than nothing."""
    limit = settings.loss_limit
    if settings.scope is Scope.TOTAL:
        return (Gauge(name="open loss", limit=limit, current=-total_pnl(state), unit="$"),)
    return tuple(_gauge_of_position(state, limit, position) for position in state.open_positions)


def _breach_of_total(
    state: AccountState, settings: Settings, trigger: Trigger
) -> tuple[Flatten, ...]:
    total = total_pnl(state)
    if total > -settings.loss_limit:
        return ()
    reason = f"Open loss limit hit: {dollars(total)} in all (limit {dollars(settings.loss_limit)})"
    return (Flatten(reason=reason, lock=_lock(settings, trigger)),)


def _breaches_of_positions(
    state: AccountState, settings: Settings, positions: tuple[GatewayUserPosition, ...]
) -> tuple[Flatten, ...]:
    return tuple(
        [
            Flatten(
                reason=f"Open loss limit hit: {contract_name(state, position.contract_id)} "
                f"{dollars(pnl)} (limit {dollars(settings.loss_limit)})",
                keep={position.contract_id: 0},
            )
            for position in positions
            if (pnl := position_pnl(state, position).amount) is not None
            and pnl <= -settings.loss_limit
        ]
    )


def _lock(settings: Settings, trigger: Trigger) -> Lock | None:
    if not settings.locks:
        return None
    is_permanent = settings.lockout_until is LockoutUntil.PERMANENT
    return Lock(until=None if is_permanent else trigger.next_reset)


def _gauge_of_position(
    state: AccountState, limit: Decimal, position: GatewayUserPosition
) -> Gauge:
    pnl = position_pnl(state, position)
    return Gauge(
        name=f"open loss {contract_name(state, position.contract_id)}",
        limit=limit,
        current=None if pnl.amount is None else -pnl.amount,
        unit="$",
        words=pnl.unknown,
    )
