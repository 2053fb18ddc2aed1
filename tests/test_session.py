"""A trader's session: what a client reports, kept as one view."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.events import encode, open_envelope
from riskd.testing import make_event
from trader.session import FLASH_SECONDS, Session, Source, View, is_stopping

BEGIN = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)
MNQ = "CON.F.US.MNQ.U25"


class SessionCase(SynchronousTestCase):
    """A session on a clock of its own, fed as a client feeds it."""

    def setUp(self) -> None:
        self.now = BEGIN
        self.changes: list[bool] = []
        self.session = Session(123, lambda: self.now, self.changes.append)

    @property
    def view(self) -> View:
        """The view of this moment."""
        return self.session.view()

    @property
    def feed(self) -> list[str]:
        """The texts of the feed, oldest first."""
        return [line.text for line in self.view.lines]

    def connect(self) -> None:
        """Report a completed handshake."""
        self.session.take("connection_status", {"connected": True, "reason": "connected"})

    def lose(self, reason: str = "lost connection to daemon") -> None:
        """Report that there is no connection."""
        self.session.take("connection_status", {"connected": False, "reason": reason})

    def receive(self, event_type: str, **data: Any) -> None:
        """Report an event, as it comes off the wire."""
        envelope = open_envelope(encode(make_event(event_type, data)))
        self.session.take(envelope.type, envelope.read_data())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


class ConnectionTests(SessionCase):
    """Where the numbers come from."""

    def test_before_the_first_connection_nothing_is_known(self) -> None:
        self.assertIs(self.view.source, Source.NOTHING)
        self.assertIsNone(self.view.since)
        self.assertEqual(self.view.trouble, "")
        self.assertEqual(self.feed, [])

    def test_a_daemon_that_cannot_be_reached_leaves_nothing_known(self) -> None:
        self.lose("cannot connect to daemon (is it running?)")
        self.assertIs(self.view.source, Source.NOTHING)
        self.assertEqual(self.view.trouble, "Cannot connect to daemon (is it running?)")

    def test_tries_that_fail_do_not_fill_the_feed(self) -> None:
        for _ in range(10):
            self.lose("cannot connect to daemon (is it running?)")
        self.assertEqual(self.feed, [])

    def test_a_connection_makes_the_view_live(self) -> None:
        self.lose("cannot connect to daemon (is it running?)")
        self.wait(5)
        self.connect()
        self.assertIs(self.view.source, Source.LIVE)
        self.assertEqual(self.view.since, BEGIN + timedelta(seconds=5))
        self.assertEqual(self.view.trouble, "")
        self.assertEqual(self.feed, ["Connected to daemon"])

    def test_a_lost_connection_keeps_what_was_known(self) -> None:
        self.connect()
        self.wait(1)
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.wait(60)
        self.lose()
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.trouble, "Lost connection to daemon")
        self.assertEqual(self.view.account.realized_pnl, Decimal("-45.50"))
        self.assertEqual(self.view.last_event_at, BEGIN + timedelta(seconds=1))
        self.assertEqual(self.feed[-1], "Lost connection to daemon")

    def test_failing_tries_after_a_loss_leave_the_loss_as_the_trouble(self) -> None:
        self.connect()
        self.lose("lost connection to daemon: shutting down")
        self.lose("cannot connect to daemon (is it running?)")
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.trouble, "Lost connection to daemon: shutting down")
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
        self.assertEqual(self.view.since, self.now)

    def test_the_last_event_of_an_earlier_connection_is_not_this_ones(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade")
        self.lose()
        self.wait(30)
        self.connect()
        self.assertIsNone(self.view.last_event_at)

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
        self.assertEqual(self.view.trouble, "")

    def test_the_client_tells_the_rest(self) -> None:
        view = self.session.view(3.5, "practice")
        self.assertEqual((view.retry_in, view.gateway_name), (3.5, "practice"))


class EventTests(SessionCase):
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
        self.assertEqual(self.view.last_event_at, BEGIN + timedelta(seconds=7))

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
        self.assertTrue(is_stopping(self.view.account.daemon))
        self.receive("daemon_status", status="RUNNING")
        self.assertFalse(is_stopping(self.view.account.daemon))

    def test_a_daemon_that_said_nothing_is_not_stopping(self) -> None:
        self.assertFalse(is_stopping(None))

    def test_unknown_event_types_change_nothing(self) -> None:
        before = self.view
        self.changes.clear()
        self.session.take("margin_call", {"amount": Decimal("1.50")})
        self.assertEqual(self.view, before)
        self.assertEqual(self.changes, [])

    def test_unknown_keys_are_passed_over(self) -> None:
        data = open_envelope(encode(make_event("GatewayUserTrade", {}))).read_data()
        self.session.take("GatewayUserTrade", {**data, "fees": Decimal("0.74")})
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


class FeedTests(SessionCase):
    """The activity feed and what flashes."""

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
        self.assertEqual(flash.text, "Trading resumed: its time is over")

    def test_what_does_not_flash_leaves_the_flash(self) -> None:
        self.receive("GatewayUserTrade")
        flash = self.view.flash
        self.receive("GatewayUserOrder")
        self.assertEqual(self.view.flash, flash)

    def test_an_old_flash_leaves_its_line_in_the_feed(self) -> None:
        self.receive("lockout_cleared")
        self.wait(3600)
        self.assertEqual(self.feed, ["Trading resumed: its time is over"])

    def test_the_programs_own_trouble_is_in_the_feed(self) -> None:
        self.session.note("dropped a malformed message")
        line = self.view.lines[-1]
        self.assertEqual((line.at, line.text), (BEGIN, "dropped a malformed message"))
        self.assertEqual(line.style, "alert")
        self.assertEqual(self.changes, [True])

    def test_a_long_day_does_not_grow_without_end(self) -> None:
        for number in range(600):
            self.session.note(f"line {number}")
        self.assertEqual(self.feed, [f"line {number}" for number in range(100, 600)])
