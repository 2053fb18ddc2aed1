"""When events of the practice broker arrive, and in what order.

An event is under way for the latency.  Events of one hub arrive in the order in which they were sent, except
those that change places with their neighbor, are late, or follow after a delay as those of positions do.

It is pure: the same seed, settings, events and times give the same schedule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Final

from riskd.gateway.targets import ACCOUNT, POSITION
from riskd.practice.fault_injection import FaultInjector
from riskd.practice.records import Message

SWAP_SECONDS: Final = 1.0
"""How long an event that is to change places waits for its neighbor."""

_SOON: Final = 1e-6
"""What is due in so many seconds is due now: sums of seconds are not exact."""


@dataclass(order=True)
class _Arrival:
    """One event under way; those of the same moment arrive by number."""

    at: float
    number: int
    message: Message | None = field(compare=False)


class EventSchedule:
    """Keeps events until they arrive.

    :param injector: has the faults to simulate; decides which events are lost or doubled.
    """

    def __init__(self, injector: FaultInjector, random: Random) -> None:
        self._injector = injector
        self._random = random
        self._numbers = count()
        self.clear()

    def clear(self) -> None:
        """Forget all events that have not arrived."""
        self._under_way: list[_Arrival] = []
        self._latest_quote = self._latest_news = self._latest_position = float("-inf")
        self._waiting: _Arrival | None = None

    @property
    def next_at(self) -> float | None:
        """Return when the next event arrives; ``None`` if there is none."""
        self._drop_moved()
        return self._under_way[0].at if self._under_way else None

    def add(self, message: Message, now: float) -> None:
        """Send an event.

        :param now: seconds, on any clock that does not go back.
        """
        faults, random = self._injector.faults, self._random
        at = now + faults.latency_seconds + random.uniform(0.0, faults.jitter_seconds)
        if message.contract_id is not None:
            self._latest_quote = max(self._latest_quote, at)
            self._put(message, self._latest_quote)
            return
        copies = self._injector.copies_of_event()
        # All is drawn for each event, so that setting one fault keeps the sequence of the others.
        is_swapped, is_late = (
            random.random() < chance for chance in (faults.swapped_events, faults.late_events)
        )
        lateness = random.uniform(0.0, faults.late_seconds)
        if not copies:
            return
        self._latest_news = at = max(self._latest_news, at)
        if message.target in (POSITION, ACCOUNT):
            at = max(self._latest_position, at + faults.position_delay_seconds)
            self._latest_position = at
        if is_late:
            at += lateness
        neighbor, self._waiting = self._waiting, None
        if is_swapped and neighbor is None and copies == 1:
            self._waiting = self._put(message, at + SWAP_SECONDS)
            return
        for _ in range(copies):
            self._put(message, at)
        # A swap is void if the event has arrived meanwhile, because no neighbor came in time.
        if neighbor is not None and neighbor.message is not None:
            self._put(neighbor.message, at)
            neighbor.message = None

    def due(self, now: float) -> Iterable[Message]:
        """Yield the events that have arrived by ``now``, each once."""
        while (at := self.next_at) is not None and at <= now + _SOON:
            arrived = heappop(self._under_way)
            message, arrived.message = arrived.message, None
            if message is not None:
                yield message

    def _put(self, message: Message, at: float) -> _Arrival:
        arrival = _Arrival(at, next(self._numbers), message)
        heappush(self._under_way, arrival)
        return arrival

    def _drop_moved(self) -> None:
        """Drop those of the first entries whose events have another place by now."""
        while self._under_way and self._under_way[0].message is None:
            heappop(self._under_way)
