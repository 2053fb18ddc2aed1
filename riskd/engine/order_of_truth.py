"""Decide which news of the broker supersede what is known.

The broker reports in two streams, events and answers, and both may be late, doubled, lost or out of order.
Its clock is not ours, and many of its messages carry no stamp.  So the order of receipt and of requests
decides:

1. **Events of one thing apply in the order of receipt.**  A thing is an order, a trade, or the position in a
   contract.  An event whose stamp is before that of an event of the same thing that was received earlier is a
   late copy, and does not apply.  Stamps order nothing else: not an event against an answer, and no stamp
   against any clock of ours.  (The intake has dropped stamps from the future, which would make all that
   follows look late.)
2. **A final state is final.**  An ended order does not work again, a closed position does not open again, a
   voided trade does not count again: the event applies whatever its stamp, and no later event undoes it.  A
   position is identified by its contract, its id and the time of its opening (:attr:`BrokerPosition.opening`),
   so the next one is another thing.
3. **An answer covers what was received before its request was sent**, less the time by which searches trail
   events (:data:`SETTLED_SECONDS`).  It does not apply to a thing if an event about it came later, or an
   answer to a later request has covered it.  An answer that covers a thing outranks all earlier events about
   it: a position that the broker still lists is open, even if an event has reported its close.
4. **What an answer covers and does not list has ended**, also if the answer to an earlier request lists it and
   comes later.

News that cannot be put in order leave doubt: the state may be wrong until the answer to a later request
settles it, and the reconciliation loop asks within seconds.  Doubt begins with an event that does not apply,
that cannot be read or that amends a trade, with the end of another position than the known one, with the opening
of a position when a later one in its contract has ended already or is open, with two events of one position that come
so close together that they may have been swapped, and with a trading day that was ended too early.

This is pure: the steady clock's seconds come in.
"""

from __future__ import annotations

import math
from collections import deque
from datetime import datetime
from typing import Final

from riskd.model.account import AccountState
from riskd.model.broker import (
    BrokerNews,
    BrokerOrder,
    BrokerPosition,
    BrokerTrade,
    Opening,
    Unreadable,
)
from riskd.model.moments import is_placeholder

SETTLED_SECONDS: Final = 1.0
"""How long the gateway's searches may trail what the broker did.

Source: clients of the live gateway see about a tenth of a second.
"""

SWAPPED_SECONDS: Final = 5.0
"""Two events of one position that come within this time may have been swapped on the way.

A wrong size would stay until the next whole reconciliation; to ask sooner takes four requests.
"""

_MAX_REMEMBERED: Final = 4096
"""How many things are remembered, so that a late copy of an event is not taken for news."""

_ENDED_REMEMBERED: Final = 8
"""How many positions of a contract are remembered as ended: a trader makes no more within the time of late news."""

Thing = tuple[str, object]
"""What news are about: ``("order", id)``, ``("trade", id)`` or ``("position", contract id)``."""


def thing_of(news: BrokerOrder | BrokerPosition | BrokerTrade) -> Thing:
    """Return what news are about."""
    if isinstance(news, BrokerTrade):
        return ("trade", news.id)
    if isinstance(news, BrokerOrder):
        return ("order", news.id)
    return ("position", news.contract_id)


class _Past:
    """What was received of one thing.

    :ivar event_at: when the last event came, in steady seconds.
    :ivar stamp: the latest stamp of its events.
    :ivar asked_at: when the latest request was sent whose answer covered it.
    :ivar closed: the openings of the positions that have ended last.
    :ivar closed_opening: when the latest of all positions that have ended was opened.
    :ivar opening: the opening of the position that was open last.
    """

    __slots__ = ("asked_at", "closed", "closed_opening", "event_at", "opening", "stamp")

    def __init__(self) -> None:
        self.event_at = -math.inf
        self.stamp: datetime | None = None
        self.asked_at = -math.inf
        self.closed: deque[Opening] = deque(maxlen=_ENDED_REMEMBERED)
        self.closed_opening: datetime | None = None
        self.opening: Opening | None = None

    def note(self, news: BrokerOrder | BrokerPosition) -> None:
        """Note news of something open that apply."""
        if isinstance(news, BrokerPosition):
            self.opening = news.opening
        if news.stamp is not None:
            self.stamp = news.stamp

    def close(self, opening: Opening) -> None:
        """Note that a position has ended."""
        _id, opened_at = opening
        if opening not in self.closed:
            self.closed.append(opening)
        if not is_placeholder(opened_at):
            self.closed_opening = max(opened_at, self.closed_opening or opened_at)

    def is_followed(self, position: BrokerPosition) -> bool:
        """Return whether a position was opened before another one that has ended."""
        return (
            self.closed_opening is not None
            and position.created_at < self.closed_opening
            and not is_placeholder(position.created_at)
        )


def _is_late(news: BrokerOrder | BrokerPosition, past: _Past, state: AccountState) -> bool:
    """Return whether news of something open are older than what was received before."""
    if isinstance(news, BrokerPosition):
        known = state.positions.get(news.contract_id)
        if news.opening in past.closed or (known and known.size and _is_earlier(news, known)):
            return True
    return news.stamp is not None and past.stamp is not None and news.stamp < past.stamp


