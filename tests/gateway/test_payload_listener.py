"""What of a broker's events is logged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway import targets
from riskd.gateway.payload_listener import PayloadListener
from riskd.model.broker import Unreadable
from tests.support.projectx_gateway import MNQ, Listener
from tests.support.scripted_gateway import NOON


class LogTests(SynchronousTestCase):
    """Events that cannot be read, without an end."""

    def setUp(self) -> None:
        self.now = NOON
        self.listener = Listener(lambda: self.now)
        self.payloads = PayloadListener(self.listener)

    def lines(self, target: str, payload: dict[str, Any]) -> int:
        """Receive an event a thousand times; return how many lines are logged."""
        with capturedLogs() as logged:
            for _ in range(1000):
                if target == targets.QUOTE:
                    self.payloads.market_event(target, MNQ, payload)
                else:
                    self.payloads.user_event(target, payload)
        return len(logged)

    def test_a_few_lines_a_minute_are_logged_and_all_events_received(self) -> None:
        sound = {"id": 1, "accountId": 123, "contractId": MNQ, "side": 0, "size": 1, "status": 1}
        for target, payload in (
            (targets.ORDER, {"id": 1, "accountId": 123}),
            (targets.ORDER, sound),
            (targets.QUOTE, {"lastPrice": "x"}),
        ):
            self.setUp()
            self.assertEqual(self.lines(target, payload), 11)
            self.assertEqual(self.lines(target, payload), 0)
            self.now += timedelta(minutes=1)
            self.assertEqual(self.lines(target, payload), 11)
        self.payloads.user_event(targets.ORDER, {"id": 1, "accountId": 123})
        ((_, news),) = self.listener.of("news")
        self.assertIsInstance(news, Unreadable)
