"""The sessions of all accounts: who gets which event, and what is read when."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from riskd.model.balance import Balance
from riskd.model.events import Event, EventError, LockoutSet
from riskd.model.wire import open_envelope
from riskd.testing import make_event
from tests.support.accounts import MNQ, AllAccountsTestCase, account, running, unread
from tests.support.console import BEGIN, at
from trader.client import UnreadEvent
from trader.model import all_accounts
from trader.model.account_row import ORDERS, AccountRow, Standing, account_row
from trader.model.session import FLASH_SECONDS
from trader.model.view import Source, View

LOST = [make_event("GatewayUserTrade", {"id": 1, "profitAndLoss": -300, "executionTime": at(-9)})]


class BurstTests(AllAccountsTestCase):
    """Trades that follow each other."""

    def test_the_fees_of_the_last_one_are_known_within_two_seconds(self) -> None:
        trades: list[Event] = []

        def publish(seconds: float) -> None:
            charges = Decimal(len(trades))
            state = account(1, running(), *trades)
            balance = Balance(agreed=Decimal(50000) - charges, charges=charges)
            state = msgspec.structs.replace(state, balance=balance)
            self.copy.publish(state, account(2, running()), seconds=seconds)

        publish(-1)
        self.connect()
        for turn, at_once in enumerate((0.1, 1.01), start=1):
            self.now = BEGIN + timedelta(seconds=at_once)
            trades.append(make_event("GatewayUserTrade", {"id": turn, "executionTime": at(0)}))
            self.accounts.receive("GatewayUserTrade", unread(Event(1, trades[-1].data)))
            publish(at_once + 0.2)
            self.now = BEGIN + timedelta(seconds=turn)
            self.accounts.take_turn()
        self.now = BEGIN + timedelta(seconds=3)
        self.accounts.take_turn()
        self.assertEqual(self.accounts.sessions[1].view().account.balance.charges, 2)


class RoutingTests(AllAccountsTestCase):
    """Events go to their accounts."""

    def setUp(self) -> None:
        super().setUp()
        self.copy.publish(account(1, running()), account(2, running()))
        self.connect()

    def test_an_event_changes_its_own_account_alone(self) -> None:
        before = self.row(1)
        self.receive("GatewayUserTrade", 2, profitAndLoss=-45.50)
        self.assertEqual(self.row(2).net_pnl, Decimal("-45.50"))
        self.assertEqual(self.row(1), before)
        self.assertEqual({key for key, _ in self.changes[-1:]}, {2})

    def test_an_event_of_the_daemon_concerns_all(self) -> None:
        self.receive("daemon_status", None, status="ERROR", message="no connection to the broker")
        rows = self.listed().rows
        self.assertEqual([row.standing for row in rows], [Standing.NOT_GUARDED] * 2)
        self.assertEqual({row.why for row in rows}, {"no connection to the broker"})

    def test_a_quote_is_not_decoded_before_its_row_is_wanted(self) -> None:
        # That it is malformed shows when it is decoded.
        message = b'{"type":"MarketQuote","account_id":1,"data":{}}'
        dropped: list[EventError] = []
        self.listed()
        self.accounts.receive("MarketQuote", UnreadEvent(open_envelope(message), dropped.append))
        self.accounts.catch_up()
        self.assertEqual((dropped, self.accounts.has_work), ([], True))
        self.accounts.work((), most=1)
        self.assertEqual((len(dropped), self.accounts.has_work), (1, False))

    def test_the_rows_in_sight_are_made_again_first(self) -> None:
        self.listed()
        for account_id in (1, 2):
            self.receive("GatewayUserPosition", account_id, contractId=MNQ, size=1)
        before = {row.account_id: row for row in self.listed().rows}
        for account_id in (1, 2):
            self.receive("MarketQuote", account_id, contractId=MNQ, last=22000)
        self.accounts.work({2}, most=1)
        after = {row.account_id: row for row in self.accounts.listed(0).rows}
        self.assertIs(after[1], before[1])
        self.assertIsNot(after[2], before[2])

    def test_a_row_out_of_sight_is_made_again_however_often_the_others_are_quoted(self) -> None:
        accounts = range(1, 9)
        for account_id in accounts:
            self.receive("GatewayUserPosition", account_id, contractId=MNQ, size=1)
        self.listed()
        made = set[int]()

        def noted(view: View, *arguments: Any) -> AccountRow:
            made.add(view.account.account_id)
            return account_row(view, *arguments)

        self.patch(all_accounts, "account_row", noted)
        for turn in range(3):
            for account_id in accounts:
                self.receive("MarketQuote", account_id, contractId=MNQ, last=22000 + turn)
            self.accounts.work({1, 2, 3, 4, 5, 6}, most=4)
        self.assertEqual(made, {*accounts})

    def test_a_row_that_says_the_same_again_is_no_other_one(self) -> None:
        before = {row.account_id: row for row in self.listed().rows}
        for _turn in range(10):
            self.accounts.take_turn()
        self.assertTrue(self.accounts.has_work)
        self.assertFalse(self.accounts.work((), most=9))
        self.assertFalse(self.accounts.has_work)
        after = {row.account_id: row for row in self.accounts.listed(0).rows}
        self.assertIs(after[1], before[1])
        self.receive("GatewayUserPosition", 1, contractId=MNQ, size=1)
        self.listed()
        self.receive("MarketQuote", 1, contractId=MNQ, last=22000)
        self.assertTrue(self.accounts.work((), most=9))

    def test_what_is_no_quote_changes_its_row_at_the_next_draw(self) -> None:
        self.listed()
        self.receive("GatewayUserTrade", 2, profitAndLoss=-45.50)
        self.accounts.catch_up()
        rows = {row.account_id: row for row in self.accounts.listed(0).rows}
        self.assertEqual(rows[2].net_pnl, Decimal("-45.50"))

    def test_only_changed_rows_are_made_again(self) -> None:
        before = {row.account_id: row for row in self.listed().rows}
        self.receive("GatewayUserTrade", 2)
        after = {row.account_id: row for row in self.listed().rows}
        self.assertIs(after[1], before[1])
        self.assertIsNot(after[2], before[2])

    def test_an_account_that_the_copy_does_not_know_begins_with_its_first_event(self) -> None:
        self.receive("GatewayUserPosition", 3, size=2)
        row = self.row(3)
        # What it held before is not known.
        self.assertEqual((row.contracts, row.net_pnl), (None, None))
        self.assertIn("account 3 is not in the last known state", row.why.lower())
        self.copy.publish(account(1), account(2), account(3, running()), seconds=2)
        self.wait(3)
        self.accounts.take_turn()
        self.assertEqual(self.row(3).contracts, 0)

    @given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.integers(-900, 900)), max_size=12))
    def test_each_row_is_that_of_an_account_alone(self, trades: list[tuple[int, int]]) -> None:
        self.setUp()
        for number, (account_id, pnl) in enumerate(trades):
            self.receive("GatewayUserTrade", account_id, id=number, profitAndLoss=pnl)
        for account_id in (1, 2):
            total = sum(pnl for key, pnl in trades if key == account_id)
            self.assertEqual(self.row(account_id).net_pnl, total)


class CopyTests(AllAccountsTestCase):
    """The published copy is read once for all."""

    def test_all_accounts_of_the_copy_have_rows_before_any_connection(self) -> None:
        self.copy.publish(*(account(number, running()) for number in range(200)), seconds=-30)
        self.accounts.take_turn()
        rows = self.listed().rows
        self.assertEqual([row.account_id for row in rows], [*range(200)])
        self.assertEqual({row.source for row in rows}, {Source.LAST_KNOWN})
        self.assertEqual(self.copy.readings, [None])
        self.accounts.take_turn()
        self.assertEqual(self.copy.readings, [None])

    def test_a_connection_reads_it_once(self) -> None:
        self.copy.publish(*(account(number) for number in range(200)))
        self.connect()
        self.assertEqual(self.copy.readings, [None])
        self.assertEqual({row.source for row in self.listed().rows}, {Source.LIVE})

    def test_a_copy_that_was_published_before_the_handshake_is_never_taken(self) -> None:
        self.copy.publish(account(1), seconds=-30)
        self.accounts.take_turn()
        self.copy.publish(account(1, *LOST))
        self.connect()
        self.assertEqual(self.row(1).net_pnl, -300)

    def test_a_turn_reads_few_accounts_and_each_in_its_turn(self) -> None:
        self.copy.publish(*(account(number) for number in range(200)))
        self.connect()
        self.copy.readings.clear()
        for turn in range(20):
            self.copy.publish(*(account(number) for number in range(200)), seconds=turn)
            self.wait(1)
            self.accounts.take_turn()
        read = [number for reading in self.copy.readings for number in reading or [-1]]
        self.assertEqual(sorted(read), [*range(200)])
        self.assertEqual(max(len(reading or ()) for reading in self.copy.readings), 10)

    def test_after_a_trade_its_account_is_read_soon(self) -> None:
        self.copy.publish(*(account(number) for number in range(200)))
        self.connect()
        self.copy.readings.clear()
        self.receive("GatewayUserTrade", 77)
        self.copy.publish(*(account(number) for number in range(200)), seconds=1)
        self.wait(1)
        self.accounts.take_turn()
        self.assertEqual(len(self.copy.readings), 1)
        self.assertIn(77, self.copy.readings[0] or [])

    def test_accounts_that_riskd_does_not_follow_any_more_have_no_row(self) -> None:
        self.copy.publish(account(1), account(2))
        self.connect()
        self.lose()
        self.copy.publish(account(2), account(3), seconds=5)
        self.wait(5)
        self.connect()
        self.assertEqual(self.ids(), [2, 3])

    def test_without_a_copy_there_is_a_reason_in_place_of_rows(self) -> None:
        self.accounts.take_turn()
        self.assertEqual(self.listed().rows, ())
        self.assertIn("no last known state", self.listed().problem)
        self.connect()
        self.assertIn("no last known state", self.listed().problem)
        self.assertEqual(self.listed().link.source, Source.LIVE)

    def test_accounts_of_a_copy_that_comes_late_are_found(self) -> None:
        self.connect()
        self.copy.publish(account(1))
        self.accounts.take_turn()
        self.assertEqual((self.ids(), self.listed().problem), ([1], ""))
        self.assertEqual(self.row(1).source, Source.LIVE)

    def test_a_lost_connection_leaves_the_last_known_state_of_all(self) -> None:
        self.copy.publish(account(1, *LOST), account(2))
        self.connect()
        self.receive("GatewayUserTrade", 2, profitAndLoss=-45.50)
        self.lose()
        self.assertEqual((self.row(1).net_pnl, self.row(2).net_pnl), (-300, Decimal("-45.50")))
        self.assertEqual({row.source for row in self.listed().rows}, {Source.LAST_KNOWN})
        self.assertEqual(self.listed().link.connection_problem, "Lost connection to daemon")


class OneAccountTests(AllAccountsTestCase):
    """One account, until the trader asks for all."""

    only = 2

    def setUp(self) -> None:
        super().setUp()
        self.copy.publish(account(1, *LOST), account(2), account(3))
        self.connect()

    def test_it_is_followed_alone(self) -> None:
        self.receive("GatewayUserTrade", 2, profitAndLoss=-45.50)
        self.assertEqual(self.ids(), [2])
        self.assertEqual(self.copy.readings, [[2]])

    def test_the_others_join_with_what_the_copy_says(self) -> None:
        session = self.accounts.sessions[2]
        self.accounts.follow_all()
        self.assertEqual(self.ids(), [1, 2, 3])
        self.assertEqual(self.row(1).net_pnl, -300)
        self.assertIs(self.accounts.sessions[2], session)

    def test_what_happened_before_they_joined_and_was_not_published_yet_is_not_lost(self) -> None:
        # Account 3 has lost money, which no copy says yet, and its event was passed over.
        self.accounts.follow_all()
        self.copy.publish(
            account(1),
            account(2),
            account(3, make_event("GatewayUserTrade", {"id": 7, "profitAndLoss": -200})),
            seconds=0.5,
        )
        self.wait(1)
        self.receive("GatewayUserTrade", 3, id=9, profitAndLoss=-1, executionTime=at(1))
        self.accounts.take_turn()
        self.assertEqual(self.accounts.sessions[3].view().account.trades.keys() & {7, 9}, {7, 9})


class AlarmTests(AllAccountsTestCase):
    """A lock of any account."""

    def setUp(self) -> None:
        super().setUp()
        self.copy.publish(account(1, running()), account(2, running()))
        self.connect()
        self.listed()
        self.receive("lockout_set", 2, reason="Daily loss limit hit: -$550", locked_until=None)

    def test_it_alarms(self) -> None:
        self.assertEqual([event.account_id for event in self.alarms], [2])
        self.assertIsInstance(self.alarms[0].data, LockoutSet)

    def test_it_flashes_for_a_while(self) -> None:
        listed = self.listed()
        self.assertEqual(listed.flashing, {2})
        assert listed.flash is not None
        self.assertIn("Account 2: LOCKED OUT until an operator unlocks it", listed.flash.text)
        self.wait(FLASH_SECONDS)
        self.assertEqual((self.listed().flashing, self.listed().flash), (frozenset(), None))

    def test_the_row_says_so(self) -> None:
        row = self.row(2)
        self.assertEqual((row.standing, row.why), (Standing.LOCKED, "Daily loss limit hit: -$550"))


class OrderTests(AllAccountsTestCase):
    """The orders of the rows."""

    def setUp(self) -> None:
        super().setUp()
        trade = {"id": 1, "executionTime": at(-9)}
        lost = {
            number: make_event("GatewayUserTrade", {**trade, "profitAndLoss": pnl})
            for number, pnl in ((10, -100), (9, -450), (11, 200))
        }
        self.copy.publish(
            *(account(number, event) for number, event in lost.items()),
            account(8, balance=None, limits={}),
        )
        self.connect()

    def test_the_nearest_limit_comes_first_and_the_unknown_last(self) -> None:
        self.assertEqual(self.ids(0), [9, 10, 11, 8])

    def test_names_are_in_order_and_numbers_by_their_size(self) -> None:
        self.assertEqual(self.ids(1), [8, 9, 10, 11])

    def test_the_lowest_pnl_comes_first(self) -> None:
        self.assertEqual(self.ids(2), [9, 10, 11, 8])

    def test_each_order_says_which_it_is(self) -> None:
        self.assertEqual(len({order.words for order in ORDERS}), len(ORDERS))
