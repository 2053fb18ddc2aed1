"""A trader's session: connections, events, the feed and alarms."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from hypothesis import given

from riskd.model.events import DRY_RUN_NOTE, EVENT_TYPES, Event, MarketQuote
from riskd.model.wire import decode, encode, open_envelope
from riskd.testing import make_event
from tests.support.accounts import unread
from tests.support.console import (
    BEGIN,
    MNQ,
    SessionTestCase,
    at,
)
from tests.support.strategies import histories
from trader.client import UnreadEvent
from trader.model.session import FLASH_SECONDS, Session
from trader.model.view import Source, is_stopping


class ConnectionTests(SessionTestCase):
    """The source of the view without a file."""

    def test_before_the_first_connection_nothing_is_known(self) -> None:
        self.assertIs(self.view.source, Source.NOTHING)
        self.assertIsNone(self.view.events_only_since)
        self.assertEqual(self.view.connection_problem, "")
        self.assertEqual(self.feed, [])

    def test_a_failed_first_attempt_leaves_nothing_known(self) -> None:
        self.lose("cannot connect to daemon (is it running?)")
        self.assertIs(self.view.source, Source.NOTHING)
        self.assertEqual(self.view.connection_problem, "Cannot connect to daemon (is it running?)")

    def test_failed_attempts_do_not_fill_the_feed(self) -> None:
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

    def test_failed_attempts_do_not_replace_the_reason_of_the_loss(self) -> None:
        self.connect()
        self.lose("lost connection to daemon: shutting down")
        self.lose("cannot connect to daemon (is it running?)")
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.connection_problem, "Lost connection to daemon: shutting down")
        self.assertEqual(
            self.feed, ["Connected to daemon", "Lost connection to daemon: shutting down"]
        )

    def test_a_reason_that_the_trader_can_act_on_is_shown_after_a_loss_too(self) -> None:
        self.connect()
        self.lose()
        self.lose("cannot connect to daemon: it trades paper")
        self.assertEqual(self.view.connection_problem, "Cannot connect to daemon: it trades paper")
        self.lose("cannot connect to daemon (is it running?)")
        self.assertEqual(self.view.connection_problem, "Lost connection to daemon")

    def test_without_the_file_a_new_connection_starts_from_an_empty_account(self) -> None:
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

    def test_without_an_event_the_view_dates_from_the_connection(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade")
        self.lose()
        self.wait(30)
        self.connect()
        self.wait(30)
        self.assertEqual(self.view.known_at, BEGIN + timedelta(seconds=30))

    def test_the_feed_continues_over_connections(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.50, quantity=2)
        self.lose()
        self.connect()
        self.assertEqual(
            self.feed,
            [
                "Connected to daemon",
                "Trade -$45.50  MNQU5 x2",
                "Lost connection to daemon",
                "Connected to daemon",
            ],
        )

    def test_an_empty_reason_is_no_problem_to_show(self) -> None:
        self.connect()
        self.lose("")
        self.assertEqual(self.view.connection_problem, "")

    def test_the_view_includes_the_data_of_the_client(self) -> None:
        view = self.session.view(3.5, "practice")
        self.assertEqual((view.retry_in, view.gateway_name), (3.5, "practice"))


class EventTests(SessionTestCase):
    """How events change the view."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_trades_add_up_to_the_cent(self) -> None:
        for amount in (0.10, 0.20, -45.50):
            self.receive("GatewayUserTrade", profitAndLoss=amount)
        self.assertEqual(self.view.account.realized_pnl, Decimal("-45.20"))
        self.assertEqual(self.view.account.trade_count, 3)

    def test_whole_numbers_are_amounts_too(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=100)
        self.assertEqual(self.view.account.realized_pnl, Decimal(100))

    def test_the_view_dates_from_the_last_event(self) -> None:
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

    def test_only_the_changes_of_quotes_are_unimportant(self) -> None:
        self.changes.clear()
        self.receive("MarketQuote")
        self.receive("GatewayUserTrade")
        self.receive("daemon_status")
        self.lose()
        self.assertEqual(self.changes, [False, True, True, True])

    def test_daemon_wide_events_are_applied(self) -> None:
        self.receive("daemon_status", status="STOPPING", message="The daemon is stopping")
        self.assertTrue(is_stopping(self.view.daemon))
        self.receive("daemon_status", status="RUNNING")
        self.assertFalse(is_stopping(self.view.daemon))

    def test_a_daemon_without_a_status_is_not_stopping(self) -> None:
        self.assertFalse(is_stopping(None))

    def test_unknown_event_types_change_nothing(self) -> None:
        before = self.view
        self.changes.clear()
        self.session.receive("margin_call", lambda: None)
        self.assertEqual(self.view, before)
        self.assertEqual(self.changes, [])

    def test_unknown_keys_are_ignored(self) -> None:
        message = encode(make_event("GatewayUserTrade", {}))
        event = decode(message.replace(b'"data":{', b'"data":{"fees":0.74,'))
        self.session.receive(event.type, lambda: event)
        self.assertEqual(self.view.account.trade_count, 1)

    def test_later_events_do_not_change_a_view(self) -> None:
        before = self.view
        self.receive("GatewayUserTrade")
        self.assertEqual(before.account.trade_count, 0)

    def test_a_daily_reset_restarts_at_zero(self) -> None:
        long_ago = "2025-01-16T10:00:00Z"
        self.receive("GatewayUserTrade", executionTime=long_ago)
        self.receive("lockout_set")
        self.receive("daily_reset", reset_time="2025-01-16T23:00:00Z", lockouts_cleared=True)
        account = self.view.account
        self.assertEqual((account.realized_pnl, account.trade_count), (Decimal(0), 0))
        self.assertIsNone(account.lockout)


