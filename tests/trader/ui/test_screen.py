"""The screen as a trader sees it: a session's views, rendered to text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import urwid
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import Limit
from riskd.model.events import EVENT_TYPES
from riskd.model.wire import encode, open_envelope
from riskd.testing import make_event
from tests.support.console import BEGIN, DAY, FILE_PROBLEMS, MNQ, NOT_THERE, StateFile, at
from trader.model.formatting import clock
from trader.model.session import Session
from trader.model.ui_state import UiState
from trader.ui.palette import THEMES
from trader.ui.screen import Screen

MES = "CON.F.US.MES.U25"
NOBODY_KNOWS = "CON.F.US.XYZ.U25"

SIZES = ((80, 24), (120, 40), (240, 80), (79, 23), (60, 20), (40, 12), (20, 6), (80, 3), (1, 1))

EVIL = "Bad \x1b[31mnews\x1b[0m\nsecond\r\ttabbed \x9b1m\u202ebackwards\u200b \u2028end\x7f"


class ScreenCase(SynchronousTestCase):
    """A screen over a session on a clock of its own; the file says that nothing happened yet."""

    def setUp(self) -> None:
        self.now = BEGIN
        self.retry_in: float | None = None
        self.gateway_name: str | None = None
        self.is_dry_run = False
        self.ui_state = UiState()
        self.file = StateFile()
        self.file.publish(gateway_name=None)
        self.session = Session(
            123,
            lambda: self.now,
            lambda _important: self.screen.redraw(),
            self.file.read,
            self.file.mark,
        )
        self.screen = Screen(
            lambda: self.session.view(
                self.retry_in, self.gateway_name, is_dry_run=self.is_dry_run
            ),
            lambda: self.ui_state,
            lambda: self.now,
            [("q", "quit")],
        )

    def connect(self) -> None:
        """Report a completed handshake."""
        self.retry_in = None
        self.gateway_name = "practice"
        self.session.take("connection_status", {"connected": True, "reason": "connected"})

    def lose(self, reason: str = "lost connection to daemon", retry_in: float = 1.0) -> None:
        """Report that there is no connection."""
        self.retry_in = retry_in
        self.session.take("connection_status", {"connected": False, "reason": reason})

    def receive(self, event_type: str, **data: Any) -> None:
        """Report an event, as it comes off the wire."""
        envelope = open_envelope(encode(make_event(event_type, data)))
        self.session.take(envelope.type, envelope.read_data())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        self.screen.redraw()

    def tick(self) -> None:
        """Do what the console does each second."""
        self.session.poll_file()
        self.screen.redraw()

    def rows(self, columns: int = 80, rows: int = 24) -> list[str]:
        """Return the text of each row, without the blanks at its end."""
        canvas = self.screen.render((columns, rows))
        return [text.decode().rstrip() for text in canvas.text]

    def shown(self, columns: int = 80, rows: int = 24) -> str:
        """Return all that is to be read."""
        return "\n".join(self.rows(columns, rows))

    def row(self, *words: str, columns: int = 80, rows: int = 24) -> str:
        """Return the one row that has all ``words``, its blanks in a row made one."""
        found = [
            " ".join(text.split())
            for text in self.rows(columns, rows)
            if all(word in text for word in words)
        ]
        self.assertEqual(len(found), 1, f"{words} in:\n{self.shown(columns, rows)}")
        return found[0]

    def styles(self, columns: int = 80, rows: int = 24) -> Iterator[tuple[Any, str]]:
        """Return each run of characters with its style."""
        for content in self.screen.render((columns, rows)).content():
            for style, _charset, text in content:
                yield style, text.decode()

    def styles_of(self, number: str) -> set[str]:
        """Return the styles of a number above the feed, which tells what happened in its own."""
        runs = list(self.styles())
        feed = next(index for index, (_, text) in enumerate(runs) if text == "Activity")
        return {style for style, text in runs[:feed] if number in text}

    def style_of(self, text: str, columns: int = 80, rows: int = 24) -> Any:
        """Return the style of the first run that has ``text`` in it."""
        return next(style for style, run in self.styles(columns, rows) if text in run)

    def fill(self) -> None:
        """Connect, and let every panel have something to show."""
        self.connect()
        self.receive("MarketQuote", contractId=MNQ, last=21001.00, timestamp=at(0))
        self.receive("GatewayUserPosition", contractId=MNQ, size=3, averagePrice=21000.50)
        self.receive("GatewayUserPosition", contractId=MES, size=1, averagePrice=5800)
        self.receive("GatewayUserOrder", contractId=MNQ, type=4, stopPrice=20990.25)
        self.receive("GatewayUserTrade", profitAndLoss=-1234.50)
        self.receive("lockout_set", reason="Daily loss limit hit: -$550")
        self.receive("enforcement_action")
        self.receive("daemon_status", status="STOPPING", message="The daemon is stopping")


class HeaderTests(ScreenCase):
    """The first row: account, gateway, connection."""

    def test_the_account_is_named(self) -> None:
        self.assertIn("account 123", self.rows()[0])

    def test_the_gateway_is_unnamed_until_the_daemon_named_it(self) -> None:
        self.assertNotIn("PRACTICE", self.shown())

    def test_practice_is_practice_in_a_style_of_its_own(self) -> None:
        self.connect()
        self.assertIn("PRACTICE", self.rows()[0])
        self.assertEqual(self.style_of("PRACTICE"), "practice")

    def test_a_real_gateway_is_not_practice(self) -> None:
        self.connect()
        self.gateway_name = "projectx"
        self.assertIn("PROJECTX", self.rows()[0])
        self.assertEqual(self.style_of("PROJECTX"), "bar")

    def test_a_dry_run_is_marked_for_as_long_as_it_lasts(self) -> None:
        self.connect()
        self.assertNotIn("DRY RUN", self.rows()[0])
        self.is_dry_run = True
        self.screen.redraw()
        self.assertIn("PRACTICE  DRY RUN", self.rows()[0])
        self.assertEqual(self.style_of("DRY RUN"), "warning")

    def test_a_connection_is_live(self) -> None:
        self.connect()
        self.assertIn("LIVE", self.rows()[0])
        self.assertEqual(self.style_of("LIVE"), "good")

    def test_a_first_try_is_connecting(self) -> None:
        self.assertIn("CONNECTING", self.rows()[0])
        self.assertIn("Connecting to daemon", self.rows()[1])

    def test_the_next_try_is_counted_down_in_whole_seconds(self) -> None:
        self.connect()
        self.lose()
        for retry_in, shown in ((10, 10), (5, 5), (4.5, 5), (4.2, 5), (2.5, 3), (0.1, 1), (-1, 0)):
            self.retry_in = retry_in
            self.screen.redraw()
            self.assertIn(f"RECONNECTING in {shown} s", self.rows()[0])
            self.assertNotIn("LIVE", self.rows()[0])

    def test_the_time_of_day_is_at_the_edge(self) -> None:
        self.wait(3)
        self.assertTrue(self.rows()[0].endswith(clock(BEGIN + timedelta(seconds=3))))


class DownTests(ScreenCase):
    """No connection, and what is left then."""

    def test_a_daemon_that_never_answered(self) -> None:
        self.lose("cannot connect to daemon (is it running?)", retry_in=5)
        self.assertEqual(self.rows()[1].strip(), "Cannot connect to daemon (is it running?)")
        self.assertEqual(self.style_of("Cannot connect"), "alert")
        self.assertNotIn("Last known state", self.shown())

    def test_a_lost_daemon_leaves_its_last_state_with_its_age(self) -> None:
        self.fill()
        self.wait(100)
        self.lose()
        self.assertEqual(self.rows()[1].strip(), "Lost connection to daemon")
        self.assertEqual(self.rows()[2].strip(), f"Last known state, {clock(BEGIN)}, 1 min ago")
        self.wait(7100)
        self.assertEqual(self.rows()[2].strip(), f"Last known state, {clock(BEGIN)}, 2 h ago")

    def test_a_connection_without_an_event_is_as_old_as_its_file(self) -> None:
        self.fill()
        self.lose()
        self.wait(60)
        self.connect()
        self.wait(20)
        self.lose()
        self.assertEqual(self.rows()[2].strip(), f"Last known state, {clock(BEGIN)}, 1 min ago")

    def test_the_last_known_numbers_stay(self) -> None:
        self.fill()
        self.lose()
        self.assertIn("-1,234.50", self.shown())
        self.assertIn("MNQU5 Long 3 avg 21000.50", self.row("MNQU5", "Long", "avg"))
        self.assertIn("stop-limit 20990.25 limit 21000.00", self.row("20990.25", "Buy  "))

    def test_the_last_known_numbers_are_dimmed(self) -> None:
        self.fill()
        numbers = ("-1,234.50", "+3.00", "21000.50", "20990.25")
        self.assertNotIn("dim", {self.style_of(number) for number in numbers})
        self.lose()
        for number in numbers:
            self.assertEqual(self.styles_of(number), {"dim"}, number)

    def test_back_live_nothing_is_dimmed_or_alarming(self) -> None:
        self.fill()
        self.lose()
        self.wait(10)
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=10)
        self.assertEqual(self.style_of("+10.00"), "gain")
        self.assertNotIn("Last known state", self.shown())
        self.assertNotIn("Lost connection to daemon", "\n".join(self.rows()[:4]))


class TroubledFromTheStartTests(ScreenCase):
    """A daemon that has not reached the broker yet knows what an earlier one wrote down."""

    OF_BEFORE = "These numbers are old: the broker has not confirmed them yet"

    def setUp(self) -> None:
        super().setUp()
        self.file.publish(*DAY, seconds=-130)
        self.connect()
        self.receive("daemon_status", status="ERROR", message="The login is refused")

    def test_its_numbers_are_dimmed_and_said_to_be_of_before(self) -> None:
        for number in ("-45.50", "+3.00", "-42.50", "21000.50", "21000.00"):
            self.assertEqual(self.styles_of(number), {"dim"}, number)
        self.assertIn(self.OF_BEFORE, self.shown())

    def test_they_are_not_once_all_is_well(self) -> None:
        self.receive("daemon_status", status="RUNNING", message="Daemon started successfully")
        self.assertEqual(self.styles_of("-45.50"), {"loss"})
        self.assertNotIn(self.OF_BEFORE, self.shown())

    def test_nor_in_trouble_that_comes_after_the_broker_was_heard(self) -> None:
        for event, told in (
            ("daemon_status", {"status": "RUNNING"}),
            ("GatewayUserTrade", {"id": 77, "profitAndLoss": 0}),
        ):
            self.setUp()
            self.receive(event, **told)
            self.receive("daemon_status", status="ERROR", message="The disk is slow")
            self.assertEqual(self.styles_of("-45.50"), {"loss"})
            self.assertNotIn(self.OF_BEFORE, self.shown())


class LastKnownTests(ScreenCase):
    """What the file says before there was any connection."""

    def setUp(self) -> None:
        super().setUp()
        self.file.publish(*DAY, seconds=-130)
        self.lose("cannot connect to daemon (is it running?)", retry_in=5)
        self.tick()

    def test_it_is_marked_as_such_with_time_and_age(self) -> None:
        written = clock(BEGIN - timedelta(seconds=130))
        self.assertEqual(
            [row.strip() for row in self.rows()[1:3]],
            [
                "Cannot connect to daemon (is it running?)",
                f"Last known state, {written}, 2 min ago",
            ],
        )
        self.assertEqual(self.style_of("Last known state"), "warning")
        self.wait(60)
        self.assertEqual(self.rows()[2].strip(), f"Last known state, {written}, 3 min ago")

    def test_every_panel_shows_it(self) -> None:
        self.assertEqual(
            self.row("Realized"), "Realized -45.50 Unrealized +3.00 Total -42.50 Trades 1"
        )
        self.assertIn("P&L of the day", self.shown())
        self.assertEqual(
            self.row("MNQU5", "avg"), "MNQU5 Long 3 avg 21000.50 last 21001.00 +3.00 NO STOP"
        )
        self.assertEqual(self.row("MNQU5", "Buy"), "MNQU5 Buy 2 limit 21000.00")
        self.assertIn("bid 21000.25 ask 21000.50 last 21001.00", self.row("MNQU5", "bid"))
        enforced = clock(BEGIN - timedelta(seconds=5))
        self.assertTrue(self.row("ENFORCED").startswith(f"{enforced} ENFORCED: close positions"))

    def test_its_numbers_are_dimmed(self) -> None:
        for number in ("-45.50", "+3.00", "-42.50", "21000.50", "21000.25", "21000.00"):
            self.assertEqual(self.styles_of(number), {"dim"}, number)

    def test_its_quotes_stay_whatever_their_age(self) -> None:
        self.wait(3600)
        self.assertEqual(
            self.row("MNQU5", "bid"),
            "MNQU5 bid 21000.25 ask 21000.50 last 21001.00 stale 1 h",
        )
        self.assertIn("Unrealized +3.00", self.row("Realized"))

    def test_the_lockout_counts_down(self) -> None:
        self.assertIn("(10:00 left): Daily loss", self.rows()[3])
        self.wait(1)
        self.assertIn("(9:59 left): Daily loss", self.rows()[3])
        self.wait(600)
        self.assertIn("(time is up; the daemon ends it): Daily loss", self.rows()[3])

    def test_the_file_says_that_it_is_practice_until_the_daemon_does(self) -> None:
        self.assertIn("PRACTICE", self.rows()[0])
        self.assertEqual(self.style_of("PRACTICE"), "practice")
        self.gateway_name = "projectx"
        self.screen.redraw()
        self.assertNotIn("PRACTICE", self.shown())

    def test_a_daemon_that_was_stopped_in_order_is_not_stopping_now(self) -> None:
        stopping = make_event("daemon_status", {"status": "STOPPING", "message": "Bye"})
        self.file.publish(*DAY, stopping, seconds=-120)
        self.tick()
        self.assertNotIn("stopping", self.shown())
        self.connect()
        self.assertNotIn("stopping", self.shown())
        self.assertIn(" LIVE ", self.rows()[0])
        self.receive("daemon_status", status="STOPPING", message="The daemon is stopping")
        self.assertIn(" The daemon is stopping", self.rows()[2])
        self.assertIn(" STOPPING ", self.rows()[0])

    def test_a_daemon_that_was_in_trouble_is_said_to_have_been(self) -> None:
        self.file.publish(make_event("daemon_status", {"status": "ERROR", "message": "Gone"}))
        self.tick()
        self.assertEqual(self.rows()[3].strip(), "Daemon ERROR: Gone")

    def test_nothing_held_is_known_and_not_only_unseen(self) -> None:
        self.file.publish(make_event("daemon_status", {"status": "STOPPING"}))
        self.tick()
        for title in ("Positions", "Working orders", "Quotes"):
            self.assertIn(f"{title} (none)", self.shown())

    def test_a_file_without_a_time_is_of_unknown_age(self) -> None:
        super().setUp()
        self.file.publish(*DAY, seconds=None)
        self.tick()
        self.assertEqual(self.rows()[2].strip(), "Last known state, of unknown age")

    def test_a_clock_that_was_set_back_makes_no_age_negative(self) -> None:
        self.wait(-7200)
        self.assertTrue(self.rows()[2].endswith(", 0 s ago"))
        self.assertNotRegex(self.shown(), r"-\d+ (s|min|h)\b")
        self.connect()
        self.assertNotRegex(self.shown(), r"-\d+ (s|min|h)\b")
        self.lose()
        self.assertTrue(self.rows()[2].endswith(", 0 s ago"))

    def test_a_newer_file_takes_its_place(self) -> None:
        self.file.publish(*DAY[:3], seconds=-10)
        self.tick()
        self.assertTrue(self.rows()[2].endswith(", 10 s ago"))
        self.assertIn("Realized 0.00", self.shown())

    def test_connected_it_is_live(self) -> None:
        self.connect()
        self.assertIn(" LIVE ", self.rows()[0])
        self.assertIn("LOCKED OUT", self.rows()[1])
        self.assertNotIn("Last known state", self.shown())
        self.assertEqual(self.style_of("-45.50"), "loss")

    def test_a_loss_and_a_newer_file_later(self) -> None:
        self.connect()
        self.wait(10)
        self.receive("GatewayUserTrade", profitAndLoss=-4.50, executionTime=at(10))
        self.lose()
        self.file.publish(*DAY, seconds=9)
        self.wait(5)
        self.tick()
        seen = clock(BEGIN + timedelta(seconds=10))
        self.assertEqual(self.rows()[2].strip(), f"Last known state, {seen}, 5 s ago")
        self.assertIn("Realized -50.00", self.shown())
        self.file.publish(*DAY[:3], seconds=14)
        self.tick()
        written = clock(BEGIN + timedelta(seconds=14))
        self.assertEqual(
            [row.strip() for row in self.rows()[1:3]],
            ["Lost connection to daemon", f"Last known state, {written}, 1 s ago"],
        )
        self.assertIn("Realized 0.00", self.shown())


class FileTroubleTests(ScreenCase):
    """The file cannot be read, or does not know the account."""

    def rest_of_banner(self) -> str:
        """Return the rows under the first two as one line, up to the figures."""
        rows = self.rows()
        end = next(index for index, row in enumerate(rows) if row.startswith("P&L"))
        return " ".join(" ".join(rows[2:end]).split())

    def test_each_trouble_is_said_while_there_is_no_connection(self) -> None:
        for trouble in FILE_PROBLEMS:
            self.setUp()
            self.file.fail(trouble)
            self.lose("cannot connect to daemon (is it running?)", retry_in=5)
            self.tick()
            self.assertEqual(self.rows()[1].strip(), "Cannot connect to daemon (is it running?)")
            self.assertEqual(self.rest_of_banner(), "N" + trouble[1:])
            self.assertEqual(self.style_of("No last known state"), "warning")
            self.assertIn("-  not connected yet", self.shown())

    def test_it_stands_beside_what_is_known_all_the_same(self) -> None:
        self.file.publish(*DAY, seconds=-60)
        self.tick()
        self.file.fail(FILE_PROBLEMS[2])
        self.tick()
        self.assertTrue(self.rows()[2].endswith(", 1 min ago"))
        self.assertIn("N" + FILE_PROBLEMS[2][1:], self.shown())
        self.assertIn("Realized -45.50", self.shown())

    def test_it_stands_as_long_as_the_figures_are_not_the_days(self) -> None:
        self.file.fail()
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        self.file.publish(*DAY)
        for _ in range(3):
            self.wait(60)
            self.tick()
            self.assertEqual(self.rows()[1].strip(), "N" + NOT_THERE[1:])
            self.assertEqual(self.style_of("No last known state"), "warning")
            self.assertIn(f"P&L seen since {clock(BEGIN)}", self.shown())
            self.assertIn("Realized -1.00", self.shown())
            self.assertIn("Positions (none seen)", self.shown())
        self.lose()
        self.connect()
        self.assertNotIn("No last known state", self.shown())
        self.assertIn("P&L of the day", self.shown())
        self.assertIn("Realized -45.50", self.shown())

    def test_an_unknown_account_is_named_beside_the_known_ones(self) -> None:
        self.file.publish_accounts(456, 124)
        told = "Account 123 is not in the last known state; it knows 124, 456"
        self.tick()
        self.assertEqual(self.rows()[2].strip(), told)
        self.connect()
        self.assertEqual(self.rows()[1].strip(), told)
        self.assertEqual(self.style_of(told), "warning")
        self.assertIn("P&L seen since", self.shown())

    def test_its_sentence_is_told_in_three_rows_at_the_most(self) -> None:
        for trouble in (*FILE_PROBLEMS, "no last known state: " + "/deep" * 100):
            self.file.fail(trouble)
            self.tick()
            for columns, rows in ((120, 40), (80, 24), (60, 20), (40, 16)):
                shown = self.rows(columns, rows)
                below = ("P&L", f" {columns}x{rows} is too small")
                end = next(index for index, row in enumerate(shown) if row.startswith(below))
                # Header, trouble, and the row for what flashes.
                self.assertLessEqual(end - 3, 3)
                self.assertTrue(shown[2].startswith(" No last known state:"))
                self.assertTrue(shown[-1].endswith("q quit"))

    def test_a_path_from_elsewhere_reaches_no_terminal_raw(self) -> None:
        self.file.fail(f"no last known state: /{EVIL} is not there")
        self.tick()
        self.assertTrue(all(text.isprintable() for text in self.rows()))


class PnlTests(ScreenCase):
    """Realized, unrealized, total, count."""

    def figures(self) -> str:
        """Return the row of figures."""
        return self.row("Realized")

    def test_before_a_connection_there_are_no_numbers(self) -> None:
        self.assertIn("-  not connected yet", self.shown())
        self.assertNotIn("0.00", self.shown())
        self.assertNotIn("Trades 0", self.shown())

    def test_nothing_is_said_to_be_absent_before_a_connection(self) -> None:
        self.assertNotIn("(none", self.shown())
        for title in ("Positions", "Working orders", "Quotes"):
            self.assertIn(f"{title} (not connected yet)", self.shown())

    def test_what_nobody_told_is_no_zero_and_not_absent(self) -> None:
        self.file.publish(limits={"RULE-001": Limit("max_contracts", '{"limit": 4}')})
        self.connect()
        for status, reason in (
            (None, "the broker has not said"),
            ("ERROR", "the daemon is in trouble"),
        ):
            if status:
                self.receive("daemon_status", status=status, message="The login is refused")
            for number in range(3):
                self.ui_state = self.ui_state.with_page(number)
                self.screen.redraw()
                for columns in (60, 80, 120):
                    shown = self.shown(columns)
                    self.assertIn(reason, shown)
                    for known in ("0.00", "(none", "0 of 4", " ok", "Trades 0", "No trade"):
                        self.assertNotIn(known, shown)
            self.ui_state = self.ui_state.with_page(0)
            for title in ("Positions", "Working orders", "Quotes"):
                self.assertIn(f"{title} ({reason})", self.shown())
        self.receive("daemon_status", status="RUNNING")
        self.assertIn("Positions (none)", self.shown())
        self.assertIn("Realized 0.00", self.shown())

    def test_without_the_file_nothing_seen_is_no_zero(self) -> None:
        self.file.fail(NOT_THERE)
        self.connect()
        self.assertIn("-  no trade or position seen yet", self.shown())
        self.assertNotIn("0.00", self.shown())
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.assertIn("Realized -45.50", self.shown())

    def test_what_was_told_once_stands_whatever_the_trouble(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.receive("GatewayUserPosition", size=0)
        self.receive("daemon_status", status="ERROR", message="Gateway lost")
        self.assertIn("Realized -45.50", self.shown())
        self.assertIn("Positions (none known)", self.shown())
        self.receive("daemon_status", status="RUNNING")
        self.assertIn("Positions (none)", self.shown())

    def test_realized_unrealized_total_and_count(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.receive("GatewayUserTrade", profitAndLoss=1245.25)
        self.receive("MarketQuote", contractId=MNQ, last=20990.25, timestamp=at(0))
        self.receive("GatewayUserPosition", contractId=MNQ, type=1, size=2, averagePrice=21000.50)
        self.assertEqual(
            self.figures(), "Realized +1,199.75 Unrealized -41.00 Total +1,158.75 Trades 2"
        )

    def test_gains_and_losses_differ_in_style_and_sign(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.assertEqual(self.style_of("-45.50"), "loss")
        self.receive("GatewayUserTrade", profitAndLoss=145.50)
        self.assertEqual(self.style_of("+100.00"), "gain")

    def test_an_unknown_unrealized_makes_the_total_unknown_and_says_why(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.receive("GatewayUserPosition", contractId=MNQ)
        self.assertEqual(
            self.figures(), "Realized -45.50 Unrealized - Total - Trades 1 (no quote yet)"
        )

    def test_one_unknown_position_makes_all_of_them_together_unknown(self) -> None:
        self.connect()
        self.receive("MarketQuote", contractId=MNQ, last=21001, timestamp=at(0))
        self.receive("GatewayUserPosition", contractId=MNQ)
        self.receive("MarketQuote", contractId=NOBODY_KNOWS, timestamp=at(0))
        self.receive("GatewayUserPosition", contractId=NOBODY_KNOWS)
        self.assertEqual(
            self.figures(), "Realized 0.00 Unrealized - Total - Trades 0 (tick size unknown)"
        )

    def test_with_the_file_the_figures_are_the_days(self) -> None:
        self.connect()
        self.assertTrue(self.row("P&L").startswith("P&L of the day ─"))
        self.lose()
        self.assertTrue(self.row("P&L").startswith("P&L of the day ─"))

    def test_without_the_file_the_title_says_since_when_it_was_watched(self) -> None:
        self.file.fail()
        self.wait(60)
        self.connect()
        self.assertIn(f"P&L seen since {clock(self.now)}", self.shown())

    def test_a_daily_reset_is_announced_and_sets_the_day_to_zero(self) -> None:
        self.connect()
        self.receive("daemon_status", status="RUNNING")
        self.receive("GatewayUserTrade", profitAndLoss=-150.50, executionTime=at(-60))
        self.receive("lockout_set", locked_until=None)
        self.receive("daily_reset", reset_time=at(0), previous_pnl=-150.50)
        self.assertEqual(self.figures(), "Realized 0.00 Unrealized 0.00 Total 0.00 Trades 0")
        self.assertEqual(
            self.rows()[1].strip(), "Daily reset executed: -$150.50 in 12 trades the day before"
        )
        self.assertEqual(self.style_of("Daily reset executed"), "good")
        self.assertNotIn("LOCKED OUT", self.rows()[2])


class PositionTests(ScreenCase):
    """Open positions and what they make."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_a_long_gains_when_the_market_rises(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ, size=3, averagePrice=21000.50)
        self.receive("MarketQuote", contractId=MNQ, last=21010.75, timestamp=at(0))
        self.assertEqual(
            self.row("MNQU5", "avg"), "MNQU5 Long 3 avg 21000.50 last 21010.75 +61.50 NO STOP"
        )
        self.assertEqual(self.style_of("+61.50"), "gain")

    def test_a_short_loses_when_the_market_rises(self) -> None:
        self.receive(
            "GatewayUserPosition", contractId="CON.F.US.EP.Z26", type=2, size=2, averagePrice=5800
        )
        self.receive("MarketQuote", contractId="CON.F.US.EP.Z26", last=5802.25, timestamp=at(0))
        self.assertEqual(
            self.row("ESZ6", "avg"), "ESZ6 Short 2 avg 5800.00 last 5802.25 -225.00 NO STOP"
        )
        self.assertEqual(self.style_of("-225.00"), "loss")

    def test_an_average_between_ticks_is_reckoned_exactly(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ, size=3, averagePrice=21000.333333333)
        self.receive("MarketQuote", contractId=MNQ, last=21001, timestamp=at(0))
        self.assertEqual(
            self.row("MNQU5", "avg"), "MNQU5 Long 3 avg 21000.3333 last 21001.00 +4.00 NO STOP"
        )

    def test_each_quote_moves_the_figure(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ, size=1, averagePrice=21000)
        for seconds, last, made in (
            (0, 21000.25, "+0.50"),
            (1, 20999.75, "-0.50"),
            (2, 21000, "0.00"),
        ):
            self.receive("MarketQuote", contractId=MNQ, last=last, timestamp=at(seconds))
            self.assertIn(f" {made} ", self.row("MNQU5", "avg"))

    def test_without_a_quote_the_figure_is_unknown_and_says_why(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ)
        self.assertEqual(
            self.row("MNQU5", "avg"), "MNQU5 Long 3 avg 21000.50 last - - no quote yet NO STOP"
        )

    def test_without_a_tick_size_the_figure_is_unknown_and_says_why(self) -> None:
        self.receive("MarketQuote", contractId=NOBODY_KNOWS, last=12.5, timestamp=at(0))
        self.receive("GatewayUserPosition", contractId=NOBODY_KNOWS, size=1, averagePrice=12)
        self.assertEqual(
            self.row("avg"), "CON.F.U… Long 1 avg 12 last 12.5 - tick size unknown NO STOP"
        )

    def test_a_closed_position_is_gone(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ)
        self.assertIn("Positions (1, 3 contracts)", self.shown())
        self.receive("GatewayUserPosition", contractId=MNQ, size=0)
        self.assertIn("Positions (none)", self.shown())
        self.assertNotIn("avg", self.shown())


