"""What the trader has chosen to see."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.console import BEGIN
from trader.model.activity import FeedLine
from trader.model.ui_state import FILTERS, UiState

TRADE = FeedLine(BEGIN, "a trade", "gain", kind="GatewayUserTrade")
ORDER = FeedLine(BEGIN, "an order", "dim", kind="GatewayUserOrder")


class UiStateTests(SynchronousTestCase):
    """Each key press makes a new state."""

    def test_the_selected_row_stays_within_the_rows(self) -> None:
        for rows, count, row in ((5, 3, 2), (-5, 3, 0), (1, 0, 0), (1, 9, 1)):
            self.assertEqual(UiState().with_row_moved(rows, count).row, row)

    def test_a_page_begins_at_its_first_row_without_help(self) -> None:
        state = UiState(row=7, is_help=True).with_page(2)
        self.assertEqual((state.page, state.row, state.is_help), (2, 0, False))

    def test_the_filters_go_round(self) -> None:
        state = UiState()
        for _ in FILTERS:
            state = state.with_next_filter()
        self.assertEqual(state.filter, 0)

    def test_a_filter_passes_its_kind_newest_first(self) -> None:
        feed = (TRADE, ORDER)
        self.assertEqual(UiState().visible_lines(feed), (ORDER, TRADE))
        self.assertEqual(UiState(filter=1).visible_lines(feed), (TRADE,))

    def test_a_paused_feed_shows_what_it_had(self) -> None:
        paused = UiState().with_pause_toggled((TRADE,))
        self.assertEqual(paused.visible_lines((TRADE, ORDER)), (TRADE,))
        running = paused.with_pause_toggled((TRADE, ORDER))
        self.assertEqual(running.visible_lines((TRADE, ORDER)), (ORDER, TRADE))
