"""RULE-005: a position is closed when it has made enough, or before a profit becomes a loss.

Profits are taken by fresh quotes only.  The rule locks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserPosition, PositionType
from riskd.model.formatting import contract_name, dollars
from riskd.model.open_pnl import has_stale_quote, pnl_warnings, position_pnl, total_pnl
from riskd.rules.affected import affected_positions
from riskd.rules.interface import Flatten, Gauge, RuleResult, Trigger
from riskd.rules.settings import RuleSettings, Scope

_RULE_ID: Final = "RULE-005"


class Mode(StrEnum):
    """When a position is closed.

    ``BREAKEVEN`` waits until a position is a tick in profit and closes it when nothing is left.
    """

    PROFIT_TARGET = "profit_target"
    BREAKEVEN = "breakeven"


class Action(StrEnum):
    """What is done then."""

    CLOSE_POSITION = "CLOSE_POSITION"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """When profits are taken.

    :ivar profit_target: dollars; to have made them closes the position.
    :ivar scope: whether each position has the target for itself, or all of them together.
    """

    mode: Mode = Mode.PROFIT_TARGET
    profit_target: Decimal = Decimal("1000.00")
    scope: Scope = Scope.PER_POSITION
    action: Action = Action.CLOSE_POSITION

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode is Mode.BREAKEVEN and self.scope is Scope.TOTAL:
            raise ValueError(
                f"scope: expected {Scope.PER_POSITION} with mode {self.mode}, got {self.scope}"
            )


class _Memory(msgspec.Struct, frozen=True):
    """What has been in profit.

    :ivar armed: the side on which a contract is held that was a tick in profit, by contract id.
    """

    armed: dict[str, PositionType] = {}


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close what has made enough, or what has lost its profit."""
    if settings.mode is Mode.BREAKEVEN:
        result = _check_breakeven(state, trigger)
    elif settings.scope is Scope.TOTAL:
        result = RuleResult(commands=_target_of_total(state, settings, trigger.now))
    else:
        result = RuleResult(commands=_targets_of_positions(state, settings, trigger))
    return RuleResult(
        commands=result.commands, memory=result.memory, warnings=pnl_warnings(state, trigger.now)
    )


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Say how much open positions have made, and in breakeven mode which of them are watched."""
    if settings.mode is Mode.BREAKEVEN:
        armed = _armed(state)
        return tuple(
            _gauge(
                state, position, words="armed" if position.contract_id in armed else "not armed"
            )
            for position in state.open_positions
        )
    if settings.scope is Scope.TOTAL:
        total = total_pnl(state)
        return (Gauge(name="open profit", limit=settings.profit_target, current=total, unit="$"),)
    return tuple(
        _gauge(state, position, limit=settings.profit_target) for position in state.open_positions
    )


def _targets_of_positions(
    state: AccountState, settings: Settings, trigger: Trigger
) -> tuple[Flatten, ...]:
    return tuple(
        [
            Flatten(
                reason=f"Profit target hit: {contract_name(state, position.contract_id)} {dollars(pnl)} "
                f"(target {dollars(settings.profit_target)})",
                keep={position.contract_id: 0},
            )
            for position in affected_positions(state, trigger)
            if (pnl := _fresh_pnl(state, position, trigger.now)) is not None
            and pnl >= settings.profit_target
        ]
    )


def _target_of_total(
    state: AccountState, settings: Settings, now: datetime
) -> tuple[Flatten, ...]:
    if any(has_stale_quote(state, position, now) for position in state.open_positions):
        return ()
    total = total_pnl(state)
    if total < settings.profit_target:
        return ()
    target = dollars(settings.profit_target)
    return (Flatten(reason=f"Profit target hit: {dollars(total)} in all (target {target})"),)


def _check_breakeven(state: AccountState, trigger: Trigger) -> RuleResult:
    armed = _armed(state)
    breaches = []
    for position in affected_positions(state, trigger):
        pnl = _fresh_pnl(state, position, trigger.now)
        if pnl is None:
            continue
        contract_id = position.contract_id
        if contract_id in armed and pnl <= 0:
            reason = f"Profit is gone: {contract_name(state, contract_id)} {dollars(pnl)}"
            breaches.append(Flatten(reason=reason, keep={contract_id: 0}))
        elif pnl >= _one_tick(state, position):
            armed[contract_id] = position.type
    has_news = armed != _remembered(state)
    memory = msgspec.json.encode(_Memory(armed)).decode() if has_news else None
    return RuleResult(commands=tuple(breaches), memory=memory)


def _fresh_pnl(
    state: AccountState, position: GatewayUserPosition, now: datetime
) -> Decimal | None:
    """Return the P&L by a quote that can be relied on; ``None`` when there is none."""
    if has_stale_quote(state, position, now):
        return None
    return position_pnl(state, position).amount


def _one_tick(state: AccountState, position: GatewayUserPosition) -> Decimal | int:
    """Return the dollars that a position makes with each tick."""
    contract = state.contract(position.contract_id)
    return contract.tick_value * position.size if contract else 0


def _armed(state: AccountState) -> dict[str, PositionType]:
    """Return what was in profit and is still held on the same side, however its size has changed."""
    return {
        contract_id: side
        for contract_id, side in _remembered(state).items()
        if (position := state.positions.get(contract_id))
        and position.size
        and position.type is side
    }


def _remembered(state: AccountState) -> Mapping[str, PositionType]:
    text = state.risk.memory.get(_RULE_ID)
    return msgspec.json.decode(text, type=_Memory).armed if text else {}


def _gauge(
    state: AccountState,
    position: GatewayUserPosition,
    *,
    limit: Decimal | None = None,
    words: str = "",
) -> Gauge:
    pnl = position_pnl(state, position)
    return Gauge(
        name=f"open profit {contract_name(state, position.contract_id)}",
        limit=limit,
        current=pnl.amount,
        unit="$",
        words=", ".join(filter(None, (words, pnl.unknown))),
    )
