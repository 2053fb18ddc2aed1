"""Invariants of the exchange, over random courses of trading."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.enums import (
    GatewayOrderStatus,
    GatewayPositionType,
)
from riskd.practice.records import STARTING_BALANCE
from tests import examples
from tests.support.practice_exchange import (
    ACCOUNT,
    ACCOUNT_EVENT,
    BUY,
    FEES,
    NOW,
    ORDER,
    OTHER_ACCOUNT,
    POSITION,
    TRADE,
    fresh_exchange,
)
from tests.support.trading_courses import (
    STARTS,
    WORTH,
    Course,
    FullCourse,
    cash_flow,
    courses,
    direction,
    full_courses,
    total_pnl,
)


class InvariantTests(SynchronousTestCase):
    """Invariants of orders, fills and closes."""

    def course(self, steps: list[Any]) -> Course:
        course = Course()
        course.play(steps)
        return course

    @given(courses)
    @settings(max_examples=examples(25))
    def test_a_flat_account_has_made_its_cash_flow(self, steps: list[Any]) -> None:
        course = self.course(steps)
        course.close_all()
        for account_id, contract, trades in course.books():
            self.assertEqual(
                total_pnl(trades), cash_flow(contract, trades), (account_id, contract.name)
            )

    @given(courses)
    @settings(max_examples=examples(25))
    def test_pnl_and_open_cost_add_up_to_the_cash_flow(self, steps: list[Any]) -> None:
        """The average price of an open position loses no cent."""
        course = self.course(steps)
        for account_id, contract, trades in course.books():
            cost = sum(
                (
                    held["averagePrice"]
                    * held["size"]
                    * (1 if held["type"] == GatewayPositionType.LONG else -1)
                    for held in course.driver.exchange.store.open_positions(account_id)
                    if held["contractId"] == contract.id
                ),
                Decimal(0),
            )
            difference = total_pnl(trades) - cost * WORTH[contract] - cash_flow(contract, trades)
            self.assertTrue(abs(difference) < Decimal("1e-9"), difference)

    @given(courses)
    @settings(max_examples=examples(25))
    def test_positions_are_the_sum_of_their_fills(self, steps: list[Any]) -> None:
        course = self.course(steps)
        expected = {
            (account_id, contract.id): sum(direction(trade) * trade["size"] for trade in trades)
            for account_id, contract, trades in course.books()
        }
        held = {
            (position["accountId"], position["contractId"]): position["size"]
            * (1 if position["type"] == GatewayPositionType.LONG else -1)
            for account_id in (ACCOUNT, OTHER_ACCOUNT)
            for position in course.driver.exchange.store.open_positions(account_id)
        }
        self.assertEqual(held, {key: net for key, net in expected.items() if net})
        # The last event of each position equals what a search finds.
        reported = {
            (position["accountId"], position["contractId"]): position["size"]
            for position in course.driver.payloads(POSITION)
        }
        self.assertEqual(reported, {key: abs(expected[key]) for key in reported})

    @given(courses)
    @settings(max_examples=examples(25))
    def test_the_balance_changes_by_pnl_less_fees(self, steps: list[Any]) -> None:
        course = self.course(steps)
        trades = course.driver.payloads(TRADE)
        for account_id in {trade["accountId"] for trade in trades}:
            own = [trade for trade in trades if trade["accountId"] == account_id]
            fees = sum(FEES[trade["contractId"]] * trade["size"] for trade in own)
            self.assertEqual(sum(trade["fees"] for trade in own), fees)
            balance = [
                account["balance"]
                for account in course.driver.payloads(ACCOUNT_EVENT)
                if account["id"] == account_id
            ][-1]
            self.assertEqual(balance, STARTING_BALANCE + total_pnl(own) - fees)

    @given(courses)
    @settings(max_examples=examples(25))
    def test_every_pnl_is_in_whole_cents(self, steps: list[Any]) -> None:
        course = self.course(steps)
        course.close_all()
        for trade in course.driver.payloads(TRADE):
            if "profitAndLoss" in trade:
                pnl = trade["profitAndLoss"]
                self.assertEqual(pnl.as_tuple().exponent, -2)
                self.assertFalse(pnl.is_zero() and pnl.is_signed(), "a zero has no sign")

    @given(courses)
    @settings(max_examples=examples(25))
    def test_an_order_ends_once_and_stays_ended(self, steps: list[Any]) -> None:
        course = self.course(steps)
        ended = Counter(
            order["id"]
            for order in course.driver.payloads(ORDER)
            if order["status"] != GatewayOrderStatus.OPEN
        )
        begun = {order["id"] for order in course.driver.payloads(ORDER)}
        working = {
            order["id"]
            for account_id in (ACCOUNT, OTHER_ACCOUNT)
            for order in course.driver.exchange.store.open_orders(account_id)
            if order["status"] == GatewayOrderStatus.OPEN
        }
        self.assertEqual(working, begun - set(ended))
        self.assertEqual(set(ended.values()) - {1}, set())

    @given(courses)
    @settings(max_examples=examples(25))
    def test_ids_are_unique_across_orders_trades_and_positions(self, steps: list[Any]) -> None:
        driver = self.course(steps).driver
        trades = [trade["id"] for trade in driver.payloads(TRADE)]
        owners: dict[int, set[tuple[str, int, str]]] = {}
        for target in (ORDER, POSITION, TRADE):
            for payload in driver.payloads(target):
                owner = (target, payload["accountId"], payload["contractId"])
                owners.setdefault(payload["id"], set()).add(owner)
        self.assertEqual(len(trades), len(set(trades)))
        self.assertEqual({len(owner) for owner in owners.values()} - {1}, set())

    @given(courses)
    @settings(max_examples=examples(25))
    def test_a_position_id_is_not_reused_after_the_close(self, steps: list[Any]) -> None:
        flat: set[int] = set()
        for position in self.course(steps).driver.payloads(POSITION):
            self.assertNotIn(position["id"], flat)
            if not position["size"]:
                flat.add(position["id"])

    @given(courses)
    @settings(max_examples=examples(25))
    def test_no_fill_is_worse_than_the_limit(self, steps: list[Any]) -> None:
        for order in self.course(steps).driver.payloads(ORDER):
            if "filledPrice" in order and "limitPrice" in order:
                better = (order["limitPrice"] - order["filledPrice"]) * direction(order)
                self.assertTrue(better >= 0, order)

    @given(courses)
    @settings(max_examples=examples(25))
    def test_no_working_order_is_within_reach_of_the_market(self, steps: list[Any]) -> None:
        """A working order is out of reach of the market or waits for its stop."""
        course = self.course(steps)
        for account_id in (ACCOUNT, OTHER_ACCOUNT):
            for order in course.driver.exchange.store.open_orders(account_id):
                quote = course.driver.exchange.quote(order["contractId"])
                assert quote is not None
                if "stopPrice" not in order:
                    touch = quote.ask if order["side"] == BUY else quote.bid
                    self.assertTrue((touch - order["limitPrice"]) * direction(order) > 0, order)
                elif "limitPrice" not in order:
                    away = (order["stopPrice"] - quote.last) * direction(order)
                    self.assertTrue(away > 0, order)


class FullCourseInvariantTests(SynchronousTestCase):
    """Invariants with all else: fills in parts, changes, partial closes, corrections."""

    def course(self, steps: list[Any]) -> FullCourse:
        course = FullCourse()
        course.play(steps)
        return course

    @given(full_courses)
    def test_the_balance_changes_by_pnl_less_costs_of_valid_trades(self, steps: list[Any]) -> None:
        exchange = self.course(steps).driver.exchange
        for account_id in (ACCOUNT, OTHER_ACCOUNT):
            counted = [
                trade for trade in exchange.store.trades(account_id, NOW) if not trade["voided"]
            ]
            costs = sum(
                (trade["fees"] + trade.get("commissions", Decimal(0)) for trade in counted),
                Decimal(0),
            )
            change = exchange.store.account(account_id)["balance"] - STARTING_BALANCE
            self.assertEqual(total_pnl(counted), change + costs)

    @given(full_courses)
    @settings(max_examples=examples(25))
    def test_the_version_changes_with_whatever_the_accounts_have(self, steps: list[Any]) -> None:
        course = FullCourse()
        exchange = course.driver.exchange
        states = {}
        for step in steps:
            course.play([step])
            state = exchange.store.state(course.driver.now)
            self.assertEqual(states.setdefault(exchange.version, state), state)

    @given(full_courses)
    def test_fill_volumes_equal_traded_sizes(self, steps: list[Any]) -> None:
        course = self.course(steps)
        traded: Counter[int] = Counter()
        for account_id, _contract, _trades in course.books()[::2]:
            for trade in course.driver.exchange.store.trades(account_id, NOW):
                traded[trade["orderId"]] += trade["size"]
        last = {order["id"]: order for order in course.driver.payloads(ORDER)}
        for order_id, order in last.items():
            filled = order["fillVolume"]
            self.assertEqual(filled, traded[order_id])
            self.assertEqual("filledPrice" in order, filled > 0)
            if order["status"] == GatewayOrderStatus.FILLED:
                self.assertEqual(filled, order["size"])
            elif order["status"] == GatewayOrderStatus.OPEN:
                self.assertTrue(filled < order["size"])

    @given(full_courses)
    def test_no_two_orders_share_a_tag(self, steps: list[Any]) -> None:
        tagged = {
            (order["customTag"], order["id"])
            for order in self.course(steps).driver.payloads(ORDER)
            if "customTag" in order
        }
        self.assertEqual(len(tagged), len({tag for tag, _id in tagged}))

    @given(full_courses)
    def test_a_flat_account_has_made_its_cash_flow(self, steps: list[Any]) -> None:
        course = self.course([step for step in steps if step[0] not in ("void", "amend")])
        course.take(1000)
        for contract in STARTS:
            course.move(contract, 0, False)
        course.close_all()
        for account_id, contract, trades in course.books():
            held = course.driver.exchange.store.open_positions(account_id)
            self.assertNotIn(contract.id, [position["contractId"] for position in held])
            self.assertEqual(total_pnl(trades), cash_flow(contract, trades))

    @given(full_courses)
    def test_an_exchange_goes_on_from_the_state_of_another(self, steps: list[Any]) -> None:
        driver = self.course(steps).driver
        state = driver.exchange.store.state(driver.now)
        exchange = fresh_exchange()
        self.assertEqual(exchange.store.restore(state, driver.now), [])
        self.assertEqual(exchange.store.state(driver.now), state)
