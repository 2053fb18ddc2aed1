"""Faults: what may go wrong, the dice that decide it, and the practice gateway doing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import TimeoutError as AnswerTimeoutError
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.faults import NO_FAULTS, Faults
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError, Payload
from riskd.practice.fault_injection import Dice, Fate
from tests.practice.test_gateway import (
    ACCOUNT_EVENT,
    ACCOUNTS,
    MNQ,
    ORDER,
    POSITION,
    START,
    TRADE,
    Desk,
    temporary_directory,
)

PLACE, CANCEL, CHANGE = "Order/place", "Order/cancel", "Order/modify"
CLOSE, PARTIAL_CLOSE = "Position/closeContract", "Position/partialCloseContract"
CHANGES = (PLACE, CANCEL, CHANGE, CLOSE, PARTIAL_CLOSE)
CHANCES = (
    "refuse",
    "pending",
    "unanswered",
    "lost_requests",
    "failed_reads",
    "partial_fills",
    "fill_while_cancelled",
    "lost_events",
    "doubled_events",
)
PRICE = Decimal("21000.00")


def from_table(table: dict[str, Any]) -> Faults:
    """Return the faults that a table of a settings file asks for."""
    return msgspec.convert(table, Faults)


class SettingsTests(SynchronousTestCase):
    """The table of faults."""

    def test_nothing_goes_wrong_by_default(self) -> None:
        self.assertEqual(from_table({}), NO_FAULTS)
        self.assertEqual(set(msgspec.to_builtins(NO_FAULTS).values()), {0})

    def test_every_field_is_read(self) -> None:
        table = {
            **dict.fromkeys(CHANCES, 0.25),
            "slow_seconds": 2.5,
            "requests_per_minute": 200,
            "opening_half_again": True,
        }
        self.assertEqual(msgspec.to_builtins(from_table(table)), table)

    def test_a_chance_is_from_0_to_1(self) -> None:
        for name in CHANCES:
            for value in (0, 1, 0.5):
                from_table({name: value})
            for value in (-0.1, 1.1, "often", True):
                error = self.assertRaises(msgspec.ValidationError, from_table, {name: value})
                self.assertIn(name, str(error))

    def test_other_values_and_names_are_checked_too(self) -> None:
        for table in (
            {"slow_seconds": -1},
            {"slow_seconds": 601},
            {"requests_per_minute": -1},
            {"requests_per_minute": 0.5},
            {"opening_half_again": 1},
            {"refused": 0.5},
        ):
            self.assertRaises(msgspec.ValidationError, from_table, table)


class DiceTests(SynchronousTestCase):
    """What is decided."""

    def dice(self, seed: int = 1, **faults: Any) -> Dice:
        return Dice(Faults(**faults), Random(seed))

    def test_without_faults_all_is_as_it_should_be(self) -> None:
        dice = self.dice()
        for second in range(300):
            self.assertEqual(dice.fate_of_change(PLACE, second), Fate())
            self.assertEqual(dice.fate_of_read("Order/searchOpen", second), Fate())
            self.assertFalse(dice.fills_while_cancelled())
            self.assertEqual((dice.available(5), dice.times_told()), (5, 1))

    def test_refusals_have_the_code_of_each_request(self) -> None:
        for fault, codes in (
            ("refuse", {PLACE: 2, CANCEL: 3, CHANGE: 3, CLOSE: 5, PARTIAL_CLOSE: 6}),
            ("pending", {CANCEL: 4, CHANGE: 4, CLOSE: 6, PARTIAL_CLOSE: 7}),
        ):
            dice = self.dice(**{fault: 1.0})
            for request, code in codes.items():
                fate = dice.fate_of_change(request, 0)
                assert isinstance(fate.error, GatewayRefusedError)
                self.assertEqual((fate.error.request, fate.error.code), (request, code))
                self.assertFalse(fate.is_done)

    def test_placing_is_never_pending(self) -> None:
        self.assertEqual(self.dice(pending=1.0).fate_of_change(PLACE, 0), Fate())

    def test_no_answer_does_not_say_whether_it_is_done(self) -> None:
        for fault, is_done in (("unanswered", True), ("lost_requests", False)):
            dice = self.dice(**{fault: 1.0})
            for request in CHANGES:
                fate = dice.fate_of_change(request, 0)
                self.assertIsInstance(fate.error, GatewayUnansweredError)
                self.assertEqual(fate.is_done, is_done)
            self.assertEqual(dice.fate_of_read("Trade/search", 0), Fate())

    def test_a_failed_read_is_of_reads_only(self) -> None:
        dice = self.dice(failed_reads=1.0)
        self.assertIsInstance(dice.fate_of_read("Trade/search", 0).error, GatewayUnansweredError)
        self.assertEqual(dice.fate_of_change(PLACE, 0), Fate())

    def test_a_chance_is_met_about_as_often_as_it_says(self) -> None:
        dice = self.dice(refuse=0.3, lost_events=0.1, doubled_events=0.2, partial_fills=0.4)
        refused = sum(dice.fate_of_change(PLACE, 0).error is not None for _ in range(2000))
        self.assertTrue(500 < refused < 700, refused)
        told = Counter(dice.times_told() for _ in range(2000))
        self.assertTrue(150 < told[0] < 250, told)
        self.assertTrue(300 < told[2] < 430, told)
        parts = Counter(dice.available(5) for _ in range(2000))
        self.assertEqual(set(parts), {1, 2, 3, 4, 5})
        self.assertTrue(1100 < parts[5] < 1300, parts)

    def test_a_single_contract_is_never_filled_in_parts(self) -> None:
        self.assertEqual(self.dice(partial_fills=1.0).available(1), 1)

    def test_a_slow_answer_takes_no_longer_than_it_may_and_is_done_now_or_then(self) -> None:
        dice = self.dice(slow_seconds=3.0)
        fates = [dice.fate_of_change(CLOSE, 0) for _ in range(200)]
        for fate in fates:
            self.assertTrue(0 <= fate.done_after + fate.answered_after <= 3)
        self.assertEqual({fate.done_after == 0 for fate in fates}, {True, False})
        self.assertTrue(all(not fate.done_after or not fate.answered_after for fate in fates))

    def test_beyond_the_limit_nothing_is_answered_until_a_minute_has_passed(self) -> None:
        dice = self.dice(requests_per_minute=3)
        answered = [
            dice.fate_of_read("Trade/search", second).error is None
            for second in (0, 10, 20, 30, 59, 60, 61, 70, 71)
        ]
        self.assertEqual(answered, [True, True, True, False, False, True, False, True, False])
        fate = dice.fate_of_change(PLACE, 71)
        self.assertFalse(fate.is_done)
        self.assertIn("429", str(fate.error))

    def test_the_limit_is_of_reads_and_changes_together(self) -> None:
        dice = self.dice(requests_per_minute=2)
        dice.fate_of_read("Trade/search", 0)
        self.assertIsNone(dice.fate_of_change(PLACE, 0).error)
        self.assertIsNotNone(dice.fate_of_change(PLACE, 0).error)

    def test_the_same_seed_decides_the_same(self) -> None:
        def decisions(seed: int) -> list[object]:
            dice = self.dice(seed, refuse=0.2, slow_seconds=2.0, unanswered=0.3, lost_events=0.5)
            return [
                (str(fate.error), fate.is_done, fate.done_after, dice.times_told())
                for fate in (dice.fate_of_change(CLOSE, 0) for _ in range(50))
            ]

        self.assertEqual(decisions(1), decisions(1))
        self.assertNotEqual(decisions(1), decisions(2))


class FaultyDesk(Desk):
    """A shut practice gateway at which things go wrong, once it has been started."""

    def __init__(self, **options: Any) -> None:
        super().__init__(is_open=False, **options)
        self.start()
        self.gateway.move_market(MNQ, PRICE)
        self.listener.told.clear()

    def suffer(self, **faults: Any) -> None:
        self.gateway.faults = Faults(**faults)

    def heal(self) -> None:
        self.gateway.faults = NO_FAULTS

    def held(self) -> list[int]:
        return [held["size"] for held in self.gateway.exchange.open_positions(123)]

    def working(self) -> list[Payload]:
        return self.gateway.exchange.open_orders(123)


class FaultsTestCase(SynchronousTestCase):
    """A faulty desk, and short words for what its answers are."""

    def setUp(self) -> None:
        self.desk = FaultyDesk()
        self.gateway = self.desk.gateway

    def hold(self, size: int) -> None:
        self.successResultOf(self.gateway.place_order(123, self.desk.order(0, size)))

    def work(self) -> int:
        order = self.desk.order(0, 2, type=1, limitPrice=PRICE - 100)
        return self.successResultOf(self.gateway.place_order(123, order))

    def requests(self) -> list[tuple[str, Callable[[], Deferred[Any]]]]:
        """Hold and work something; return a request of each kind that changes something."""
        self.hold(3)
        order_id = self.work()
        gateway = self.gateway
        return [
            (PLACE, lambda: gateway.place_order(123, self.desk.order(0))),
            (CHANGE, lambda: gateway.modify_order(123, order_id, {"size": 5})),
            (CANCEL, lambda: gateway.cancel_order(123, order_id)),
            (PARTIAL_CLOSE, lambda: gateway.partial_close_contract(123, MNQ, 1)),
            (CLOSE, lambda: gateway.close_contract(123, MNQ)),
        ]

    def reads(self) -> list[Callable[[], Deferred[Any]]]:
        gateway = self.gateway
        return [
            lambda: gateway.search_account(123),
            lambda: gateway.search_open_positions(123),
            lambda: gateway.search_open_orders(123),
            lambda: gateway.search_order(123, 1),
            lambda: gateway.search_trades(123, START),
            lambda: gateway.search_contract(MNQ),
        ]

    def refusal(self, asked: Deferred[Any]) -> tuple[str, int]:
        error = self.failureResultOf(asked, GatewayRefusedError).value
        return error.request, error.code


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
