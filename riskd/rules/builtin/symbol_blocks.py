"""RULE-011: products that may not be traded at all.

The rule locks nothing: other products stay free.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserOrder, GatewayUserPosition
from riskd.model.lockouts import is_exit
from riskd.rules.affected import affected_orders
from riskd.rules.interface import Command, Flatten, Gauge, RejectOrder, RuleResult, Trigger
from riskd.rules.settings import RuleSettings, Ticker


class Action(StrEnum):
    """What is done with an order."""

    CANCEL_ORDER = "CANCEL_ORDER"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """What ``symbol_blocks`` may say.

    :ivar blocked_symbols: roots such as ``RTY``; all their expiries are blocked.
    :ivar close_existing: whether positions in them are closed, too.
    """

    blocked_symbols: tuple[Ticker, ...] = ()
    action: Action = Action.CANCEL_ORDER
    close_existing: bool = True


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Cancel orders and close positions in blocked products.

    What closes a position may work until the position is closed.
    """
    blocked = frozenset(symbol.upper() for symbol in settings.blocked_symbols)
    if not blocked:
        return RuleResult()
    commands: list[Command] = []
    closing: set[str] = set()
    for position in _positions_to_evaluate(state, trigger):
        if settings.close_existing and _is_blocked(state, position.contract_id, blocked):
            closing.add(position.contract_id)
            commands.append(_closing(state, position))
    commands += (
        _rejection(state, order)
        for order in affected_orders(state, trigger)
        # Closing a position cancels the orders of its contract.
        if order.contract_id not in closing
        and _is_blocked(state, order.contract_id, blocked)
        and not is_exit(state, order)
    )
    return RuleResult(commands=tuple(commands), warnings=tuple(_warnings(state)))


def gauges(_state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Say what is blocked."""
    symbols = sorted({symbol.upper() for symbol in settings.blocked_symbols})
    return (Gauge(name="blocked symbols", words=", ".join(symbols) or "none"),)


def _positions_to_evaluate(
    state: AccountState, trigger: Trigger
) -> tuple[GatewayUserPosition, ...]:
    if isinstance(trigger.subject, GatewayUserOrder):
        return ()
    if isinstance(trigger.subject, GatewayUserPosition):
        held = state.positions.get(trigger.subject.contract_id)
        return (held,) if held is not None and held.size else ()
    return state.open_positions


def _is_blocked(state: AccountState, contract_id: str, blocked: frozenset[str]) -> bool:
    root = state.root(contract_id)
    return root is not None and root.upper() in blocked


def _closing(state: AccountState, position: GatewayUserPosition) -> Flatten:
    root = state.root(position.contract_id)
    return Flatten(
        reason=f"{root} is blocked: {position.size} held", keep={position.contract_id: 0}
    )


def _rejection(state: AccountState, order: GatewayUserOrder) -> RejectOrder:
    root = state.root(order.contract_id)
    reason = f"{root} is blocked: order to {order.side.name.lower()} {order.size}"
    return RejectOrder(reason=reason, order_id=order.id)


def _warnings(state: AccountState) -> Iterator[str]:
    concerned = [position.contract_id for position in state.open_positions]
    concerned += [order.contract_id for order in state.working_orders]
    for contract_id in dict.fromkeys(concerned):
        if state.root(contract_id) is None:
            yield f"Symbol of {contract_id} unknown: cannot tell whether it is blocked"
