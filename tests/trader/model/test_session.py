"""A trader's session: what a client reports and what the file says, kept as one view."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.reader import Snapshot
from riskd.model.account import AccountState, Limit, RiskState, apply
from riskd.model.contracts import Contract
from riskd.model.events import DRY_RUN_NOTE, EVENT_TYPES, Event
from riskd.model.wire import decode, encode
from riskd.testing import make_event
from tests.support.console import (
    BEGIN,
    DAY,
    FILE_PROBLEMS,
    MNQ,
    NOT_THERE,
    SessionTestCase,
    StateFile,
    at,
)
from tests.support.strategies import histories, state_after
from trader.model.session import FLASH_SECONDS, LIMITS_SECONDS, Session
from trader.model.view import Source, is_stopping

ENFORCED = "ENFORCED: close positions (RULE-001): 6 > 5; 2 positions closed, 1 order canceled"


class ConnectionTests(SessionTestCase):
    """Where the numbers come from, as long as there is no file."""

    def test_before_the_first_connection_nothing_is_known(self) -> None:
        self.assertIs(self.view.source, Source.NOTHING)
        self.assertIsNone(self.view.events_only_since)
        self.assertEqual(self.view.connection_problem, "")
        self.assertEqual(self.feed, [])

    def test_a_daemon_that_cannot_be_reached_leaves_nothing_known(self) -> None:
        self.lose("cannot connect to daemon (is it running?)")
        self.assertIs(self.view.source, Source.NOTHING)
        self.assertEqual(self.view.connection_problem, "Cannot connect to daemon (is it running?)")

    def test_tries_that_fail_do_not_fill_the_feed(self) -> None:
        for _ in range(10):
            self.lose("cannot connect to daemon (is it running?)")
        self.assertEqual(self.feed, [])

    def test_a_connection_makes_the_view_live(self) -> None:
        self.lose("cannot connect to daemon (is it running?)")
        self.wait(5)
        self.connect()
        self.assertIs(self.view.source, Source.LIVE)
        self.assertEqual(self.view.events_only_since, BEGIN + timedelta(seconds=5))
        self.assertEqual(self.view.connection_problem, "")
        self.assertEqual(self.feed, ["Connected to daemon"])

    def test_a_lost_connection_keeps_what_was_known(self) -> None:
        self.connect()
        self.wait(1)
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.wait(60)
        self.lose()
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.connection_problem, "Lost connection to daemon")
        self.assertEqual(self.view.account.realized_pnl, Decimal("-45.50"))
        self.assertEqual(self.view.known_at, BEGIN + timedelta(seconds=1))
        self.assertEqual(self.feed[-1], "Lost connection to daemon")

    def test_failing_tries_after_a_loss_leave_the_loss_as_the_trouble(self) -> None:
        self.connect()
        self.lose("lost connection to daemon: shutting down")
        self.lose("cannot connect to daemon (is it running?)")
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.connection_problem, "Lost connection to daemon: shutting down")
        self.assertEqual(
            self.feed, ["Connected to daemon", "Lost connection to daemon: shutting down"]
        )

    def test_a_new_connection_carries_nothing_over(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade")
        self.receive("GatewayUserPosition")
        self.receive("lockout_set")
        self.lose()
        self.wait(3)
        self.connect()
        account = self.view.account
        self.assertEqual(account.trade_count, 0)
        self.assertEqual(account.realized_pnl, Decimal(0))
        self.assertEqual(account.open_positions, ())
        self.assertIsNone(account.lockout)
        self.assertEqual(account.account_id, 123)
        self.assertEqual(self.view.events_only_since, self.now)

    def test_a_connection_without_an_event_is_as_old_as_itself(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade")
        self.lose()
        self.wait(30)
        self.connect()
        self.wait(30)
        self.assertEqual(self.view.known_at, BEGIN + timedelta(seconds=30))

    def test_the_feed_outlives_a_connection(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.50, quantity=2)
        self.lose()
        self.connect()
        self.assertEqual(
            self.feed,
            [
                "Connected to daemon",
                "Trade -45.50  MNQU5 x2",
                "Lost connection to daemon",
                "Connected to daemon",
            ],
        )

    def test_a_trouble_without_words_is_no_trouble_to_show(self) -> None:
        self.connect()
        self.lose("")
        self.assertEqual(self.view.connection_problem, "")

    def test_the_client_tells_the_rest(self) -> None:
        view = self.session.view(3.5, "practice")
        self.assertEqual((view.retry_in, view.gateway_name), (3.5, "practice"))


class EventTests(SessionTestCase):
    """What events make of the view."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_trades_add_up_to_the_cent(self) -> None:
        for amount in (0.10, 0.20, -45.50):
            self.receive("GatewayUserTrade", profitAndLoss=amount)
        self.assertEqual(self.view.account.realized_pnl, Decimal("-45.20"))
        self.assertEqual(self.view.account.trade_count, 3)

    def test_whole_numbers_are_as_good_as_fractions(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=100)
        self.assertEqual(self.view.account.realized_pnl, Decimal(100))

    def test_an_event_dates_the_view(self) -> None:
        self.wait(7)
        self.receive("MarketQuote")
        self.assertEqual(self.view.known_at, BEGIN + timedelta(seconds=7))

    def test_positions_orders_and_quotes_are_kept(self) -> None:
        self.receive("GatewayUserPosition", size=3)
        self.receive("GatewayUserOrder", state=1)
        self.receive("MarketQuote", last=21001.25)
        account = self.view.account
        self.assertEqual([position.size for position in account.open_positions], [3])
        self.assertEqual(len(account.working_orders), 1)
        self.assertEqual(account.quotes[MNQ].last, Decimal("21001.25"))

    def test_a_quote_changes_the_view_but_not_the_feed(self) -> None:
        before = self.feed
        self.receive("MarketQuote")
        self.assertEqual(self.feed, before)

    def test_what_a_quote_changes_can_wait_and_the_rest_cannot(self) -> None:
        self.changes.clear()
        self.receive("MarketQuote")
        self.receive("GatewayUserTrade")
        self.receive("daemon_status")
        self.lose()
        self.assertEqual(self.changes, [False, True, True, True])

    def test_daemon_wide_events_are_taken(self) -> None:
        self.receive("daemon_status", status="STOPPING", message="The daemon is stopping")
        self.assertTrue(is_stopping(self.view.daemon))
        self.receive("daemon_status", status="RUNNING")
        self.assertFalse(is_stopping(self.view.daemon))

    def test_a_daemon_that_said_nothing_is_not_stopping(self) -> None:
        self.assertFalse(is_stopping(None))

    def test_unknown_event_types_change_nothing(self) -> None:
        before = self.view
        self.changes.clear()
        self.session.receive("margin_call", lambda: None)
        self.assertEqual(self.view, before)
        self.assertEqual(self.changes, [])

    def test_unknown_keys_are_passed_over(self) -> None:
        message = encode(make_event("GatewayUserTrade", {}))
        event = decode(message.replace(b'"data":{', b'"data":{"fees":0.74,'))
        self.session.receive(event.type, lambda: event)
        self.assertEqual(self.view.account.trade_count, 1)

    def test_a_view_does_not_change_afterwards(self) -> None:
        before = self.view
        self.receive("GatewayUserTrade")
        self.assertEqual(before.account.trade_count, 0)

    def test_a_daily_reset_begins_again_at_zero(self) -> None:
        long_ago = "2025-01-16T10:00:00Z"
        self.receive("GatewayUserTrade", executionTime=long_ago)
        self.receive("lockout_set")
        self.receive("daily_reset", reset_time="2025-01-16T23:00:00Z", lockouts_cleared=True)
        account = self.view.account
        self.assertEqual((account.realized_pnl, account.trade_count), (Decimal(0), 0))
        self.assertIsNone(account.lockout)


