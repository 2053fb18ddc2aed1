"""A gateway in this process with the live broker's habits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import Faults
from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.practice.account_store import AccountStore
from riskd.practice.records import STARTING_BALANCE
from tests import examples
from tests.support.directories import temporary_directory
from tests.support.practice_gateway import (
    ACCOUNT_EVENT,
    ACCOUNTS,
    MNQ,
    ORDER,
    POSITION,
    PRICE,
    START,
    TRADE,
    FaultsTestCase,
    FaultyGatewayDriver,
    GatewayDriver,
    payloads_of,
)
from tests.support.swarm import some_faults
from tests.support.waiting import step_until


def net(trades: list[Payload]) -> Decimal:
    """Return what trades that are not voided add to a balance."""
    return sum(
        (
            trade.get("profitAndLoss", Decimal(0)) - trade["fees"] - trade.get("commissions", 0)
            for trade in trades
            if not trade["voided"]
        ),
        Decimal(0),
    )


class HabitsTestCase(FaultsTestCase):
    def events(self, target: str = "") -> list[Payload]:
        return self.driver.listener.user_events(target)

    def targets(self) -> list[str]:
        """Return the kinds of the account events received since the last call."""
        targets = self.driver.listener.targets()
        self.driver.listener.received.clear()
        return targets

    def stored_trades(self) -> list[Payload]:
        return self.gateway.exchange.store.trades(123, START - timedelta(days=2))

    def balance(self) -> Decimal:
        balance: Decimal = self.gateway.exchange.store.account(123)["balance"]
        return balance

    def exit(self) -> Payload:
        """Open and close a position; return the closing trade."""
        self.hold(2)
        self.gateway.move_market(MNQ, PRICE - 100)
        self.successResultOf(self.gateway.close_contract(123, MNQ))
        return self.stored_trades()[-1]


class ClockTests(HabitsTestCase):
    """The exchange's clock."""

    def test_without_an_offset_it_is_this_machines(self) -> None:
        self.assertEqual(self.gateway.broker_time(), self.driver.now())

    def test_all_stamps_are_of_the_exchanges_clock(self) -> None:
        for offset in (0.25, 60.0, -60.0, 86_400.0, -86_400.0):
            self.driver.listener.received.clear()
            self.driver.inject(clock_offset_seconds=offset)
            self.driver.clock.advance(1)
            wanted = self.driver.now() + timedelta(seconds=offset)
            self.assertEqual(self.gateway.broker_time(), wanted)
            self.hold(1)
            self.gateway.move_market(MNQ, PRICE)
            ((_contract, quote),) = self.driver.listener.quotes()
            stamps = [
                self.events(ORDER)[-1]["updateTimestamp"],
                self.events(TRADE)[-1]["creationTimestamp"],
                self.events(POSITION)[-1]["creationTimestamp"],
                quote["timestamp"],
                quote["lastUpdated"],
            ]
            self.assertEqual([datetime.fromisoformat(each) for each in stamps], [wanted] * 5)
            self.successResultOf(self.gateway.close_contract(123, MNQ))

    def test_it_stands_still_while_this_machines_is_set_back(self) -> None:
        self.driver.inject(clock_offset_seconds=10.0)
        before = self.gateway.broker_time()
        self.driver.origin -= timedelta(hours=1)
        self.assertEqual(self.gateway.broker_time(), before)

    def test_another_offset_holds_at_once_both_ways(self) -> None:
        for offset in (86_400.0, -86_400.0, 0.0):
            self.driver.inject(clock_offset_seconds=offset)
            wanted = self.driver.now() + timedelta(seconds=offset)
            self.assertEqual(self.gateway.broker_time(), wanted)

    def test_contracts_and_ids_do_not_depend_on_it(self) -> None:
        ahead = GatewayDriver(faults=Faults(clock_offset_seconds=86_400.0)).start()
        for driver in (ahead, self.driver):
            order = driver.order(0)
            self.successResultOf(driver.gateway.place_order(123, order))
        self.assertEqual(
            [order["id"] for order in ahead.gateway.exchange.store.orders(123, START)],
            [order["id"] for order in self.gateway.exchange.store.orders(123, START)],
        )


