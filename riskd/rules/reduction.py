"""Which contracts go when an account holds too many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserPosition, PositionType


def by_root(state: AccountState) -> dict[str, list[GatewayUserPosition]]:
    """Return the open positions of each root; a contract whose root is unknown is its own."""
    roots: dict[str, list[GatewayUserPosition]] = {}
    for position in state.open_positions:
        root = state.root(position.contract_id) or position.contract_id
        roots.setdefault(root.upper(), []).append(position)
    return roots


def total_size(positions: Iterable[GatewayUserPosition]) -> int:
    """Return how many contracts are held, long or short."""
    return sum(position.size for position in positions)


def net_size(positions: Iterable[GatewayUserPosition]) -> int:
    """Return the contracts that are held long less those that are held short."""
    return sum(map(signed_size, positions))


def signed_size(position: GatewayUserPosition) -> int:
    """Return the contracts of a position, negative when they are short."""
    return position.size if position.type is PositionType.LONG else -position.size


def reduced(
    positions: Iterable[GatewayUserPosition], excess: int, least: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Take ``excess`` contracts away, from the largest position first.

    Of positions of one size, the one that comes first in ``positions`` is the first to go.

    :param least: how many contracts have to stay, by contract id; none where it says nothing.
    :return: how many may stay, by contract id, of the positions that lose some, in that order.
    """
    least = least or {}
    keep: dict[str, int] = {}
    for position in sorted(positions, key=lambda each: each.size, reverse=True):
        taken = min(excess, position.size - least.get(position.contract_id, 0))
        if taken > 0:
            keep[position.contract_id] = position.size - taken
            excess -= taken
    return keep