class UnreadTests(SessionTestCase):
    """Quotes are read when they are needed, and make the view that they would have made at once."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()
        self.read: list[str] = []

    def tell(self, event_type: str, **data: Any) -> None:
        """Report an event that is not read yet."""
        event = make_event(event_type, data)

        def read() -> Event:
            self.read.append(event_type)
            return event

        self.session.receive(event_type, read)

    def test_a_quote_is_read_when_the_view_is_looked_at_and_is_of_when_it_came(self) -> None:
        self.changes.clear()
        self.tell("MarketQuote", contractId=MNQ, last=21007)
        self.assertEqual((self.read, self.changes), ([], [False]))
        came = self.now
        self.wait(0.5)
        view = self.session.view()
        self.assertEqual(view.account.quotes[MNQ].last, 21007)
        self.assertEqual((view.last_event_at, view.known_at, view.events), (came, came, 1))

    def test_quotes_are_read_before_what_comes_after_them(self) -> None:
        self.tell("MarketQuote")
        self.tell("GatewayUserTrade")
        self.assertEqual(self.read, ["MarketQuote", "GatewayUserTrade"])

    def test_quotes_are_read_before_the_connection_is_lost(self) -> None:
        self.tell("MarketQuote")
        came = self.now
        self.wait(0.1)
        self.lose()
        self.assertEqual(self.read, ["MarketQuote"])
        self.assertEqual(self.view.known_at, came)

    def test_quotes_are_read_in_time_though_nobody_looks_at_the_view(self) -> None:
        self.tell("MarketQuote")
        self.session.poll_file()
        self.assertEqual(len(self.read), 1)
        for _ in range(1000):
            self.tell("MarketQuote")
        self.assertGreater(len(self.read), 900)

    def test_a_quote_that_is_malformed_changes_nothing(self) -> None:
        before = self.view
        self.session.receive("MarketQuote", lambda: None)
        self.assertEqual(self.view, before)

    @given(histories())
    def test_read_late_or_at_once_the_view_is_the_same(self, events: list[Event]) -> None:
        views = []
        for looks_each_time in (False, True):
            session = Session(
                123, lambda: BEGIN, lambda _important: None, self.file.read, self.file.version
            )
            session.receive_status("connection_status", {"connected": True, "reason": ""})
            for event in events:
                session.receive(event.type, lambda event=event: event)
                if looks_each_time:
                    session.view()
            views.append(session.view())
        self.assertEqual(*views)


class FeedTests(SessionTestCase):
    """The activity feed and what flashes."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()
        self.changes.clear()

    def test_a_flash_goes_out_after_five_seconds(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-45.50, quantity=2)
        self.wait(FLASH_SECONDS - 0.001)
        flash = self.view.flash
        assert flash is not None
        self.assertEqual(flash.text, "Trade -45.50  MNQU5 x2")
        self.wait(0.001)
        self.assertEqual(FLASH_SECONDS, 5)
        self.assertIsNone(self.view.flash)

    def test_the_newest_flash_is_shown(self) -> None:
        self.receive("GatewayUserTrade")
        self.wait(2)
        self.receive("lockout_cleared")
        self.wait(4)
        flash = self.view.flash
        assert flash is not None
        self.assertEqual(flash.text, "Trading resumed: the lock has ended")

    def test_what_does_not_flash_leaves_the_flash(self) -> None:
        self.receive("GatewayUserTrade")
        flash = self.view.flash
        self.receive("GatewayUserOrder")
        self.assertEqual(self.view.flash, flash)

    def test_an_old_flash_leaves_its_line_in_the_feed(self) -> None:
        self.receive("lockout_cleared")
        self.wait(3600)
        self.assertEqual(self.feed[1:], ["Trading resumed: the lock has ended"])

    def test_a_clock_that_is_set_back_puts_a_flash_out(self) -> None:
        self.receive("GatewayUserTrade")
        self.wait(-3600)
        self.assertIsNone(self.view.flash)

    def test_the_programs_own_trouble_is_in_the_feed(self) -> None:
        self.session.note("dropped a malformed message")
        line = self.view.feed[-1]
        self.assertEqual((line.at, line.text), (BEGIN, "Dropped a malformed message"))
        self.assertEqual(line.style, "alert")
        self.assertEqual(self.changes, [True])

    def test_a_long_day_does_not_grow_without_end(self) -> None:
        for number in range(600):
            self.session.note(f"line {number}")
        self.assertEqual(self.feed, [f"Line {number}" for number in range(100, 600)])


