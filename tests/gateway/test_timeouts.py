"""A time limit for the answers of a gateway."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.gateway.timeouts import answer_in_time


class AnswerInTimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.canceled: list[Any] = []
        self.answer: Deferred[int] = Deferred(self.canceled.append)
        self.waited = Deferred.fromCoroutine(
            answer_in_time("Order/place", self.answer, self.clock, 2.0)
        )

    def test_an_answer_is_returned(self) -> None:
        self.answer.callback(7)
        self.assertEqual(self.successResultOf(self.waited), 7)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_refusal_is_raised(self) -> None:
        self.answer.errback(GatewayRefusedError("Order/place", 2, "no"))
        self.failureResultOf(self.waited, GatewayRefusedError)

    def test_a_request_without_an_answer_in_time_is_canceled(self) -> None:
        self.clock.advance(1.9)
        self.assertNoResult(self.waited)
        self.clock.advance(0.1)
        error = self.failureResultOf(self.waited, GatewayUnansweredError).value
        self.assertEqual(str(error), "Order/place was not answered: nothing in 2 s")
        self.assertEqual(self.canceled, [self.answer])
