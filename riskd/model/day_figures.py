"""What a trading day has made, and how many entries and exits it had.

It is computed from executions (:class:`riskd.model.balance.Result`), so that a late one, a void or an amendment
moves the figures of its own day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

import msgspec

from riskd.model.balance import Leg, Result
from riskd.model.money import ZERO


class DayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """An ended trading day of an account; amounts in dollars.

    :ivar net: the realized P&L of its executions, less fees and commissions.
    :ivar entries_and_exits: how many it had; see :func:`count_entries_and_exits`.
    :ivar close: the balance at its end as it was then, with trades that are known later; ``None`` if none was
        known.
    :ivar flows: the deposits less the payouts that were noticed in it.
    """

    net: Decimal = ZERO
    entries_and_exits: int = 0
    close: Decimal | None = None
    flows: Decimal = ZERO


def executed_between(
    results: Mapping[int, Result], began: datetime, ended: datetime | None = None
) -> dict[int, Result]:
    """Return the executions from ``began`` on, and before ``ended`` if it is given."""
    return {
        number: each
        for number, each in results.items()
        if each.at >= began and (ended is None or each.at < ended)
    }


def net_of(results: Iterable[Result]) -> Decimal:
    """Return what executions have made, in dollars, less fees and commissions."""
    return sum((each.amount for each in results), ZERO)


def count_entries_and_exits(results: Mapping[int, Result]) -> int:
    """Return the number of entries and exits among executions.

    All fills of one order are one entry, or one exit; an order that reverses a position is both.  Brokers report
    the opening half of an exit again, with the side that it had.
    """
    orders: dict[tuple[bool, int], set[Leg]] = {}
    for number, each in results.items():
        if each.leg is not None:
            has_order = each.order_id is not None
            key = (has_order, each.order_id if each.order_id is not None else number)
            orders.setdefault(key, set()).add(each.leg)
    return len(orders) + sum(
        any(leg.is_exit and leg.entry_of_same_side in legs for leg in legs)
        for legs in orders.values()
    )
