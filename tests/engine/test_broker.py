"""The broker of the engine's parts."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.engine.broker import Broker
from riskd.gateway.interface import GatewayUnansweredError
from tests.support.scripted_gateway import NOON, ScriptedGateway


class BrokerTests(SynchronousTestCase):
    def test_an_answer_may_take_as_long_as_the_gateway_says(self) -> None:
        clock, gateway = Clock(), ScriptedGateway()
        gateway.answer_seconds = 7
        broker = Broker(
            gateway,
            clock,
            lambda: NOON,
            lambda _account, _news, _sent_at: None,
            lambda _source, _text: None,
        )
        answer: Deferred[None] = Deferred()
        asked = Deferred.fromCoroutine(broker.ask("Order/place", answer))
        clock.advance(6.9)
        self.assertNoResult(asked)
        clock.advance(0.1)
        self.failureResultOf(asked, GatewayUnansweredError)
