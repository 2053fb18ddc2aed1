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
    FaultsTestCase,
    GatewayDriver,
)


class RequestTests(FaultsTestCase):
    """Requests at a gateway with faults."""

    def test_refused_pending_and_lost_requests_change_nothing(self) -> None:
        requests = self.requests()
        orders = self.driver.working()
        self.driver.listener.received.clear()
        for faults in ({"refuse": 1.0}, {"lost_requests": 1.0}, {"requests_per_minute": 1}):
            self.driver.inject(**faults)
            if "requests_per_minute" in faults:
                self.successResultOf(self.gateway.search_account(123))
            for request, ask in requests:
                error = self.failureResultOf(ask()).value
                self.assertEqual(error.request, request)
        self.driver.inject(pending=1.0)
        codes = dict(self.refusal(ask()) for request, ask in requests if request != PLACE)
        self.assertEqual(codes, {CHANGE: 4, CANCEL: 4, PARTIAL_CLOSE: 7, CLOSE: 6})
        self.assertEqual((self.driver.held(), self.driver.working()), ([3], orders))
        self.assertEqual(self.driver.listener.received, [])

    def test_an_unanswered_request_is_carried_out(self) -> None:
        requests = self.requests()
        self.driver.inject(unanswered=1.0)
        for request, ask in requests:
            error = self.failureResultOf(ask(), GatewayUnansweredError).value
            self.assertEqual(error.request, request)
        self.assertEqual((self.driver.held(), self.driver.working()), ([], []))
        sizes = [held["size"] for held in self.driver.listener.user_events(POSITION)]
        self.assertEqual(sizes, [3, 4, 3, 0])

    def test_a_refusal_may_be_unanswered(self) -> None:
        self.driver.inject(unanswered=1.0)
        self.failureResultOf(self.gateway.close_contract(123, MNQ), GatewayUnansweredError)

    def test_a_read_may_fail(self) -> None:
        self.driver.inject(failed_reads=1.0)
        for read in self.reads():
            self.failureResultOf(read(), GatewayUnansweredError)
        self.hold(1)

    def test_too_many_requests_are_not_answered(self) -> None:
        self.driver.inject(requests_per_minute=2)
        self.hold(1)
        self.successResultOf(self.gateway.search_account(123))
        failure = self.failureResultOf(
            self.gateway.close_contract(123, MNQ), GatewayUnansweredError
        )
        self.assertIn("429", str(failure.value))
        self.driver.clock.advance(60)
        self.successResultOf(self.gateway.close_contract(123, MNQ))

    def test_faults_may_be_changed_while_it_runs(self) -> None:
        self.assertEqual(self.gateway.faults, NO_FAULTS)
        self.driver.inject(refuse=1.0)
        self.assertEqual(self.gateway.faults.refuse, 1.0)
        self.assertEqual(
            self.refusal(self.gateway.place_order(123, self.driver.order(0))), (PLACE, 2)
        )
        self.driver.heal()
        self.hold(1)

    def test_faults_may_be_set_from_the_start(self) -> None:
        driver = GatewayDriver(faults=Faults(refuse=1.0)).start()
        self.assertEqual(
            self.refusal(driver.gateway.place_order(123, driver.order(0))), (PLACE, 2)
        )


class SlownessTests(FaultsTestCase):
    """Slow answers."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(lambda: self.assertEqual(self.driver.clock.getDelayedCalls(), []))

    def test_a_slow_request_is_carried_out_before_its_answer(self) -> None:
        """Sometimes long before."""
        early = Counter[bool]()
        for _ in range(20):
            self.hold(1)
            self.driver.inject(slow_seconds=4.0)
            closing = self.gateway.close_contract(123, MNQ)
            early[not self.driver.held()] += 1
            self.assertNoResult(closing)
            self.driver.clock.advance(4)
            self.assertIsNone(self.successResultOf(closing))
            self.assertEqual(self.driver.held(), [])
            self.driver.heal()
        self.assertTrue(early[True] > 3, early)
        self.assertTrue(early[False] > 3, early)

    def test_refusals_and_failures_are_late_too(self) -> None:
        for faults, error in (
            ({"refuse": 1.0}, GatewayRefusedError),
            ({"lost_requests": 1.0}, GatewayUnansweredError),
            ({"unanswered": 1.0}, GatewayUnansweredError),
            ({}, GatewayRefusedError),
        ):
            self.driver.inject(slow_seconds=4.0, **faults)
            for _ in range(6):
                closing = self.gateway.close_contract(123, MNQ)
                self.assertNoResult(closing)
                self.driver.clock.advance(4)
                self.failureResultOf(closing, error)

    def test_a_slow_read_may_be_old_when_it_arrives(self) -> None:
        seen = set()
        for _ in range(20):
            self.driver.inject(slow_seconds=4.0)
            reading = self.gateway.search_open_positions(123)
            self.driver.heal()
            self.hold(1)
            self.driver.clock.advance(4)
            seen.add(len(self.successResultOf(reading)))
            self.successResultOf(self.gateway.close_contract(123, MNQ))
        self.assertEqual(seen, {0, 1})

    def test_a_stop_ends_all_waiting_requests(self) -> None:
        self.driver.inject(slow_seconds=4.0)
        asked = [self.gateway.place_order(123, self.driver.order(0)) for _ in range(8)]
        self.successResultOf(self.gateway.stop())
        for answer in asked:
            self.failureResultOf(answer, GatewayUnansweredError)
        self.assertEqual(self.driver.clock.getDelayedCalls(), [])
        self.successResultOf(self.gateway.search_account(123))

    def test_a_caller_may_stop_waiting(self) -> None:
        self.driver.inject(slow_seconds=600.0)
        asked = [
            self.gateway.search_account(123).addTimeout(0.001, self.driver.clock) for _ in range(8)
        ]
        self.driver.clock.advance(0.001)
        for answer in asked:
            self.failureResultOf(answer, GatewayUnansweredError, AnswerTimeoutError)