class _Noted(UnreadEvent):
    """A quote that notes its last price when it is decoded."""

    decoded: ClassVar[list[str]]

    def __call__(self) -> Event | None:
        event = super().__call__()
        if event is not None and isinstance(event.data, MarketQuote):
            self.decoded.append(str(event.data.last))
        return event


class LazyQuoteTests(SessionTestCase):
    """Quotes are decoded when they are needed."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()
        self.decoded = _Noted.decoded = list[str]()

    def receive_lazily(self, event_type: str, **data: Any) -> None:
        """Report an event, and record when it is decoded."""
        event = make_event(event_type, data)

        def read() -> Event:
            self.decoded.append(event_type)
            return event

        self.session.receive(event_type, read)

    def test_a_quote_is_decoded_with_the_view_and_dates_from_its_receipt(self) -> None:
        self.changes.clear()
        self.receive_lazily("MarketQuote", contractId=MNQ, last=21007)
        self.assertEqual((self.decoded, self.changes), ([], [False]))
        received_at = self.now
        self.wait(0.5)
        view = self.session.view()
        self.assertEqual(view.account.quotes[MNQ].last, 21007)
        self.assertEqual(
            (view.last_event_at, view.known_at, view.events), (received_at, received_at, 1)
        )

    def test_quotes_are_decoded_before_later_events(self) -> None:
        self.receive_lazily("MarketQuote")
        self.receive_lazily("GatewayUserTrade")
        self.assertEqual(self.decoded, ["MarketQuote", "GatewayUserTrade"])

    def test_quotes_are_decoded_before_the_loss_of_the_connection(self) -> None:
        self.receive_lazily("MarketQuote")
        received_at = self.now
        self.wait(0.1)
        self.lose()
        self.assertEqual(self.decoded, ["MarketQuote"])
        self.assertEqual(self.view.known_at, received_at)

    def test_quotes_are_decoded_although_no_view_is_asked_for(self) -> None:
        self.receive_lazily("MarketQuote")
        self.session.poll_file()
        self.assertEqual(len(self.decoded), 1)
        for _ in range(1000):
            self.receive_lazily("MarketQuote")
        self.assertGreater(len(self.decoded), 900)

    def receive_quotes(self, *quotes: dict[str, Any], account_id: int | None = 123) -> None:
        """Report quotes as the client does; note which are decoded or dropped."""
        for quote in quotes:
            data = json.loads(encode(make_event("MarketQuote", {"timestamp": at(0)})))["data"]
            message = json.dumps(
                {"type": "MarketQuote", "account_id": account_id, "data": {**data, **quote}}
            )
            self.session.receive(
                "MarketQuote",
                _Noted(open_envelope(message), lambda error: self.decoded.append(error.field)),
            )

    def test_of_the_quotes_of_a_contract_only_the_latest_is_decoded(self) -> None:
        self.receive_quotes(
            {"last": 1, "timestamp": at(1)},
            {"last": 2, "timestamp": at(3)},
            {"last": 3, "timestamp": at(2)},
            {"last": 4, "contractId": "OTHER", "timestamp": at(1)},
        )
        view = self.session.view()
        self.assertEqual(self.decoded, ["2", "4"])
        self.assertEqual(view.account.quotes[MNQ].last, 2)
        self.assertEqual(view.events, 4)

    def test_quotes_of_one_millisecond_are_all_applied(self) -> None:
        self.receive_quotes({"last": 1}, {"last": 2}, {"last": 1})
        self.assertEqual(self.session.view().account.quotes[MNQ].last, 1)
        self.assertEqual(self.decoded, ["1", "2", "1"])

    def test_a_malformed_quote_replaces_none_and_is_counted(self) -> None:
        for wrong in (
            {"bid": "20000.25"},
            {"ask": None},
            {"last": 1e15},
            {"timestamp": "2025-01-17T14:45:20"},
            {"contractId": ""},
        ):
            with self.subTest(wrong=wrong):
                self.decoded.clear()
                self.receive_quotes(
                    {"last": 1, "timestamp": at(1)},
                    {"timestamp": at(2), **wrong},
                    {"last": 2, "timestamp": at(3)},
                )
                self.session.view()
                [field] = wrong
                self.assertEqual(self.decoded, ["1", f"MarketQuote.{field}", "2"])

    def test_a_quote_of_no_account_is_dropped_alone(self) -> None:
        self.receive_quotes({"last": 1, "contractId": "A"})
        self.receive_quotes({"last": 2, "contractId": "B"}, account_id=None)
        self.receive_quotes({"last": 3, "contractId": "C"})
        self.lose()
        self.assertEqual(set(self.view.account.quotes) - {MNQ}, {"A", "C"})
        self.assertEqual(self.decoded, ["1", "account_id", "3"])
        self.assertFalse(self.view.is_live)

    def test_a_malformed_quote_changes_nothing(self) -> None:
        before = self.view
        self.session.receive("MarketQuote", lambda: None)
        self.assertEqual(self.view, before)

    @given(histories())
    def test_the_view_does_not_depend_on_when_quotes_are_decoded(
        self, events: list[Event]
    ) -> None:
        views = []
        for decodes_each in (False, True):
            session = Session(
                123, lambda: BEGIN, lambda _important: None, self.file.read, self.file.version
            )
            session.receive_status("connection_status", {"connected": True, "reason": ""})
            for event in events:
                session.receive(event.type, unread(event))
                if decodes_each:
                    session.view()
            views.append(session.view())
        self.assertEqual(*views)


class FeedTests(SessionTestCase):
    """The activity feed, and which line flashes."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()
        self.changes.clear()

    def test_a_flash_ends_after_five_seconds(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-45.50, quantity=2)
        self.wait(FLASH_SECONDS - 0.001)
        flash = self.view.flash
        assert flash is not None
        self.assertEqual(flash.text, "Trade -$45.50  MNQU5 x2")
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

    def test_a_line_that_does_not_flash_leaves_the_flash(self) -> None:
        self.receive("GatewayUserTrade")
        flash = self.view.flash
        self.receive("GatewayUserOrder")
        self.assertEqual(self.view.flash, flash)

    def test_an_old_flash_leaves_its_line_in_the_feed(self) -> None:
        self.receive("lockout_cleared")
        self.wait(3600)
        self.assertEqual(self.feed[1:], ["Trading resumed: the lock has ended"])

    def test_setting_the_clock_back_ends_a_flash(self) -> None:
        self.receive("GatewayUserTrade")
        self.wait(-3600)
        self.assertIsNone(self.view.flash)

    def test_a_problem_of_the_program_is_in_the_feed(self) -> None:
        self.session.note("dropped a malformed message")
        line = self.view.feed[-1]
        self.assertEqual((line.at, line.text), (BEGIN, "Dropped a malformed message"))
        self.assertEqual(line.style, "alert")
        self.assertEqual(self.changes, [True])

    def test_the_length_of_the_feed_is_bounded(self) -> None:
        for number in range(600):
            self.session.note(f"line {number}")
        self.assertEqual(self.feed, [f"Line {number}" for number in range(100, 600)])


