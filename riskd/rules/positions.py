"""Positions and their orders, as rules look at them.

Which of them a trigger affects, how many contracts they are, which stops protect them, and which contracts to
close.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from riskd.model.account import AccountState, OrderDetail
from riskd.model.events import GatewayUserOrder, GatewayUserPosition, MarketQuote, OrderType
from riskd.model.lockouts import is_exit
from riskd.model.moments import first_known
from riskd.rules.interface import Flatten, Trigger

_STOPS: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_NO_DETAIL: Final = OrderDetail()


def affected_positions(state: AccountState, trigger: Trigger) -> tuple[GatewayUserPosition, ...]:
    """Return the open positions whose P&L the trigger may have changed."""
    if not isinstance(trigger.subject, MarketQuote):
        return state.open_positions
    contract_id = trigger.subject.contract_id
    return tuple([each for each in state.open_positions if each.contract_id == contract_id])


def affected_orders(state: AccountState, trigger: Trigger) -> tuple[GatewayUserOrder, ...]:
    """Return the working orders that the trigger may have changed or made entries."""
    if isinstance(trigger.subject, GatewayUserOrder):
        order = state.orders.get(trigger.subject.id)
        return () if order is None else (order,)
    if isinstance(trigger.subject, GatewayUserPosition):
        # An exit becomes an entry when its position is closed or reversed.
        contract_id = trigger.subject.contract_id
        return tuple([each for each in state.orders.values() if each.contract_id == contract_id])
    return state.working_orders


def opened_at(position: GatewayUserPosition) -> datetime | None:
    """Return when a position was opened; ``None`` if the broker does not say.

    The time of its last change stands in for a placeholder: then the position existed.
    """
    return first_known(position.created_at, position.updated_at)


def by_root(state: AccountState) -> dict[str, list[GatewayUserPosition]]:
    """Return the open positions of each root.

    A contract whose root is unknown is a root of its own.
    """
    roots: dict[str, list[GatewayUserPosition]] = {}
    for position in state.open_positions:
        root = state.root(position.contract_id) or position.contract_id
        roots.setdefault(root.upper(), []).append(position)
    return roots


def total_size(positions: Iterable[GatewayUserPosition]) -> int:
    """Return the number of contracts, long or short."""
    return sum(position.size for position in positions)


def net_size(positions: Iterable[GatewayUserPosition]) -> int:
    """Return the number of long contracts less that of short ones."""
    return sum(map(signed_size, positions))


def signed_size(position: GatewayUserPosition) -> int:
    """Return the number of contracts of a position, negative when it is short."""
    return position.size * position.type.sign


def reduce_largest(
    positions: Iterable[GatewayUserPosition], excess: int, least: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Take ``excess`` contracts away, from the largest position first.

    Of positions of equal size, the first in ``positions`` is reduced first.

    :param least: how many contracts have to stay, by contract id; elsewhere none.
    :return: how many contracts stay of each position that is reduced, by contract id, in that order.
    """
    least = least or {}
    keep: dict[str, int] = {}
    for position in sorted(positions, key=lambda each: each.size, reverse=True):
        taken = min(excess, position.size - least.get(position.contract_id, 0))
        if taken > 0:
            keep[position.contract_id] = position.size - taken
            excess -= taken
    return keep


def close_position(
    position: GatewayUserPosition, reason: str, *, asks_broker_first: bool = False
) -> Flatten:
    """Return the command to close one position and leave the others alone."""
    keep = {position.contract_id: 0}
    return Flatten(reason=reason, keep=keep, asks_broker_first=asks_broker_first)


def order_detail(state: AccountState, order: GatewayUserOrder) -> OrderDetail:
    """Return the gateway's details of ``order``, or those of an ordinary open order."""
    return state.risk.order_details.get(order.id, _NO_DETAIL)


def remaining(state: AccountState, order: GatewayUserOrder) -> int:
    """Return how many contracts of ``order`` are not filled yet."""
    return max(0, order.size - order_detail(state, order).filled)


def total_remaining(state: AccountState, orders: Iterable[GatewayUserOrder]) -> int:
    """Return how many contracts of all ``orders`` are not filled yet."""
    return sum([remaining(state, order) for order in orders])


def protecting_stops(
    state: AccountState, position: GatewayUserPosition
) -> Iterator[GatewayUserOrder]:
    """Yield the working stop orders that would close ``position``, oldest first.

    A stop beyond the entry counts, too: it protects a profit.
    """
    for order in state.orders.values():
        if (
            order.contract_id == position.contract_id
            and order.type in _STOPS
            and is_exit(state, order)
            and order_detail(state, order).is_open
        ):
            yield order


def protected_size(state: AccountState, position: GatewayUserPosition) -> int:
    """Return how many contracts all stops of a position would close together."""
    return total_remaining(state, protecting_stops(state, position))
