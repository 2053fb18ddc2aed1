"""What goes wrong, and what a gateway with faults does."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import NO_FAULTS, Faults
from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.practice.fault_injection import FaultInjector, RequestPlan
from tests.support.directories import temporary_directory
from tests.support.practice_gateway import (
    ACCOUNT_EVENT,
    ACCOUNTS,
    CANCEL,
    CHANGE,
    CLOSE,
    MNQ,
    ORDER,
    PARTIAL_CLOSE,
    PLACE,
    POSITION,
    PRICE,
    START,
    TRADE,
    FaultsTestCase,
    FaultyGatewayDriver,
    GatewayDriver,
)

CHANGES = (PLACE, CANCEL, CHANGE, CLOSE, PARTIAL_CLOSE)


class InjectorTests(SynchronousTestCase):
    """The decisions of the injector."""

    def injector(self, seed: int = 1, **faults: Any) -> FaultInjector:
        return FaultInjector(Faults(**faults), Random(seed))

    def test_without_faults_nothing_goes_wrong(self) -> None:
        injector = self.injector()
        for second in range(300):
            self.assertEqual(injector.plan_change(PLACE, second), RequestPlan())
            self.assertEqual(injector.plan_read("Order/searchOpen", second), RequestPlan())
            self.assertFalse(injector.fills_while_canceled())
            self.assertEqual((injector.available(5), injector.copies_of_event()), (5, 1))
            self.assertEqual((injector.parts(5), injector.position_date(START)), ([5], START))
            self.assertEqual(injector.end_stamp(START - timedelta(hours=1), START), START)
            self.assertEqual(injector.plan_round_trip(), RequestPlan())

    def test_refusals_have_the_code_of_each_request(self) -> None:
        for fault, codes in (
            ("refuse", {PLACE: 2, CANCEL: 3, CHANGE: 3, CLOSE: 5, PARTIAL_CLOSE: 6}),
            ("pending", {CANCEL: 4, CHANGE: 4, CLOSE: 6, PARTIAL_CLOSE: 7}),
        ):
            injector = self.injector(**{fault: 1.0})
            for request, code in codes.items():
                plan = injector.plan_change(request, 0)
                assert isinstance(plan.error, GatewayRefusedError)
                self.assertEqual((plan.error.request, plan.error.code), (request, code))
                self.assertFalse(plan.is_done)

    def test_placing_is_never_pending(self) -> None:
        self.assertEqual(self.injector(pending=1.0).plan_change(PLACE, 0), RequestPlan())

    def test_a_missing_answer_is_the_same_for_done_and_lost_requests(self) -> None:
        for fault, is_done in (("unanswered", True), ("lost_requests", False)):
            injector = self.injector(**{fault: 1.0})
            for request in CHANGES:
                plan = injector.plan_change(request, 0)
                self.assertIsInstance(plan.error, GatewayUnansweredError)
                self.assertEqual(plan.is_done, is_done)
            self.assertEqual(injector.plan_read("Trade/search", 0), RequestPlan())

    def test_only_reads_fail_by_failed_reads(self) -> None:
        injector = self.injector(failed_reads=1.0)
        self.assertIsInstance(injector.plan_read("Trade/search", 0).error, GatewayUnansweredError)
        self.assertEqual(injector.plan_change(PLACE, 0), RequestPlan())

    def test_a_fault_happens_about_as_often_as_its_chance_says(self) -> None:
        injector = self.injector(
            refuse=0.3, lost_events=0.1, doubled_events=0.2, partial_fills=0.4
        )
        refused = sum(injector.plan_change(PLACE, 0).error is not None for _ in range(2000))
        self.assertTrue(500 < refused < 700, refused)
        copies = Counter(injector.copies_of_event() for _ in range(2000))
        self.assertTrue(150 < copies[0] < 250, copies)
        self.assertTrue(300 < copies[2] < 430, copies)
        parts = Counter(injector.available(5) for _ in range(2000))
        self.assertEqual(set(parts), {1, 2, 3, 4, 5})
        self.assertTrue(1100 < parts[5] < 1300, parts)

    def test_a_single_contract_is_never_split(self) -> None:
        self.assertEqual(self.injector(partial_fills=1.0).available(1), 1)

    @given(st.integers(0, 1000), st.integers(1, 50))
    def test_the_parts_of_a_fill_add_up(self, seed: int, size: int) -> None:
        parts = self.injector(seed, split_fills=1.0).parts(size)
        self.assertEqual((sum(parts), min(parts) > 0), (size, True))
        self.assertEqual(len(parts) > 1, size > 1)

    def test_an_end_is_stamped_before_what_was_reported_last(self) -> None:
        stamp = self.injector(ends_stamped_early=1.0).end_stamp(START, START + timedelta(hours=1))
        self.assertEqual(stamp, START - timedelta(milliseconds=50))

    def test_a_request_and_its_answer_are_under_way_each(self) -> None:
        injector = self.injector(latency_seconds=2.0, jitter_seconds=1.0)
        for plan in (
            injector.plan_read("Trade/search", 0),
            injector.plan_change(CLOSE, 0),
            injector.plan_round_trip(),
        ):
            self.assertTrue(2 <= plan.done_after <= 3, plan)
            self.assertTrue(2 <= plan.answered_after <= 3, plan)
            self.assertNotEqual(plan.done_after, plan.answered_after)

    def test_a_slow_request_is_done_at_once_or_at_its_answer(self) -> None:
        injector = self.injector(slow_seconds=3.0)
        plans = [injector.plan_change(CLOSE, 0) for _ in range(200)]
        for plan in plans:
            self.assertTrue(0 <= plan.done_after + plan.answered_after <= 3)
        self.assertEqual({plan.done_after == 0 for plan in plans}, {True, False})
        self.assertTrue(all(not plan.done_after or not plan.answered_after for plan in plans))

    def test_requests_beyond_the_limit_wait_for_the_minute_to_pass(self) -> None:
        injector = self.injector(requests_per_minute=3)
        answered = [
            injector.plan_read("Trade/search", second).error is None
            for second in (0, 10, 20, 30, 59, 60, 61, 70, 71)
        ]
        self.assertEqual(answered, [True, True, True, False, False, True, False, True, False])
        plan = injector.plan_change(PLACE, 71)
        self.assertFalse(plan.is_done)
        self.assertIn("429", str(plan.error))

    def test_reads_and_changes_share_one_limit(self) -> None:
        injector = self.injector(requests_per_minute=2)
        injector.plan_read("Trade/search", 0)
        self.assertIsNone(injector.plan_change(PLACE, 0).error)
        self.assertIsNotNone(injector.plan_change(PLACE, 0).error)

    def test_the_same_seed_makes_the_same_decisions(self) -> None:
        def decisions(seed: int) -> list[object]:
            injector = self.injector(
                seed, refuse=0.2, slow_seconds=2.0, unanswered=0.3, lost_events=0.5
            )
            return [
                (str(plan.error), plan.is_done, plan.done_after, injector.copies_of_event())
                for plan in (injector.plan_change(CLOSE, 0) for _ in range(50))
            ]

        self.assertEqual(decisions(1), decisions(1))
        self.assertNotEqual(decisions(1), decisions(2))


class FillTests(FaultsTestCase):
    """Faults of fills."""

    def test_a_fault_fills_an_order_in_parts(self) -> None:
        self.driver.inject(partial_fills=1.0)
        order_id = self.successResultOf(self.gateway.place_order(123, self.driver.order(0, 5)))
        ((filled,), order) = self.driver.held(), self.gateway.exchange.store.order(123, order_id)
        self.assertTrue(0 < filled < 5)
        self.assertEqual((order["status"], order["fillVolume"]), (1, filled))
        self.driver.heal()
        self.gateway.move_market(MNQ, PRICE)
        self.assertEqual((self.driver.held(), self.driver.working()), ([5], []))

    def test_a_fault_fills_an_order_while_it_is_canceled(self) -> None:
        order_id = self.work()
        self.driver.inject(fill_while_cancelled=1.0)
        self.assertEqual(self.refusal(self.gateway.cancel_order(123, order_id)), (CANCEL, 2))
        order = self.gateway.exchange.store.order(123, order_id)
        self.assertEqual((order["status"], order["filledPrice"]), (2, PRICE - 100))
        self.assertEqual(self.driver.held(), [2])
        self.assertEqual(self.driver.listener.user_events(POSITION)[-1]["size"], 2)

    def test_canceling_an_unknown_order_fills_nothing(self) -> None:
        self.driver.inject(fill_while_cancelled=1.0)
        self.assertEqual(self.refusal(self.gateway.cancel_order(123, 999)), (CANCEL, 2))
        self.assertEqual(self.driver.listener.user_events(), [])

    def test_a_fault_reports_an_exit_as_two_trades(self) -> None:
        for again in (False, True):
            self.hold(2)
            self.driver.inject(opening_half_again=again)
            self.driver.listener.received.clear()
            self.successResultOf(self.gateway.close_contract(123, MNQ))
            trades = self.driver.listener.user_events(TRADE)
            self.assertEqual(
                ["profitAndLoss" in trade for trade in trades],
                [False, True] if again else [True],
            )


class EventTests(FaultsTestCase):
    """Faults of events."""

    def test_account_events_may_be_lost_and_quotes_never_are(self) -> None:
        self.driver.inject(lost_events=1.0)
        self.hold(1)
        self.gateway.move_market(MNQ, PRICE)
        self.assertEqual(self.driver.listener.user_events(), [])
        self.assertEqual(len(self.driver.listener.quotes()), 1)

    def test_account_events_may_be_doubled_and_quotes_never_are(self) -> None:
        self.driver.inject(doubled_events=1.0)
        self.hold(1)
        self.gateway.move_market(MNQ, PRICE)
        expected = (ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT)
        self.assertEqual(
            self.driver.listener.targets(), [target for target in expected for _ in range(2)]
        )
        self.assertEqual(len(self.driver.listener.quotes()), 1)

    def test_the_ledger_holds_lost_and_doubled_events_once(self) -> None:
        directory = temporary_directory(self)
        for faults in ({"lost_events": 1.0}, {"doubled_events": 1.0}):
            self.driver = FaultyGatewayDriver(ledger=directory)
            self.gateway = self.driver.gateway
            self.driver.inject(**faults)
            self.hold(1)
            self.gateway.stop()
        after = FaultyGatewayDriver(ledger=directory)
        self.assertEqual(after.held(), [2])
        self.assertEqual(len(after.gateway.exchange.store.trades(123, START)), 2)


class TradersWithFaultsTests(SynchronousTestCase):
    """Practice traders at a gateway with many faults."""

    def test_faults_of_requests_do_not_affect_the_traders(self) -> None:
        """They act on the exchange itself."""
        driver = GatewayDriver(ACCOUNTS, faults=Faults(refuse=1.0, lost_requests=1.0)).start()
        driver.run(60)
        self.assertTrue(driver.listener.user_events(TRADE))

    def test_traders_go_on_after_partial_fills(self) -> None:
        driver = GatewayDriver(
            ACCOUNTS, faults=Faults(partial_fills=0.6, fill_while_cancelled=0.5)
        ).start()
        driver.run(240)
        orders = driver.listener.user_events(ORDER)
        parts = [order for order in orders if 0 < order["fillVolume"] < order["size"]]
        self.assertTrue(parts)
        late = (START + timedelta(seconds=180)).isoformat()
        for account_id in ACCOUNTS:
            self.assertTrue(
                any(
                    order["accountId"] == account_id and order["creationTimestamp"] > late
                    for order in orders
                )
            )

    def test_faults_of_requests_do_not_change_the_traders_trades(self) -> None:
        def trades(faults: Faults) -> list[Payload]:
            driver = GatewayDriver(ACCOUNTS, faults=faults).start()
            driver.run(60)
            return driver.listener.user_events(TRADE)

        self.assertEqual(trades(Faults(refuse=0.5, slow_seconds=2.0)), trades(NO_FAULTS))
