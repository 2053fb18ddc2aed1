"""Loops that last."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.loops import lasting_loop


class LastingLoopTests(SynchronousTestCase):
    """What goes on after a mistake."""

    def test_it_goes_on_and_each_mistake_is_written_down(self) -> None:
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
