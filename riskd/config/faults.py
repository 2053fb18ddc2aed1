"""Faults that the practice gateway simulates, as chances."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

Chance = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A probability, from 0 (never) to 1 (always)."""


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults of the practice gateway; by default none.

    Each chance applies to every single request, event or order.

    :ivar refuse: the chance that placing, canceling, changing or closing is refused, with code 2, 3, 3 and
        5 in this order (6 for a partial close).  Nothing happens then, and no rejected order is reported.
    :ivar pending: the chance that canceling or changing is answered with 4 (Pending), or closing with 6
        (OrderPending; 7 for a partial close).  Nothing happens then.
    :ivar unanswered: the chance that a request is carried out but its answer is lost.
    :ivar lost_requests: the chance that a request is not carried out and gets no answer.
    :ivar failed_reads: the chance that a read gets no answer.
    :ivar slow_seconds: the longest time until an answer, in seconds.  A request is carried out at once
        or just before its answer; a read may be old when it arrives.
    :ivar partial_fills: the chance that only a part of an order is filled; the rest waits for the
        contract's next quote, which may fill a part again.
    :ivar fill_while_cancelled: the chance that an order is filled while it is being canceled; the
        request is then refused with code 2 (OrderNotFound).
    :ivar lost_events: the chance that an account event is never sent; quotes are never lost.
    :ivar doubled_events: the chance that an account event is sent twice.
    :ivar requests_per_minute: how many requests of any kind are answered within 60 seconds; the others
        are not carried out and get no answer.  0 is no limit.
    :ivar opening_half_again: whether an exit is reported as two trades, as some brokers do: its entry
        once more, without P&L, at the average price of the entry and with an id of its own, and then
        the exit itself.
    """

    refuse: Chance = 0.0
    pending: Chance = 0.0
    unanswered: Chance = 0.0
    lost_requests: Chance = 0.0
    failed_reads: Chance = 0.0
    slow_seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 0.0
    partial_fills: Chance = 0.0
    fill_while_cancelled: Chance = 0.0
    lost_events: Chance = 0.0
    doubled_events: Chance = 0.0
    requests_per_minute: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    opening_half_again: bool = False


NO_FAULTS: Final = Faults()
