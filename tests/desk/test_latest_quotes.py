"""Quotes that hold up nothing."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.latest_quotes import PAUSE_SECONDS, SLICE_SECONDS, LatestQuotes


class LatestQuotesTests(SynchronousTestCase):
    """A relay that takes a while for each quote."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cost = 0.0
        self.passed: list[tuple[str, bytes]] = []
        self.quotes = LatestQuotes(self.clock, self.take)

    def take(self, subject: str, payload: bytes) -> None:
        self.passed.append((subject, payload))
        self.clock.rightNow += self.cost

    def test_one_that_comes_alone_does_not_wait(self) -> None:
        self.quotes.receive("MNQ", b"1")
        self.assertEqual(self.passed, [("MNQ", b"1")])

    def test_of_those_that_wait_the_latest_of_each_is_passed_on_in_turn(self) -> None:
        for subject, payload in (("MNQ", b"1"), ("MES", b"2"), ("MNQ", b"3"), ("MES", b"4")):
            self.quotes.receive(subject, payload)
        self.assertEqual(self.passed, [("MNQ", b"1")])
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.passed[1:], [("MES", b"4"), ("MNQ", b"3")])

    def test_however_many_come_there_are_pauses_for_all_else(self) -> None:
        self.cost = 0.4 * SLICE_SECONDS
        for number in range(100):
            self.quotes.receive(str(number), b"")
        for _ in range(10):
            begun, passed = self.clock.seconds(), len(self.passed)
            self.clock.advance(PAUSE_SECONDS)
            self.assertEqual(len(self.passed) - passed, 3)
            self.assertLess(self.clock.seconds() - begun, PAUSE_SECONDS + 1.5 * SLICE_SECONDS)
        self.clock.pump([PAUSE_SECONDS] * 50)
        self.assertEqual([subject for subject, _ in self.passed], [str(n) for n in range(100)])

    def test_after_the_end_nothing_is_passed_on(self) -> None:
        self.quotes.receive("MNQ", b"1")
        self.quotes.receive("MNQ", b"2")
        self.quotes.stop()
        self.clock.advance(1)
        self.assertEqual(len(self.passed), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