class CountTests(SessionTestCase):
    """The counts on the connection page."""

    def test_events_are_counted_and_the_last_has_type_and_time(self) -> None:
        self.connect()
        self.wait(3)
        self.receive("GatewayUserTrade")
        self.receive("MarketQuote")
        view = self.view
        self.assertEqual((view.events, view.last_event), (2, "MarketQuote"))
        self.assertEqual(view.last_event_at, BEGIN + timedelta(seconds=3))

    def test_connections_are_counted_and_the_last_has_its_time(self) -> None:
        self.connect()
        self.lose()
        self.wait(7)
        self.connect()
        self.assertEqual(self.view.connections, 2)
        self.assertEqual(self.view.connected_at, BEGIN + timedelta(seconds=7))

    def test_the_view_has_the_url_and_the_dropped_messages_of_the_client(self) -> None:
        view = self.session.view(url="ws://localhost:1", dropped=2)
        self.assertEqual((view.url, view.dropped), ("ws://localhost:1", 2))


class DryRunTests(SessionTestCase):
    """Whether the view says that the daemon enforces nothing."""

    def status(self, status: str, message: str) -> None:
        """Report a status of the daemon."""
        self.receive("daemon_status", status=status, message=message)

    def test_before_a_status_it_is_unknown(self) -> None:
        self.connect()
        self.assertIsNone(self.view.is_dry_run)

    def test_a_running_daemon_reports_it(self) -> None:
        self.connect()
        self.status("RUNNING", f"Running {DRY_RUN_NOTE}")
        self.assertIs(self.view.is_dry_run, True)
        self.status("RUNNING", "Running")
        self.assertIs(self.view.is_dry_run, False)

    def test_an_error_does_not_change_it(self) -> None:
        self.connect()
        self.status("RUNNING", f"Running {DRY_RUN_NOTE}")
        self.status("ERROR", "The gateway is lost")
        self.assertIs(self.view.is_dry_run, True)

    def test_it_is_known_from_the_file_too(self) -> None:
        status = {"status": "RUNNING", "message": f"Running {DRY_RUN_NOTE}"}
        self.file.publish(make_event("daemon_status", status))
        self.session.poll_file()
        self.assertIs(self.view.is_dry_run, True)


