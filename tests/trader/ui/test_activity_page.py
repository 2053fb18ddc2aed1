"""The activity feed on a page of its own."""

from __future__ import annotations

from riskd.model.events import EVENT_TYPES
from tests.support.console import NOT_THERE
from tests.support.screen import PageTestCase, ScreenTestCase
from trader.model.ui_state import FILTERS


class ActivityPageTests(PageTestCase):
    """Filters, pause and long lines."""

    page = "Activity"

    def test_the_age_is_that_of_the_newest_line_shown(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=1)
        self.wait(20)
        self.receive("GatewayUserPosition")
        self.change(filter=1)
        self.assertTrue(self.row("Activity: trades (1)").endswith("changed 20 s ago"))

    def test_an_empty_feed_says_so(self) -> None:
        self.change(filter=1)
        self.assertEqual(self.rows()[3], "Nothing of this kind yet; f shows the next kind")
        ScreenTestCase.setUp(self)
        self.turn("Activity")
        self.assertEqual(self.rows()[4], "-  not connected yet")
        self.file.fail(NOT_THERE)

    def test_a_line_that_is_cut_ends_with_an_ellipsis_and_is_shown_in_full_below(self) -> None:
        reason = "Too many contracts: " + "word " * 20 + "end"
        self.receive("enforcement_action", reason=reason)
        self.assertTrue(self.row("> ").endswith("…"))
        self.assertIn(reason, " ".join(" ".join(self.below("Selected")).split()))
        self.turn("Overview")
        for columns in (60, 80, 120):
            row = next(row for row in self.rows(columns, 24)[4:] if "ENFORCED" in row)
            self.assertTrue(row[:columns].endswith("…") or "…  " in row, row)

    def test_a_very_long_line_is_shown_in_full(self) -> None:
        # No text on the wire is longer.
        message = "The broker says: " + "word " * 56 + "end"
        self.receive("daemon_status", status="RUNNING", message=message)
        self.assertIn(message, " ".join(" ".join(self.below("Selected", 60, 20)).split()))

    def test_each_filter_shows_its_kind(self) -> None:
        for event_type in ("GatewayUserTrade", "lockout_set", "daily_reset", "GatewayUserOrder"):
            self.receive(event_type)
        self.receive("enforcement_action")
        for name, words, number in (
            ("everything", "Connected to daemon", 6),
            ("trades", "Trade ", 1),
            ("positions", "", 0),
            ("orders", "Buy limit", 1),
            ("lockouts", "LOCKED OUT", 1),
            ("enforcement", "ENFORCED", 1),
            ("daemon", "Daily reset executed", 2),
        ):
            self.assertEqual(FILTERS[self.ui_state.filter][0], name)
            self.assertIn(f"Activity: {name} ({number})", self.shown())
            self.assertIn(words, "\n".join(self.below("Activity:")))
            self.change(filter=(self.ui_state.filter + 1) % len(FILTERS))
        self.assertEqual(self.ui_state.filter, 0)

    def test_every_event_but_a_quote_has_a_filter(self) -> None:
        kinds = set().union(*(kinds for _, kinds in FILTERS))
        self.assertEqual(kinds, {*EVENT_TYPES, "console"} - {"MarketQuote"})

    def test_a_paused_feed_stands_still(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        self.change(paused_feed=self.session.view().feed)
        self.receive("GatewayUserTrade", profitAndLoss=-2)
        self.assertIn("PAUSED, 1 more since; p resumes", self.shown())
        self.assertNotIn("Trade -$2.00", "\n".join(self.below("PAUSED")))
        self.assertIn("paused", self.rows()[-1])
        self.change(paused_feed=None)
        self.assertIn("Trade -$2.00", "\n".join(self.below("Activity:")))
