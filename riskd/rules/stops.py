"""Which stop orders protect a position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from riskd.model.account import AccountState, OrderDetail
from riskd.model.events import GatewayUserOrder, GatewayUserPosition, OrderType
from riskd.model.lockouts import is_exit

_STOPS: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_NO_DETAIL: Final = OrderDetail()


def detail(state: AccountState, order: GatewayUserOrder) -> OrderDetail:
    """Return what the gateway says of ``order`` beyond the wire; what it did not say is usual."""
    return state.risk.order_details.get(order.id, _NO_DETAIL)


def remaining(state: AccountState, order: GatewayUserOrder) -> int:
    """Return how many contracts of ``order`` are not filled yet."""
    return max(0, order.size - detail(state, order).filled)


def protecting_stops(
    state: AccountState, position: GatewayUserPosition
) -> Iterator[GatewayUserOrder]:
    """Yield the stop orders that are in the market and would close ``position``, oldest first.

    One whose price lies beyond the entry counts as well: it protects a profit.
    """
    for order in state.orders.values():
        if (
            order.contract_id == position.contract_id
            and order.type in _STOPS
            and is_exit(state, order)
            and detail(state, order).is_open
        ):
            yield order


def total_remaining(state: AccountState, orders: Iterable[GatewayUserOrder]) -> int:
    """Return how many contracts ``orders`` can still fill together."""
    return sum([remaining(state, order) for order in orders])


def protected_size(state: AccountState, position: GatewayUserPosition) -> int:
    """Return how many contracts its stops together would close; several add up."""
    return total_remaining(state, protecting_stops(state, position))