class CountTests(SessionTestCase):
    """What the connection page says of the stream."""

    def test_events_are_counted_and_the_last_is_named_with_its_time(self) -> None:
        self.connect()
        self.wait(3)
        self.receive("GatewayUserTrade")
        self.receive("MarketQuote")
        view = self.view
        self.assertEqual((view.events, view.last_event), (2, "MarketQuote"))
        self.assertEqual(view.last_event_at, BEGIN + timedelta(seconds=3))

    def test_connections_are_counted_with_the_time_of_the_last(self) -> None:
        self.connect()
        self.lose()
        self.wait(7)
        self.connect()
        self.assertEqual(self.view.connections, 2)
        self.assertEqual(self.view.connected_at, BEGIN + timedelta(seconds=7))

    def test_the_client_says_where_it_looks_and_what_it_could_not_read(self) -> None:
        view = self.session.view(url="ws://localhost:1", dropped=2)
        self.assertEqual((view.url, view.dropped), ("ws://localhost:1", 2))


class DryRunTests(SessionTestCase):
    """Whether anything is enforced, as the daemon says it."""

    def status(self, status: str, message: str) -> None:
        """Report the daemon's word on itself."""
        self.receive("daemon_status", status=status, message=message)

    def test_before_the_daemon_said_anything_it_is_not_known(self) -> None:
        self.connect()
        self.assertIsNone(self.view.is_dry_run)

    def test_the_daemon_says_it_when_all_is_well(self) -> None:
        self.connect()
        self.status("RUNNING", f"Running {DRY_RUN_NOTE}")
        self.assertIs(self.view.is_dry_run, True)
        self.status("RUNNING", "Running")
        self.assertIs(self.view.is_dry_run, False)

    def test_trouble_does_not_change_it(self) -> None:
        self.connect()
        self.status("RUNNING", f"Running {DRY_RUN_NOTE}")
        self.status("ERROR", "The gateway is lost")
        self.assertIs(self.view.is_dry_run, True)

    def test_the_file_says_it_too(self) -> None:
        said = {"status": "RUNNING", "message": f"Running {DRY_RUN_NOTE}"}
        self.file.publish(make_event("daemon_status", said))
        self.session.poll_file()
        self.assertIs(self.view.is_dry_run, True)


class AlarmTests(SessionTestCase):
    """What is worth an alarm, and that it is given once."""

    def setUp(self) -> None:
        super().setUp()
        self.alarms: list[Event] = []
        self.session = Session(
            123,
            lambda: self.now,
            self.changes.append,
            self.file.read,
            self.file.version,
            self.alarms.append,
        )

    def test_locks_and_enforcement_alarm_once_however_often_they_are_told(self) -> None:
        self.connect()
        moment = BEGIN.isoformat()
        stamps = {
            "lockout_set": {"locked_at": moment},
            "enforcement_action": {"timestamp": moment},
        }
        for _ in range(2):
            for event_type in EVENT_TYPES:
                if event_type not in ("lockout_cleared", "daily_reset"):
                    self.receive(event_type, **stamps.get(event_type, {}))
        self.assertEqual(
            [event.type for event in self.alarms], ["lockout_set", "enforcement_action"]
        )

    def test_a_lock_that_was_set_while_there_was_no_connection_alarms(self) -> None:
        self.file.publish()
        self.connect()
        self.lose()
        lock = make_event("lockout_set", {})
        self.file.publish(lock, seconds=1)
        self.session.poll_file()
        self.connect()
        self.assertEqual(self.alarms, [lock])

    def test_a_lock_from_before_the_console_does_not_alarm(self) -> None:
        self.file.publish(make_event("lockout_set", {}))
        self.connect()
        self.assertEqual(self.alarms, [])


