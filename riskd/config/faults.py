"""What the practice gateway does wrong, as chances."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

Chance = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A probability, from 0 (never) to 1 (always)."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=600)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the practice gateway does wrong; by default nothing.

    All chances are of each single request, event or order.

    :ivar refuse: the chance that placing, cancelling, changing or closing is refused, with the codes 2,
        3, 3, and 5 (6 for a partial close); then nothing happens, and there is no rejected order.
    :ivar pending: the chance that cancelling or changing answers 4 (Pending), or closing 6 (OrderPending;
        7 for a partial close); then nothing happens.
    :ivar unanswered: the chance that what was asked is done, but the answer is lost.
    :ivar lost_requests: the chance that what was asked is not done, and there is no answer.
    :ivar failed_reads: the chance that a read is not answered.
    :ivar slow_seconds: seconds that an answer takes at most.  What was asked is done at once or just
        before the answer; what is read may be old when it arrives.
    :ivar partial_fills: the chance that the market takes only a part of an order; the rest waits for the
        contract's next quote, which may take a part again.
    :ivar fill_while_cancelled: the chance that an order is filled while it is being cancelled; then the
        request is refused with code 2 (OrderNotFound).
    :ivar lost_events: the chance that an event of an account is never told; quotes always are.
    :ivar doubled_events: the chance that an event of an account is told twice.
    :ivar requests_per_minute: how many requests of any kind are answered in 60 seconds; any more fail
        as unanswered, and nothing happens.  0: any number.
    :ivar opening_half_again: whether an exit is told as two trades: its entry once more, without P&L, at
        the average price of the entry and with an id of its own, and then the exit itself.
    """

    refuse: Chance = 0.0
    pending: Chance = 0.0
    unanswered: Chance = 0.0
    lost_requests: Chance = 0.0
    failed_reads: Chance = 0.0
    slow_seconds: Seconds = 0.0
    partial_fills: Chance = 0.0
    fill_while_cancelled: Chance = 0.0
    lost_events: Chance = 0.0
    doubled_events: Chance = 0.0
    requests_per_minute: Count = 0
    opening_half_again: bool = False


NO_FAULTS: Final = Faults()
