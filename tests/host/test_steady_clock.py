"""Reactors, and the time of day that is set back under them."""

from __future__ import annotations

import time

from twisted.internet import base
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.steady_clock import use_steady_clock


class SteadyClockTests(SynchronousTestCase):
    """What is due comes, whatever the time of day is set to."""

    def setUp(self) -> None:
        self.set_back = 0.0
        self.patch(base.ReactorBase, "seconds", staticmethod(lambda: time.time() - self.set_back))
        self.reactor = SelectReactor()
        self.addCleanup(self.reactor.removeAll)

    def timed(self) -> list[str]:
        """Return what is done of what is due, after the time of day was set back by an hour."""
        done: list[str] = []
        self.reactor.callLater(0, done.append, "called")
        loop = LoopingCall(done.append, "looped")
        loop.clock = self.reactor
        loop.start(0.0001, now=False)
        self.set_back = 3600.0
        end = time.monotonic() + 5
        while len(done) < 2 and time.monotonic() < end and self.reactor.timeout() is not None:
            if (self.reactor.timeout() or 0.0) > 60:
                break
            self.reactor.runUntilCurrent()
        loop.stop()
        return sorted(set(done))

    def test_a_reactor_as_it_comes_does_nothing_for_that_long(self) -> None:
        self.assertEqual(self.timed(), [])

    def test_one_with_a_steady_clock_does_it_in_time(self) -> None:
        use_steady_clock(self.reactor)
        self.assertEqual(self.timed(), ["called", "looped"])
