"""Waiting, but not for ever."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.timeouts import done_within


class DoneWithinTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.awaited: Deferred[None] = Deferred()
        self.done = Deferred.fromCoroutine(done_within(5, self.awaited, self.clock))

    def test_what_is_done_in_time(self) -> None:
        self.awaited.callback(None)
        self.assertIs(self.successResultOf(self.done), True)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_not(self) -> None:
        self.clock.advance(5)
        self.assertIs(self.successResultOf(self.done), False)
        self.awaited.callback(None)

    def test_who_is_canceled_stops_to_wait_and_nothing_else_stops(self) -> None:
        self.done.cancel()
        self.failureResultOf(self.done, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.awaited.called)
        self.awaited.callback(None)