class AlarmTests(SessionTestCase):
    """Which events alarm, and that they do once."""

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

    def test_repeated_lockouts_and_actions_alarm_once(self) -> None:
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

    def test_a_lockout_set_during_a_disconnection_alarms(self) -> None:
        self.file.publish()
        self.connect()
        self.lose()
        lock = make_event("lockout_set", {})
        self.file.publish(lock, seconds=1)
        self.session.poll_file()
        self.connect()
        self.assertEqual(self.alarms, [lock])

    def test_a_lockout_from_before_the_start_does_not_alarm(self) -> None:
        self.file.publish(make_event("lockout_set", {}))
        self.connect()
        self.assertEqual(self.alarms, [])


class StatusTests(SessionTestCase):
    """The daemon's status, from events and from the file."""

    stopping = make_event("daemon_status", {"status": "STOPPING", "message": "Bye"})

    def test_a_connected_daemon_is_not_the_one_that_the_file_says_is_stopping(self) -> None:
        self.file.publish(self.stopping)
        self.session.poll_file()
        self.assertTrue(is_stopping(self.view.daemon))
        self.connect()
        self.assertIsNone(self.view.daemon)

    def test_a_status_event_replaces_that_of_the_file(self) -> None:
        self.file.publish(self.stopping)
        self.connect()
        self.receive("daemon_status", status="RUNNING")
        assert self.view.daemon is not None
        self.assertEqual(self.view.daemon.status, "RUNNING")

    def test_a_daemon_that_stops_during_the_read_is_stopping(self) -> None:
        self.file.publish(self.stopping)
        self.connect()
        self.receive_event(self.stopping)
        self.assertTrue(is_stopping(self.view.daemon))

    def test_an_error_in_the_file_lasts_until_the_next_status(self) -> None:
        self.file.publish(make_event("daemon_status", {"status": "ERROR", "message": "Gone"}))
        self.connect()
        assert self.view.daemon is not None
        self.assertEqual(self.view.daemon.message, "Gone")
