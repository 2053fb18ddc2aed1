"""A steady clock, loops that survive errors, waits with a limit."""

from __future__ import annotations

import time
from collections.abc import Iterator

from twisted.internet import base
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock, LoopingCall
from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.timing import (
    TURN_SECONDS,
    SharedLoop,
    done_within,
    in_turns,
    lasting_loop,
    use_steady_clock,
)


class SteadyClockTests(SynchronousTestCase):
    """Reactors, while the time of day is set back by an hour."""

    def setUp(self) -> None:
        self.set_back = 0.0
        self.patch(base.ReactorBase, "seconds", staticmethod(lambda: time.time() - self.set_back))
        self.reactor = SelectReactor()
        self.addCleanup(self.reactor.removeAll)

    def calls_run(self) -> list[str]:
        """Schedule a call and a loop, set the time of day back, and return which of them run."""
        done: list[str] = []
        self.reactor.callLater(0, done.append, "called")
        loop = LoopingCall(done.append, "looped")
        loop.clock = self.reactor
        loop.start(0.0001, now=False)
        self.set_back = 3600.0
        end = time.monotonic() + 5
        while len(done) < 2 and time.monotonic() < end and self.reactor.timeout() is not None:
            # The reactor would sleep for most of the hour.
            if (self.reactor.timeout() or 0.0) > 60:
                break
            self.reactor.runUntilCurrent()
        loop.stop()
        return sorted(set(done))

    def test_a_plain_reactor_runs_nothing_for_an_hour(self) -> None:
        self.assertEqual(self.calls_run(), [])

    def test_a_reactor_with_a_steady_clock_runs_calls_and_loops_on_time(self) -> None:
        use_steady_clock(self.reactor)
        self.assertEqual(self.calls_run(), ["called", "looped"])


class TurnTests(SynchronousTestCase):
    """Work that is too much for one turn of the reactor."""

    def test_each_turn_takes_as_many_steps_as_it_has_time_for(self) -> None:
        clock, taken = Clock(), 0

        def steps() -> Iterator[None]:
            nonlocal taken
            for _ in range(10):
                clock.rightNow += TURN_SECONDS / 3
                taken += 1
                yield

        done = Deferred.fromCoroutine(in_turns(steps(), clock))
        turns = [taken]
        while not done.called:
            (later,) = clock.getDelayedCalls()
            clock.calls.remove(later)
            later.func(*later.args)
            turns.append(taken)
        self.assertEqual(turns, [3, 6, 9, 10])


class LastingLoopTests(SynchronousTestCase):
    """Loops whose function raises."""

    def test_a_loop_logs_each_exception_and_goes_on(self) -> None:
        clock = Clock()
        acts: list[int] = []

        def act() -> None:
            acts.append(len(acts))
            if len(acts) < 3:
                raise ZeroDivisionError

        loop = lasting_loop(clock, act, Logger("riskd.somewhere"))
        loop.start(5, now=False)
        with capturedLogs() as captured:
            clock.pump([5] * 4)
        self.assertEqual(acts, [0, 1, 2, 3])
        self.assertEqual(
            [(each["log_level"], each["log_namespace"]) for each in captured],
            [(LogLevel.critical, "riskd.somewhere")] * 2,
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        loop.stop()
        self.assertEqual(clock.getDelayedCalls(), [])


class SharedLoopTests(SynchronousTestCase):
    """Loops of one interval, whenever each of them began."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.called: list[tuple[str, float]] = []

    def begin(self, name: str, *, now: bool = False) -> SharedLoop:
        """Start a loop of a second."""
        loop = SharedLoop(lambda: self.called.append((name, self.clock.seconds())))
        loop.clock = self.clock
        loop.start(1.0, now=now)
        return loop

    def test_they_are_due_together(self) -> None:
        self.begin("first")
        self.clock.advance(0.25)
        second = self.begin("second")
        for _ in range(3):
            self.clock.advance(0.375)
            self.clock.advance(0.375)
            self.clock.advance(0.25)
        moments = {
            name: [at for each, at in self.called if each == name] for name, _ in self.called
        }
        self.assertEqual(moments["first"], moments["second"])
        self.assertEqual(moments["first"], [1.0, 2.0, 3.0])
        second.stop()

    def test_one_that_begins_with_a_call_makes_it_at_once(self) -> None:
        self.clock.advance(0.75)
        self.begin("eager", now=True)
        self.clock.advance(0.25)
        self.clock.advance(1.0)
        self.assertEqual([at for _, at in self.called], [0.75, 1.0, 2.0])

    def test_one_that_ends_in_its_first_call_stays_ended(self) -> None:
        def end() -> None:
            loop.stop()

        loop = SharedLoop(end)
        loop.clock = self.clock
        loop.start(1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DoneWithinTests(SynchronousTestCase):
    """Waiting for five seconds at most."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.awaited: Deferred[None] = Deferred()
        self.done = Deferred.fromCoroutine(done_within(5, self.awaited, self.clock))

    def test_a_result_in_time_ends_the_wait_and_its_timer(self) -> None:
        self.awaited.callback(None)
        self.assertIs(self.successResultOf(self.done), True)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_late_result_is_waited_for_no_longer_and_may_still_come(self) -> None:
        self.clock.advance(5)
        self.assertIs(self.successResultOf(self.done), False)
        self.awaited.callback(None)

    def test_canceling_the_wait_does_not_cancel_the_work(self) -> None:
        self.done.cancel()
        self.failureResultOf(self.done, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.awaited.called)
        self.awaited.callback(None)
