"""Events of the market hub."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.server.market_events import QuoteChanges, depth, trades

MNQ = "CON.F.US.MNQ.M26"
prices = st.decimals(1, 100, places=2)


def quote(bid: str, ask: str, last: str, at: str = "t") -> dict[str, Any]:
    return {
        "symbol": "F.US.MNQ",
        "bestBid": Decimal(bid),
        "bestAsk": Decimal(ask),
        "lastPrice": Decimal(last),
        "lastUpdated": at,
        "timestamp": at,
    }


class QuoteChangesTests(SynchronousTestCase):
    def test_the_first_event_is_the_full_quote_with_the_days_figures(self) -> None:
        event = QuoteChanges().update(MNQ, quote("10", "11", "10"))
        self.assertEqual(
            event,
            quote("10", "11", "10")
            | {"change": 0, "changePercent": 0, "open": 10, "high": 10, "low": 10, "volume": 1},
        )

    def test_later_events_hold_changes_and_identifying_fields(self) -> None:
        changes = QuoteChanges()
        changes.update(MNQ, quote("10", "11", "10"))
        event = changes.update(MNQ, quote("10", "12", "10", "later"))
        self.assertEqual(
            event,
            {
                "symbol": "F.US.MNQ",
                "bestAsk": 12,
                "volume": 2,
                "lastUpdated": "later",
                "timestamp": "later",
            },
        )

    def test_a_day_that_begins_at_zero_has_no_change_in_percent(self) -> None:
        changes = QuoteChanges()
        changes.update(MNQ, quote("-1", "1", "0"))
        event = changes.update(MNQ, quote("4", "6", "5"))
        self.assertEqual((event["change"], event["high"]), (5, 5))
        whole = changes.quote(MNQ)
        assert whole is not None
        self.assertEqual((whole["open"], whole["changePercent"]), (0, 0))

    def test_the_days_figures_count_from_its_first_quote(self) -> None:
        changes = QuoteChanges()
        for last in ("10", "12", "9", "11"):
            changes.update(MNQ, quote("1", "2", last))
        whole = changes.quote(MNQ)
        assert whole is not None
        figures = ("open", "high", "low", "change", "changePercent", "volume")
        self.assertEqual([whole[name] for name in figures], [10, 12, 9, 1, 10, 4])

    def test_the_event_for_an_unchanged_quote_has_no_prices(self) -> None:
        changes = QuoteChanges()
        self.assertIsNone(changes.unchanged(MNQ, "later"))
        changes.update(MNQ, quote("10", "11", "10"))
        self.assertEqual(
            changes.unchanged(MNQ, "later"),
            {"symbol": "F.US.MNQ", "lastUpdated": "t", "timestamp": "later"},
        )

    @given(st.lists(st.tuples(prices, prices, prices), min_size=1, max_size=20))
    def test_merged_events_give_the_full_quote(
        self, moves: list[tuple[Decimal, Decimal, Decimal]]
    ) -> None:
        changes, merged = QuoteChanges(), {}
        for number, (bid, ask, last) in enumerate(moves):
            merged |= changes.update(MNQ, quote(str(bid), str(ask), str(last), str(number)))
            self.assertEqual(merged, changes.quote(MNQ))
            self.assertEqual((merged["bestBid"], merged["lastPrice"]), (bid, last))


class TradesAndDepthTests(SynchronousTestCase):
    def test_a_trade_at_the_ask_is_a_purchase(self) -> None:
        for last, side in (("11", 0), ("10", 1)):
            (trade,) = trades(quote("10", "11", last), Random(1))
            self.assertEqual(trade["symbolId"], "F.US.MNQ")
            self.assertEqual((trade["price"], trade["type"]), (Decimal(last), side))
            self.assertTrue(trade["volume"] >= 1)

    def test_depth_is_the_best_bid_and_ask(self) -> None:
        rows = depth(quote("10", "11", "10"), Random(1))
        self.assertEqual([(row["type"], row["price"]) for row in rows], [(9, 10), (10, 11)])
        self.assertTrue(all(row["volume"] >= 1 and row["timestamp"] == "t" for row in rows))
