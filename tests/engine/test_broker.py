"""The broker of the engine's parts."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.engine.broker import Broker
from riskd.gateway.interface import GatewayUnansweredError
from tests.support.scripted_gateway import NOON, ScriptedGateway


class BrokerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, gateway = Clock(), ScriptedGateway()
        gateway.answer_seconds = 7
        self.broker = Broker(
            gateway,
            self.clock,
            lambda: NOON,
            lambda _account, _news, _sent_at: None,
            lambda _source, _text: None,
        )
        self.answer: Deferred[None] = Deferred()
        self.asked = Deferred.fromCoroutine(self.broker.ask("Order/place", self.answer))

    def test_an_answer_may_take_as_long_as_the_gateway_says(self) -> None:
        self.clock.advance(6.9)
        self.assertNoResult(self.asked)
        self.clock.advance(0.1)
        self.failureResultOf(self.asked, GatewayUnansweredError)

    def test_an_internal_error_counts_as_no_answer_and_is_logged(self) -> None:
        self.answer.errback(RecursionError("deep"))
        why = self.failureResultOf(self.asked, GatewayUnansweredError).getErrorMessage()
        self.assertIn("internal error", why)
        self.assertEqual(len(self.flushLoggedErrors(RecursionError)), 1)

    def test_a_canceled_request_is_none(self) -> None:
        self.asked.cancel()
        self.failureResultOf(self.asked, CancelledError)