class FileTests(SessionTestCase):
    """A connection that begins with the file."""

    def test_the_account_is_the_files(self) -> None:
        contract = Contract(id="X", name="XYZU5", tick_size=Decimal("0.01"), tick_value=Decimal(1))
        state = self.file.publish(*DAY, contracts={"X": contract})
        self.connect()
        account = self.view.account
        self.assertEqual(account, state)
        self.assertEqual((account.realized_pnl, account.trade_count), (Decimal("-45.50"), 1))
        self.assertEqual([held.size for held in account.open_positions], [3])
        self.assertEqual([order.id for order in account.working_orders], [2])
        self.assertEqual(account.quotes[MNQ].last, Decimal(21001))
        assert account.lockout is not None
        self.assertEqual(account.lockout.reason, "Daily loss")
        self.assertEqual(len(account.enforcement), 1)
        self.assertEqual(account.contract("X"), contract)
        assert self.view.daemon is not None
        self.assertEqual(self.view.daemon.message, "In step")

    def test_it_is_read_in_the_very_call_that_reports_the_connection(self) -> None:
        self.file.publish(*DAY)
        self.assertEqual(self.file.reads, 0)
        self.connect()
        self.assertEqual(self.file.reads, 1)
        self.assertEqual(self.view.account.trade_count, 1)

    def test_it_makes_the_figures_the_days(self) -> None:
        self.file.publish(*DAY, seconds=-2)
        self.connect()
        self.assertIs(self.view.source, Source.LIVE)
        self.assertIsNone(self.view.events_only_since)
        self.assertEqual(self.view.file_problem, "")
        self.assertEqual(self.view.known_at, BEGIN - timedelta(seconds=2))

    def test_what_happens_next_comes_on_top(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        self.wait(1)
        self.receive("GatewayUserTrade", profitAndLoss=100, executionTime=at(1))
        self.receive("GatewayUserPosition", size=0, updatedAt=at(1))
        account = self.view.account
        self.assertEqual((account.realized_pnl, account.trade_count), (Decimal("54.50"), 2))
        self.assertEqual(account.open_positions, ())
        self.assertEqual(self.feed[-2:], ["Trade +100.00  MNQU5 x2", "Position closed: MNQU5"])
        self.assertEqual(self.view.known_at, self.now)

    def test_what_the_file_has_already_changes_nothing_and_is_not_told(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        before = self.view
        self.changes.clear()
        for event in DAY:
            self.receive_event(event)
        told = {
            "has_broker_data": True,
            "events": len(DAY),
            "last_event": self.view.last_event,
            "last_event_at": self.now,
        }
        self.assertEqual(self.view, msgspec.structs.replace(before, known_at=self.now, **told))
        self.assertIs(self.view.account, before.account)
        self.assertIsNone(self.view.flash)
        self.assertNotIn(True, self.changes)

    def test_every_event_that_is_told_twice_is_told_once(self) -> None:
        self.connect()
        for event_type in EVENT_TYPES:
            event = make_event(event_type, {})
            self.receive_event(event)
            feed, account = self.feed, self.view.account
            if event_type != "lockout_cleared":
                self.receive_event(event)
            self.assertEqual(self.feed, feed)
            self.assertIs(self.view.account, account)

    def test_a_position_or_order_with_nothing_new_but_its_time_is_not_told(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        feed = self.feed
        for event in DAY[1:3]:
            later = msgspec.structs.replace(event.data, updated_at=BEGIN)
            self.receive_event(Event(123, later))
        self.assertEqual(self.feed, feed)
        self.assertEqual(self.view.account.positions[MNQ].updated_at, BEGIN)

    def test_a_trade_of_the_file_is_counted_once(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        trade = make_event(
            "GatewayUserTrade", {"id": 4, "profitAndLoss": 10, "executionTime": at(-1)}
        )
        for event in (*DAY, trade, trade):
            self.receive_event(event)
        account = self.view.account
        self.assertEqual((account.realized_pnl, account.trade_count), (Decimal("-35.50"), 2))
        self.assertEqual(
            [text for text in self.feed if "Trade" in text], ["Trade +10.00  MNQU5 x2"]
        )

    def test_the_end_of_a_lockout_that_the_file_does_not_have_is_not_told(self) -> None:
        self.file.publish()
        self.connect()
        self.receive("lockout_cleared")
        self.assertEqual(self.feed, ["Connected to daemon"])
        self.receive("lockout_set")
        self.receive("lockout_cleared")
        self.assertEqual(self.feed[-1], "Trading resumed: the lock has ended")

    def test_without_the_file_the_end_of_a_lockout_is_news(self) -> None:
        self.connect()
        self.changes.clear()
        self.receive("lockout_cleared")
        self.assertEqual(self.feed[-1], "Trading resumed: the lock has ended")
        self.assertEqual(self.changes, [True])

    def test_each_connection_begins_with_what_the_file_says_then(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        self.receive("GatewayUserTrade", id=9)
        self.lose()
        state = self.file.publish(*DAY[:4], seconds=3)
        self.connect()
        self.assertEqual(self.view.account, state)

    def test_a_file_that_cannot_be_read_leaves_what_is_seen_and_says_why(self) -> None:
        for trouble in FILE_PROBLEMS:
            self.setUp()
            self.file.fail(trouble)
            self.wait(60)
            self.connect()
            self.receive("GatewayUserTrade", profitAndLoss=-1)
            self.assertIs(self.view.source, Source.LIVE)
            self.assertEqual(self.view.events_only_since, BEGIN + timedelta(seconds=60))
            self.assertEqual(self.view.file_problem, "N" + trouble[1:])
            self.assertEqual(self.view.account.realized_pnl, Decimal(-1))

    def test_what_was_known_before_is_not_mixed_with_what_is_seen_without_the_file(self) -> None:
        self.file.publish(*DAY)
        self.session.poll_file()
        self.assertEqual(self.view.account.trade_count, 1)
        self.file.fail()
        self.connect()
        self.assertEqual(self.view.account, AccountState(account_id=123))
        self.assertEqual(self.view.events_only_since, BEGIN)

    def test_an_account_that_the_file_does_not_know_is_named_beside_those_it_knows(self) -> None:
        self.file.publish_accounts(456, 124)
        self.connect()
        self.assertEqual(
            self.view.file_problem,
            "Account 123 is not in the last known state; it knows 124, 456",
        )
        self.assertEqual(self.view.events_only_since, BEGIN)
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        self.assertEqual(self.view.account.realized_pnl, Decimal(-1))

    def test_a_file_that_knows_no_account_says_so(self) -> None:
        self.file.publish_accounts()
        self.session.poll_file()
        self.assertEqual(
            self.view.file_problem, "Account 123 is not in the last known state; it knows none"
        )
        self.assertIs(self.view.source, Source.NOTHING)

    def test_a_file_that_appears_during_a_connection_waits_for_the_next(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        before = self.view
        self.file.publish(*DAY, seconds=100)
        self.wait(1)
        self.session.poll_file()
        self.assertEqual(self.view, before)
        self.lose()
        self.connect()
        self.assertEqual(self.view.file_problem, "")
        self.assertIsNone(self.view.events_only_since)
        self.assertEqual(self.view.account.realized_pnl, Decimal("-45.50"))

    def test_during_a_connection_the_file_is_left_alone(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        self.file.publish()
        self.changes.clear()
        self.session.poll_file()
        self.assertEqual((self.file.reads, self.changes), (1, []))

    def test_of_the_file_during_a_connection_only_the_limits_count(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        limit = Limit("max_contracts", '{"limit": 2}')
        self.file.publish(limits={"RULE-001": limit}, seconds=9)
        self.wait(LIMITS_SECONDS)
        self.session.poll_file()
        self.assertEqual(self.view.account.limits, {"RULE-001": limit})
        self.assertEqual(self.view.account.realized_pnl, Decimal("-45.50"))
        self.assertEqual(self.view.file_as_of, BEGIN + timedelta(seconds=9))
        self.assertEqual((self.file.reads, self.changes[-1]), (2, False))

    def test_the_limits_are_looked_for_every_ten_seconds_and_whatever_the_clock_does(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        for seconds, reads in ((9, 1), (1, 2), (9, 2), (-60, 3)):
            self.file.publish(*DAY)
            self.wait(seconds)
            self.session.poll_file()
            self.assertEqual(self.file.reads, reads)

    def test_a_file_that_gets_lost_during_a_connection_leaves_the_limits(self) -> None:
        self.file.publish(*DAY, limits={"RULE-001": Limit("max_contracts", "{}")})
        self.connect()
        self.file.fail()
        self.wait(LIMITS_SECONDS)
        self.session.poll_file()
        self.assertEqual(list(self.view.account.limits), ["RULE-001"])
        self.assertEqual(self.view.file_problem, "")

    def test_the_daemons_word_on_the_gateway_goes_before_the_files(self) -> None:
        self.file.publish(gateway_name="practice")
        self.session.poll_file()
        self.assertEqual(self.session.view().gateway_name, "practice")
        self.assertEqual(self.session.view(None, "projectx").gateway_name, "projectx")


class LastKnownTests(SessionTestCase):
    """What the file says while there is no connection."""

    def test_before_any_connection_the_file_is_what_is_known(self) -> None:
        state = self.file.publish(*DAY, seconds=-120)
        self.session.poll_file()
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.account, state)
        self.assertEqual(self.view.known_at, BEGIN - timedelta(seconds=120))
        self.assertIsNone(self.view.events_only_since)
        self.assertEqual(self.view.file_problem, "")
        self.assertEqual(self.changes, [True])

    def test_each_trouble_with_the_file_is_said(self) -> None:
        for trouble in FILE_PROBLEMS:
            self.setUp()
            self.file.fail(trouble)
            self.session.poll_file()
            self.assertIs(self.view.source, Source.NOTHING)
            self.assertEqual(self.view.file_problem, "N" + trouble[1:])

    def test_a_file_that_never_was_is_said_to_be_missing_once(self) -> None:
        self.assertIsNone(self.file.version())
        for _ in range(3):
            self.session.poll_file()
        self.assertEqual(self.view.file_problem, "N" + NOT_THERE[1:])
        self.assertEqual((self.file.reads, self.changes), (1, [True]))

    def test_it_is_read_again_only_when_it_has_changed(self) -> None:
        for prepare in (lambda: self.file.publish(*DAY), self.file.fail, self.file.publish):
            prepare()
            self.file.reads = 0
            self.changes.clear()
            for _ in range(5):
                self.session.poll_file()
            self.assertEqual((self.file.reads, self.changes), (1, [True]))

    def test_a_connection_reads_whatever_was_read_before(self) -> None:
        self.file.publish(*DAY)
        self.session.poll_file()
        self.connect()
        self.assertEqual(self.file.reads, 2)

    def test_a_file_that_is_replaced_while_it_is_read_is_read_again(self) -> None:
        self.file.publish(seconds=-2)
        read = self.file.read

        def read_while_it_is_replaced() -> Snapshot:
            snapshot = read()
            if self.file.reads == 1:
                self.file.publish(*DAY, seconds=-1)
            return snapshot

        self.session = Session(
            123,
            lambda: self.now,
            self.changes.append,
            read_while_it_is_replaced,
            self.file.version,
        )
        self.session.poll_file()
        self.assertEqual(self.view.account.trade_count, 0)
        self.session.poll_file()
        self.assertEqual(self.view.account.trade_count, 1)

    def test_a_file_that_appears_later_is_taken(self) -> None:
        self.session.poll_file()
        state = self.file.publish(*DAY)
        self.session.poll_file()
        self.assertEqual(self.view.account, state)
        self.assertEqual(self.view.file_problem, "")

    def test_a_file_that_gets_lost_leaves_what_it_said(self) -> None:
        state = self.file.publish(*DAY, seconds=-60)
        self.session.poll_file()
        self.file.fail(FILE_PROBLEMS[2])
        self.session.poll_file()
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.account, state)
        self.assertEqual(self.view.known_at, BEGIN - timedelta(seconds=60))
        self.assertEqual(self.view.file_problem, "N" + FILE_PROBLEMS[2][1:])

    def test_a_file_without_a_time_is_taken_where_nothing_is_known(self) -> None:
        state = self.file.publish(*DAY, seconds=None)
        self.session.poll_file()
        self.assertEqual(self.view.account, state)
        self.assertIsNone(self.view.known_at)

    def test_a_file_without_a_time_does_not_replace_what_has_one(self) -> None:
        self.file.publish(*DAY)
        self.session.poll_file()
        self.file.publish(seconds=None)
        self.session.poll_file()
        self.assertEqual(self.view.account.trade_count, 1)

    def test_tries_that_fail_say_why_beside_what_the_file_says(self) -> None:
        self.file.publish(*DAY)
        self.session.poll_file()
        self.lose("cannot connect to daemon (is it running?)")
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.connection_problem, "Cannot connect to daemon (is it running?)")
        self.lose("cannot connect to daemon: 503")
        self.assertEqual(self.view.connection_problem, "Cannot connect to daemon: 503")
        self.assertEqual(self.feed, [ENFORCED])


class LossTests(SessionTestCase):
    """A connection that is lost: the later of stream and file is shown."""

    def setUp(self) -> None:
        super().setUp()
        self.file.publish(*DAY)
        self.connect()
        self.wait(60)
        self.receive("GatewayUserTrade", profitAndLoss=-4.50, executionTime=at(60))
        self.wait(1)
        self.lose()

    def check_that_the_stream_is_shown(self) -> None:
        """Check for what was known when the connection was lost."""
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.account.realized_pnl, Decimal(-50))
        self.assertEqual(self.view.known_at, BEGIN + timedelta(seconds=60))

    def test_what_was_known_stays(self) -> None:
        self.check_that_the_stream_is_shown()
        self.session.poll_file()
        self.check_that_the_stream_is_shown()
        self.assertEqual(self.file.reads, 1)

    def test_a_connection_without_an_event_is_as_old_as_the_file_it_began_with(self) -> None:
        self.file.publish(*DAY, seconds=70)
        self.wait(30)
        self.connect()
        self.wait(30)
        self.lose()
        self.assertEqual(self.view.known_at, BEGIN + timedelta(seconds=70))

    def test_an_older_file_does_not_replace_it(self) -> None:
        self.file.publish(*DAY, seconds=59.9)
        self.session.poll_file()
        self.assertEqual(self.file.reads, 2)
        self.check_that_the_stream_is_shown()
        self.assertEqual(self.view.file_problem, "")

    def test_a_newer_file_replaces_it(self) -> None:
        state = self.file.publish(*DAY[:3], seconds=60)
        self.session.poll_file()
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.account, state)
        newer = self.file.publish(*DAY[:2], seconds=75)
        self.session.poll_file()
        self.assertEqual(self.view.account, newer)
        self.assertEqual(self.view.known_at, BEGIN + timedelta(seconds=75))
        self.assertEqual(self.view.connection_problem, "Lost connection to daemon")

    def test_a_file_that_cannot_be_read_leaves_it(self) -> None:
        self.file.fail(FILE_PROBLEMS[1])
        self.session.poll_file()
        self.check_that_the_stream_is_shown()
        self.assertEqual(self.view.file_problem, "N" + FILE_PROBLEMS[1][1:])
        self.file.publish(*DAY, seconds=3)
        self.session.poll_file()
        self.check_that_the_stream_is_shown()
        self.assertEqual(self.view.file_problem, "")

    def test_what_was_seen_without_the_file_stays_what_was_seen(self) -> None:
        self.file.fail()
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        self.lose()
        self.file.publish(*DAY, seconds=3)
        self.session.poll_file()
        self.assertEqual(self.view.account.realized_pnl, Decimal(-1))
        self.assertEqual(self.view.events_only_since, BEGIN + timedelta(seconds=61))
        self.assertEqual(self.view.file_problem, "N" + NOT_THERE[1:])
        self.file.publish(*DAY, seconds=61)
        self.session.poll_file()
        self.assertEqual(self.view.account.realized_pnl, Decimal("-45.50"))
        self.assertIsNone(self.view.events_only_since)
        self.assertEqual(self.view.file_problem, "")

    def test_failing_tries_leave_the_loss_as_the_trouble_whatever_the_file_says(self) -> None:
        self.file.publish(*DAY, seconds=75)
        self.session.poll_file()
        self.lose("cannot connect to daemon (is it running?)")
        self.assertEqual(self.view.connection_problem, "Lost connection to daemon")

    def test_after_the_clock_was_set_back_the_file_is_taken(self) -> None:
        self.now = BEGIN - timedelta(hours=1)
        state = self.file.publish(*DAY, seconds=-3600)
        self.session.poll_file()
        self.assertEqual(self.view.account, state)
        self.assertEqual(self.view.known_at, self.now)

    def test_a_clock_that_is_set_back_during_a_connection_dates_what_comes_then(self) -> None:
        self.connect()
        self.now = BEGIN - timedelta(hours=1)
        self.receive("MarketQuote", last=21007)
        self.lose()
        self.assertEqual(self.view.known_at, self.now)
        self.file.publish(*DAY, seconds=-3601)
        self.session.poll_file()
        self.assertEqual(self.view.account.quotes[MNQ].last, Decimal(21007))


class StatusTests(SessionTestCase):
    """The daemon's word on itself, of which the file holds the last."""

    stopping = make_event("daemon_status", {"status": "STOPPING", "message": "Bye"})

    def test_a_daemon_that_let_us_in_is_not_the_one_that_stopped(self) -> None:
        self.file.publish(self.stopping)
        self.session.poll_file()
        self.assertTrue(is_stopping(self.view.daemon))
        self.connect()
        self.assertIsNone(self.view.daemon)

    def test_what_it_says_itself_counts(self) -> None:
        self.file.publish(self.stopping)
        self.connect()
        self.receive("daemon_status", status="RUNNING")
        assert self.view.daemon is not None
        self.assertEqual(self.view.daemon.status, "RUNNING")

    def test_one_that_stops_while_the_file_is_read_stops(self) -> None:
        self.file.publish(self.stopping)
        self.connect()
        self.receive_event(self.stopping)
        self.assertTrue(is_stopping(self.view.daemon))

    def test_trouble_in_the_file_stands_until_the_daemon_says_otherwise(self) -> None:
        self.file.publish(make_event("daemon_status", {"status": "ERROR", "message": "Gone"}))
        self.connect()
        assert self.view.daemon is not None
        self.assertEqual(self.view.daemon.message, "Gone")


class EnforcementTests(SessionTestCase):
    """What the file says was enforced is in the feed."""

    def action(self, reason: str, seconds: float) -> Event:
        """Return an enforcement action."""
        return make_event("enforcement_action", {"reason": reason, "timestamp": at(seconds)})

    def told(self) -> list[tuple[float, str]]:
        """Return the feed: seconds from the beginning, and the reason of what was enforced."""
        return [
            (
                (line.at - BEGIN).total_seconds(),
                line.text.partition("): ")[2].partition(";")[0] or line.text,
            )
            for line in self.view.feed
        ]

    def test_it_stands_at_its_own_time_and_does_not_flash(self) -> None:
        self.file.publish(self.action("one", -20), self.action("two", -10))
        self.connect()
        self.assertEqual(self.told(), [(-20, "one"), (-10, "two"), (0, "Connected to daemon")])
        self.assertEqual({line.style for line in self.view.feed[:2]}, {"alert"})
        self.assertIsNone(self.view.flash)

    def test_reading_again_tells_it_not_again(self) -> None:
        self.file.publish(self.action("one", -20))
        for seconds in (1, 2, 3):
            self.session.poll_file()
            self.file.publish(self.action("one", -20), seconds=seconds)
        self.connect()
        self.lose("")
        self.connect()
        self.assertEqual([text for _, text in self.told()].count("one"), 1)

    def test_what_the_stream_told_is_not_told_by_the_file(self) -> None:
        self.file.publish()
        self.connect()
        self.wait(10)
        self.receive_event(self.action("live", 9))
        self.lose()
        self.file.publish(self.action("live", 9), seconds=11)
        self.session.poll_file()
        self.connect()
        self.assertEqual(
            [line.text for line in self.view.feed if "live" in line.text],
            ["ENFORCED: close positions (RULE-001): live; 2 positions closed, 1 order canceled"],
        )

    def test_what_the_file_told_is_not_told_by_the_stream(self) -> None:
        self.file.publish(self.action("one", -20))
        self.connect()
        self.receive_event(self.action("one", -20))
        self.assertEqual(self.told(), [(-20, "one"), (0, "Connected to daemon")])

    def test_what_was_enforced_without_a_connection_comes_to_its_place(self) -> None:
        self.file.publish()
        self.connect()
        self.wait(10)
        self.lose("gone")
        self.wait(10)
        self.file.publish(self.action("late", 5), self.action("between", 15), seconds=20)
        self.connect()
        self.assertEqual(
            self.told(),
            [
                (0, "Connected to daemon"),
                (5, "late"),
                (10, "Gone"),
                (15, "between"),
                (20, "Connected to daemon"),
            ],
        )


class PropertyTests(SynchronousTestCase):
    """File and stream together, whatever happened and whenever one joins."""

    def setUp(self) -> None:
        self.now = BEGIN

    def session_on(self, file: StateFile) -> Session:
        """Return a session that reads ``file``."""
        return Session(123, lambda: self.now, lambda _: None, file.read, file.version)

    def join(self, session: Session) -> None:
        """Report a completed handshake."""
        session.receive_status("connection_status", {"connected": True, "reason": "connected"})

    def hear(self, session: Session, events: list[Event]) -> None:
        """Report ``events``, as they come off the wire."""
        for event in events:
            message = encode(event)
            session.receive(event.type, partial(decode, message))

    def check(self, session: Session, history: list[Event]) -> None:
        """Check that the session ends on the state of the whole history."""
        self.assertEqual(
            as_published(session.view().account),
            as_published(state_after(*history)),
        )

    @given(histories(), st.data())
    def test_joining_at_any_moment_with_any_overlap_ends_on_the_same_state(
        self, history: list[Event], data: st.DataObject
    ) -> None:
        told = worth_telling(history)
        joined = data.draw(st.integers(0, len(told)), "joined")
        replayed_from = data.draw(st.integers(0, joined), "replayed from")
        file = StateFile()
        file.publish(*told[:joined])
        session = self.session_on(file)
        self.join(session)
        self.hear(session, told[replayed_from:])
        self.check(session, told)

    @given(histories(), st.data())
    def test_losing_reading_and_joining_again_ends_on_the_same_state(
        self, history: list[Event], data: st.DataObject
    ) -> None:
        told = worth_telling(history)
        moments = st.integers(0, len(told))
        joined, lost, published, joined_again = sorted(
            data.draw(st.tuples(moments, moments, moments, moments), "moments")
        )
        file = StateFile()
        file.publish(*told[:joined])
        session = self.session_on(file)
        self.join(session)
        self.hear(session, told[joined:lost])
        session.receive_status("connection_status", {"connected": False, "reason": "lost"})
        file.publish(*told[:published], seconds=1)
        session.poll_file()
        self.check(session, told[:published])
        file.publish(*told[:joined_again], seconds=2)
        self.join(session)
        self.hear(session, told[data.draw(st.integers(0, joined_again), "replayed from") :])
        self.check(session, told)

    @given(histories(), st.data())
    def test_what_the_file_has_is_told_no_second_time(
        self, history: list[Event], data: st.DataObject
    ) -> None:
        told = worth_telling([event for event in history if event.type == "GatewayUserTrade"])
        joined = data.draw(st.integers(0, len(told)), "joined")
        file = StateFile()
        file.publish(*told[:joined])
        session = self.session_on(file)
        self.join(session)
        self.hear(session, told)
        lines = [line for line in session.view().feed if line.text.startswith("Trade ")]
        self.assertEqual(len(lines), len(told) - joined)


def worth_telling(history: list[Event]) -> list[Event]:
    """Return the events that a daemon broadcasts: those that change what is known."""
    state = AccountState(account_id=123)
    told = []
    for event in history:
        after = apply(state, event)
        if after is not state:
            told.append(event)
        state = after
    return told


def as_published(state: AccountState) -> AccountState:
    """Return what the file tells of ``state``: no orders that ended, and nothing that is the daemon's own."""
    return msgspec.structs.replace(state, final_orders={}, risk=RiskState())
