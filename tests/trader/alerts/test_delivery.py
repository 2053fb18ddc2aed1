"""The way of alerts to targets, on a clock and with threads that the test ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from trader.alerts.alert import Alert, Kind, make_alert, sample
from trader.alerts.delivery import Delivery
from trader.alerts.outbox import COLLAPSE_SECONDS, RETRY_SECONDS
from trader.alerts.targets import SendError
from trader.alerts.words import Attachment, Message

NOW = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)


class FakeTarget:
    """A target that takes messages, or fails."""

    name = "target 1 (json)"
    room = 1000

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.error: Exception | None = None

    def send(self, message: Message) -> None:
        if self.error is not None:
            raise self.error
        self.messages.append(message)


class DeliveryTests(SynchronousTestCase):
    """One target."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.target = FakeTarget()
        self.calls: list[tuple[Callable[[], None], Deferred[None]]] = []
        self.delivery = Delivery(self.clock, self.target, {}, self.in_thread)

    def test_what_belongs_to_alerts_is_made_in_the_thread(self) -> None:
        made: list[Kind] = []

        def attach(alert: Alert) -> Attachment | str:
            made.append(alert.kind)
            return Attachment("day.html", "x") if alert.kind is Kind.SUMMARY else "why\nnot"

        self.delivery = Delivery(self.clock, self.target, {}, self.in_thread, attach)
        for kind in (Kind.SUMMARY, Kind.LIMIT):
            self.delivery.add(sample(kind, NOW))
        self.clock.advance(COLLAPSE_SECONDS)
        self.assertEqual(made, [])
        self.run_thread()
        (message,) = self.target.messages
        self.assertEqual(message.attachments, (Attachment("day.html", "x"),))
        self.assertEqual(message.body.splitlines()[2:], ["why not"])

    def in_thread(self, act: Callable[[], None]) -> Deferred[None]:
        ended: Deferred[None] = Deferred()
        self.calls.append((act, ended))
        return ended

    def run_thread(self) -> None:
        """Let the call in the thread run to its end."""
        act, ended = self.calls.pop(0)
        try:
            act()
        except Exception:  # noqa: BLE001  # what the thread raises is what is tested
            ended.errback()
        else:
            ended.callback(None)

    def add(self, *kinds: Kind) -> None:
        for kind in kinds:
            alert = make_alert(kind, NOW, account="123", gateway="PRACTICE", text=kind.value)
            self.delivery.add(alert)

    def logged(self, act: Callable[[], Any]) -> list[str]:
        with capturedLogs() as events:
            act()
        return [event["log_format"].format(**event) for event in events if event["log_format"]]

    def test_alerts_of_one_moment_are_sent_together_in_a_thread(self) -> None:
        self.add(Kind.ENFORCEMENT, Kind.LOCKOUT)
        self.assertEqual(self.calls, [])
        self.clock.advance(COLLAPSE_SECONDS)
        self.assertEqual(len(self.calls), 1)
        self.assertEqual(self.target.messages, [])
        self.assertIn("target 1 (json) has 2 alerts", self.logged(self.run_thread))
        self.assertEqual(len(self.target.messages), 1)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_a_slow_target_gets_one_message_at_a_time(self) -> None:
        self.add(Kind.GONE)
        self.clock.advance(COLLAPSE_SECONDS)
        self.add(Kind.BACK)
        self.clock.advance(60)
        self.assertEqual(len(self.calls), 1)
        self.run_thread()
        self.clock.advance(0)
        self.run_thread()
        self.assertEqual(len(self.target.messages), 2)

    def test_a_failure_is_logged_and_tried_again_until_the_target_has_all(self) -> None:
        self.target.error = SendError("connection refused")
        self.add(Kind.GONE)
        self.clock.advance(COLLAPSE_SECONDS)
        self.assertEqual(
            self.logged(self.run_thread),
            [
                (
                    "target 1 (json) did not get the alerts: connection refused; "
                    "the next attempt is in 2 s"
                )
            ],
        )
        self.add(Kind.BACK)
        for wait in RETRY_SECONDS[:3]:
            self.assertEqual(self.calls, [])
            self.clock.advance(wait)
            self.run_thread()
        self.target.error = None
        self.clock.advance(RETRY_SECONDS[3])
        self.assertEqual(self.logged(self.run_thread), ["target 1 (json) has 2 alerts again"])
        (message,) = self.target.messages
        self.assertEqual([each[9:] for each in message.body.splitlines()], ["gone", "back"])

    def test_a_mistake_in_a_service_is_no_end(self) -> None:
        self.target.error = ZeroDivisionError("https://secret")
        self.add(Kind.GONE)
        self.clock.advance(COLLAPSE_SECONDS)
        (logged,) = self.logged(self.run_thread)
        self.assertIn("internal error: ZeroDivisionError", logged)
        self.assertNotIn("secret", logged)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_alerts_that_cannot_be_put_into_words_are_tried_again(self) -> None:
        """They must not be under way for ever: nothing would be sent any more."""
        self.target.room = None  # type: ignore[assignment]
        self.add(Kind.GONE)
        (logged,) = self.logged(lambda: self.clock.advance(COLLAPSE_SECONDS))
        self.assertIn("internal error: TypeError; the next attempt is in 2 s", logged)
        self.target.room = FakeTarget.room
        self.clock.advance(RETRY_SECONDS[0])
        self.run_thread()
        self.assertEqual(len(self.target.messages), 1)

    def test_at_the_end_what_waits_is_sent_at_once(self) -> None:
        self.add(Kind.GONE)
        finished = self.delivery.finish()
        self.clock.advance(0)
        self.assertNoResult(finished)
        self.run_thread()
        self.assertEqual(len(self.target.messages), 1)
        self.successResultOf(finished)

    def test_at_the_end_what_is_under_way_is_awaited_and_the_rest_sent(self) -> None:
        self.add(Kind.GONE)
        self.clock.advance(COLLAPSE_SECONDS)
        self.add(Kind.BACK)
        finished = self.delivery.finish()
        self.run_thread()
        self.clock.advance(0)
        self.assertNoResult(finished)
        self.run_thread()
        self.successResultOf(finished)
        self.assertEqual(len(self.target.messages), 2)

    def test_at_the_end_a_failure_is_logged_and_not_tried_again(self) -> None:
        self.target.error = SendError("no network")
        self.add(Kind.GONE)
        finished = self.delivery.finish()
        self.clock.advance(0)
        self.assertEqual(
            self.logged(self.run_thread),
            ["target 1 (json) did not get the last alerts: no network"],
        )
        self.successResultOf(finished)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_an_end_with_nothing_to_send_is_at_once(self) -> None:
        self.successResultOf(self.delivery.finish())
