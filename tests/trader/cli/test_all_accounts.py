"""The console where all accounts are shown: keys, draws and the way to one account and back."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.reader import Snapshot
from riskd.journal.store import Store
from riskd.model.events import Event
from riskd.model.wire import encode
from riskd.testing import make_event
from tests.support.accounts import account, running, unread
from tests.support.clocks import most_in_a_second
from tests.support.fake_terminal import FakeTerminal, fake_display
from trader.cli.console import Console
from trader.cli.keys import KEYS
from trader.client import DEFAULT_URL
from trader.model.followed_daemon import FollowedDaemon

LOST = {"id": 1, "profitAndLoss": -450}


class AllAccountsConsoleTestCase(SynchronousTestCase):
    """A console of all accounts on a clock; three of them are known."""

    account_id: int | None = None
    known = (1, 2, 3)

    def setUp(self) -> None:
        self.clock = Clock()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.state = Path(directory.name)
        self.store = Store(self.state)
        self.store.open(list(self.known), datetime.now(UTC))
        self.addCleanup(self.store.close)
        self.publish()
        followed = FollowedDaemon(self.account_id, DEFAULT_URL, self.state, self.state)
        self.terminal = FakeTerminal(self.clock)
        display = fake_display(self.clock, self.terminal)
        self.console = Console(self.account_id, followed, self.clock, display=display)
        self.status(connected=True)

    def publish(self) -> None:
        """Publish the accounts; the second one has lost most."""
        lost = make_event("GatewayUserTrade", LOST)
        states = [account(key, running(), *([lost] if key == 2 else [])) for key in self.known]
        self.store.write(states, "practice", datetime.now(UTC))
        self.store.publish()

    def status(self, *, connected: bool, reason: str = "connected") -> None:
        """Report on the connection."""
        status = {"connected": connected, "reason": reason}
        self.console._receive_status("connection_status", status)

    def receive(self, event_type: str, account_id: int | None, **data: Any) -> None:
        """Receive a message."""
        event = Event(account_id, make_event(event_type, data).data)
        self.console._receive(event_type, unread(event))

    def press(self, *keys: str) -> None:
        """Press keys, and let what they change be drawn."""
        for key in keys:
            self.console._handle_input(key)
        self.clock.advance(1)

    @property
    def shown(self) -> str:
        """What is on the screen."""
        return self.terminal.picture

    @property
    def selected(self) -> str:
        """The account of the selected row."""
        row = next(line for line in self.rows if line.startswith("> "))
        return row.split()[1]

    @property
    def rows(self) -> list[str]:
        """The lines on the screen."""
        return self.shown.splitlines()


class ListTests(AllAccountsConsoleTestCase):
    """The rows, and the keys that move among them."""

    def test_each_account_has_a_row_the_nearest_limit_first(self) -> None:
        self.assertIn("all accounts", self.rows[0])
        self.assertIn("3 accounts, nearest limit first", self.shown)
        self.assertEqual(self.selected, "2")
        self.assertIn("NEAR", next(line for line in self.rows if line.startswith("> ")))

    def test_arrows_and_letters_move_the_selection(self) -> None:
        for key, expected in (
            *(("down", "1"), ("j", "3"), ("down", "3"), ("up", "1"), ("k", "2"), ("k", "2")),
            *(("G", "3"), ("g", "2"), ("end", "3"), ("home", "2")),
            *(("page down", "3"), ("page up", "2"), ("n", "1"), ("N", "2")),
        ):
            self.press(key)
            self.assertEqual(self.selected, expected, key)

    def test_another_order_keeps_the_account_that_is_selected(self) -> None:
        self.press("down")
        for order in ("by name", "lowest P&L first", "nearest limit first"):
            self.press("o")
            self.assertIn(order, self.shown)
            self.assertEqual(self.selected, "1")

    def test_the_selection_stays_with_its_account_when_the_rows_change_places(self) -> None:
        self.receive("GatewayUserTrade", 3, id=5, profitAndLoss=-480)
        self.console._tick_now()
        self.clock.advance(1)
        # Without a choice, the first row is the selected one.
        self.assertEqual(self.selected, "3")
        self.press("j")
        chosen = self.selected
        self.receive("GatewayUserTrade", 1, id=6, profitAndLoss=-490)
        self.console._tick_now()
        self.clock.advance(1)
        self.assertEqual(self.selected, chosen)

    def test_a_search_leaves_some_accounts(self) -> None:
        self.press("/", *"near", "enter")
        self.assertIn("1 row", self.shown)
        self.assertEqual(self.selected, "2")
        self.press("esc")
        self.assertNotIn("1 row", self.shown)

    def test_the_account_that_was_found_stays_selected_after_the_search(self) -> None:
        self.press("G", "g", "/", *"3", "enter", "esc")
        self.assertEqual(self.selected, "3")
        self.press("enter")
        self.assertIn("account 3", self.rows[0])

    def test_every_key_of_the_help_works_here(self) -> None:
        for key in KEYS:
            if key.label == "q":
                continue
            for name in key.names:
                self.press(name)
            self.press("esc", "esc", "esc", "0")
            self.assertIn("all accounts", self.rows[0], key.label)

    def test_the_copied_row_is_the_account_in_words(self) -> None:
        self.press("c")
        self.assertIn("Account 2: NEAR: realized loss $450.00 of $500.00", self.terminal.copied[0])
        self.assertIn("Copied: Account 2", self.shown)


class OpenTests(AllAccountsConsoleTestCase):
    """The way to one account and back."""

    def test_enter_opens_the_selected_account_and_esc_comes_back(self) -> None:
        self.press("down", "enter")
        self.assertIn("account 1", self.rows[0])
        self.assertIn("[1 Overview]", self.shown)
        self.press("esc")
        self.assertIn("all accounts", self.rows[0])
        self.assertEqual(self.selected, "1")

    def test_a_number_opens_a_page_of_it(self) -> None:
        self.press("4")
        self.assertIn("account 2", self.rows[0])
        self.assertIn("[4 Loc", self.shown)

    def test_the_list_has_no_large_figures(self) -> None:
        self.press("z")
        self.assertFalse(self.console.navigation.ui_state.is_glance)

    def test_esc_closes_what_is_open_in_the_account_first(self) -> None:
        self.press("enter", "?", "esc")
        self.assertIn("account 2", self.rows[0])
        self.press("/", *"trade", "esc")
        self.assertIn("account 2", self.rows[0])
        self.press("esc")
        self.assertIn("all accounts", self.rows[0])

    def test_the_account_that_is_open_shows_its_own_events(self) -> None:
        self.press("enter")
        self.receive("GatewayUserTrade", 2, profitAndLoss=-7)
        self.assertIn("Trade -$7.00", self.shown)
        self.receive("GatewayUserTrade", 3, profitAndLoss=-8)
        self.clock.advance(1)
        self.assertNotIn("Trade -$8.00", self.shown)

    def test_an_account_that_riskd_drops_gives_way_to_all(self) -> None:
        self.press("enter")
        self.status(connected=False, reason="lost connection to daemon")
        self.console._accounts._copy._read = lambda _only: Snapshot(accounts={})
        self.status(connected=True)
        self.clock.advance(1)
        self.assertIn("all accounts", self.rows[0])
        self.assertIn("no account is known yet", self.shown)


class AlarmTests(AllAccountsConsoleTestCase):
    """A lock in any account."""

    def lock(self, account_id: int) -> None:
        """Lock an account."""
        self.receive("lockout_set", account_id, reason="Daily loss: -$550", locked_until=None)

    def test_it_rings_and_flashes(self) -> None:
        self.lock(3)
        self.assertEqual(self.terminal.written, ["\a"])
        self.assertIn("Account 3: LOCKED OUT until an operator unlocks it", self.shown)
        for _ in range(6):
            self.clock.advance(1)
        self.assertIn("LOCKED, no end", self.shown)

    def test_it_rings_and_flashes_where_another_account_is_open(self) -> None:
        self.press("enter")
        self.lock(3)
        self.clock.advance(1)
        self.assertEqual(self.terminal.written, ["\a"])
        self.assertIn("Account 3: LOCKED OUT until an operator unlocks it", self.shown)

    def test_other_enforcement_of_another_account_only_rings(self) -> None:
        self.press("enter")
        self.receive("enforcement_action", 3)
        self.clock.advance(1)
        self.assertEqual(self.terminal.written, ["\a"])
        self.assertNotIn("Account 3", self.shown)


class OneAccountTests(AllAccountsConsoleTestCase):
    """A console that was opened for one account."""

    account_id = 2

    def test_it_follows_that_account_alone(self) -> None:
        self.assertIn("account 2", self.rows[0])
        self.assertEqual(list(self.console._accounts.sessions), [2])
        self.press("esc")
        self.assertIn("account 2", self.rows[0])

    def test_zero_goes_to_all_accounts_and_esc_comes_back_there(self) -> None:
        self.press("0")
        self.assertIn("3 accounts", self.shown)
        self.assertEqual(self.selected, "2")
        self.receive("GatewayUserTrade", 3, id=9, profitAndLoss=-12)
        self.assertIn("-$12.00", self.shown)
        self.press("j", "enter")
        self.assertIn("account 1", self.rows[0])
        self.press("esc")
        self.assertIn("all accounts", self.rows[0])


class OnlyAccountTests(AllAccountsConsoleTestCase):
    """A riskd with one account."""

    known = (7,)

    def test_it_has_a_row_and_enter_opens_it(self) -> None:
        self.assertIn("1 account, nearest limit first", self.shown)
        self.press("enter")
        self.assertIn("account 7", self.rows[0])


class CrowdTests(AllAccountsConsoleTestCase):
    """More accounts than rows."""

    known = tuple(range(200))

    def test_the_selected_row_is_always_in_sight(self) -> None:
        for key in ("page down", "down", "G", "up", "page up", "g"):
            self.press(key)
            self.assertEqual(sum(line.startswith("> ") for line in self.rows), 1, key)

    def test_a_flood_of_quotes_is_drawn_five_times_a_second(self) -> None:
        for account_id in self.known:
            self.receive("GatewayUserPosition", account_id, size=1)
        self.clock.advance(5)
        self.terminal.drawn.clear()
        for number in range(300):
            self.receive("MarketQuote", number % 200, last=21000 + number)
            self.clock.advance(1 / 100)
        self.assertLessEqual(most_in_a_second(self.terminal.moments), 5)
        self.assertGreater(len(self.terminal.moments), 10)

    def test_the_last_of_several_quotes_of_a_new_account_counts(self) -> None:
        stamp = make_event("MarketQuote", {}).data.timestamp  # type: ignore[union-attr]
        for last in (21001, 21002, 21003):
            quote = make_event(
                "MarketQuote", {"accountId": 9999, "last": last, "timestamp": stamp.isoformat()}
            )
            self.console._client.message_received(encode(quote))
        self.clock.advance(0.1)
        (known,) = self.console._accounts.sessions[9999].view().account.quotes.values()
        self.assertEqual(known.last, 21003)

    def test_rows_that_say_the_same_again_are_not_drawn_for_it(self) -> None:
        self.clock.advance(1)
        drawn = len(self.terminal.moments)
        for _second in range(10):
            self.console._tick_now()
            for _ in range(20):
                self.clock.advance(0.05)
        # Each second the ages change.
        self.assertEqual(len(self.terminal.moments) - drawn, 10)

    def test_every_row_is_made_again_after_its_quotes(self) -> None:
        self.receive("GatewayUserPosition", 150, size=1, averagePrice=21000)
        self.receive("MarketQuote", 150, last=21100, bid=21100, ask=21100)
        for _ in range(100):
            self.clock.advance(0.03)
        row = next(row for row in self.console.navigation.listed().rows if row.account_id == 150)
        self.assertEqual(row.open_pnl, 200)