def _is_earlier(position: BrokerPosition, known: BrokerPosition) -> bool:
    """Return whether a position came before another one in its contract."""
    return not is_placeholder(position.created_at) and position.created_at < known.created_at


class OrderOfTruth:
    """Decides for one account; the module's docstring has the rules.

    :ivar doubt_since: when doubt last began, in steady seconds; ``None`` without doubt.
    """

    def __init__(self) -> None:
        self._past: dict[Thing, _Past] = {}
        # When the latest request was sent whose answer listed all that is open, by the kind of thing.
        self._listed_at: dict[str, float] = {}
        self.doubt_since: float | None = None

    def _past_of(self, thing: Thing) -> _Past:
        # The one that was received last is the last to be forgotten.
        past = self._past.pop(thing, None) or _Past()
        self._past[thing] = past
        if len(self._past) > _MAX_REMEMBERED:
            del self._past[next(iter(self._past))]
        return past

    def doubt(self, now: float) -> None:
        """Note that the state may be wrong until a later request is answered."""
        self.doubt_since = now

    def accepts_event(self, news: BrokerNews, state: AccountState, now: float) -> bool:
        """Return whether an event applies, and remember it.

        :param state: what is known of the account.
        :param now: the steady seconds of its receipt.
        """
        if isinstance(news, Unreadable):
            self.doubt(now)
            return False
        if not isinstance(news, (BrokerOrder, BrokerPosition, BrokerTrade)):
            return True
        past = self._past_of(thing_of(news))
        since, past.event_at = now - past.event_at, now
        if isinstance(news, BrokerTrade):
            return True
        if isinstance(news, BrokerOrder) and (news.has_ended or news.id in state.final_orders):
            return news.has_ended
        if isinstance(news, BrokerPosition):
            if not news.size:
                return self._accepts_end(news, past, state, now)
            # Without stamps, the two may have been swapped.  If another position has followed, this one has ended.
            if (news.stamp is None and since < SWAPPED_SECONDS) or past.is_followed(news):
                self.doubt(now)
        applies = not _is_late(news, past, state)
        if applies:
            past.note(news)
        else:
            self.doubt(now)
        return applies

    def _accepts_end(
        self, closed: BrokerPosition, past: _Past, state: AccountState, now: float
    ) -> bool:
        """Return whether the end of a position applies to the one that is known."""
        is_repeat = closed.opening in past.closed
        past.close(closed.opening)
        known = state.positions.get(closed.contract_id)
        if known is None or not known.size:
            # The position after it may have ended as well.
            return not is_repeat
        if known.opening == closed.opening:
            return True
        # One of the events in between was lost, or this one is late.
        self.doubt(now)
        return not (is_repeat or _is_earlier(closed, known))

    def covers(self, thing: Thing, sent_at: float, trail: float = SETTLED_SECONDS) -> bool:
        """Return whether the answer to a request covers a thing.

        :param sent_at: the steady seconds when the request was sent.
        :param trail: by how much searches may trail.
        """
        past = self._past.get(thing)
        return past is None or (past.event_at <= sent_at - trail and past.asked_at <= sent_at)

    def accepts_answer(self, news: BrokerNews, sent_at: float) -> bool:
        """Return whether what an answer says applies, and remember it.

        :param sent_at: the steady seconds when the request was sent.
        """
        # First what answers list most of.
        if isinstance(news, BrokerTrade):
            is_final = news.is_voided
        elif isinstance(news, (BrokerOrder, BrokerPosition)):
            is_final = isinstance(news, BrokerOrder) and news.has_ended
        else:
            return True
        thing = thing_of(news)
        if not (is_final or self.covers(thing, sent_at)):
            return False
        if not is_final and sent_at < self._listed_at.get(thing[0], -math.inf):
            # A later answer did not list it, so it has ended, although riskd never knew of it.
            return False
        past = self._past_of(thing)
        past.asked_at = sent_at
        # The broker lists it, so it is open again, or still.
        if isinstance(news, BrokerPosition):
            if past.opening is not None and past.opening[0] != news.id:
                # Another one has ended before it, whatever its date says, and its end may come late.
                past.close(past.opening)
            past.opening = news.opening
            if news.opening in past.closed:
                past.closed.remove(news.opening)
            if past.is_followed(news):
                past.closed_opening = None
        return True

    def listed(self, kind: str, sent_at: float) -> None:
        """Note that an answer lists all open positions, or all working orders.

        :param kind: the first part of a :data:`Thing`.
        :param sent_at: the steady seconds when the request was sent.
        """
        self._listed_at[kind] = max(sent_at, self._listed_at.get(kind, sent_at))

    def ended(self, thing: Thing, sent_at: float, opening: Opening | None = None) -> None:
        """Remember that an answer did not list a thing that it covers.

        :param opening: of a position: late events must not open it again.
        """
        past = self._past_of(thing)
        past.asked_at = sent_at
        if opening is not None:
            past.close(opening)

    def settled(self, sent_at: float, trail: float = SETTLED_SECONDS) -> None:
        """Note that all requests of a reconciliation were answered.

        :param sent_at: when the first of them was sent.
        """
        if self.doubt_since is not None and self.doubt_since <= sent_at - trail:
            self.doubt_since = None
