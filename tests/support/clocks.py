"""The reactor's clock, for tests that start a program; a simulated one; and rates."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.host import timing


def keep_clock(case: SynchronousTestCase) -> None:
    """Restore the clock of the tests' reactor at the end of ``case``."""
    from twisted.internet import reactor  # noqa: PLC0415  # the one that the tests have

    case.patch(reactor, "seconds", reactor.seconds)  # type: ignore[attr-defined]


def has_steady_clock() -> bool:
    """Return whether the tests' reactor uses the steady clock."""
    from twisted.internet import reactor  # noqa: PLC0415  # the one that the tests have

    return reactor.seconds is timing._seconds  # type: ignore[attr-defined]


def most_in_a_second(moments: list[float]) -> int:
    """Return how many of ``moments`` are in the fullest second, wherever it begins."""
    # The moments are sums of binary fractions, so their last digits are inexact.
    return max(sum(begin <= moment < begin + 1 - 1e-9 for moment in moments) for begin in moments)


class MovableCall(DelayedCall):
    """A call that reports each new time of it; Twisted's own reports none that is later."""

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803  # of Twisted
        super().reset(secondsFromNow)
        self.resetter(self)

    def delay(self, secondsLater: float) -> None:  # noqa: N803  # of Twisted
        super().delay(secondsLater)
        self.resetter(self)


class SortedClock(Clock):
    """Twisted's clock, but it sorts its calls only after one was moved, and not at each advance."""

    def __init__(self) -> None:
        super().__init__()
        self._is_sorted = True
        # When each of the calls is due, in their order.  To ask each call for it would be most of the work.
        self.times: list[float] = []

    def callLater(
        self, delay: float, act: Callable[..., object], *args: object, **kw: object
    ) -> IDelayedCall:
        at = self.rightNow + delay
        call = MovableCall(at, act, args, kw, self._remove, self._moved, self.seconds)
        self._sortCalls()
        index = bisect_right(self.times, at)
        self.times.insert(index, at)
        self.calls.insert(index, call)
        return call

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        self._sortCalls()
        times, calls = self.times, self.calls
        while times and times[0] <= self.rightNow:
            del times[0]
            call = calls.pop(0)
            call.called = 1
            call.func(*call.args, **call.kw)
            self._sortCalls()

    def _remove(self, call: DelayedCall) -> None:
        """Remove a call that is canceled; with thousands of them, looking at each would be most of the work."""
        self._sortCalls()
        index = bisect_left(self.times, call.getTime())
        while self.calls[index] is not call:
            index += 1
        del self.calls[index], self.times[index]

    def _moved(self, _call: DelayedCall) -> None:
        self._is_sorted = False

    def _sortCalls(self) -> None:
        if not self._is_sorted:
            super()._sortCalls()
            self.times[:] = map(DelayedCall.getTime, self.calls)
            self._is_sorted = True
