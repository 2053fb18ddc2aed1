"""An account by the stream, corrected by the published copy."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, apply
from riskd.model.balance import Balance
from riskd.model.equity import net_realized
from riskd.model.events import Event, GatewayUserTrade
from riskd.testing import make_event
from tests.support.console import BEGIN, DAY, MNQ, SessionTestCase, at
from tests.support.rules import state_after
from tests.support.strategies import histories
from trader.model.correction import PUBLISHED_WITHIN_SECONDS, Correction
from trader.model.view import Source

TRADE = make_event(
    "GatewayUserTrade",
    {"id": 9, "profitAndLoss": 100, "executionTime": at(0), "timestamp": at(0)},
)


class StatusTests(SessionTestCase):
    """What a console shows after a status, which may report a correction."""

    def setUp(self) -> None:
        super().setUp()
        self.file.publish(*DAY, seconds=-1)
        self.connect()

    def report(self, message: str = "The broker voided trade 9") -> None:
        """Report a status of the daemon."""
        self.receive("daemon_status", status="RUNNING", message=message, timestamp=at(99))

    def check(self, pnl: str, count: int) -> None:
        """Check the figures of the day."""
        account = self.view.account
        self.assertEqual((account.realized_pnl, account.trade_count), (Decimal(pnl), count))

    def test_a_voided_trade_counts_no_more(self) -> None:
        self.receive_event(TRADE)
        self.check("54.50", 2)
        self.wait(1)
        self.file.publish(*DAY, seconds=1)
        self.report()
        self.check("-45.50", 1)
        self.assertEqual(self.feed[-1], "Daemon RUNNING: The broker voided trade 9")
        assert self.view.daemon is not None
        self.assertEqual(self.view.daemon.message, "The broker voided trade 9")

    def test_a_voided_trade_does_not_come_back_with_an_event(self) -> None:
        self.receive_event(TRADE)
        self.wait(1)
        self.file.publish(*DAY, seconds=1)
        self.report()
        self.receive_event(TRADE)
        self.file.publish(*DAY, seconds=2)
        self.report("Another problem")
        self.check("-45.50", 1)

    def test_an_amended_trade_has_its_new_amount(self) -> None:
        self.receive_event(TRADE)
        self.wait(1)
        amended = Event(123, msgspec.structs.replace(TRADE.data, profit_and_loss=Decimal("0.25")))
        self.file.publish(*DAY, amended, seconds=1)
        self.report("The broker amended trade 9")
        self.check("-45.25", 2)
        self.receive_event(TRADE)
        self.check("-45.25", 2)

    def test_a_trade_of_the_first_file_may_be_voided(self) -> None:
        self.file.publish(*DAY[:3], seconds=1)
        self.wait(1)
        self.report()
        self.check("0", 0)
        self.receive_event(DAY[3])
        self.check("0", 0)

    def test_events_that_the_file_lacks_stay(self) -> None:
        self.wait(5)
        self.file.publish(*DAY, seconds=4.9)
        self.receive("GatewayUserTrade", id=10, profitAndLoss=5, timestamp=at(4.95))
        self.receive("GatewayUserPosition", id=1, size=5, updatedAt=at(4.95))
        self.receive("GatewayUserOrder", id=2, state=3, updatedAt=at(-7))
        self.receive("lockout_set", rule_id="RULE-009", locked_until=None)
        self.receive("MarketQuote", contractId=MNQ, last=21007, timestamp=at(4.95))
        before = self.view.account
        self.report("Anything")
        after = self.view.account
        self.assertEqual(msgspec.structs.replace(after, daemon=before.daemon), before)

    def test_an_order_that_has_ended_does_not_work_again(self) -> None:
        self.receive("GatewayUserOrder", id=2, state=2, updatedAt=at(-100))
        self.wait(5)
        self.file.publish(*DAY, seconds=5)
        self.report()
        self.assertEqual(self.view.account.working_orders, ())

    def test_a_late_console_takes_back_what_was_voided_before_it_received_it(self) -> None:
        # It was held up: trade, void and status arrive together, long after the copy.
        self.file.publish(*DAY, seconds=3)
        self.wait(60)
        self.receive_event(TRADE)
        self.report()
        self.wait(PUBLISHED_WITHIN_SECONDS)
        self.session.poll_file()
        self.check("-45.50", 1)

    def test_a_file_that_is_published_after_the_status_is_read_too(self) -> None:
        self.receive_event(TRADE)
        self.report()
        self.wait(1)
        self.file.publish(*DAY, seconds=1)
        self.session.poll_file()
        self.check("-45.50", 1)

    def test_a_file_that_is_not_written_any_more_takes_nothing_away(self) -> None:
        self.file.publish(*DAY, seconds=0)
        self.wait(1800)
        self.receive("GatewayUserTrade", id=11, profitAndLoss=7, timestamp=at(1800))
        self.wait(1800)
        self.receive("daemon_status", status="ERROR", message="The disk is full")
        for _ in range(10):
            self.wait(1)
            self.session.poll_file()
        self.check("-38.50", 2)

    def test_a_status_without_a_new_file_reads_none(self) -> None:
        reads = self.file.reads
        self.report()
        self.assertEqual(self.file.reads, reads)

    def test_a_file_that_cannot_be_read_changes_nothing(self) -> None:
        before = self.view.account
        self.file.fail("no last known state")
        self.report()
        self.assertEqual(msgspec.structs.replace(self.view.account, daemon=before.daemon), before)
        self.assertEqual(self.view.file_problem, "")

    def test_what_only_the_file_has_is_in_the_feed_once(self) -> None:
        alarms: list[Event] = []
        self.session._alarm = alarms.append
        lock = make_event("lockout_set", {"rule_id": "RULE-006", "locked_at": at(1)})
        self.file.publish(*DAY, TRADE, lock, seconds=2)
        self.wait(2)
        self.report()
        for event in (TRADE, lock):
            self.receive_event(event)
        self.assertEqual(sum("Trade +$100.00" in text for text in self.feed), 1)
        self.assertEqual(sum("RULE-006" in text for text in self.feed), 1)
        self.assertEqual(alarms, [lock])

    def test_a_file_that_becomes_readable_completes_the_day(self) -> None:
        self.lose()
        self.file.fail("no last known state")
        self.wait(1)
        self.connect()
        self.receive_event(TRADE)
        self.wait(1)
        self.file.publish(*DAY, seconds=0.5)
        self.report("Anything")
        self.assertIsNotNone(self.view.events_only_since)
        self.file.publish(*DAY, TRADE, seconds=2)
        self.report("The state file is written again")
        self.assertIsNone(self.view.events_only_since)
        self.assertEqual(self.view.file_problem, "")
        self.assertIs(self.view.source, Source.LIVE)
        self.check("54.50", 2)


class TradeTests(SessionTestCase):
    """A trade comes with its P&L; its fees and the balance come with the file."""

    def setUp(self) -> None:
        super().setUp()
        self.publish("50000", "0", seconds=-1)
        self.connect()
        self.reads = self.file.reads

    def publish(self, agreed: str, charges: str, *events: Event, seconds: float) -> None:
        """Publish a file with a balance."""
        balance = Balance(agreed=Decimal(agreed), charges=Decimal(charges))
        self.file.publish(*DAY, *events, seconds=seconds, balance=balance)

    def check(self, expected: str, net: str) -> None:
        """Check balance and net P&L of the day."""
        account = self.view.account
        self.assertEqual(
            (account.balance.expected, net_realized(account)), (Decimal(expected), Decimal(net))
        )

    def poll(self, seconds: float) -> None:
        """Poll the file after this many seconds."""
        self.wait(seconds)
        self.session.poll_file()

    def test_the_balance_counts_it_at_once_and_its_fees_with_the_file(self) -> None:
        self.receive_event(TRADE)
        self.check("50100.00", "54.50")
        self.poll(0.4)
        self.check("50100.00", "54.50")
        self.publish("50098.52", "1.48", TRADE, seconds=0.5)
        self.poll(0.6)
        self.check("50098.52", "53.02")

    def test_a_file_from_before_it_takes_nothing_away(self) -> None:
        self.poll(0.4)
        self.receive_event(TRADE)
        self.publish("49999.26", "0.74", seconds=0.2)
        self.poll(0.6)
        self.check("50099.26", "53.76")

    def test_its_file_may_be_published_a_moment_later(self) -> None:
        self.receive_event(TRADE)
        self.poll(1)
        self.publish("50098.52", "1.48", TRADE, seconds=1.2)
        self.poll(0.9)
        self.check("50098.52", "53.02")
        reads = self.file.reads
        for _ in range(5):
            self.poll(1)
        self.assertLessEqual(self.file.reads, reads + 1)

    def test_while_trades_follow_each_other_it_is_read_once_a_second(self) -> None:
        for number in range(500):
            trade = msgspec.structs.replace(TRADE.data, id=1000 + number)
            self.wait(0.01)
            self.receive_event(Event(123, trade))
            self.publish("50000", "0", seconds=number / 100)
            if number % 100 == 99:
                self.session.poll_file()
        self.assertEqual(self.file.reads - self.reads, 5)
        # The fees of the last one are not forgotten.
        self.publish("49000", "7", seconds=5)
        for _ in range(3):
            self.poll(1)
        self.assertEqual(self.session.view().account.balance.expected, Decimal(49000))

    def test_a_file_that_cannot_be_read_is_read_as_soon_as_it_can(self) -> None:
        self.receive_event(TRADE)
        self.file.fail("no last known state")
        for _ in range(5):
            self.poll(1)
        self.check("50100.00", "54.50")
        self.publish("50098.52", "1.48", TRADE, seconds=5)
        self.poll(1)
        self.check("50098.52", "53.02")

    def test_a_trade_that_is_sent_again_counts_once(self) -> None:
        self.receive_event(TRADE)
        self.receive_event(TRADE)
        self.check("50100.00", "54.50")


class OrderOfArrivalTests(SessionTestCase):
    """Of two events of one id, the later arrival counts."""

    def setUp(self) -> None:
        super().setUp()
        self.file.publish()
        self.connect()

    def test_equal_stamps(self) -> None:
        for size in (2, 1, 3):
            self.receive("GatewayUserPosition", id=1, size=size, updatedAt=at(0))
            self.assertEqual([held.size for held in self.view.account.open_positions], [size])
        for price in (20990, 20980):
            self.receive("GatewayUserOrder", id=2, stopPrice=price, updatedAt=at(0))
            self.assertEqual(
                [order.stop_price for order in self.view.account.working_orders], [price]
            )

    def test_a_final_state_applies_whatever_its_stamp(self) -> None:
        self.receive("GatewayUserPosition", id=1, size=2, updatedAt=at(0))
        self.receive("GatewayUserPosition", id=1, size=0, updatedAt=at(-9))
        self.assertEqual(self.view.account.open_positions, ())
        self.assertEqual(self.feed[-1], "Position closed: MNQU5")
        self.receive("GatewayUserOrder", id=2, updatedAt=at(0))
        self.receive("GatewayUserOrder", id=2, state=3, updatedAt=at(-9))
        self.assertEqual(self.view.account.working_orders, ())

    def test_the_end_of_another_position_ends_none(self) -> None:
        self.receive("GatewayUserPosition", id=5, size=2, updatedAt=at(0))
        self.receive("GatewayUserPosition", id=1, size=0, updatedAt=at(-9))
        self.assertEqual(len(self.view.account.open_positions), 1)


class PropertyTests(SynchronousTestCase):
    """A copy from any moment, and the events since, are the account by the stream."""

    @given(histories(), st.data())
    def test_no_event_is_lost_or_counted_twice(
        self, history: list[Event], data: st.DataObject
    ) -> None:
        written = data.draw(st.integers(0, len(history)))
        correction = Correction()
        live = AccountState(account_id=123)
        for number, event in enumerate(history):
            live = apply(live, event)
            correction.keep(event, BEGIN + timedelta(seconds=number))
        copy = state_after(*history[:written])
        now = BEGIN + timedelta(seconds=len(history))
        # Receipt takes a moment, so an event before the copy may be received after it.
        as_of = BEGIN + timedelta(seconds=data.draw(st.integers(-1, written - 1)))
        # Trades are left out: whether the copy lacks them or denies them is told by their stamps.
        if any(isinstance(event.data, GatewayUserTrade) for event in history):
            return
        after = correction.correct(live, copy, as_of, now, timedelta())
        assert after is not None
        self.assertEqual(
            msgspec.structs.replace(after, quotes={}, risk=live.risk),
            msgspec.structs.replace(live, quotes={}),
        )