class LatencyTests(HabitsTestCase):
    """The way there and back."""

    def seconds_of_a_read(self) -> float:
        began = self.driver.clock.seconds()
        reading = payloads_of(self.gateway, "Account/search", 123)
        step_until(lambda: reading.called, lambda: self.driver.clock.advance(0.125))
        return self.driver.clock.seconds() - began

    def test_a_request_arrives_its_answer_and_its_events_come_back(self) -> None:
        self.driver.inject(latency_seconds=0.25)
        placing = self.gateway.place_order(123, self.driver.order(0, 2))
        self.driver.clock.advance(0.125)
        self.assertEqual(self.driver.held(), [])
        self.driver.clock.advance(0.125)
        self.assertEqual((self.driver.held(), self.targets()), ([2], []))
        self.assertNoResult(placing)
        self.driver.clock.advance(0.25)
        self.successResultOf(placing)
        self.assertEqual(self.targets(), [ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT])

    def test_a_read_is_as_old_as_the_way_back(self) -> None:
        self.driver.inject(latency_seconds=0.5)
        reading = payloads_of(self.gateway, "Position/searchOpen", 123)
        self.driver.clock.advance(0.5)
        self.gateway.exchange.place_order(123, self.driver.order(0), self.driver.now())
        self.driver.clock.advance(0.5)
        self.assertEqual(self.successResultOf(reading), [])

    def test_refusals_and_lost_answers_take_it_too(self) -> None:
        for faults, error in (
            ({}, GatewayRefusedError),
            ({"refuse": 1.0}, GatewayRefusedError),
            ({"lost_requests": 1.0}, GatewayUnansweredError),
        ):
            self.driver.inject(latency_seconds=0.5, **faults)
            closing = self.gateway.close_contract(123, MNQ)
            self.driver.clock.pump([0.5, 0.25])
            self.assertNoResult(closing)
            self.driver.clock.advance(0.25)
            self.failureResultOf(closing, error)

    def test_jitter_adds_up_to_its_limit_each_way(self) -> None:
        self.driver.inject(latency_seconds=1.0, jitter_seconds=1.0)
        took = [self.seconds_of_a_read() for _ in range(40)]
        self.assertTrue(2 <= min(took) < 2.6, took)
        self.assertTrue(3.4 < max(took) <= 4.25, took)

    def test_a_slow_broker_is_slow_beside_its_distance(self) -> None:
        self.driver.inject(latency_seconds=1.0, slow_seconds=4.0)
        took = [self.seconds_of_a_read() for _ in range(20)]
        self.assertTrue(2 <= min(took) < max(took) <= 6.25, took)

    def test_a_round_trip_of_nothing_takes_the_latency_twice(self) -> None:
        self.successResultOf(self.gateway.round_trip())
        self.driver.inject(latency_seconds=0.5)
        trip = self.gateway.round_trip()
        self.driver.clock.advance(0.5)
        self.assertNoResult(trip)
        self.driver.clock.advance(0.5)
        self.assertIsNone(self.successResultOf(trip))

    def test_a_stop_leaves_nothing_under_way(self) -> None:
        self.driver.inject(latency_seconds=1.0, voided_trades=1.0, amended_trades=1.0)
        self.gateway.place_order(123, self.driver.order(0)).addErrback(lambda _failure: None)
        self.driver.clock.advance(1)
        self.assertTrue(self.driver.clock.getDelayedCalls())
        self.gateway.stop()
        self.assertEqual(self.driver.clock.getDelayedCalls(), [])
        self.assertEqual(self.events(), [])

    def test_events_of_before_a_restart_never_arrive(self) -> None:
        self.driver.inject(latency_seconds=1.0)
        self.gateway.place_order(123, self.driver.order(0)).addErrback(lambda _failure: None)
        self.driver.clock.advance(1)
        self.gateway.stop()
        self.driver.start()
        self.driver.clock.advance(5)
        self.assertEqual(self.events(), [])

    def test_another_start_discards_what_is_under_way(self) -> None:
        self.driver.inject(latency_seconds=1.0)
        self.gateway.place_order(123, self.driver.order(0)).addErrback(lambda _failure: None)
        self.driver.clock.advance(1)
        self.driver.start()
        self.driver.clock.advance(5)
        self.assertEqual(self.events(), [])