class ProtectionTests(ScreenCase):
    """Whether working stops would close the whole position."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()
        self.receive("GatewayUserPosition", size=3, type=1)

    def stop(self, number: int, **data: Any) -> None:
        self.receive(
            "GatewayUserOrder",
            **{"id": number, "type": 3, "side": 2, "size": 3, "stopPrice": 20990, **data},
        )

    def protection(self) -> str:
        return self.row("avg").split("- no quote yet ")[1]

    def test_without_a_stop_it_says_so(self) -> None:
        self.assertEqual(self.protection(), "NO STOP")
        self.assertEqual(self.style_of("NO STOP"), "loss")

    def test_without_the_file_an_earlier_stop_may_not_have_been_seen(self) -> None:
        self.file.fail(NOT_THERE)
        self.connect()
        self.receive("GatewayUserPosition", size=3, type=1)
        self.assertEqual(self.protection(), "stop -")
        self.assertEqual(self.style_of("stop -"), "dim")
        self.stop(1, size=2)
        self.assertEqual(self.protection(), "STOP 2/3")

    def test_a_stop_of_its_size_protects_it(self) -> None:
        self.stop(1)
        self.assertEqual(self.protection(), "stop")

    def test_stops_add_up_and_too_few_are_counted(self) -> None:
        self.stop(1, size=2)
        self.assertEqual(self.protection(), "STOP 2/3")
        self.stop(2, size=1, type=4, limitPrice=20980)
        self.assertEqual(self.protection(), "stop")

    def test_no_other_order_protects_it(self) -> None:
        self.stop(1, side=1)
        self.stop(2, type=2, stopPrice=None, limitPrice=21100)
        self.stop(3, contractId="CON.F.US.MES.U25")
        self.stop(4, state=3)
        self.assertEqual(self.protection(), "NO STOP")


class SilentMarketTests(ScreenCase):
    """A position whose market is silent."""

    def test_its_figures_are_doubted_and_then_unknown(self) -> None:
        self.connect()
        self.receive("GatewayUserPosition", contractId=MNQ, size=3, averagePrice=21000)
        self.receive("MarketQuote", contractId=MNQ, last=21001, timestamp=at(0))
        self.assertIn("+6.00", self.row("avg"))
        self.assertEqual(self.style_of("+6.00"), "gain")
        self.wait(6)
        self.assertEqual(self.style_of("+6.00"), "dim")
        self.wait(30)
        self.assertIn("- no quote for 36 s", self.row("avg"))
        self.assertIn("Unrealized - Total -", " ".join(self.row("Realized").split()))


class OrderTests(ScreenCase):
    """Working orders."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def panel(self) -> list[str]:
        """Return the rows between the title of the orders and the next title."""
        rows = self.rows(120, 40)
        first = next(index for index, row in enumerate(rows) if row.startswith("Working orders"))
        last = next(index for index, row in enumerate(rows) if row.startswith("Quotes"))
        return [" ".join(row.split()) for row in rows[first + 1 : last]]

    def test_each_working_order_shows_side_size_and_terms(self) -> None:
        self.receive("GatewayUserOrder", id=1, type=2, side=1, size=2, limitPrice=21000)
        self.receive(
            "GatewayUserOrder", id=2, type=3, side=2, size=10, limitPrice=None, stopPrice=20990.25
        )
        self.receive("GatewayUserOrder", id=3, type=1, side=2, size=1, limitPrice=None)
        self.assertEqual(
            self.panel(),
            [
                "MNQU5 Buy 2 limit 21000.00",
                "MNQU5 Sell 10 stop 20990.25",
                "MNQU5 Sell 1 market",
            ],
        )

    def test_orders_that_ended_are_gone(self) -> None:
        for number, state in ((1, 2), (2, 3), (3, 4)):
            self.receive("GatewayUserOrder", id=number, state=1)
            self.assertEqual(len(self.panel()), 1)
            self.receive("GatewayUserOrder", id=number, state=state)
            self.assertEqual(self.panel(), [])


