"""The console: when it draws, its keys and mouse, its bell and its log."""

from __future__ import annotations

import signal
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import urwid
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.schema import PUBLISHED_NAME
from riskd.journal.store import Store
from riskd.model.account import AccountState, apply
from riskd.model.events import Event
from riskd.model.wire import decode, encode
from riskd.testing import make_event
from tests.support.accounts import unread
from tests.support.clocks import most_in_a_second
from tests.support.fake_terminal import FakeTerminal, fake_display
from trader.cli.console import Console
from trader.cli.keys import KEYS
from trader.client import DEFAULT_URL
from trader.model.followed_daemon import FollowedDaemon
from trader.model.formatting import clock
from trader.model.ui_state import FILTERS
from trader.ui.pages import PAGES
from trader.ui.palette import MONO, THEMES
from trader.ui.screen import MAX_DRAWS_A_SECOND


class ConsoleTestCase(SynchronousTestCase):
    """A console on a clock, without a daemon and with an empty state directory."""

    def setUp(self) -> None:
        self.clock = Clock()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.state = Path(directory.name)
        self.terminal = FakeTerminal(self.clock)
        display = fake_display(self.clock, self.terminal)
        self.console = Console(123, self.followed(123), self.clock, display=display)
        self.session = self.console.navigation.session
        self.begin()

    def followed(self, account_id: int) -> FollowedDaemon:
        """Return a daemon at the usual URL that publishes its state in the directory."""
        return FollowedDaemon(account_id, DEFAULT_URL, self.state, self.state)

    def begin(self) -> None:
        """Report a completed handshake."""
        self.console._receive_status(
            "connection_status", {"connected": True, "reason": "connected"}
        )

    def lose(self) -> None:
        """Report a lost connection."""
        self.console._receive_status(
            "connection_status", {"connected": False, "reason": "lost connection to daemon"}
        )

    def receive(self, event_type: str, **data: Any) -> None:
        """Report an event, decoded from its wire form."""
        self.console._receive(event_type, unread(make_event(event_type, data)))