class OrderOfNewsTests(HabitsTestCase):
    """Events that come in another order, late, or with odd stamps."""

    def test_positions_and_accounts_follow_a_fill_after_their_delay(self) -> None:
        self.driver.inject(position_delay_seconds=0.1)
        self.hold(1)
        self.assertEqual(self.targets(), [ORDER, ORDER, TRADE])
        self.driver.clock.advance(0.1)
        self.assertEqual(self.targets(), [POSITION, ACCOUNT_EVENT])

    def test_neighbors_change_places(self) -> None:
        self.driver.inject(swapped_events=1.0)
        self.hold(1)
        self.driver.clock.advance(1)
        self.assertEqual(self.targets(), [ORDER, ORDER, POSITION, TRADE, ACCOUNT_EVENT])

    def test_an_event_is_late(self) -> None:
        self.driver.inject(late_events=1.0, late_seconds=3.0)
        order = self.work()
        self.driver.heal()
        self.successResultOf(self.gateway.cancel_order(123, order))
        self.assertEqual([each["status"] for each in self.events(ORDER)], [3])
        self.driver.clock.advance(3)
        self.assertEqual([each["status"] for each in self.events(ORDER)], [3, 1])

    def test_what_follows_from_an_event_comes_after_the_events_it_came_with(self) -> None:
        """A listener that acts on an event, with and without latency."""
        for latency in (0.0, 0.1):
            driver = self.acting = FaultyGatewayDriver(act=self.close_once)
            self.closes = True
            driver.inject(latency_seconds=latency)
            driver.gateway.place_order(123, driver.order(0))
            driver.clock.pump([0.1] * 6)
            expected = [ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT]
            self.assertEqual(driver.listener.targets(), expected * 2)

    def close_once(self, _target: str, _payload: Payload) -> None:
        if self.closes:
            self.closes = False
            self.acting.gateway.close_contract(123, MNQ)

    def test_the_end_of_an_order_is_stamped_before_its_last_change(self) -> None:
        order = self.work()
        self.driver.clock.advance(5)
        self.successResultOf(self.gateway.modify_order(123, order, {"size": 3}))
        changed = self.events(ORDER)[-1]["updateTimestamp"]
        self.driver.clock.advance(5)
        self.driver.inject(ends_stamped_early=1.0)
        self.successResultOf(self.gateway.cancel_order(123, order))
        ended = self.events(ORDER)[-1]
        self.assertEqual(ended["status"], 3)
        self.assertTrue(ended["updateTimestamp"] < changed)
        found = self.successResultOf(payloads_of(self.gateway, "Order/searchById", 123, order))
        self.assertEqual(found["updateTimestamp"], ended["updateTimestamp"])

    def test_a_fill_is_stamped_before_the_change_that_it_followed(self) -> None:
        order = self.work()
        self.driver.clock.advance(5)
        self.driver.inject(ends_stamped_early=1.0)
        self.gateway.move_market(MNQ, PRICE - 200)
        working, filled = self.events(ORDER)
        self.assertEqual((working["id"], filled["status"]), (order, 2))
        self.assertTrue(filled["updateTimestamp"] < working["updateTimestamp"])

    def test_a_position_may_be_dated_ahead_or_not_at_all(self) -> None:
        empty = datetime(1, 1, 1, tzinfo=UTC)
        for fault, date in (
            ("positions_dated_ahead", self.driver.now() + timedelta(days=1)),
            ("positions_without_date", empty),
        ):
            self.driver.inject(**{fault: 1.0})
            self.hold(1)
            (found,) = self.successResultOf(payloads_of(self.gateway, "Position/searchOpen", 123))
            for held in (self.events(POSITION)[-1], found):
                self.assertEqual(datetime.fromisoformat(held["creationTimestamp"]), date, fault)
            self.successResultOf(self.gateway.close_contract(123, MNQ))

    def test_odd_dates_and_amended_trades_outlive_a_restart(self) -> None:
        directory = temporary_directory(self)
        self.driver = FaultyGatewayDriver(ledger=directory)
        self.gateway = self.driver.gateway
        self.driver.inject(positions_without_date=1.0, ends_stamped_early=1.0, commissions=True)
        self.hold(2)
        (trade,) = self.stored_trades()
        self.gateway.amend_trade(123, trade["id"], fees=Decimal("3.00"), is_reported=False)
        before = self.gateway.exchange.store.state(self.driver.now())
        self.gateway.stop()
        after = FaultyGatewayDriver(ledger=directory).gateway.exchange.store
        self.assertEqual(after.state(self.driver.now()), before)
        self.assertEqual(after.trades(123, START)[0]["fees"], 3)


