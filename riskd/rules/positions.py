"""Positions and their orders, as rules look at them.

Which of them a trigger affects, how many contracts they are, which stops protect them, and which contracts to
close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from riskd.model.account import AccountState
from riskd.model.broker import BrokerOrder, BrokerPosition
from riskd.model.events import GatewayUserOrder, GatewayUserPosition, MarketQuote, OrderType
from riskd.model.lockouts import is_exit
from riskd.model.moments import first_known
from riskd.rules.interface import Flatten, Trigger

_STOPS: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})


def affected_positions(state: AccountState, trigger: Trigger) -> tuple[BrokerPosition, ...]:
    """Return the open positions whose P&L the trigger may have changed."""
    if not isinstance(trigger.subject, MarketQuote):
        return state.open_positions
    contract_id = trigger.subject.contract_id
    return tuple([each for each in state.open_positions if each.contract_id == contract_id])


def affected_orders(state: AccountState, trigger: Trigger) -> tuple[BrokerOrder, ...]:
    """Return the working orders that the trigger may have changed or made entries."""
    if isinstance(trigger.subject, GatewayUserOrder):
        order = state.orders.get(trigger.subject.id)
        return () if order is None else (order,)
    if isinstance(trigger.subject, GatewayUserPosition):
        # An exit becomes an entry when its position is closed or reversed.
        contract_id = trigger.subject.contract_id
        return tuple([each for each in state.orders.values() if each.contract_id == contract_id])
    return state.working_orders


def opened_at(position: BrokerPosition) -> datetime | None:
    """Return when a position was opened; ``None`` if the broker does not say.

    The time of its last change stands in for a placeholder: then the position existed.
    """
    return first_known(position.created_at, position.updated_at)


def by_root(state: AccountState) -> dict[str, list[BrokerPosition]]:
    """Return the open positions of each root.

    A contract whose root is unknown is a root of its own.
    """
    roots: dict[str, list[BrokerPosition]] = {}
    for position in state.open_positions:
        root = state.root(position.contract_id) or position.contract_id
        roots.setdefault(root.upper(), []).append(position)
    return roots


def total_size(positions: Iterable[BrokerPosition]) -> int:
    """Return the number of contracts, long or short."""
    return sum(position.size for position in positions)


def net_size(positions: Iterable[BrokerPosition]) -> int:
    """Return the number of long contracts less that of short ones."""
    return sum(map(signed_size, positions))


def signed_size(position: BrokerPosition) -> int:
    """Return the number of contracts of a position, negative when it is short."""
    return position.size * position.type.sign


def reduce_largest(
    positions: Iterable[BrokerPosition],
    excess: int | Decimal,
    least: Mapping[str, int] | None = None,
    weight_of: Callable[[BrokerPosition], int | Decimal] = lambda _position: 1,
) -> dict[str, int]:
    """Take ``excess`` contracts away, from the largest position first.

    Of positions of equal size, the first in ``positions`` is reduced first.  Where contracts weigh different
    amounts, no more of a heavy one is taken than fits, and the rest of the lightest that is left.

    :param excess: the weight to take away, at least.
    :param least: how many contracts have to stay, by contract id; elsewhere none.
    :param weight_of: returns what one contract of a position weighs.
    :return: how many contracts stay of each position that is reduced, by contract id, in that order.
    """
    least = least or {}
    weighted = [(weight_of(position), position) for position in positions]
    sizes = {each.contract_id: each.size for _weight, each in weighted}
    largest = sorted(weighted, key=lambda each: each[0] * each[1].size, reverse=True)
    lightest = sorted(weighted, key=lambda each: each[0])
    keep: dict[str, int] = {}
    for order, rounding in ((largest, ROUND_FLOOR), (lightest, ROUND_CEILING)):
        for weight, position in order:
            contract_id = position.contract_id
            wanted = int((Decimal(excess) / weight).to_integral_value(rounding))
            left = keep.get(contract_id, sizes[contract_id])
            taken = min(wanted, left - least.get(contract_id, 0))
            if taken > 0:
                keep[contract_id] = left - taken
                excess -= taken * weight
    return keep


def close_position(
    position: BrokerPosition, reason: str, *, asks_broker_first: bool = False
) -> Flatten:
    """Return the command to close one position and leave the others alone."""
    keep = {position.contract_id: 0}
    return Flatten(reason=reason, keep=keep, asks_broker_first=asks_broker_first)


def opened_by(order: BrokerOrder, contracts: int, held: int) -> int:
    """Return how many contracts an order would open if it were filled alone.

    It opens what it adds to a position, and what it has left after it has closed one.

    :param contracts: how many contracts it would fill.
    :param held: the signed size of the position in its contract.
    """
    if held * order.side.sign >= 0:
        return contracts
    return max(0, contracts - abs(held))


def held_in(state: AccountState, contract_id: str) -> int:
    """Return the signed size of the position in a contract."""
    position = state.positions.get(contract_id)
    return 0 if position is None else signed_size(position)


def contracts_left(orders: Iterable[BrokerOrder]) -> int:
    """Return how many contracts of all ``orders`` are not filled yet."""
    return sum([order.remaining for order in orders])


def protecting_stops(state: AccountState, position: BrokerPosition) -> Iterator[BrokerOrder]:
    """Yield the working stop orders that would close ``position``, oldest first.

    A stop beyond the entry counts, too: it protects a profit.
    """
    for order in state.orders.values():
        if (
            order.contract_id == position.contract_id
            and order.type in _STOPS
            and is_exit(state, order)
            and order.is_open
        ):
            yield order


def protected_size(state: AccountState, position: BrokerPosition) -> int:
    """Return how many contracts all stops of a position would close together."""
    return contracts_left(protecting_stops(state, position))
