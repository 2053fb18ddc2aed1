"""Requests on a network with faults, and the delivery of events."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import TimeoutError as AnswerTimeoutError
from twisted.python.failure import Failure

from riskd.config.settings import NO_FAULTS, Faults
from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.practice.records import Message
from tests.support.practice_gateway import (
    ACCOUNT_EVENT,
    ACCOUNTS,
    CANCEL,
    CHANGE,
    CLOSE,
    MNQ,
    NOBODY_TRADES,
    ORDER,
    PARTIAL_CLOSE,
    PLACE,
    POSITION,
    TRADE,
    FaultsTestCase,
    GatewayDriver,
    GatewayTestCase,
    payloads_of,
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
                self.successResultOf(payloads_of(self.gateway, "Account/search", 123))
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
        self.successResultOf(payloads_of(self.gateway, "Account/search", 123))
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
            reading = payloads_of(self.gateway, "Position/searchOpen", 123)
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
        self.successResultOf(payloads_of(self.gateway, "Account/search", 123))

    def test_a_caller_may_stop_waiting(self) -> None:
        self.driver.inject(slow_seconds=600.0)
        asked = [
            payloads_of(self.gateway, "Account/search", 123).addTimeout(0.001, self.driver.clock)
            for _ in range(8)
        ]
        self.driver.clock.advance(0.001)
        for answer in asked:
            # Not as an answer that is missing: a caller that cancels must not go on.
            self.failureResultOf(answer, AnswerTimeoutError)


class ActingListenerTests(GatewayTestCase):
    """A listener that makes a request while it receives an event."""

    def closing_driver(self, accounts: dict[int, tuple[str, ...]]) -> GatewayDriver:
        """Return a driver whose listener closes each position of account 123 at once.

        It acts on the trade's event, which comes before the position's.
        """

        def act(target: str, payload: Payload) -> None:
            is_opening = target == TRADE and "profitAndLoss" not in payload
            if is_opening and payload["accountId"] == 123:
                closing = driver.gateway.close_contract(123, payload["contractId"])
                closing.addErrback(position_changed)

        def position_changed(failure: Failure) -> None:
            # The events of a step are delivered after it, so the position may have changed since.
            failure.trap(GatewayRefusedError)

        driver = GatewayDriver(accounts, act=act)
        return driver

    def test_events_of_a_listeners_request_come_after_those_before_it(self) -> None:
        driver = self.closing_driver(NOBODY_TRADES).start()
        self.successResultOf(driver.gateway.place_order(123, driver.order(0, 2)))
        self.assertEqual(
            driver.listener.targets(),
            [ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT] * 2,
        )
        opened, closed = driver.listener.user_events(ACCOUNT_EVENT)
        self.assertTrue(opened["balance"] > closed["balance"])

    def test_the_last_event_of_each_position_is_its_state(self) -> None:
        driver = self.closing_driver(ACCOUNTS).start()
        for _ in range(120):
            driver.run(1)
            received = {
                position["contractId"]: position["size"]
                for position in driver.listener.user_events(POSITION)
                if position["accountId"] == 123
            }
            held = {
                position["contractId"]: position["size"]
                for position in self.successResultOf(
                    payloads_of(driver.gateway, "Position/searchOpen", 123)
                )
            }
            self.assertEqual({key: size for key, size in received.items() if size}, held)
        self.assertTrue(received)


class ObserverTests(GatewayTestCase):
    """Observers beside the listener."""

    def test_an_observer_receives_what_the_listener_receives(self) -> None:
        """In the same order, even if the listener acts on an event."""

        def act(target: str, payload: Payload) -> None:
            if target == TRADE and "profitAndLoss" not in payload:
                driver.gateway.close_contract(123, payload["contractId"])

        driver = GatewayDriver(act=act)
        observed: list[Any] = []
        driver.gateway.observe(lambda message: observed.append(tuple(message)))
        driver.start()
        driver.gateway.place_order(123, driver.order(0))
        driver.run(5)
        self.assertEqual(observed, driver.listener.received)
        self.assertTrue(driver.listener.user_events(POSITION))

    def test_a_failing_observer_does_not_disturb_the_others(self) -> None:
        driver = GatewayDriver()
        observed: list[Message] = []

        def fail(_message: Message) -> None:
            raise ZeroDivisionError

        driver.gateway.observe(fail)
        driver.gateway.observe(observed.append)
        driver.start()
        self.assertEqual(len(observed), len(driver.listener.received))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), len(observed))

    def test_an_observer_receives_nothing_while_the_gateway_is_stopped(self) -> None:
        driver = GatewayDriver()
        observed: list[Message] = []
        driver.gateway.observe(observed.append)
        driver.start()
        driver.gateway.stop()
        observed.clear()
        driver.gateway.place_order(123, driver.order(0))
        self.assertEqual(observed, [])
        driver.start()
        self.assertTrue(observed)

    def test_a_gateway_may_run_without_a_listener(self) -> None:
        observed: list[Message] = []
        gateway = GatewayDriver().gateway
        gateway.observe(observed.append)
        gateway.start()
        self.successResultOf(gateway.place_order(123, GatewayDriver().order(0)))
        self.assertIn(ORDER, [message.target for message in observed])