class SearchTests(HabitsTestCase):
    """Answers that lack stamps."""

    def test_searches_of_orders_have_null_stamps(self) -> None:
        order = self.work()
        self.driver.inject(searches_without_stamp=1.0)
        found = [
            *self.successResultOf(payloads_of(self.gateway, "Order/searchOpen", 123)),
            *self.successResultOf(payloads_of(self.gateway, "Order/search", 123, START)),
            self.successResultOf(payloads_of(self.gateway, "Order/searchById", 123, order)),
        ]
        self.assertEqual([each["updateTimestamp"] for each in found], [None] * 3)
        self.assertIsNotNone(self.driver.working()[0]["updateTimestamp"])

    def test_events_of_orders_have_none(self) -> None:
        self.driver.inject(events_without_stamp=1.0)
        self.hold(1)
        self.assertEqual(["updateTimestamp" in order for order in self.events(ORDER)], [False] * 2)


class TrailingSearchTests(HabitsTestCase):
    """Searches that trail the events."""

    def found(self) -> tuple[int, int, int]:
        """Return how many positions, working orders and trades searches find."""
        gateway = self.gateway
        searches = (
            payloads_of(gateway, "Position/searchOpen", 123),
            payloads_of(gateway, "Order/searchOpen", 123),
            payloads_of(gateway, "Trade/search", 123, START),
        )
        positions, orders, trades = (len(self.successResultOf(search)) for search in searches)
        return positions, orders, trades

    def test_a_change_is_found_later_than_its_event_arrives(self) -> None:
        self.driver.inject(searches_trail_seconds=1.0)
        self.hold(2)
        order = self.work()
        self.assertEqual(len(self.events(POSITION)), 1)
        self.driver.clock.advance(0.9)
        self.assertEqual(self.found(), (0, 0, 0))
        self.driver.clock.advance(0.1)
        self.assertEqual(self.found(), (1, 1, 1))
        self.successResultOf(self.gateway.cancel_order(123, order))
        self.successResultOf(self.gateway.close_contract(123, MNQ))
        self.assertEqual(self.found(), (1, 1, 1))
        still_open = self.successResultOf(
            payloads_of(self.gateway, "Order/searchById", 123, order)
        )
        self.assertEqual(still_open["status"], 1)
        self.driver.clock.advance(1)
        self.assertEqual(self.found(), (0, 0, 2))
        ended = self.successResultOf(payloads_of(self.gateway, "Order/searchById", 123, order))
        self.assertEqual(ended["status"], 3)

    def test_it_begins_and_ends_with_what_is_there(self) -> None:
        self.hold(2)
        self.work()
        self.driver.inject(searches_trail_seconds=5.0)
        self.assertEqual(self.found(), (1, 1, 1))
        self.successResultOf(self.gateway.close_contract(123, MNQ))
        self.assertEqual(self.found(), (1, 1, 1))
        self.driver.heal()
        self.assertEqual(self.found(), (0, 1, 2))

    def test_a_broker_that_trails_from_the_start_finds_its_ledger(self) -> None:
        directory = temporary_directory(self)
        self.driver = FaultyGatewayDriver(ledger=directory)
        self.gateway = self.driver.gateway
        self.hold(2)
        self.gateway.stop()
        faults = Faults(searches_trail_seconds=1.0)
        self.gateway = FaultyGatewayDriver(ledger=directory, faults=faults).gateway
        self.assertEqual(self.found(), (1, 0, 1))

    def test_faults_that_are_set_before_the_start_find_the_ledger_too(self) -> None:
        directory = temporary_directory(self)
        self.driver = FaultyGatewayDriver(ledger=directory)
        self.gateway = self.driver.gateway
        self.hold(2)
        self.gateway.stop()
        self.gateway = GatewayDriver(ledger=directory, is_open=False).gateway
        self.gateway.faults = Faults(searches_trail_seconds=1.0)
        self.gateway.start()
        self.assertEqual(self.found(), (1, 0, 1))

    def test_corrections_and_restrictions_are_found_late_too(self) -> None:
        trade = self.exit()
        self.driver.inject(searches_trail_seconds=1.0)
        self.gateway.void_trade(123, trade["id"], is_reported=False)
        self.gateway.set_can_trade(123, False)
        for seconds, expected in ((0, (False, True)), (1, (True, False))):
            self.driver.clock.advance(seconds)
            account = self.successResultOf(payloads_of(self.gateway, "Account/search", 123))
            found = self.successResultOf(payloads_of(self.gateway, "Trade/search", 123, START))[-1]
            self.assertEqual((found["voided"], account["canTrade"]), expected)

    @given(some_faults(without=("searches_without_stamp", "binary_noise")), st.integers(0, 1000))
    @settings(max_examples=examples(20), deadline=None)
    def test_searches_end_up_with_what_the_exchange_has(self, faults: Faults, seed: int) -> None:
        faults = msgspec.structs.replace(faults, searches_trail_seconds=0.5)
        driver = GatewayDriver(ACCOUNTS, seed, faults=faults).start()
        driver.run(20)
        gateway, store = driver.gateway, driver.gateway.exchange.store
        gateway.stop()
        # Only so that each search is answered at once.
        gateway.faults = Faults(searches_trail_seconds=0.5)
        driver.clock.advance(1)
        for account in ACCOUNTS:
            for search in (
                AccountStore.account,
                AccountStore.open_positions,
                AccountStore.open_orders,
            ):
                found = self.successResultOf(gateway.ask("Position/searchOpen", search, account))
                self.assertEqual(found, search(store, account))


