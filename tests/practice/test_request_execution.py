"""Requests at a gateway with faults."""

from __future__ import annotations

from collections import Counter

from twisted.internet.error import TimeoutError as AnswerTimeoutError

from riskd.config.faults import NO_FAULTS, Faults
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from tests.support.practice_gateway import (
    CANCEL,
    CHANGE,
    CLOSE,
    MNQ,
    PARTIAL_CLOSE,
    PLACE,
    POSITION,
    Desk,
    FaultsTestCase,
)


class RequestTests(FaultsTestCase):
    """Requests at a faulty gateway."""

    def test_what_is_refused_or_pending_or_lost_is_not_done(self) -> None:
        requests = self.requests()
        orders = self.desk.working()
        self.desk.listener.told.clear()
        for faults in ({"refuse": 1.0}, {"lost_requests": 1.0}, {"requests_per_minute": 1}):
            self.desk.suffer(**faults)
            if "requests_per_minute" in faults:
                self.successResultOf(self.gateway.search_account(123))
            for request, ask in requests:
                error = self.failureResultOf(ask()).value
                self.assertEqual(error.request, request)
        self.desk.suffer(pending=1.0)
        codes = dict(self.refusal(ask()) for request, ask in requests if request != PLACE)
        self.assertEqual(codes, {CHANGE: 4, CANCEL: 4, PARTIAL_CLOSE: 7, CLOSE: 6})
        self.assertEqual((self.desk.held(), self.desk.working()), ([3], orders))
        self.assertEqual(self.desk.listener.told, [])

    def test_what_is_not_answered_is_done_all_the_same(self) -> None:
        requests = self.requests()
        self.desk.suffer(unanswered=1.0)
        for request, ask in requests:
            error = self.failureResultOf(ask(), GatewayUnansweredError).value
            self.assertEqual(error.request, request)
        self.assertEqual((self.desk.held(), self.desk.working()), ([], []))
        sizes = [held["size"] for held in self.desk.listener.user_events(POSITION)]
        self.assertEqual(sizes, [3, 4, 3, 0])

    def test_a_refusal_is_not_answered_either(self) -> None:
        self.desk.suffer(unanswered=1.0)
        self.failureResultOf(self.gateway.close_contract(123, MNQ), GatewayUnansweredError)

    def test_a_read_may_fail(self) -> None:
        self.desk.suffer(failed_reads=1.0)
        for read in self.reads():
            self.failureResultOf(read(), GatewayUnansweredError)
        self.hold(1)

    def test_too_many_requests_are_not_answered(self) -> None:
        self.desk.suffer(requests_per_minute=2)
        self.hold(1)
        self.successResultOf(self.gateway.search_account(123))
        failure = self.failureResultOf(
            self.gateway.close_contract(123, MNQ), GatewayUnansweredError
        )
        self.assertIn("429", str(failure.value))
        self.desk.clock.advance(60)
        self.successResultOf(self.gateway.close_contract(123, MNQ))

    def test_faults_may_come_and_go(self) -> None:
        self.assertEqual(self.gateway.faults, NO_FAULTS)
        self.desk.suffer(refuse=1.0)
        self.assertEqual(self.gateway.faults.refuse, 1.0)
        self.assertEqual(
            self.refusal(self.gateway.place_order(123, self.desk.order(0))), (PLACE, 2)
        )
        self.desk.heal()
        self.hold(1)

    def test_they_may_be_there_from_the_start(self) -> None:
        desk = Desk(faults=Faults(refuse=1.0)).start()
        self.assertEqual(self.refusal(desk.gateway.place_order(123, desk.order(0))), (PLACE, 2))


class SlownessTests(FaultsTestCase):
    """Answers that take their time."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(lambda: self.assertEqual(self.desk.clock.getDelayedCalls(), []))

    def test_an_answer_comes_in_time_and_what_was_asked_is_done_by_then(self) -> None:
        """Sometimes it is done long before."""
        early = Counter[bool]()
        for _ in range(20):
            self.hold(1)
            self.desk.suffer(slow_seconds=4.0)
            closing = self.gateway.close_contract(123, MNQ)
            early[not self.desk.held()] += 1
            self.assertNoResult(closing)
            self.desk.clock.advance(4)
            self.assertIsNone(self.successResultOf(closing))
            self.assertEqual(self.desk.held(), [])
            self.desk.heal()
        self.assertTrue(early[True] > 3, early)
        self.assertTrue(early[False] > 3, early)

    def test_refusals_and_failures_are_late_too(self) -> None:
        for faults, error in (
            ({"refuse": 1.0}, GatewayRefusedError),
            ({"lost_requests": 1.0}, GatewayUnansweredError),
            ({"unanswered": 1.0}, GatewayUnansweredError),
            ({}, GatewayRefusedError),
        ):
            self.desk.suffer(slow_seconds=4.0, **faults)
            for _ in range(6):
                closing = self.gateway.close_contract(123, MNQ)
                self.assertNoResult(closing)
                self.desk.clock.advance(4)
                self.failureResultOf(closing, error)

    def test_what_was_read_may_be_old_when_it_arrives(self) -> None:
        seen = set()
        for _ in range(20):
            self.desk.suffer(slow_seconds=4.0)
            reading = self.gateway.search_open_positions(123)
            self.desk.heal()
            self.hold(1)
            self.desk.clock.advance(4)
            seen.add(len(self.successResultOf(reading)))
            self.successResultOf(self.gateway.close_contract(123, MNQ))
        self.assertEqual(seen, {0, 1})

    def test_nobody_waits_for_a_stopped_gateway(self) -> None:
        self.desk.suffer(slow_seconds=4.0)
        asked = [self.gateway.place_order(123, self.desk.order(0)) for _ in range(8)]
        self.successResultOf(self.gateway.stop())
        for answer in asked:
            self.failureResultOf(answer, GatewayUnansweredError)
        self.assertEqual(self.desk.clock.getDelayedCalls(), [])
        self.successResultOf(self.gateway.search_account(123))

    def test_whoever_asks_may_stop_waiting(self) -> None:
        self.desk.suffer(slow_seconds=600.0)
        asked = [
            self.gateway.search_account(123).addTimeout(0.001, self.desk.clock) for _ in range(8)
        ]
        self.desk.clock.advance(0.001)
        for answer in asked:
            self.failureResultOf(answer, GatewayUnansweredError, AnswerTimeoutError)