class QuoteTests(ScreenCase):
    """The markets, and how old their quotes are."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()
        self.receive(
            "MarketQuote",
            contractId=MNQ,
            bid=21000.25,
            ask=21000.5,
            last=21000.5,
            timestamp=at(0),
        )

    def quote(self) -> str:
        """Return the row of the quote."""
        return self.row("MNQU5", "bid")

    def test_a_fresh_quote_shows_bid_ask_last_and_age(self) -> None:
        self.wait(2)
        self.assertEqual(self.quote(), "MNQU5 bid 21000.25 ask 21000.50 last 21000.50 2 s")
        self.assertEqual(self.style_of("21000.25"), "text")

    def test_after_five_seconds_a_quote_is_stale(self) -> None:
        self.wait(5)
        self.assertNotIn("stale", self.quote())
        self.wait(1)
        self.assertEqual(self.quote(), "MNQU5 bid 21000.25 ask 21000.50 last 21000.50 stale 6 s")
        self.assertEqual(self.style_of("21000.25"), "dim")
        self.assertEqual(self.style_of("stale"), "warning")

    def test_after_half_a_minute_there_is_no_quote(self) -> None:
        self.wait(30)
        self.assertIn("stale 30 s", self.quote())
        self.wait(1)
        self.assertEqual(self.quote(), "MNQU5 bid - ask - last - no quote for 31 s")
        # Of what is neither held nor worked, that may be in order.
        self.assertEqual(self.style_of("no quote"), "dim")
        self.receive("GatewayUserOrder", contractId=MNQ, limitPrice=21000)
        self.assertEqual(self.style_of("no quote"), "warning")

    def test_the_age_of_a_missing_quote_is_never_cut(self) -> None:
        for seconds, told in ((59, "59 s"), (3599, "59 min"), (86_399, "23 h")):
            self.now = BEGIN + timedelta(seconds=seconds)
            self.screen.redraw()
            self.assertTrue(self.quote().endswith(f"no quote for {told}"), self.quote())

    def test_a_new_quote_makes_it_fresh_again(self) -> None:
        self.wait(60)
        self.receive("MarketQuote", contractId=MNQ, last=21002, timestamp=at(60))
        self.assertTrue(self.quote().endswith("last 21002.00 0 s"), self.quote())

    def test_quotes_stand_in_the_order_of_their_contracts(self) -> None:
        self.receive("MarketQuote", contractId=MES, timestamp=at(0))
        names = [row.split()[0] for row in self.rows() if " bid " in row]
        self.assertEqual(names, ["MESU5", "MNQU5"])


class BannerTests(ScreenCase):
    """What must not be missed."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_a_lockout_shows_reason_end_and_countdown(self) -> None:
        self.receive("lockout_set", reason="Daily loss limit hit: -$550", locked_until=at(8085))
        end = clock(BEGIN + timedelta(seconds=8085))
        self.assertEqual(
            self.rows()[1].strip(),
            f"LOCKED OUT until {end} (2:14:45 left): Daily loss limit hit: -$550",
        )
        self.assertEqual(self.style_of("LOCKED OUT"), "alert")
        self.wait(8085 - 59)
        self.assertIn("(0:59 left)", self.rows()[1])

    def test_a_lockout_stands_until_the_daemon_ends_it(self) -> None:
        self.receive("lockout_set", locked_until=at(60))
        self.wait(90)
        self.assertIn("(time is up; the daemon ends it)", self.rows()[1])
        self.receive("lockout_cleared")
        self.assertNotIn("time is up", self.shown())

    def test_a_permanent_lockout_has_no_countdown(self) -> None:
        self.receive("lockout_set", reason="Account rule", locked_until=None)
        self.wait(10)
        self.assertEqual(
            self.rows()[1].strip(), "LOCKED OUT until an operator unlocks it: Account rule"
        )

    def test_a_permanent_lockout_goes_before_one_that_ends(self) -> None:
        self.receive("lockout_set", reason="forever", locked_until=None, rule_id="RULE-001")
        self.receive("lockout_set", reason="an hour", locked_until=at(3600), rule_id="RULE-002")
        self.wait(10)
        self.assertIn("forever", self.rows()[1])

    def test_a_lockout_is_seen_while_the_connection_is_lost(self) -> None:
        self.receive("lockout_set", reason="Account rule", locked_until=at(600))
        self.wait(10)
        self.lose()
        self.assertIn("(9:50 left): Account rule", self.rows()[3])

    def test_trading_resumed_flashes_green_and_clears_the_lockout(self) -> None:
        self.receive("lockout_set", locked_until=None)
        self.wait(10)
        self.receive("lockout_cleared", cleared_by="ADMIN_OVERRIDE")
        self.assertEqual(
            self.rows()[1].strip(), "Trading resumed: an operator or the broker lifted the lock"
        )
        self.assertEqual(self.style_of("Trading resumed"), "good")
        self.wait(5)
        self.assertTrue(self.rows()[2].startswith("P&L"))

    def test_enforcement_flashes_and_stays_in_the_feed(self) -> None:
        self.receive("enforcement_action", reason="MaxContracts breach: 6 > 5")
        told = "ENFORCED: close positions (RULE-001): MaxContracts breach: 6 > 5"
        self.assertTrue(self.rows()[1].strip().startswith(told))
        self.assertEqual(self.style_of("ENFORCED"), "alert")
        self.wait(10)
        self.assertTrue(self.rows()[2].startswith("P&L"))
        self.assertIn(f"{clock(BEGIN)} {told}", self.row("ENFORCED"))

    def test_a_stopping_daemon_is_warned_of(self) -> None:
        self.receive("daemon_status", status="STOPPING", message="Going down")
        self.assertEqual(self.rows()[1].strip(), "The daemon is stopping")
        self.assertEqual(self.style_of("The daemon is stopping"), "alert")
        self.wait(10)
        self.assertEqual(self.rows()[1].strip(), "The daemon is stopping")

    def test_a_daemon_in_trouble_is_warned_of_until_it_is_well(self) -> None:
        self.receive("daemon_status", status="ERROR", message="The gateway is gone")
        self.wait(60)
        self.assertEqual(self.rows()[1].strip(), "Daemon ERROR: The gateway is gone")
        self.assertEqual(self.style_of("Daemon ERROR"), "alert")
        self.assertNotIn("good", [style for style, text in self.styles() if "LIVE" in text])
        self.receive("daemon_status", status="RUNNING", message="In step again")
        self.assertTrue(self.rows()[2].startswith("P&L"))
        self.assertEqual(self.style_of(" LIVE "), "good")


