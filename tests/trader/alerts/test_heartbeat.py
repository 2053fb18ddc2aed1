"""The sign of life: when it is given, and what is said when it cannot be."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from trader.alerts.heartbeat import EVERY_SECONDS, Heartbeat


class HeartbeatTests(SynchronousTestCase):
    """A heartbeat on a clock, ticked each second."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.trouble = ""
        self.fetched: list[float] = []
        self.answer: Callable[[], Deferred[int]] = lambda: self.fired(200)
        self.heartbeat = Heartbeat(self.clock, self.fetch, lambda: self.trouble)

    def fired(self, status: int) -> Deferred[int]:
        done: Deferred[int] = Deferred()
        done.callback(status)
        return done

    def fetch(self) -> Deferred[int]:
        self.fetched.append(self.clock.seconds())
        return self.answer()

    def run_for(self, seconds: int) -> list[str]:
        """Let time pass; return what was logged."""
        with capturedLogs() as events:
            for _ in range(seconds):
                self.heartbeat.tick()
                self.clock.advance(1)
        return [event["log_format"].format(**event) for event in events]

    def test_it_is_given_at_once_and_then_each_minute(self) -> None:
        self.run_for(150)
        self.assertEqual(self.fetched, [0, EVERY_SECONDS, 2 * EVERY_SECONDS])

    def test_in_trouble_it_is_not_given_and_that_is_logged_once(self) -> None:
        self.trouble = "riskd is not RUNNING"
        logged = self.run_for(100)
        self.assertEqual(
            (logged, self.fetched), (["the heartbeat waits: riskd is not RUNNING"], [])
        )
        self.trouble = ""
        self.assertEqual(self.run_for(1), ["the heartbeat beats"])
        self.assertEqual(self.fetched, [100])

    def test_a_short_trouble_does_not_give_it_more_often(self) -> None:
        for _ in range(30):
            self.trouble = "" if self.trouble else "trouble"
            self.run_for(1)
        self.assertEqual(len(self.fetched), 1)

    def test_an_answer_that_refuses_is_logged_once_and_its_end_too(self) -> None:
        self.answer = lambda: self.fired(404)
        logged = self.run_for(130)
        self.assertEqual(len(self.fetched), 3)
        self.assertEqual(
            logged[1:],
            [
                (
                    "the heartbeat URL cannot be fetched, so the watchdog will report: "
                    "the answer is HTTP status 404"
                )
            ],
        )
        self.answer = lambda: self.fired(200)
        self.assertEqual(self.run_for(60), ["the heartbeat URL is fetched again"])

    def test_a_failure_is_logged_without_the_url(self) -> None:
        def refuse() -> Deferred[int]:
            done: Deferred[int] = Deferred()
            done.errback(Refused("https://secret"))
            return done

        self.answer = refuse
        logged = self.run_for(1)
        self.assertIn("ConnectionRefusedError", logged[1])
        self.assertNotIn("secret", logged[1])

    def test_a_watchdog_that_does_not_answer_is_given_up_and_tried_again(self) -> None:
        given_up: list[object] = []
        self.answer = lambda: Deferred(given_up.append)
        logged = self.run_for(130)
        self.assertEqual(self.fetched, [0, EVERY_SECONDS, 2 * EVERY_SECONDS])
        self.assertEqual(len(given_up), 2 + 1)
        self.assertEqual(len(logged), 2, logged)