class TradeTests(HabitsTestCase):
    """Trades that cost commissions, come in parts, and are corrected later."""

    def test_commissions_are_charged_beside_fees(self) -> None:
        self.driver.inject(commissions=True)
        trade = self.exit()
        self.assertEqual(trade["commissions"], Decimal("0.50"))
        self.assertEqual(self.balance(), STARTING_BALANCE + net(self.stored_trades()))

    def test_an_opening_half_costs_nothing_again(self) -> None:
        self.driver.inject(commissions=True, opening_half_again=True)
        self.exit()
        _entry, again, _exit = self.stored_trades()
        self.assertEqual((again["fees"], again["commissions"]), (0, 0))
        self.assertEqual(self.balance(), STARTING_BALANCE + net(self.stored_trades()))

    def test_a_voided_trade_takes_its_fees_and_commissions_along(self) -> None:
        self.driver.inject(commissions=True)
        trade = self.exit()
        before = self.balance()
        self.gateway.void_trade(123, trade["id"])
        cost = trade["fees"] + trade["commissions"]
        self.assertEqual(self.balance(), before - trade["profitAndLoss"] + cost)
        self.assertEqual(self.events(TRADE)[-1], {**trade, "voided": True})
        self.assertEqual(self.events(ACCOUNT_EVENT)[-1]["balance"], self.balance())

    def test_an_amended_trade_changes_the_balance(self) -> None:
        trade = self.exit()
        self.gateway.amend_trade(123, trade["id"], pnl=Decimal("-600.00"))
        amended = {**trade, "profitAndLoss": Decimal("-600.00")}
        self.assertEqual((self.events(TRADE)[-1], self.stored_trades()[-1]), (amended, amended))
        self.assertEqual(self.balance(), STARTING_BALANCE + net(self.stored_trades()))
        self.gateway.amend_trade(
            123, trade["id"], fees=Decimal("5.00"), commissions=Decimal("2.00")
        )
        self.assertEqual(self.stored_trades()[-1]["profitAndLoss"], -600)
        self.assertEqual(self.balance(), STARTING_BALANCE + net(self.stored_trades()))

    def test_a_correction_that_no_event_reports_is_in_searches(self) -> None:
        trade = self.exit()
        self.targets()
        self.gateway.amend_trade(123, trade["id"], pnl=Decimal("-1.00"), is_reported=False)
        (_entry, found) = self.successResultOf(
            payloads_of(self.gateway, "Trade/search", 123, START)
        )
        self.assertEqual(found["profitAndLoss"], -1)
        self.gateway.void_trade(123, trade["id"], is_reported=False)
        self.assertTrue(
            self.successResultOf(payloads_of(self.gateway, "Trade/search", 123, START))[-1][
                "voided"
            ]
        )
        self.driver.clock.advance(60)
        self.assertEqual(self.targets(), [])

    def test_what_was_done_before_an_unreported_correction_is_reported(self) -> None:
        trade = self.exit()
        self.targets()
        self.gateway.exchange.set_can_trade(123, False)
        self.gateway.void_trade(123, trade["id"], is_reported=False)
        self.assertEqual(self.targets(), [ACCOUNT_EVENT])

    def test_unknown_and_voided_trades_cannot_be_corrected(self) -> None:
        trade = self.exit()["id"]
        self.gateway.void_trade(123, trade)
        for act in (self.gateway.void_trade, self.gateway.amend_trade):
            for account, number, code in (
                (123, trade, 2),
                (123, 1, 1),
                (456, trade, 1),
                (9, trade, 1),
            ):
                error = self.assertRaises(GatewayRefusedError, act, account, number)
                self.assertEqual(error.code, code, (act, account, number))

    def test_trades_are_corrected_by_chance(self) -> None:
        self.driver.inject(amended_trades=1.0, correction_seconds=10.0)
        before = self.exit()
        self.targets()
        self.driver.clock.advance(10)
        self.assertEqual(self.targets(), [TRADE, ACCOUNT_EVENT] * 2)
        after = self.stored_trades()[-1]
        self.assertNotEqual(after, before)
        self.assertFalse(after["voided"])
        self.driver.inject(voided_trades=1.0, lost_events=1.0)
        self.hold(1)
        self.driver.clock.advance(30)
        self.assertEqual(self.targets(), [])
        self.assertTrue(self.stored_trades()[-1]["voided"])
        self.assertEqual(self.balance(), STARTING_BALANCE + net(self.stored_trades()))

    def test_one_exit_order_is_filled_in_several_parts(self) -> None:
        self.hold(6)
        self.driver.inject(split_fills=1.0)
        self.driver.listener.received.clear()
        self.successResultOf(self.gateway.close_contract(123, MNQ))
        trades, orders = self.events(TRADE), self.events(ORDER)
        self.assertTrue(len(trades) > 1, trades)
        self.assertEqual({trade["orderId"] for trade in trades}, {orders[0]["id"]})
        self.assertEqual(sum(trade["size"] for trade in trades), 6)
        self.assertEqual(len({trade["id"] for trade in trades}), len(trades))
        self.assertEqual([order["status"] for order in orders][-2:], [1, 2])
        self.assertEqual((self.driver.held(), self.events(POSITION)[-1]["size"]), ([], 0))

    def test_noise_is_in_events_and_answers_and_not_in_the_balance(self) -> None:
        self.driver.inject(binary_noise=1.0)
        exact = self.exit()["profitAndLoss"]
        told = self.events(TRADE)[-1]["profitAndLoss"]
        found = self.successResultOf(payloads_of(self.gateway, "Trade/search", 123, START))[-1][
            "profitAndLoss"
        ]
        for noisy in (told, found):
            self.assertNotEqual(noisy, exact)
            self.assertTrue(abs(noisy - exact) < Decimal("1e-9"))
        self.assertEqual(self.balance(), STARTING_BALANCE + net(self.stored_trades()))