class ActivityTests(ScreenCase):
    """The feed at the foot."""

    def test_the_newest_is_on_top(self) -> None:
        self.connect()
        self.wait(1)
        self.receive("GatewayUserTrade", profitAndLoss=-1, quantity=1)
        self.wait(1)
        self.receive("GatewayUserTrade", profitAndLoss=2, quantity=1)
        rows = self.rows()
        begin = next(index for index, row in enumerate(rows) if row.startswith("Activity"))
        self.assertEqual(
            rows[begin + 1 : begin + 4],
            [
                f"{clock(self.now)} Trade +2.00  MNQU5 x1",
                f"{clock(BEGIN + timedelta(seconds=1))} Trade -1.00  MNQU5 x1",
                f"{clock(BEGIN)} Connected to daemon",
            ],
        )

    def test_there_is_always_room_for_it(self) -> None:
        self.fill()
        for number in range(20):
            self.receive("GatewayUserOrder", id=number)
        self.session.note("something went wrong")
        self.assertIn("Something went wrong", self.shown())

    def test_events_of_an_unknown_type_leave_the_screen_as_it_is(self) -> None:
        self.fill()
        before = self.shown()
        self.session.take("margin_call", {"amount": 5})
        self.screen.redraw()
        self.assertEqual(self.shown(), before)