class DrawingTests(ConsoleTestCase):
    """When an event is drawn."""

    def test_an_important_change_is_drawn_at_once(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.assertEqual(self.terminal.moments[-1], 0.0)
        self.assertIn("Trade -$45.50", self.terminal.picture)

    def test_a_flood_of_quotes_is_drawn_five_times_a_second(self) -> None:
        for number in range(300):
            self.receive("MarketQuote", last=21000 + number)
            self.clock.advance(1 / 60)
        self.assertLessEqual(most_in_a_second(self.terminal.moments), 5)
        self.assertGreater(len(self.terminal.moments), 20)

    def test_a_flood_of_anything_is_drawn_twenty_times_a_second(self) -> None:
        for _ in range(500):
            self.receive("GatewayUserTrade")
            self.clock.advance(0.01)
        self.assertEqual(most_in_a_second(self.terminal.moments), 20)

    def test_the_last_event_of_a_flood_is_drawn(self) -> None:
        for _ in range(500):
            self.receive("GatewayUserTrade", profitAndLoss=1)
        self.clock.advance(1)
        self.assertIn("Realized +$500.00", self.terminal.picture)

    def test_the_last_of_several_quotes_is_drawn(self) -> None:
        for price in (21001, 21002, 21003):
            self.receive("MarketQuote", last=price)
        self.assertNotIn("21003.00", self.terminal.picture)
        self.clock.advance(0.21)
        self.assertIn("21003.00", self.terminal.picture)

    def test_a_problem_with_a_quote_starts_no_draw_within_a_draw(self) -> None:
        render, under_way = self.console._screen.render, []

        def watched(*arguments: Any, **choices: Any) -> urwid.Canvas:
            under_way.append("a draw")
            canvas = render(*arguments, **choices)
            under_way.clear()
            return canvas

        def read() -> None:
            self.assertEqual(under_way, [])
            self.session.note("A quote is malformed")

        self.patch(self.console._screen, "render", watched)
        self.clock.advance(1)
        self.session.receive("MarketQuote", read)
        self.assertIn("A quote is malformed", self.terminal.picture)

    def test_an_important_change_does_not_wait_for_a_draw_scheduled_for_quotes(self) -> None:
        self.receive("MarketQuote")
        self.clock.advance(0.01)
        self.receive("lockout_set", reason="Account rule")
        self.assertEqual(self.terminal.moments[-1], 0.01)
        self.assertIn("LOCKED OUT", self.terminal.picture)

    def test_an_exception_in_a_tick_ends_the_program(self) -> None:
        ended: list[str] = []
        self.clock.crash = lambda: ended.append("the reactor")
        self.patch(self.console._client, "connect", lambda: None)
        self.patch(signal, "signal", lambda *_: None)
        self.console._begin()
        self.assertEqual(ended, [])

        def fail() -> None:
            raise ZeroDivisionError

        self.patch(self.console._accounts, "take_turn", fail)
        self.clock.advance(1)
        self.assertEqual(ended, ["the reactor"])
        # It is raised again when the reactor has ended.
        self.clock.run = lambda: None
        self.assertRaises(ZeroDivisionError, self.console._event_loop.run)


class WaitingQuotesTests(ConsoleTestCase):
    """Quotes that the client keeps until they may be drawn."""

    def send(self, event_type: str = "MarketQuote", **data: Any) -> None:
        """Have the client receive an event."""
        self.console._client.message_received(encode(make_event(event_type, data)))

    def test_a_flood_of_them_is_read_and_drawn_five_times_a_second(self) -> None:
        reads = []
        pass_on = self.console._client.pass_on_quotes
        self.patch(
            self.console._client,
            "pass_on_quotes",
            lambda: (reads.append(self.clock.seconds()), pass_on()),
        )
        for number in range(300):
            self.send(last=21000 + number)
            self.clock.advance(1 / 60)
        self.assertLessEqual(most_in_a_second(self.terminal.moments), 5)
        self.assertGreater(len(self.terminal.moments), 20)
        # A draw looks for more.
        self.assertLessEqual(len(reads), 2 * len(self.terminal.moments))
        self.clock.advance(0.2)
        self.assertIn("21299.00", self.terminal.picture)

    def test_the_first_of_them_is_drawn_at_once_and_the_last_within_a_fifth_of_a_second(
        self,
    ) -> None:
        self.clock.advance(1)
        for price in (21001, 21002, 21003):
            self.send(last=price)
        self.assertIn("21001.00", self.terminal.picture)
        self.clock.advance(0.2)
        self.assertIn("21003.00", self.terminal.picture)

    def test_an_event_is_drawn_with_them_at_once(self) -> None:
        self.send(last=21001)
        self.send(last=21002)
        self.clock.advance(0.01)
        self.send("GatewayUserTrade", profitAndLoss=-45.50)
        self.assertEqual(self.terminal.moments[-1], 0.01)
        self.assertIn("Trade -$45.50", self.terminal.picture)
        self.assertIn("21002.00", self.terminal.picture)
        drawn = len(self.terminal.moments)
        self.clock.advance(0.5)
        self.assertEqual(len(self.terminal.moments), drawn)

    def test_once_they_are_drawn_nothing_wakes_up_for_them(self) -> None:
        calls = [*self.clock.getDelayedCalls()]
        self.send(last=21001)
        self.send(last=21002)
        self.assertGreater(len(self.clock.getDelayedCalls()), len(calls))
        self.send("GatewayUserTrade", profitAndLoss=-45.50)
        self.assertEqual(self.clock.getDelayedCalls(), calls)

    def test_those_of_other_accounts_are_not_drawn(self) -> None:
        self.clock.advance(1)
        drawn = len(self.terminal.moments)
        for _ in range(120):
            self.send(accountId=456)
            self.clock.advance(1 / 60)
        self.assertEqual(len(self.terminal.moments), drawn)

    def test_a_lost_connection_is_shown_with_the_last_of_them(self) -> None:
        self.send(last=21001)
        self.send(last=21002)
        self.console._client.connection_closed("")
        self.lose()
        self.assertIn("21002.00", self.terminal.picture)

    def test_where_all_accounts_are_shown_they_are_read_with_the_next_rows(self) -> None:
        self.console.navigation.show_all()
        self.send(last=21001)
        self.send(last=21002)
        self.assertTrue(self.console._client.has_quotes)
        self.clock.advance(0.05)
        self.assertFalse(self.console._client.has_quotes)
        (quote,) = self.session.view().account.quotes.values()
        self.assertEqual(quote.last, 21002)

    def test_a_console_that_has_stopped_reads_no_more(self) -> None:
        self.send(last=21001)
        self.send(last=21002)
        self.patch(self.console._main_loop, "stop", lambda: None)
        self.console.stop()
        drawn = len(self.terminal.moments)
        self.clock.advance(1)
        self.assertEqual(len(self.terminal.moments), drawn)


class LastKnownTests(ConsoleTestCase):
    """The state file, polled each second while there is no connection."""

    def begin(self) -> None:
        """Stay without a connection."""

    def publish(self, *events: Event, ago: float = 0) -> None:
        """Publish the state after ``events`` as the daemon does."""
        state = AccountState(account_id=123)
        for event in events:
            state = apply(state, event)
        store = Store(self.state)
        now = datetime.now(UTC) - timedelta(seconds=ago)
        store.open((123,), now)
        store.write([state], "practice", now)
        store.publish()
        store.close()

    def tick(self) -> None:
        """Let a second pass, and call the tick."""
        self.clock.advance(1)
        self.console._tick()
        # An unimportant change is drawn a little later.
        self.clock.advance(0.2)

    def test_the_path_of_a_missing_file_is_shown(self) -> None:
        self.tick()
        self.assertIn("No last known state: ", self.terminal.picture)
        text = "".join(self.terminal.picture.split())
        self.assertIn(f"{self.state / PUBLISHED_NAME}isnotthere", text)

    def test_a_file_is_drawn_within_a_second_of_its_publication(self) -> None:
        self.tick()
        self.publish(make_event("GatewayUserTrade", {"profitAndLoss": -45.50}), ago=70)
        self.tick()
        for words in ("PRACTICE", ", 1 min ago", "P&L of the day", "Realized -$45.50"):
            self.assertIn(words, self.terminal.picture)

    def test_a_newer_file_replaces_it(self) -> None:
        trade = make_event("GatewayUserTrade", {"profitAndLoss": -45.50})
        self.publish(trade, ago=70)
        self.tick()
        self.publish(trade, make_event("GatewayUserTrade", {"profitAndLoss": -4.50}))
        self.tick()
        self.assertIn("Realized -$50.00", self.terminal.picture)
        self.assertIn(", 0 s ago", self.terminal.picture)

    def test_an_unchanged_file_is_not_read_and_the_screen_is_drawn_each_second(self) -> None:
        self.publish()
        self.tick()
        self.terminal.drawn.clear()
        self.patch(self.session, "_read_file", lambda: self.fail("it was read again"))
        for _ in range(5):
            self.tick()
        self.assertEqual(len(self.terminal.drawn), 5)

    def test_a_connection_continues_from_the_file(self) -> None:
        trade = make_event("GatewayUserTrade", {"profitAndLoss": -45.50})
        self.publish(trade)
        super().begin()
        event = decode(encode(trade))
        self.session.receive(event.type, lambda: event)
        self.receive("GatewayUserTrade", profitAndLoss=-4.50)
        self.clock.advance(1)
        self.assertIn("Realized -$50.00", self.terminal.picture)
        self.assertIn("Trades 2", self.terminal.picture)
        self.assertIn("Trade -$4.50", self.terminal.picture)
        self.assertEqual(self.terminal.picture.count("Trade -$45.50"), 1)

    def test_the_time_is_the_brokers_by_the_offset_in_the_file(self) -> None:
        store = Store(self.state)
        now = datetime.now(UTC)
        store.open((123,), now)
        store.write([AccountState(account_id=123)], "practice", now, clock_offset="7200.5")
        store.publish()
        store.close()
        self.tick()
        broker = datetime.now(UTC) + timedelta(seconds=7200.5)
        shown = {clock(broker + timedelta(seconds=late)) for late in range(-30, 2)}
        self.assertIn(self.terminal.picture.split("\n")[0].split()[-2], shown)
        self.assertRegex(self.terminal.picture, r"Last known state, [\d:]+, \d s ago")

    def test_an_account_missing_from_the_file_is_reported(self) -> None:
        self.publish()
        display = fake_display(self.clock, self.terminal)
        console = Console(999, self.followed(999), self.clock, display=display)
        console._tick()
        self.clock.advance(1)
        self.assertIn(
            "Account 999 is not in the last known state; it knows 123", self.terminal.picture
        )

    def test_the_traders_name_of_the_account_is_at_the_top(self) -> None:
        self.publish()
        display = fake_display(self.clock, self.terminal)
        names = {123: "Combine 50K"}
        console = Console(123, self.followed(123), self.clock, display=display, names=names)
        console._tick()
        self.clock.advance(1)
        self.assertIn("Combine 50K (123)", self.terminal.picture)


class KeyTests(ConsoleTestCase):
    """The effect of each key, and the help."""

    def press(self, *keys: str) -> str:
        """Press keys; return the drawing after them."""
        for key in keys:
            self.clock.advance(1)
            self.console._handle_input(key)
        return self.terminal.picture

    def test_q_quits(self) -> None:
        self.assertRaises(urwid.ExitMainLoop, self.console._handle_input, "q")

    def test_other_keys_have_no_effect(self) -> None:
        before = self.console.navigation.ui_state
        for key in ("x", "Q", "f1", "ctrl l", ("mouse press", 1, 0, 0)):
            self.console._handle_input(key)
        self.assertEqual(self.console.navigation.ui_state, before)

    def test_each_number_shows_its_page(self) -> None:
        titles = ("P&L seen", "Trades seen", "Limits in", "Lockouts", "Activity: ", "Connection")
        for number, title in enumerate(titles, 1):
            self.assertIn(f"\n{title}", self.press(str(number)))

    def test_tab_turns_through_the_pages_and_shift_tab_back(self) -> None:
        for number in (1, 2, 3, 4, 5, 0):
            self.press("tab")
            self.assertEqual(self.console.navigation.ui_state.page, number)
        self.press("shift tab")
        self.assertEqual(self.console.navigation.ui_state.page, len(PAGES) - 1)

    def test_the_effect_of_a_key_is_drawn_at_once(self) -> None:
        self.session.note("draw")
        drawn = len(self.terminal.drawn)
        self.console._handle_input("2")
        self.assertEqual(len(self.terminal.drawn), drawn + 1)
        self.assertEqual(self.terminal.moments[-1], self.clock.seconds())

    def test_a_key_that_is_held_down_is_drawn_twenty_times_a_second(self) -> None:
        for _ in range(200):
            self.console._handle_input("tab")
            self.clock.advance(0.01)
        self.assertEqual(most_in_a_second(self.terminal.moments), MAX_DRAWS_A_SECOND)

    def test_the_help_shows_every_key_until_the_next_page(self) -> None:
        shown = " ".join(self.press("?").split())
        for key in KEYS:
            self.assertIn(f"{key.label} {key.effect}", shown)
        self.assertNotIn("Shift-Tab", self.press("2"))

    def test_every_key_has_one_effect_and_its_own_words(self) -> None:
        effects = [key.effect for key in KEYS]
        names = [name for key in KEYS for name in key.names]
        self.assertTrue(all(effects))
        self.assertEqual(len(set(effects)), len(effects))
        self.assertEqual(len(set(names)), len(names))

    def test_the_footer_names_help_and_quit(self) -> None:
        self.assertTrue(self.press("1").splitlines()[-1].rstrip().endswith("? help  q quit"))

    def test_the_selection_moves_within_the_rows(self) -> None:
        for number in range(3):
            self.receive("GatewayUserTrade", id=number, profitAndLoss=number)
        self.press("2", "down", "j")
        self.assertEqual(self.console.navigation.ui_state.row, 2)
        self.press("page down")
        self.assertEqual(self.console.navigation.ui_state.row, 2)
        self.press("up", "k", "k", "page up")
        self.assertEqual(self.console.navigation.ui_state.row, 0)

    def fill(self, trades: int = 60) -> None:
        """Report trades whose P&L are their numbers."""
        for number in range(1, trades + 1):
            self.receive("GatewayUserTrade", id=number, profitAndLoss=number)

    def test_a_list_is_scrolled_by_half_a_screen_by_one_and_to_its_ends(self) -> None:
        self.fill()
        self.press("2", "page down")
        screen = self.console.navigation.ui_state.row
        self.assertIn("> ", self.press("page down"))
        self.assertEqual(self.console.navigation.ui_state.row, 2 * screen)
        self.press("page up", "ctrl d")
        self.assertEqual(self.console.navigation.ui_state.row, screen + screen // 2)
        self.press("ctrl u")
        self.assertEqual(self.console.navigation.ui_state.row, screen)
        for last, first in (("G", "g"), ("end", "home")):
            self.press(last)
            self.assertEqual(self.console.navigation.ui_state.row, 59)
            self.press(first)
            self.assertEqual(self.console.navigation.ui_state.row, 0)

    def test_a_page_without_rows_is_scrolled_to_its_last_line(self) -> None:
        self.fill()
        self.assertNotIn("Connected to daemon", self.press("1"))
        self.assertIn("Connected to daemon", self.press("G"))
        self.assertNotIn("Connected to daemon", self.press("k", "g"))

    def test_a_search_is_typed_and_n_goes_on_through_what_it_finds(self) -> None:
        self.fill()
        self.assertIn("/_   60 rows", self.press("2", "/"))
        # Letters that are keys elsewhere are letters of the text here.
        self.assertIn("/$5q_   0 rows", self.press("$", "5", "q"))
        self.assertIn("/$5_   15 rows", self.press("backspace", "f2"))
        self.assertIn("/$5   15 rows; n next", self.press("enter"))
        self.press(*["n"] * 16)
        self.assertEqual(self.console.navigation.ui_state.row, 1)
        self.press("N", "N")
        self.assertEqual(self.console.navigation.ui_state.row, 14)
        self.assertNotIn("/$5", self.press("esc"))

    def test_the_row_that_was_found_stays_selected_after_the_search(self) -> None:
        self.fill()
        found = self.press("2", "/", *"$47", "enter", "enter")
        self.assertIn("$47.00", found)
        self.press("esc", "esc")
        self.assertIn("$47.00", self.press("enter"))
        # What finds nothing leaves the first row.
        self.press("esc", "/", *"nowhere", "esc")
        self.assertEqual(self.console.navigation.ui_state.row, 0)

    def test_enter_shows_a_row_in_full_and_esc_closes_it(self) -> None:
        self.fill(3)
        self.assertIn("Row 1 of 3", self.press("2", "enter"))
        self.assertIn("Row 2 of 3", self.press("j"))
        self.assertNotIn("Row 2", self.press("esc"))
        self.assertNotIn("Row ", self.press("1", "enter"))

    def test_z_shows_the_large_figures_until_the_next_page_or_escape(self) -> None:
        before = self.press("2")
        for key, after in (("z", before), ("esc", before), ("2", before)):
            self.assertIn("P&L of the day: not known", self.press("z"))
            self.assertEqual(self.press(key), after)

    def test_escape_only_closes(self) -> None:
        before = self.press("2")
        self.assertEqual(self.press("esc"), before)
        self.assertIn("Keys", self.press("?"))
        self.assertNotIn("Keys", self.press("esc"))
        self.assertNotIn("Keys", self.press("esc"))

    def test_a_page_begins_at_its_first_row(self) -> None:
        for number in range(3):
            self.receive("GatewayUserTrade", id=number, profitAndLoss=number)
        self.press("2", "down", "5", "2")
        self.assertEqual(self.console.navigation.ui_state.row, 0)

    def test_the_feed_is_filtered_kind_by_kind(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.assertIn("Activity: everything (2)", self.press("f"))
        self.assertIn("Activity: trades (1)", self.press("f"))
        self.assertNotIn("Connected to daemon", self.terminal.picture)
        self.press(*["f"] * (len(FILTERS) - 1))
        self.assertIn("Activity: everything (2)", self.terminal.picture)

    def test_a_paused_feed_counts_the_lines_that_it_does_not_show(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.press("p")
        self.receive("GatewayUserTrade", profitAndLoss=7)
        shown = self.press("1", "5")
        self.assertIn("PAUSED, 1 more since", shown)
        self.assertNotIn("Trade +$7.00", shown.partition("Activity")[2])
        self.assertIn("Trade +$7.00", self.press("p").partition("Activity")[2])

    def test_the_theme_key_goes_through_all_themes(self) -> None:
        for name in (*list(THEMES)[1:], "dark"):
            self.press("t")
            self.assertEqual(self.console.navigation.ui_state.theme, name)
            self.assertEqual(self.terminal.colors, 1 if name == MONO else 16)
            self.assertEqual(self.terminal.palette, THEMES[name])

    def test_the_ascii_key_toggles_ascii_characters(self) -> None:
        self.assertFalse(self.press("1").isascii())
        self.assertTrue(self.press("a").isascii())
        self.assertFalse(self.press("a").isascii())

    def test_the_mouse_key_toggles_the_mouse_and_the_footer_shows_it(self) -> None:
        self.assertIn("mouse", self.press("m").splitlines()[-1])
        self.assertTrue(self.terminal.has_mouse)
        self.assertNotIn("mouse", self.press("m").splitlines()[-1])
        self.assertFalse(self.terminal.has_mouse)

    def test_the_selected_row_is_copied_and_the_feed_reports_it(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.press("5", "down", "c")
        copied = self.terminal.copied[0]
        self.assertIn("Connected to daemon", copied)
        self.assertEqual(self.session.view().feed[-1].text, f"Copied: {copied}")

    def test_on_a_page_without_rows_the_figures_are_copied(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.press("1", "c")
        self.assertIn("Realized -$45.50 Unrealized $0.00", self.terminal.copied[0])


class MouseTests(ConsoleTestCase):
    """Clicks and the wheel while the console receives the mouse."""

    def test_a_click_on_the_name_of_a_page_shows_it(self) -> None:
        self.session.note("draw")
        foot = self.terminal.picture.splitlines()[-1]
        self.console._handle_input(("mouse press", 1, foot.index("Limits"), 23))
        self.assertEqual(self.console.navigation.ui_state.page, 2)

    def test_clicks_elsewhere_and_releases_have_no_effect(self) -> None:
        for event in (("mouse press", 1, 30, 5), ("mouse release", 0, 30, 23)):
            self.console._handle_input(event)
        self.assertEqual(self.console.navigation.ui_state.page, 0)

    def test_the_wheel_moves_the_selection(self) -> None:
        for number in range(9):
            self.receive("GatewayUserTrade", id=number)
        self.console._handle_input("2")
        self.console._handle_input(("mouse press", 5, 3, 3))
        self.assertEqual(self.console.navigation.ui_state.row, 3)
        self.console._handle_input(("mouse press", 4, 3, 3))
        self.assertEqual(self.console.navigation.ui_state.row, 0)


class BellTests(ConsoleTestCase):
    """The bell of the terminal."""

    def test_it_rings_for_lockouts_and_enforcement(self) -> None:
        for event_type in ("lockout_set", "enforcement_action"):
            self.clock.advance(2)
            self.receive(event_type)
        self.assertEqual(self.terminal.written, ["\a", "\a"])

    def test_other_events_do_not_ring(self) -> None:
        for event_type in ("GatewayUserTrade", "daemon_status", "lockout_cleared", "daily_reset"):
            self.receive(event_type)
        self.receive("daemon_status", status="STOPPING")
        self.assertEqual(self.terminal.written, [])

    def test_it_rings_for_errors_losses_and_recovery(self) -> None:
        self.receive("daemon_status", status="ERROR", message="no broker")
        for act in (
            lambda: self.receive("daemon_status", status="RUNNING", message="again"),
            self.lose,
            self.begin,
        ):
            self.clock.advance(2)
            act()
        self.assertEqual(self.terminal.written, ["\a"] * 4)

    def test_when_muted_it_rings_for_lockouts_only(self) -> None:
        self.console._handle_input("b")
        self.receive("enforcement_action")
        self.assertEqual(self.terminal.written, [])
        self.receive("lockout_set")
        self.assertEqual(self.terminal.written, ["\a"])

    def test_it_can_be_switched_off(self) -> None:
        display = fake_display(self.clock, self.terminal)
        console = Console(123, self.followed(123), self.clock, bell=False, display=display)
        console._receive("lockout_set", unread(make_event("lockout_set", {})))
        self.assertEqual(self.terminal.written, [])


class LogTests(ConsoleTestCase):
    """Log messages go to the feed, where they do not tear the screen."""

    def setUp(self) -> None:
        super().setUp()
        self.log = Logger(namespace="tests", observer=self.console.log_to_feed)

    def feed(self) -> list[str]:
        """Return the texts of the feed after that of the connection."""
        return [line.text for line in self.session.view().feed[1:]]

    def test_warnings_and_errors_are_in_the_feed(self) -> None:
        self.log.warn("dropped {what}", what="a message")
        self.log.error("an error")
        self.log.critical("the end")
        self.assertEqual(self.feed(), ["Dropped a message", "An error", "The end"])

    def test_other_messages_are_not_in_the_feed(self) -> None:
        self.log.info("started")
        self.log.debug("details")
        self.assertEqual(self.feed(), [])

    def test_only_the_first_line_of_a_message_is_in_the_feed(self) -> None:
        self.log.error("Traceback (most recent call last):\n  File ...")
        self.assertEqual(self.feed(), ["Traceback (most recent call last):"])

    def test_the_message_of_a_failure_is_in_the_feed(self) -> None:
        fault = Failure(ZeroDivisionError())
        self.log.failure("the callback failed on {type}", fault, type="MarketQuote")
        self.assertEqual(self.feed(), ["The callback failed on MarketQuote"])

    def test_a_blank_line_is_ignored(self) -> None:
        self.log.error("")
        self.log.error("\n")
        self.assertEqual(self.feed(), [])
