"""The reactor's clock, for tests that start a program; a simulated one; and rates."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase


def keep_clock(case: SynchronousTestCase) -> None:
    """Restore the clock of the tests' reactor at the end of ``case``."""
    from twisted.internet import reactor  # noqa: PLC0415  # the one that the tests have

    case.patch(reactor, "seconds", reactor.seconds)  # type: ignore[attr-defined]


def has_steady_clock() -> bool:
    """Return whether the tests' reactor uses the steady clock."""
    from twisted.internet import reactor  # noqa: PLC0415  # the one that the tests have

    steady: Any = reactor.seconds  # type: ignore[attr-defined]
    return isinstance(steady, partial) and steady.func is time.clock_gettime


def most_in_a_second(moments: list[float]) -> int:
    """Return how many of ``moments`` are in the fullest second, wherever it begins."""
    # The moments are sums of binary fractions, so their last digits are inexact.
    return max(sum(begin <= moment < begin + 1 - 1e-9 for moment in moments) for begin in moments)


class MovableCall(DelayedCall):
    """A call that reports each move; Twisted's own reports none to a later time.

    :ivar moved: receives the call and when it was due before.
    """

    moved: Callable[[DelayedCall, float], None]

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803  # of Twisted
        before = self.getTime()
        super().reset(secondsFromNow)
        self.moved(self, before)

    def delay(self, secondsLater: float) -> None:  # noqa: N803  # of Twisted
        before = self.getTime()
        super().delay(secondsLater)
        self.moved(self, before)


class SortedClock(Clock):
    """Twisted's clock, but it keeps its calls in order, and does not sort them at each advance."""

    def __init__(self) -> None:
        super().__init__()
        # When each of the calls is due, in their order.  To ask each call for it would be most of the work.
        self.times: list[float] = []

    def callLater(
        self, delay: float, act: Callable[..., object], *args: object, **kw: object
    ) -> IDelayedCall:
        at = self.rightNow + delay
        call = MovableCall(at, act, args, kw, self._remove, _ignore, self.seconds)
        call.moved = self._move
        index = bisect_right(self.times, at)
        self.times.insert(index, at)
        self.calls.insert(index, call)
        return call

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        times, calls = self.times, self.calls
        while times and times[0] <= self.rightNow:
            del times[0]
            call = calls.pop(0)
            call.called = 1
            call.func(*call.args, **call.kw)

    def _remove(self, call: DelayedCall) -> None:
        self._take_out(call, call.getTime())

    def _take_out(self, call: DelayedCall, at: float) -> None:
        """Take out a call that is due at a time; with thousands of them, looking at each would be most of the work."""
        index = bisect_left(self.times, at)
        while self.calls[index] is not call:
            index += 1
        del self.calls[index], self.times[index]

    def _move(self, call: DelayedCall, before: float) -> None:
        """Put a call where a stable sort would put it."""
        at = call.getTime()
        if at != before:
            self._take_out(call, before)
            index = (bisect_left if before < at else bisect_right)(self.times, at)
            self.times.insert(index, at)
            self.calls.insert(index, call)

    def _sortCalls(self) -> None:
        """Do nothing: they are in order."""


def _ignore(_call: DelayedCall) -> None:
    """Ignore what Twisted's calls report; see :class:`MovableCall`."""
