"""RULE-015: a day's profit that is enough, or that must not be given back.

It is the net P&L of the day (:mod:`riskd.model.equity`), with open P&L: what is closed at the target is the
profit that is there.  Like all rules that take profits, it waits while a P&L is unknown or a quote is old.
Sources: the daily profit targets of TopstepX and Tradovate, and Sierra Chart's protection of a daily profit, in
November 2026.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.equity import net_pnl
from riskd.model.formatting import dollars
from riskd.model.lockouts import lock_of
from riskd.model.open_pnl import pnl_warnings
from riskd.rules.fills import checked_until_trades_come
from riskd.rules.interface import (
    Flatten,
    Gauge,
    Headroom,
    Kind,
    Lock,
    Rule,
    RuleResult,
    Trigger,
    recall,
    remember,
)
from riskd.rules.settings import AmountFromZero, RuleSettings, Table
from riskd.rules.tightness import Higher, Lower, WhenSet, tightest_last

_TARGET: Final = Decimal("1000.00")


class Action(StrEnum):
    """What the rule does at the target and at the floor."""

    CLOSE_ALL_AND_LOCKOUT = "CLOSE_ALL_AND_LOCKOUT"
    CLOSE_ALL_POSITIONS = "CLOSE_ALL_POSITIONS"


class Protect(Table, frozen=True, kw_only=True):
    """The table ``protect``: a profit that must not be given back.

    :ivar arm_at: the net P&L of the day in dollars from which on it is protected.
    :ivar floor: dollars; a protected profit that falls to it is a breach.
    """

    FROM_ZERO: ClassVar[tuple[str, ...]] = ("floor",)

    arm_at: Lower[Decimal]
    floor: Higher[AmountFromZero]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.floor >= self.arm_at:
            raise ValueError(
                f"floor: expected less than arm_at, which is {self.arm_at}, got {self.floor}"
            )


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``daily_profit_target``.

    :ivar target: dollars; a net P&L of the day of as much is a breach.  By default $1,000, and none beside
        ``protect``.
    """

    target: Lower[Decimal | None] = None
    protect: WhenSet[Protect | None] = None
    action: Annotated[
        Action, tightest_last(Action.CLOSE_ALL_POSITIONS, Action.CLOSE_ALL_AND_LOCKOUT)
    ] = Action.CLOSE_ALL_AND_LOCKOUT

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target is None and self.protect is None:
            msgspec.structs.force_setattr(self, "target", _TARGET)
        if self.protect and self.target is not None and self.protect.arm_at >= self.target:
            raise ValueError(
                f"protect: expected arm_at to be less than target, which is {self.target}, "
                f"got {self.protect.arm_at}"
            )


class _Done(msgspec.Struct, frozen=True):
    """What the rule has done without a lock: it must not close each new position.

    :ivar day_began: on which day.
    :ivar at_target: whether the target was reached, and the net P&L has not been below it since.
    :ivar at_floor: whether the floor was reached, and the net P&L has not been at ``arm_at`` since.
    """

    day_began: datetime | None = None
    at_target: bool = False
    at_floor: bool = False


@checked_until_trades_come
def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close everything at the target, or when a protected profit is given back."""
    warnings = pnl_warnings(state, trigger.now)
    if warnings or state.risk.is_listing:
        return RuleResult(warnings=warnings, reduce_only=None)
    known = recall(state, RULE.rule_id, _Done)
    locks = settings.action is Action.CLOSE_ALL_AND_LOCKOUT
    before = _Done(state.day_began)
    if not locks and known.day_began == state.day_began:
        before = known
    net, target, protect = net_pnl(state), settings.target, settings.protect
    at_target = target is not None and net >= target
    at_floor = before.at_floor and not (protect and net >= protect.arm_at)
    reason = ""
    if protect and not at_floor and _is_armed(state, protect) and net <= protect.floor:
        at_floor = True
        reason = (
            f"Daily profit given back: {dollars(net)} left (floor {dollars(protect.floor)}, "
            f"protected from {dollars(protect.arm_at)} on)"
        )
    if target is not None and at_target and not before.at_target:
        reason = f"Daily profit target hit: {dollars(net)} (target {dollars(target)})"
    memory = None if locks else remember(_Done(state.day_began, at_target, at_floor), known)
    is_idle = not (state.open_positions or state.orders)
    if not reason:
        is_plain = not (before.at_target or at_target or at_floor)
        headroom = _headroom(state, settings, net) if is_plain else None
        return RuleResult(memory=memory, headroom=headroom)
    if (is_idle and not locks) or lock_of(state, RULE.rule_id, trigger.now) is not None:
        return RuleResult(memory=memory)
    lock = Lock(until=trigger.next_reset) if locks else None
    return RuleResult(commands=(Flatten(reason=reason, lock=lock),), memory=memory)


def _headroom(state: AccountState, settings: Settings, net: Decimal) -> Headroom:
    """Return how far the open P&L may move before it decides anything.

    It may reach a target, or protect or lose a profit.

    :param net: the net P&L of the day, which has reached none of them.
    """
    target, protect = settings.target, settings.protect
    ups = [] if target is None else [target - net]
    if protect is None:
        return Headroom(up=min(ups, default=None))
    if _is_armed(state, protect):
        return Headroom(down=net - protect.floor, up=min(ups, default=None))
    return Headroom(up=min([*ups, protect.arm_at - net]))


def _is_armed(state: AccountState, protect: Protect) -> bool:
    """Return whether the net P&L of the day has reached the profit to protect."""
    return max(state.balance.high_net, net_pnl(state)) >= protect.arm_at


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return how near the target is, and how much of a profit is given back."""
    net, protect = net_pnl(state), settings.protect
    found: list[Gauge] = []
    if settings.target is not None:
        found.append(Gauge(name="net daily profit", limit=settings.target, current=net, unit="$"))
    if protect and _is_armed(state, protect):
        high = max(state.balance.high_net, net)
        found.append(
            Gauge(
                name="profit given back",
                limit=high - protect.floor,
                current=high - net,
                unit="$",
                words=f"floor {dollars(protect.floor)}",
            )
        )
    elif protect:
        words = f"{dollars(protect.floor)} protected from {dollars(protect.arm_at)} on"
        found.append(Gauge(name="profit given back", words=words))
    return tuple(found)


RULE: Final = Rule(
    "RULE-015",
    "daily_profit_target",
    Settings,
    # Not on trades; see RULE-013.
    frozenset({Kind.POSITION, Kind.QUOTE, Kind.ACCOUNT}),
    check,
    gauges,
)