class LayoutTests(ScreenCase):
    """Whatever the size, and whatever comes."""

    def check_size(self, columns: int, rows: int) -> None:
        """Check that every row is exactly as wide as asked, and that there are as many as asked."""
        canvas = self.screen.render((columns, rows))
        self.assertEqual((canvas.cols(), canvas.rows()), (columns, rows))
        texts = canvas.text
        self.assertEqual(len(texts), rows)
        for text in texts:
            shown = text.decode()
            self.assertEqual(urwid.calc_width(shown, 0, len(shown)), columns, repr(shown))
            self.assertTrue(shown.isprintable(), repr(shown))

    def test_every_size_is_filled_exactly(self) -> None:
        for prepare in (lambda: None, self.tick, self.connect, self.fill, self.lose, self.tick):
            prepare()
            for columns, rows in SIZES:
                self.check_size(columns, rows)

    def test_every_size_is_filled_exactly_with_what_is_last_known(self) -> None:
        for prepare in (
            lambda: self.file.publish(*DAY, seconds=-60),
            *(partial(self.file.fail, trouble) for trouble in FILE_PROBLEMS),
            lambda: self.file.publish_accounts(*range(500)),
        ):
            prepare()
            for connect in (self.tick, self.connect, lambda: self.lose(retry_in=10)):
                connect()
                for columns, rows in SIZES:
                    self.check_size(columns, rows)

    def test_a_screen_that_changes_its_size_shows_the_same_at_each(self) -> None:
        self.fill()
        small, large = self.shown(80, 24), self.shown(120, 40)
        self.assertNotEqual(small, large)
        self.assertEqual(self.shown(80, 24), small)

    def test_the_footer_is_the_last_row(self) -> None:
        self.fill()
        for columns, rows in SIZES:
            self.assertTrue(self.rows(columns, rows)[-1].endswith("? help  q quit"[:columns]))

    def test_the_order_from_the_top_is_the_same_at_every_size(self) -> None:
        self.fill()
        self.lose()
        titles = ("Lost connection", "Last known state", "LOCKED OUT", "P&L", "Positions")
        for columns, rows in ((80, 24), (120, 40), (240, 80)):
            shown = self.rows(columns, rows)
            places = [
                next(index for index, row in enumerate(shown) if title in row) for title in titles
            ]
            self.assertEqual(places, sorted(places))

    def test_many_positions_and_orders_are_cut_and_counted(self) -> None:
        self.connect()
        for number in range(30):
            self.receive(
                "GatewayUserPosition", contractId=f"CON.F.US.MNQ.{'HMUZ'[number % 4]}{number}"
            )
            self.receive("GatewayUserOrder", id=number)
        self.assertIn("Positions (30, 90 contracts)", self.shown())
        self.assertIn("Working orders (30)", self.shown())
        rows = self.rows()
        held = sum(" avg " in row for row in rows)
        working = sum("limit 21000.00" in row and "working" not in row for row in rows)
        self.assertGreater(held, 2)
        self.assertGreater(working, 0)
        # What is held comes first.
        self.assertGreater(held, working)
        missing = [row.strip() for row in rows if "more" in row]
        self.assertEqual(missing, [f"... and {30 - held} more", f"... and {30 - working} more"])
        self.assertTrue(self.rows()[-1].endswith("q quit"))

    def test_where_a_table_has_one_line_that_is_its_title_with_the_count(self) -> None:
        self.connect()
        for number in range(5):
            self.receive(
                "GatewayUserPosition", contractId=f"CON.F.US.MNQ.{'HMUZ'[number % 4]}{number}"
            )
            self.receive("GatewayUserOrder", id=number)
        self.wait(10)
        self.receive("daemon_status", status="ERROR", message="trouble " * 20)
        self.receive("daemon_status", status="ERROR", message="trouble " * 20)
        self.wait(10)
        # Top, P&L, limit and footer take eight rows, the feed another four.
        shown = self.shown(80, 14)
        self.assertIn("Positions (5, 15 contracts)", shown)
        self.assertIn("Working orders (5)", shown)
        self.assertNotIn("more", shown)

    def test_a_large_terminal_shows_all_of_them(self) -> None:
        self.connect()
        for number in range(10):
            self.receive(
                "GatewayUserPosition", contractId=f"CON.F.US.MNQ.{'HMUZ'[number % 4]}{number}"
            )
        self.assertEqual(sum(" avg " in row for row in self.rows(120, 40)), 10)
        self.assertNotIn("more", self.shown(120, 40))

    def test_no_text_from_elsewhere_breaks_a_row_or_reaches_the_terminal_raw(self) -> None:
        self.connect()
        self.receive("lockout_set", reason=EVIL, locked_until=None)
        self.receive("enforcement_action", reason=EVIL)
        self.receive("daemon_status", status="ERROR", message=EVIL)
        self.session.note(EVIL)
        self.lose(f"lost connection to daemon: {EVIL}")
        for columns, rows in SIZES:
            self.check_size(columns, rows)
            self.assertTrue(self.rows(columns, rows)[-1].endswith("? help  q quit"[:columns]))
        told = "Bad ?[31mnews?[0m second  tabbed ?1m?backwards? "
        self.assertIn(f"LOCKED OUT until an operator unlocks it: {told}", self.shown(120))
        self.assertIn(f"Lost connection to daemon: {told}", self.shown(120))

    def test_wide_combining_and_lone_characters_keep_every_row_its_width(self) -> None:
        self.connect()
        for reason in ("日本語" * 30, "e\u0301" * 60, "👩\u200d👧" * 20, "\u0301", ""):
            self.receive("lockout_set", reason=reason, locked_until=None)
            for columns, rows in (*SIZES, (41, 24), (42, 24), (43, 24)):
                self.check_size(columns, rows)

    def test_a_gateway_with_a_strange_name_keeps_the_row(self) -> None:
        self.connect()
        for name in ("x" * 200, "日本語" * 40, EVIL, ""):
            self.gateway_name = name
            self.screen.redraw()
            for columns, rows in SIZES:
                self.check_size(columns, rows)

    def test_huge_numbers_keep_every_row_its_width(self) -> None:
        self.connect()
        huge = 999_999_999_999_999
        self.receive("GatewayUserTrade", profitAndLoss=-huge, quantity=2**53)
        self.receive("GatewayUserPosition", contractId=MNQ, size=1_000_000, averagePrice=huge)
        self.receive("MarketQuote", contractId=MNQ, bid=-huge, ask=huge, last=0, timestamp=at(0))
        self.receive("GatewayUserOrder", size=2**53, limitPrice=huge)
        for columns, rows in SIZES:
            self.check_size(columns, rows)

    def test_every_event_alone_can_be_drawn(self) -> None:
        for event_type in EVENT_TYPES:
            self.setUp()
            self.connect()
            self.receive(event_type)
            for columns, rows in SIZES:
                self.check_size(columns, rows)

    def test_keys_are_left_to_the_console(self) -> None:
        self.assertEqual(self.screen.keypress((80, 24), "q"), "q")


