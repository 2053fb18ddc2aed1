"""The whole screen: sizes, footer and help, and how often it may be drawn."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import partial

import wcwidth
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import Limit
from riskd.model.contracts import Contract
from riskd.model.events import EVENT_TYPES
from tests.support.clocks import most_in_a_second
from tests.support.console import DAY, FILE_PROBLEMS, MNQ, at
from tests.support.screen import CONTROL_CHARACTERS, SIZES, PageTestCase, ScreenTestCase
from trader.cli.keys import KEYS
from trader.ui.pages import PAGES
from trader.ui.screen import (
    MAX_DRAWS_A_SECOND,
    RedrawThrottle,
    compose,
    footer,
    page_at,
    page_body,
)
from trader.ui.styled_text import text_of

ODD_NAMES = (
    "hand \u270b\U0001f3fd", "\U0001f1fa\U0001f1f8", "\U0001f469\u200d\U0001f680", "\u26a0\ufe0f", "e\u0301",
    "\u05d0\u05d1 1", "\u202e\u2066x", "日本語日本語日本語", "한국", "\u1112\u1161\u11ab", "x" * 60, "",
)  # fmt: skip
"""Names that terminals draw wider, narrower or in another order than one character a column."""


class SizeTests(ScreenTestCase):
    """Every size of terminal, and every text."""

    def check_size(self, columns: int, rows: int) -> None:
        """Check the number of rows, and the width of each."""
        canvas = self.canvas(columns, rows)
        self.assertEqual((canvas.cols(), canvas.rows()), (columns, rows))
        texts = canvas.text
        self.assertEqual(len(texts), rows)
        for text in texts:
            shown = text.decode()
            # Some terminals count characters, some what a reader takes for one.
            self.assertEqual(sum(map(wcwidth.wcwidth, shown)), columns, repr(shown))
            self.assertEqual(wcwidth.wcswidth(shown), columns, repr(shown))
            self.assertTrue(shown.isprintable(), repr(shown))

    def test_every_size_is_filled_exactly(self) -> None:
        for prepare in (
            lambda: None,
            self.poll_file,
            self.connect,
            self.fill,
            self.lose,
            self.poll_file,
        ):
            prepare()
            for columns, rows in SIZES:
                self.check_size(columns, rows)

    def test_every_size_is_filled_exactly_with_last_known_states(self) -> None:
        for prepare in (
            lambda: self.file.publish(*DAY, seconds=-60),
            *(partial(self.file.fail, problem) for problem in FILE_PROBLEMS),
            lambda: self.file.publish_accounts(*range(500)),
        ):
            prepare()
            for connect in (self.poll_file, self.connect, lambda: self.lose(retry_in=10)):
                connect()
                for columns, rows in SIZES:
                    self.check_size(columns, rows)

    def test_a_resize_and_back_shows_the_same(self) -> None:
        self.fill()
        small, large = self.shown(80, 24), self.shown(120, 40)
        self.assertNotEqual(small, large)
        self.assertEqual(self.shown(80, 24), small)

    def test_the_footer_is_the_last_row(self) -> None:
        self.fill()
        for columns, rows in SIZES:
            ends = ("? help  q quit"[:columns], "? help", "?")
            self.assertTrue(self.rows(columns, rows)[-1].endswith(ends))

    def test_control_characters_in_events_do_not_reach_the_terminal(self) -> None:
        self.connect()
        self.receive("lockout_set", reason=CONTROL_CHARACTERS, locked_until=None)
        self.receive("enforcement_action", reason=CONTROL_CHARACTERS)
        self.receive("daemon_status", status="ERROR", message=CONTROL_CHARACTERS)
        self.session.note(CONTROL_CHARACTERS)
        self.lose(f"lost connection to daemon: {CONTROL_CHARACTERS}")
        for columns, rows in SIZES:
            self.check_size(columns, rows)
            ends = ("? help  q quit"[:columns], "? help", "?")
            self.assertTrue(self.rows(columns, rows)[-1].endswith(ends))
        shown = "Bad ?[31mnews?[0m second  tabbed ?1m?backwards? "
        self.assertIn(f"LOCKED OUT until an operator unlocks it: {shown}", self.shown(120))
        self.assertIn(f"Lost connection to daemon: {shown}", self.shown(120))

    def test_wide_and_combining_characters_keep_the_width_of_rows(self) -> None:
        self.connect()
        for reason in ("日本語" * 30, "e\u0301" * 60, "👩\u200d👧" * 20, "\u0301", ""):
            self.receive("lockout_set", reason=reason, locked_until=None)
            for columns, rows in (*SIZES, (41, 24), (42, 24), (43, 24)):
                self.check_size(columns, rows)

    def test_any_text_from_elsewhere_keeps_the_width_of_rows_and_the_figures(self) -> None:
        for name in ODD_NAMES:
            self.setUp()
            contract = Contract(
                id=MNQ, name=name, tick_size=Decimal("0.25"), tick_value=Decimal("0.5")
            )
            limits = {f"RULE-03{digit}": Limit(f"{name}{digit}", "{}") for digit in range(3)}
            self.file.publish(contracts={MNQ: contract}, limits=limits)
            self.gateway_name = name
            super().connect()
            self.fill_with(name)
            for page in range(len(PAGES)):
                self.change(page=page)
                for columns, rows in ((80, 24), (120, 40), (60, 20)):
                    self.check_size(columns, rows)
            self.change(page=0)
            self.row("21000.50", "21001.00", "+$3.00", "NO STOP")
            self.turn("Trades")
            self.row(" 2 ", " -$1,234.50 ", " -$1,234.50")

    def fill_with(self, text: str) -> None:
        """Receive something for every panel, with ``text`` wherever an event has one."""
        self.receive("GatewayUserPosition", contractId=MNQ, size=3, averagePrice=21000.50)
        self.receive("MarketQuote", contractId=MNQ, last=21001.00, timestamp=at(0))
        self.receive("GatewayUserOrder", contractId=MNQ, limitPrice=20990.25)
        self.receive("GatewayUserTrade", contractId=MNQ, profitAndLoss=-1234.50, quantity=2)
        self.receive("enforcement_action", reason=text, timestamp=at(0))
        self.receive("lockout_set", reason=text * 9, locked_until=None)
        self.receive("daemon_status", status="ERROR", message=text * 9)

    def test_a_strange_gateway_name_keeps_the_width_of_rows(self) -> None:
        self.connect()
        for name in ("x" * 200, "日本語" * 40, CONTROL_CHARACTERS, ""):
            self.gateway_name = name
            for columns, rows in SIZES:
                self.check_size(columns, rows)

    def test_huge_numbers_keep_the_width_of_rows(self) -> None:
        self.connect()
        huge = 999_999_999_999_999
        self.receive("GatewayUserTrade", profitAndLoss=-huge, quantity=2**53)
        self.receive("GatewayUserPosition", contractId=MNQ, size=1_000_000, averagePrice=huge)
        self.receive("MarketQuote", contractId=MNQ, bid=-huge, ask=huge, last=0, timestamp=at(0))
        self.receive("GatewayUserOrder", size=2**53, limitPrice=huge)
        for columns, rows in SIZES:
            self.check_size(columns, rows)

    def test_each_type_of_event_can_be_drawn(self) -> None:
        for event_type in EVENT_TYPES:
            self.setUp()
            self.connect()
            self.receive(event_type)
            for columns, rows in SIZES:
                self.check_size(columns, rows)

    def test_keys_are_passed_on_to_the_console(self) -> None:
        self.assertFalse(self.screen.selectable())


class SmallScreenTests(ScreenTestCase):
    """A terminal that is too small for figures."""

    def test_a_small_screen_shows_the_connection_and_no_figures(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.5)
        for columns, rows in ((59, 24), (47, 24), (80, 13), (60, 8)):
            shown = self.shown(columns, rows)
            self.assertIn("LIVE", shown)
            self.assertIn(f"{columns}x{rows} is too small; figures need 60x14", shown)
            self.assertNotIn("Realized", shown)
        self.assertIn("Realized -$45.50", self.shown(60, 14))


class FooterTests(PageTestCase):
    """The tabs of the pages."""

    def test_the_shown_page_is_marked_without_color(self) -> None:
        self.turn("Limits")
        self.assertIn("[3 Limits]", self.rows()[-1])
        self.assertIn("[3 Limits]", self.rows(60, 20)[-1])

    def test_a_page_is_found_by_its_column(self) -> None:
        for columns in (60, 80, 120):
            text = self.rows(columns, 24)[-1]
            for number in range(len(PAGES)):
                column = text.index(str(number + 1))
                self.assertEqual(page_at(self.ui_state, columns, column), number)
            self.assertIsNone(page_at(self.ui_state, columns, columns - 2))

    def test_a_footer_without_room_for_tabs_has_no_page(self) -> None:
        for columns in (1, 15, 20):
            self.assertEqual({page_at(self.ui_state, columns, x) for x in range(columns)}, {None})

    def test_the_footer_is_as_wide_as_the_screen(self) -> None:
        for columns in range(1, 200):
            width = sum(
                len(part if isinstance(part, str) else part[1])
                for part in footer(self.ui_state, columns)
            )
            self.assertEqual(width, columns)


class HelpTests(PageTestCase):
    """The keys."""

    def test_each_key_is_described_in_full(self) -> None:
        self.change(is_help=True)
        keys = [(key.label, key.effect) for key in KEYS]
        for columns, rows in ((60, 24), (80, 24), (120, 40)):
            lines = compose(self.session.view(), self.ui_state, self.now, columns, rows, keys)
            shown = [text_of(line)[:columns] for line in lines]
            for label, description in keys:
                self.assertTrue(any(f" {label:<10}{description}" in line for line in shown), label)

    def test_a_help_that_does_not_fit_is_scrolled_to_its_last_line(self) -> None:
        keys = [(key.label, key.effect) for key in KEYS]
        self.change(is_help=True)
        view = self.session.view()
        places = page_body(view, self.ui_state, self.now, 60, 14, keys).places
        self.assertGreater(places, 1)
        seen = set()
        for scroll in range(places):
            self.change(scroll=scroll)
            lines = [
                text_of(each) for each in compose(view, self.ui_state, self.now, 60, 14, keys)
            ]
            self.assertEqual(len(lines), 14)
            self.assertEqual(any("↓" in line for line in lines), scroll < places - 1)
            self.assertEqual(any("↑" in line for line in lines), scroll > 0)
            seen |= {
                label
                for label, effect in keys
                if any(f"{label:<10}{effect}" in line for line in lines)
            }
        self.assertEqual(seen, {label for label, _effect in keys})

    def test_all_pages_keep_their_names(self) -> None:
        """On a narrow screen, the beginning of each."""
        for page in PAGES:
            self.assertTrue(page.name.startswith(page.short), page)
        for columns, keys in (
            *((60, "? help"), (66, "? help"), (67, "?"), (72, "? help"), (79, "? help")),
            *((80, "? help  q quit"), (120, "? help  q quit")),
        ):
            names = [page.name if columns > 66 else page.short for page in PAGES]
            for number in range(len(PAGES)):
                self.change(page=number)
                text = self.rows(columns, 24)[-1]
                self.assertEqual(re.findall("[A-Z][a-z]+", text), names)
                self.assertIn(f"[{number + 1} {names[number]}]", text)
                self.assertTrue(text.endswith(keys), text)

    def test_what_is_switched_comes_before_the_keys(self) -> None:
        self.change(is_muted=True)
        self.assertRegex(self.rows(80, 24)[-1], r"6 Connection +muted  \? help$")


class RedrawThrottleTests(SynchronousTestCase):
    """Draws, and the waits between them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.throttle = RedrawThrottle(self.clock.seconds)

    def draw(self, *, important: bool) -> float:
        """Wait for a draw and make it; return when."""
        self.clock.advance(self.throttle.wait(important=important))
        self.throttle.record()
        return self.clock.seconds()

    def test_the_first_draw_is_made_at_once(self) -> None:
        self.assertEqual(self.throttle.wait(important=False), 0)
        self.assertEqual(self.throttle.wait(important=True), 0)

    def test_a_burst_of_twenty_important_draws_is_made_at_once(self) -> None:
        moments = [self.draw(important=True) for _ in range(MAX_DRAWS_A_SECOND)]
        self.assertEqual(moments, [0.0] * 20)
        self.assertEqual(self.throttle.wait(important=True), 1.0)

    def test_no_second_has_more_than_twenty_draws(self) -> None:
        moments = [self.draw(important=True) for _ in range(200)]
        self.assertEqual(most_in_a_second(moments), 20)

    def test_quotes_take_no_more_than_five_draws_a_second(self) -> None:
        moments = [self.draw(important=False) for _ in range(100)]
        self.assertEqual(most_in_a_second(moments), 5)

    def test_a_stream_of_quotes_leaves_draws_for_important_changes(self) -> None:
        for _ in range(100):
            self.draw(important=False)
            self.assertEqual(self.throttle.wait(important=True), 0)

    def test_after_a_second_of_rest_all_draws_are_free_again(self) -> None:
        for _ in range(20):
            self.draw(important=True)
        self.clock.advance(1.0)
        self.assertEqual(self.throttle.wait(important=False), 0)