class QuoteTests(HabitsTestCase):
    """Quotes that the exchange did not make."""

    def test_orders_are_filled_by_the_exchanges_own_prices(self) -> None:
        self.hold(1)
        self.driver.inject(zero_last_prices=1.0, wild_last_prices=1.0, quote_freezes=1.0)
        order = self.driver.order(1, type=4, stopPrice=PRICE - 10)
        stop = self.successResultOf(self.gateway.place_order(123, order))
        self.gateway.move_market(MNQ, PRICE - 9)
        self.assertEqual([each["id"] for each in self.driver.working()], [stop])
        self.gateway.move_market(MNQ, PRICE - 10)
        self.assertEqual(self.driver.held(), [])

    def test_an_observer_of_the_exchange_receives_what_is_right(self) -> None:
        right: list[object] = []
        sent: list[object] = []
        self.gateway.observe(right.append, before_faults=True)
        self.gateway.observe(sent.append)
        self.driver.inject(quote_freezes=1.0, lost_events=1.0)
        self.gateway.move_market(MNQ, PRICE + 1)
        self.gateway.move_market(MNQ, PRICE + 2)
        self.hold(1)
        self.assertEqual((len(right), len(sent)), (7, 1))

    def test_a_failing_observer_of_the_exchange_disturbs_nothing(self) -> None:
        right: list[object] = []

        def fail(_message: object) -> None:
            raise ZeroDivisionError

        self.gateway.observe(fail, before_faults=True)
        self.gateway.observe(right.append, before_faults=True)
        self.gateway.move_market(MNQ, PRICE + 1)
        self.hold(1)
        self.assertEqual((len(right), len(self.driver.listener.received)), (6, 6))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 6)


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