class NarrowTests(ScreenCase):
    """A screen on which figures would be cut."""

    def test_there_are_no_figures_and_the_connection_is_still_told(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.5)
        for columns, rows in ((59, 24), (47, 24), (80, 13), (60, 8)):
            shown = self.shown(columns, rows)
            self.assertIn("LIVE", shown)
            self.assertIn(f"{columns}x{rows} is too small; figures need 60x14", shown)
            self.assertNotIn("Realized", shown)
        self.assertIn("Realized -45.50", self.shown(60, 14))

    def test_on_sixty_columns_no_figure_is_cut(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-123456.75)
        self.receive("GatewayUserPosition", contractId=MNQ, size=3, averagePrice=21000.50)
        self.receive("MarketQuote", contractId=MNQ, last=21001.00, timestamp=at(0))
        self.assertIn("MNQU5 Long 3 21001.00 +3.00 NO STOP", self.row("Long", "STOP", columns=60))
        self.assertEqual(
            self.row("0 s", "21000.25", columns=60), "MNQU5 21000.25 21000.50 21001.00 0 s"
        )
        self.assertEqual(self.row("Realized", columns=60), "Realized -123,456.75 Unrealized +3.00")
        self.assertEqual(self.row("Total", columns=60), "Total -123,453.75 Trades 1")


class StyleTests(ScreenCase):
    """Nothing is drawn in a style that a palette does not have."""

    def test_every_style_on_any_screen_is_in_the_palette(self) -> None:
        used: set[Any] = set()
        for prepare in (
            lambda: None,
            self.tick,
            lambda: self.file.fail(FILE_PROBLEMS[0]),
            self.tick,
            self.connect,
            self.fill,
            self.lose,
            self.connect,
        ):
            prepare()
            self.screen.redraw()
            used |= {style for style, _ in self.styles(120, 40)}
        for event_type in EVENT_TYPES:
            self.receive(event_type)
            used |= {style for style, _ in self.styles(120, 40)}
        self.receive("GatewayUserTrade", profitAndLoss=5000)
        self.receive("GatewayUserOrder", state=4)
        for seconds in (6, 40):
            self.wait(seconds)
            used |= {style for style, _ in self.styles(120, 40)}
        used.discard(None)
        for name, theme in THEMES.items():
            self.assertEqual(used - {style for style, *_ in theme}, set(), name)
