"""RULE-004: the largest open loss of a position, or of all positions together.

Realized losses are RULE-003's; no loss counts in both.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

from riskd.model.account import AccountState
from riskd.model.formatting import contract_name, dollars
from riskd.model.open_pnl import pnl_warnings, position_pnl, total_pnl
from riskd.rules.interface import (
    Command,
    Flatten,
    Gauge,
    Headroom,
    Kind,
    Rule,
    RuleResult,
    Trigger,
)
from riskd.rules.positions import affected_positions, close_position
from riskd.rules.settings import LockoutUntil, LockUntil, RuleSettings, Scope
from riskd.rules.tightness import Fixed, Lower, WhenTrue, tightest_last


class Action(StrEnum):
    """What the rule does about a breach."""

    CLOSE_POSITION = "CLOSE_POSITION"
    CLOSE_ALL_AND_LOCKOUT = "CLOSE_ALL_AND_LOCKOUT"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``daily_unrealized_loss``.

    :ivar loss_limit: dollars; an open loss of as much is a breach.
    :ivar scope: whether the limit is that of each position or of all of them together.
    :ivar lockout: whether a breach locks the account; ``action: CLOSE_ALL_AND_LOCKOUT`` does the same.
    :ivar lockout_until: when the lock ends; without effect if there is none.
    """

    loss_limit: Lower[Decimal] = Decimal("300.00")
    scope: Fixed[Scope] = Scope.PER_POSITION
    action: Annotated[
        Action, tightest_last(Action.CLOSE_POSITION, Action.CLOSE_ALL_AND_LOCKOUT)
    ] = Action.CLOSE_POSITION
    lockout: WhenTrue[bool] = False
    lockout_until: LockUntil = LockoutUntil.DAILY_RESET

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


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close the positions that have lost too much, or all when their sum has."""
    commands: list[Command] = []
    headroom: Headroom | dict[str, Headroom]
    limit = settings.loss_limit
    if settings.scope is Scope.TOTAL:
        total = total_pnl(state)
        headroom = Headroom(down=total + limit)
        if total <= -limit:
            reason = f"Open loss limit hit: {dollars(total)} in all {_limit(settings)}"
            locks = settings.lockout or settings.action is Action.CLOSE_ALL_AND_LOCKOUT
            lock = settings.lockout_until.lock(trigger) if locks else None
            commands.append(Flatten(reason=reason, lock=lock))
    else:
        headroom = {}
        for position in affected_positions(state, trigger):
            # An unknown P&L is no loss; a warning says that the rule cannot check the position.
            pnl = position_pnl(state, position).amount
            if pnl is None:
                continue
            headroom[position.contract_id] = Headroom(down=pnl + limit)
            if pnl <= -limit:
                name = contract_name(state, position.contract_id)
                reason = f"Open loss limit hit: {name} {dollars(pnl)} {_limit(settings)}"
                commands.append(close_position(position, reason))
    warnings = pnl_warnings(state, trigger.now)
    return RuleResult(commands=tuple(commands), warnings=warnings, headroom=headroom)


def _limit(settings: Settings) -> str:
    return f"(limit {dollars(settings.loss_limit)})"


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return the open loss of each position or of all.

    A position in profit has a negative loss.
    """
    limit = settings.loss_limit
    if settings.scope is Scope.TOTAL:
        return (Gauge(name="open loss", limit=limit, current=-total_pnl(state), unit="$"),)
    pnls = [(each.contract_id, position_pnl(state, each)) for each in state.open_positions]
    return tuple(
        Gauge(
            name=f"open loss {contract_name(state, contract_id)}",
            limit=limit,
            current=None if pnl.amount is None else -pnl.amount,
            unit="$",
            words=pnl.unknown,
        )
        for contract_id, pnl in pnls
    )


RULE: Final = Rule(
    "RULE-004",
    "daily_unrealized_loss",
    Settings,
    frozenset({Kind.POSITION, Kind.QUOTE}),
    check,
    gauges,
)
