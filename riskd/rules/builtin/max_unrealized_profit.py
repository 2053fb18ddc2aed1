"""RULE-005: close a position at its profit target, or before its profit is gone.

The rule takes profits by fresh quotes only.  It sets no lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, Literal

import msgspec

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserPosition, PositionType
from riskd.model.formatting import contract_name, dollars
from riskd.model.open_pnl import has_stale_quote, pnl_warnings, position_pnl, total_pnl
from riskd.rules.interface import (
    Command,
    Flatten,
    Gauge,
    Headroom,
    Kind,
    Rule,
    RuleResult,
    Trigger,
    recall,
    remember,
)
from riskd.rules.positions import affected_positions, close_position
from riskd.rules.settings import RuleSettings, Scope
from riskd.rules.tightness import Fixed, Lower


class Mode(StrEnum):
    """When the rule closes a position.

    ``BREAKEVEN`` arms the rule once a position is a tick in profit, and closes the position when no
    profit is left.  Otherwise it would close each position as soon as it is opened.
    """

    PROFIT_TARGET = "profit_target"
    BREAKEVEN = "breakeven"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``max_unrealized_profit``.

    :ivar profit_target: dollars; a position that has made as much is closed.
    :ivar scope: whether the target is that of each position or of all of them together.
    """

    mode: Fixed[Mode] = Mode.PROFIT_TARGET
    profit_target: Lower[Decimal] = Decimal("1000.00")
    scope: Fixed[Scope] = Scope.PER_POSITION
    action: Fixed[Literal["CLOSE_POSITION"]] = "CLOSE_POSITION"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode is Mode.BREAKEVEN and self.scope is Scope.TOTAL:
            raise ValueError(
                f"scope: expected {Scope.PER_POSITION} with mode {self.mode}, got {self.scope}"
            )


class _Memory(msgspec.Struct, frozen=True):
    """The positions that have been in profit.

    :ivar armed: the side of each position that was a tick in profit, by contract id.
    :ivar opened: when these positions were opened; memories of earlier versions do not say.
    """

    armed: Mapping[str, PositionType] = {}
    opened: Mapping[str, datetime] = {}


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close what has reached its target, or what has lost its profit."""
    warnings = pnl_warnings(state, trigger.now)
    commands: list[Command] = []
    if settings.scope is Scope.TOTAL:
        held, total = state.open_positions, total_pnl(state)
        is_stale = any(has_stale_quote(state, position, trigger.now) for position in held)
        if total >= settings.profit_target and not is_stale:
            reason = f"Profit target hit: {dollars(total)} in all {_target(settings)}"
            commands.append(Flatten(reason=reason))
        left = Headroom(up=settings.profit_target - total)
        return RuleResult(commands=tuple(commands), warnings=warnings, headroom=left)
    if settings.mode is Mode.BREAKEVEN:
        return _check_breakeven(state, trigger, warnings)
    headroom: dict[str, Headroom] = {}
    for position in affected_positions(state, trigger):
        pnl = _fresh_pnl(state, position, trigger.now)
        if pnl is None:
            continue
        headroom[position.contract_id] = Headroom(up=settings.profit_target - pnl)
        if pnl >= settings.profit_target:
            name = contract_name(state, position.contract_id)
            reason = f"Profit target hit: {name} {dollars(pnl)} {_target(settings)}"
            commands.append(close_position(position, reason))
    return RuleResult(commands=tuple(commands), warnings=warnings, headroom=headroom)


def _target(settings: Settings) -> str:
    return f"(target {dollars(settings.profit_target)})"


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return the open profit, and in breakeven mode which positions are armed."""
    if settings.scope is Scope.TOTAL:
        total = total_pnl(state)
        return (Gauge(name="open profit", limit=settings.profit_target, current=total, unit="$"),)
    is_breakeven = settings.mode is Mode.BREAKEVEN
    armed = _armed(state, recall(state, RULE.rule_id, _Memory))
    found: list[Gauge] = []
    for position in state.open_positions:
        pnl = position_pnl(state, position)
        mode = "armed" if position.contract_id in armed else "not armed"
        found.append(
            Gauge(
                name=f"open profit {contract_name(state, position.contract_id)}",
                limit=None if is_breakeven else settings.profit_target,
                current=pnl.amount,
                unit="$",
                words=", ".join(filter(None, (mode if is_breakeven else "", pnl.unknown))),
            )
        )
    return tuple(found)


def _check_breakeven(
    state: AccountState, trigger: Trigger, warnings: tuple[str, ...]
) -> RuleResult:
    commands: list[Command] = []
    headroom: dict[str, Headroom] = {}
    known = recall(state, RULE.rule_id, _Memory)
    armed = _armed(state, known)
    for position in affected_positions(state, trigger):
        pnl = _fresh_pnl(state, position, trigger.now)
        contract = state.contract(position.contract_id)
        if pnl is None or contract is None:
            continue
        tick = contract.tick_value * position.size
        if position.contract_id in armed and pnl <= 0:
            reason = f"Profit is gone: {contract_name(state, position.contract_id)} {dollars(pnl)}"
            commands.append(close_position(position, reason))
        elif pnl >= tick:
            armed[position.contract_id] = position.type
        is_armed = position.contract_id in armed
        headroom[position.contract_id] = (
            Headroom(down=pnl) if is_armed else Headroom(up=tick - pnl)
        )
    opened = {each: state.positions[each].created_at for each in armed}
    return RuleResult(
        commands=tuple(commands),
        memory=remember(_Memory(armed, opened), known),
        warnings=warnings,
        headroom=headroom,
    )


def _fresh_pnl(
    state: AccountState, position: GatewayUserPosition, now: datetime
) -> Decimal | None:
    """Return the P&L by a quote that can be relied on; ``None`` when there is none."""
    if has_stale_quote(state, position, now):
        return None
    return position_pnl(state, position).amount


def _armed(state: AccountState, known: _Memory) -> dict[str, PositionType]:
    """Return the armed positions that are still held on the same side, in any size.

    One that was opened later is another position, even if no event has reported the end of the first.
    """
    held = {position.contract_id: position for position in state.open_positions}
    return {
        contract_id: side
        for contract_id, side in known.armed.items()
        if contract_id in held
        and held[contract_id].type is side
        and held[contract_id].created_at
        == known.opened.get(contract_id, held[contract_id].created_at)
    }


RULE: Final = Rule(
    "RULE-005",
    "max_unrealized_profit",
    Settings,
    frozenset({Kind.POSITION, Kind.QUOTE}),
    check,
    gauges,
)
