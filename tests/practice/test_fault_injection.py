"""What goes wrong, and what a gateway with faults does."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.faults import NO_FAULTS, Faults
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError, Payload
from riskd.practice.fault_injection import FaultInjector, RequestPlan
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
    Desk,
    FaultsTestCase,
    FaultyDesk,
    temporary_directory,
)

CHANGES = (PLACE, CANCEL, CHANGE, CLOSE, PARTIAL_CLOSE)


class DiceTests(SynchronousTestCase):
    """What is decided."""

    def injector(self, seed: int = 1, **faults: Any) -> FaultInjector:
        return FaultInjector(Faults(**faults), Random(seed))

    def test_without_faults_all_is_as_it_should_be(self) -> None:
        injector = self.injector()
        for second in range(300):
            self.assertEqual(injector.plan_change(PLACE, second), RequestPlan())
            self.assertEqual(injector.plan_read("Order/searchOpen", second), RequestPlan())
            self.assertFalse(injector.fills_while_canceled())
            self.assertEqual((injector.available(5), injector.copies_of_event()), (5, 1))

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

    def test_no_answer_does_not_say_whether_it_is_done(self) -> None:
        for fault, is_done in (("unanswered", True), ("lost_requests", False)):
            injector = self.injector(**{fault: 1.0})
            for request in CHANGES:
                plan = injector.plan_change(request, 0)
                self.assertIsInstance(plan.error, GatewayUnansweredError)
                self.assertEqual(plan.is_done, is_done)
            self.assertEqual(injector.plan_read("Trade/search", 0), RequestPlan())

    def test_a_failed_read_is_of_reads_only(self) -> None:
        injector = self.injector(failed_reads=1.0)
        self.assertIsInstance(injector.plan_read("Trade/search", 0).error, GatewayUnansweredError)
        self.assertEqual(injector.plan_change(PLACE, 0), RequestPlan())

    def test_a_chance_is_met_about_as_often_as_it_says(self) -> None:
        injector = self.injector(
            refuse=0.3, lost_events=0.1, doubled_events=0.2, partial_fills=0.4
        )
        refused = sum(injector.plan_change(PLACE, 0).error is not None for _ in range(2000))
        self.assertTrue(500 < refused < 700, refused)
        told = Counter(injector.copies_of_event() for _ in range(2000))
        self.assertTrue(150 < told[0] < 250, told)
        self.assertTrue(300 < told[2] < 430, told)
        parts = Counter(injector.available(5) for _ in range(2000))
        self.assertEqual(set(parts), {1, 2, 3, 4, 5})
        self.assertTrue(1100 < parts[5] < 1300, parts)

    def test_a_single_contract_is_never_filled_in_parts(self) -> None:
        self.assertEqual(self.injector(partial_fills=1.0).available(1), 1)

    def test_a_slow_answer_takes_no_longer_than_it_may_and_is_done_now_or_then(self) -> None:
        injector = self.injector(slow_seconds=3.0)
        plans = [injector.plan_change(CLOSE, 0) for _ in range(200)]
        for plan in plans:
            self.assertTrue(0 <= plan.done_after + plan.answered_after <= 3)
        self.assertEqual({plan.done_after == 0 for plan in plans}, {True, False})
        self.assertTrue(all(not plan.done_after or not plan.answered_after for plan in plans))

    def test_beyond_the_limit_nothing_is_answered_until_a_minute_has_passed(self) -> None:
        injector = self.injector(requests_per_minute=3)
        answered = [
            injector.plan_read("Trade/search", second).error is None
            for second in (0, 10, 20, 30, 59, 60, 61, 70, 71)
        ]
        self.assertEqual(answered, [True, True, True, False, False, True, False, True, False])
        plan = injector.plan_change(PLACE, 71)
        self.assertFalse(plan.is_done)
        self.assertIn("429", str(plan.error))

    def test_the_limit_is_of_reads_and_changes_together(self) -> None:
        injector = self.injector(requests_per_minute=2)
        injector.plan_read("Trade/search", 0)
        self.assertIsNone(injector.plan_change(PLACE, 0).error)
        self.assertIsNotNone(injector.plan_change(PLACE, 0).error)

    def test_the_same_seed_decides_the_same(self) -> None:
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
    """Fills at a faulty gateway."""

    def test_an_order_is_filled_in_parts(self) -> None:
        self.desk.suffer(partial_fills=1.0)
        order_id = self.successResultOf(self.gateway.place_order(123, self.desk.order(0, 5)))
        ((filled,), order) = self.desk.held(), self.gateway.exchange.order(123, order_id)
        self.assertTrue(0 < filled < 5)
        self.assertEqual((order["status"], order["fillVolume"]), (1, filled))
        self.desk.heal()
        self.gateway.move_market(MNQ, PRICE)
        self.assertEqual((self.desk.held(), self.desk.working()), ([5], []))

    def test_an_order_is_filled_while_it_is_cancelled(self) -> None:
        order_id = self.work()
        self.desk.suffer(fill_while_cancelled=1.0)
        self.assertEqual(self.refusal(self.gateway.cancel_order(123, order_id)), (CANCEL, 2))
        order = self.gateway.exchange.order(123, order_id)
        self.assertEqual((order["status"], order["filledPrice"]), (2, PRICE - 100))
        self.assertEqual(self.desk.held(), [2])
        self.assertEqual(self.desk.listener.user_events(POSITION)[-1]["size"], 2)

    def test_what_does_not_work_is_not_filled_while_it_is_cancelled(self) -> None:
        self.desk.suffer(fill_while_cancelled=1.0)
        self.assertEqual(self.refusal(self.gateway.cancel_order(123, 999)), (CANCEL, 2))
        self.assertEqual(self.desk.listener.user_events(), [])

    def test_an_exit_is_told_as_two_trades(self) -> None:
        for again in (False, True):
            self.hold(2)
            self.desk.suffer(opening_half_again=again)
            self.desk.listener.told.clear()
            self.successResultOf(self.gateway.close_contract(123, MNQ))
            trades = self.desk.listener.user_events(TRADE)
            self.assertEqual(
                ["profitAndLoss" in trade for trade in trades],
                [False, True] if again else [True],
            )


class EventTests(FaultsTestCase):
    """Events at a faulty gateway."""

    def test_a_lost_event_is_never_told_and_a_quote_always(self) -> None:
        self.desk.suffer(lost_events=1.0)
        self.hold(1)
        self.gateway.move_market(MNQ, PRICE)
        self.assertEqual(self.desk.listener.user_events(), [])
        self.assertEqual(len(self.desk.listener.quotes()), 1)

    def test_a_doubled_event_is_told_twice_and_a_quote_once(self) -> None:
        self.desk.suffer(doubled_events=1.0)
        self.hold(1)
        self.gateway.move_market(MNQ, PRICE)
        told = [
            target for target, contract_id, _payload in self.desk.listener.told if not contract_id
        ]
        expected = (ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT)
        self.assertEqual(told, [target for target in expected for _ in range(2)])
        self.assertEqual(len(self.desk.listener.quotes()), 1)

    def test_the_ledger_has_every_event_once(self) -> None:
        directory = temporary_directory(self)
        for faults in ({"lost_events": 1.0}, {"doubled_events": 1.0}):
            self.desk = FaultyDesk(ledger=directory)
            self.gateway = self.desk.gateway
            self.desk.suffer(**faults)
            self.hold(1)
            self.gateway.stop()
        after = FaultyDesk(ledger=directory)
        self.assertEqual(after.held(), [2])
        self.assertEqual(len(after.gateway.exchange.trades(123, START)), 2)


ANYTHING_WRONG = Faults(
    refuse=0.1,
    pending=0.1,
    unanswered=0.1,
    lost_requests=0.1,
    failed_reads=0.1,
    slow_seconds=2.0,
    partial_fills=0.5,
    fill_while_cancelled=0.3,
    lost_events=0.1,
    doubled_events=0.1,
    requests_per_minute=100,
    opening_half_again=True,
)


class TroubleTests(SynchronousTestCase):
    """Practice traders where anything goes wrong."""

    def test_the_traders_ask_the_exchange_itself(self) -> None:
        """Neither refusals nor silence reach them."""
        desk = Desk(ACCOUNTS, faults=Faults(refuse=1.0, lost_requests=1.0)).start()
        desk.run(60)
        self.assertTrue(desk.listener.user_events(TRADE))

    def test_fills_in_parts_reach_them_and_they_go_on(self) -> None:
        desk = Desk(ACCOUNTS, faults=Faults(partial_fills=0.6, fill_while_cancelled=0.5)).start()
        desk.run(240)
        orders = desk.listener.user_events(ORDER)
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

    @given(st.integers(0, 10_000))
    def test_whatever_goes_wrong_the_books_are_right(self, seed: int) -> None:
        desk = Desk({123: ("MNQ",)}, seed, faults=ANYTHING_WRONG).start()
        failures: list[object] = []
        for _ in range(10):
            desk.run(3)
            for asked in (
                desk.gateway.place_order(123, desk.order(0, 3)),
                desk.gateway.close_contract(123, MNQ),
                desk.gateway.search_open_orders(123),
            ):
                asked.addErrback(failures.append)
        desk.gateway.stop()
        exchange = desk.gateway.exchange
        trades = exchange.trades(123, START)
        made = sum((trade.get("profitAndLoss", Decimal(0)) for trade in trades), Decimal(0))
        fees = sum((trade["fees"] for trade in trades), Decimal(0))
        self.assertEqual(exchange.account(123)["balance"], 50000 + made - fees)
        self.assertEqual(desk.clock.getDelayedCalls(), [])

    def test_the_same_seed_tells_the_same(self) -> None:
        def told() -> list[object]:
            desk = Desk(ACCOUNTS, faults=ANYTHING_WRONG).start()
            desk.run(60)
            return [*desk.listener.told]

        self.assertEqual(told(), told())

    def test_faults_of_requests_change_nothing_of_what_the_traders_do(self) -> None:
        def trades(faults: Faults) -> list[Payload]:
            desk = Desk(ACCOUNTS, faults=faults).start()
            desk.run(60)
            return desk.listener.user_events(TRADE)

        self.assertEqual(trades(Faults(refuse=0.5, slow_seconds=2.0)), trades(NO_FAULTS))
