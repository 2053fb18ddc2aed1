"""What the trader has chosen to see."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.console import BEGIN
from trader.model.ui_state import UiState
from trader.model.wording import FeedLine

TRADE = FeedLine(BEGIN, "a trade", "gain", kind="GatewayUserTrade")
ORDER = FeedLine(BEGIN, "an order", "dim", kind="GatewayUserOrder")


class UiStateTests(SynchronousTestCase):
    """The lines of the feed that are shown."""

    def test_a_filter_passes_its_kind_newest_first(self) -> None:
        feed = (TRADE, ORDER)
        self.assertEqual(UiState().visible_lines(feed), (ORDER, TRADE))
        self.assertEqual(UiState(filter=1).visible_lines(feed), (TRADE,))

    def test_a_paused_feed_shows_what_it_had(self) -> None:
        self.assertEqual(UiState(paused_feed=(TRADE,)).visible_lines((TRADE, ORDER)), (TRADE,))