class SwarmTests(SynchronousTestCase):
    """Any faults together."""

    @given(some_faults(offset=86_400.0) | st.just(ANYTHING_WRONG), st.integers(0, 1000))
    @settings(deadline=None)
    def test_the_exchange_stays_right_whatever_goes_wrong(self, faults: Faults, seed: int) -> None:
        driver = GatewayDriver({123: ("MNQ",)}, seed, faults=faults).start()
        gateway, failures = driver.gateway, []
        for _ in range(8):
            driver.run(3)
            for asked in (
                gateway.place_order(123, driver.order(0, 3)),
                payloads_of(gateway, "Order/searchOpen", 123),
                gateway.close_contract(123, MNQ),
            ):
                asked.addErrback(failures.append)
        gateway.stop()
        store = gateway.exchange.store
        trades = store.trades(123, START - timedelta(days=2))
        self.assertEqual(store.account(123)["balance"], STARTING_BALANCE + net(trades))
        self.assertEqual(driver.clock.getDelayedCalls(), [])

    @given(some_faults() | st.just(ANYTHING_WRONG), st.integers(0, 1000))
    @settings(max_examples=examples(20), deadline=None)
    def test_the_same_seed_gives_the_same_events(self, faults: Faults, seed: int) -> None:
        def received() -> list[Any]:
            driver = GatewayDriver(ACCOUNTS, seed, faults=faults).start()
            driver.run(20)
            driver.gateway.stop()
            return [*driver.listener.received]

        self.assertEqual(received(), received())

    @given(some_faults(without=("partial_fills", "fill_while_cancelled", "split_fills")))
    @settings(max_examples=examples(20), deadline=None)
    def test_the_traders_trade_as_ever(self, faults: Faults) -> None:
        """They act on the exchange itself, so only faults of fills meet them."""

        def fills(faults: Faults) -> list[tuple[object, ...]]:
            driver = GatewayDriver(ACCOUNTS, faults=faults).start()
            driver.run(30)
            driver.gateway.stop()
            return [
                (order["contractId"], order["side"], order["fillVolume"], order.get("filledPrice"))
                for account_id in ACCOUNTS
                for order in driver.gateway.exchange.store.orders(
                    account_id, START - timedelta(days=2)
                )
            ]

        self.assertEqual(fills(faults), fills(Faults()))
