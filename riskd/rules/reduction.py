"""Count contracts, choose which of them to close, and close one position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserPosition
from riskd.rules.interface import Flatten


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
