"""The events of one daemon, put in the order of their numbers.

An uplink publishes several events before the first is acknowledged, and the last minutes again after each reconnect.
So an event may come late, or twice: what was passed on before is dropped, and what comes after a gap is held until the
gap is filled.  A gap that stays is passed over and reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, Generic, NamedTuple, TypeVar

from riskd.model.event_number import Number
from riskd.model.formatting import counted

_Item = TypeVar("_Item")

HOLD_SECONDS: Final = 30.0
"""The longest wait for what is missing: servers elect a leader, and the uplink publishes again, in less."""

FIRST_SECONDS: Final = 2.0
"""The longest wait for what may come before the first event."""

MOST_HELD: Final = 20_000
"""A gap is passed over when more events wait behind it."""

_REMEMBERED: Final = 8
"""How many ended epochs are remembered."""


class Gap(NamedTuple):
    """Events that are missing.

    :ivar after: the number before the first of them.
    :ivar before: the number after the last of them.
    :ivar missing: how many they are at least; of an epoch's end that is not known.
    """

    after: Number
    before: Number
    missing: int

    def __str__(self) -> str:
        events = counted(self.missing, "event") if self.missing else "events"
        return f"{events} between the numbers {self.after} and {self.before}"


class Ordering(Generic[_Item]):
    """Puts the events of one daemon in order.

    :param last: the number of the last event that was passed on; ``None`` if none was.
    :ivar last: likewise.
    """

    def __init__(self, last: Number | None = None) -> None:
        self.last = last
        self._heap: list[Number] = []
        self._held: dict[Number, _Item] = {}
        self._waits_since = 0.0
        # The highest announced number of an epoch, and the last that was passed on of epochs that have ended.
        self._announced: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._gaps: list[Gap] = []

    @property
    def held(self) -> Iterable[_Item]:
        """What waits behind a gap."""
        return self._held.values()

    def is_new(self, number: Number) -> bool:
        """Return whether an event is neither passed on nor held yet."""
        return (self.last is None or number > self.last) and number not in self._held

    def announce(self, number: Number) -> None:
        """Note that the daemon has numbered events up to this one."""
        epoch, seq = number
        if seq and (self.last is None or epoch >= self.last.epoch):
            self._announced[epoch] = max(seq, self._announced.get(epoch, 0))

    def receive(self, number: Number, item: _Item, seconds: float) -> list[tuple[Number, _Item]]:
        """Take an event; return what can be passed on now, in order.

        :param seconds: the time by a steady clock.
        """
        if not self.is_new(number):
            self._note_late(number)
            return []
        if not self._held:
            self._waits_since = seconds
        self._held[number] = item
        heappush(self._heap, number)
        passed = list(self._pass_on(seconds))
        while len(self._held) > MOST_HELD:
            passed += self._pass_over(seconds)
        return passed

    def wait_no_more(self, seconds: float) -> list[tuple[Number, _Item]]:
        """Pass over a gap after a while; return what can be passed on then.

        :param seconds: the time by a steady clock.
        """
        longest = FIRST_SECONDS if self.last is None else HOLD_SECONDS
        if self._held and seconds - self._waits_since >= longest:
            return self._pass_over(seconds)
        return []

    def take_gaps(self) -> list[Gap]:
        """Return the gaps that were passed over since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def _pass_over(self, seconds: float) -> list[tuple[Number, _Item]]:
        first, last = self._heap[0], self.last
        if last is not None:
            self._gaps.append(Gap(last, first, self._missing(last, first)))
        return list(self._pass_on(seconds, is_next=True))

    def _missing(self, last: Number, first: Number) -> int:
        """Return how many events are missing between two, as far as that is known."""
        if first.epoch == last.epoch:
            return first.seq - last.seq - 1
        of_end = self._announced.get(last.epoch, last.seq) - last.seq
        between = (
            end for epoch, end in self._announced.items() if last.epoch < epoch < first.epoch
        )
        return max(of_end, 0) + sum(between) + first.seq - 1

    def _pass_on(self, seconds: float, *, is_next: bool = False) -> Iterator[tuple[Number, _Item]]:
        """Yield what follows without a gap.

        :param is_next: whether the first follows in any case.
        """
        while self._heap and (is_next or self._follows(self._heap[0])):
            is_next = False
            number = heappop(self._heap)
            self._end_epoch(number)
            self.last = number
            # The next gap is another one.
            self._waits_since = seconds
            yield number, self._held.pop(number)

    def _follows(self, number: Number) -> bool:
        # Before the first event, only the first of a run is known to follow nothing.
        return number.seq == 1 if self.last is None else not self._missing(self.last, number)

    def _end_epoch(self, number: Number) -> None:
        last = self.last
        if last is None or number.epoch == last.epoch:
            return
        # What was passed over is reported already.
        self._ended[last.epoch] = max(last.seq, self._announced.get(last.epoch, 0))
        for epochs in (self._ended, self._announced):
            for epoch in sorted(epochs)[:-_REMEMBERED]:
                del epochs[epoch]

    def _note_late(self, number: Number) -> None:
        """Report an event of an ended epoch whose absence was not known."""
        end = self._ended.get(number.epoch)
        if end is not None and number.seq > end:
            before = Number(number.epoch, number.seq + 1)
            self._gaps.append(Gap(Number(number.epoch, end), before, number.seq - end))
            self._ended[number.epoch] = number.seq
