"""Watch this machine's clocks: sleeps, jumps, the offset from the broker's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from riskd.gateway.broker_clock import BrokerClock
from riskd.model.clock_offset import ERROR, WARNING, exceeds

TICK_SECONDS: Final = 1.0
"""How often the clocks are compared."""

SLEEP_SECONDS: Final = 30.0
"""A longer time between two comparisons was a sleep: after as long a silence the broker disconnects."""

JUMP: Final = timedelta(seconds=1)
"""The smallest jump of the wall clock; time servers set a clock in smaller steps or gradually."""

SETTLING_SECONDS: Final = 5.0
"""How long after a jump the offset is not evaluated: riskd is asking the broker for its time."""

EXACT_AFTER_SECONDS: Final = 10.0
"""How long the first estimate of the broker's time may be wrong by more than :data:`WARNING`."""

_SHOWN_STEP: Final = timedelta(milliseconds=100)


class Changes(NamedTuple):
    """What has happened to the clocks since the last comparison.

    :ivar slept: how long the machine, or only this program, slept; zero if it did not.
    :ivar jumped: how far the wall clock jumped; negative backwards.
    """

    slept: timedelta = timedelta()
    jumped: timedelta = timedelta()


class ClockWatch:
    """Compares the wall clock, the steady clock and the broker's.

    :param broker_clock: the broker's.
    :param seconds: gives the seconds of the steady clock.
    :param wall: gives the time of the wall clock, aware.
    :ivar offset: how far the broker's clock is ahead of the wall clock, in steps of 0.1 s; ``None`` while
        that is unknown.
    :ivar is_warning: whether the offset is a warning.
    :ivar is_error: whether the offset is an error.
    """

    def __init__(
        self,
        broker_clock: BrokerClock,
        seconds: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self._broker_clock = broker_clock
        self._seconds = seconds
        self._wall = wall
        self._compared_at = seconds()
        self._wall_then = wall()
        self._settled_at = self._known_at = self._compared_at
        self.offset: timedelta | None = None
        self.is_warning = False
        self.is_error = False

    @property
    def has_slept(self) -> bool:
        """Whether the machine has slept since the last comparison."""
        return self._seconds() - self._compared_at > SLEEP_SECONDS + TICK_SECONDS

    def compare(self) -> Changes:
        """Return what has happened since the last comparison; notify the broker's clock."""
        seconds, wall = self._seconds(), self._wall()
        passed = timedelta(seconds=seconds - self._compared_at)
        slept = passed if self.has_slept else timedelta()
        jumped = wall - self._wall_then - passed
        self._compared_at, self._wall_then = seconds, wall
        if slept:
            self._broker_clock.slept()
        # The hardware's clock counts a sleep only roughly.
        if abs(jumped) <= (2 * JUMP if slept else JUMP):
            return Changes(slept)
        self._broker_clock.wall_jumped(jumped)
        self._settled_at = seconds + SETTLING_SECONDS
        return Changes(slept, jumped)

    def evaluate_offset(self) -> None:
        """Update the offset, and whether it is a warning or an error.

        While the clocks settle, only the offset is updated.
        """
        offset = self._broker_clock.offset
        if offset is None:
            return
        if self.offset is None:
            self._known_at = self._seconds()
        if self.offset is None or abs(offset - self.offset) >= _SHOWN_STEP:
            self.offset = offset
        if self._seconds() < self._settled_at:
            return
        if self._seconds() >= self._known_at + EXACT_AFTER_SECONDS:
            self.is_warning = exceeds(offset, WARNING, has_exceeded=self.is_warning)
        self.is_error = exceeds(offset, ERROR, has_exceeded=self.is_error)
