"""Which stop orders protect a position, and how many of its contracts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from riskd.model.account import AccountState, OrderDetail
from riskd.model.events import GatewayUserOrder, GatewayUserPosition, OrderType
from riskd.model.lockouts import is_exit

_STOPS: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_NO_DETAIL: Final = OrderDetail()


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
