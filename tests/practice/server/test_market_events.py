"""Quotes of which only the changes are told."""

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


class QuoteBookTests(SynchronousTestCase):
    def test_the_first_quote_is_told_whole_with_the_day_s_figures(self) -> None:
        told = QuoteChanges().update(MNQ, quote("10", "11", "10"))
        self.assertEqual(
            told,
            quote("10", "11", "10")
            | {"change": 0, "changePercent": 0, "open": 10, "high": 10, "low": 10, "volume": 1},
        )

    def test_of_the_next_only_what_changed_and_what_it_is_of(self) -> None:
        book = QuoteChanges()
        book.update(MNQ, quote("10", "11", "10"))
        told = book.update(MNQ, quote("10", "12", "10", "later"))
        self.assertEqual(
            told,
            {
                "symbol": "F.US.MNQ",
                "bestAsk": 12,
                "volume": 2,
                "lastUpdated": "later",
                "timestamp": "later",
            },
        )

    def test_a_day_that_begins_at_zero_has_no_change_in_percent(self) -> None:
        book = QuoteChanges()
        book.update(MNQ, quote("-1", "1", "0"))
        told = book.update(MNQ, quote("4", "6", "5"))
        self.assertEqual((told["change"], told["high"]), (5, 5))
        whole = book.quote(MNQ)
        assert whole is not None
        self.assertEqual((whole["open"], whole["changePercent"]), (0, 0))

    def test_the_day_s_figures(self) -> None:
        book = QuoteChanges()
        for last in ("10", "12", "9", "11"):
            book.update(MNQ, quote("1", "2", last))
        whole = book.quote(MNQ)
        assert whole is not None
        figures = ("open", "high", "low", "change", "changePercent", "volume")
        self.assertEqual([whole[name] for name in figures], [10, 12, 9, 1, 10, 4])

    def test_a_contract_that_does_not_change_is_told_again_without_prices(self) -> None:
        book = QuoteChanges()
        self.assertIsNone(book.unchanged(MNQ, "later"))
        book.update(MNQ, quote("10", "11", "10"))
        self.assertEqual(
            book.unchanged(MNQ, "later"),
            {"symbol": "F.US.MNQ", "lastUpdated": "t", "timestamp": "later"},
        )

    @given(st.lists(st.tuples(prices, prices, prices), min_size=1, max_size=20))
    def test_whoever_merges_what_is_told_knows_the_whole(
        self, moves: list[tuple[Decimal, Decimal, Decimal]]
    ) -> None:
        book, merged = QuoteChanges(), {}
        for number, (bid, ask, last) in enumerate(moves):
            merged |= book.update(MNQ, quote(str(bid), str(ask), str(last), str(number)))
            self.assertEqual(merged, book.quote(MNQ))
            self.assertEqual((merged["bestBid"], merged["lastPrice"]), (bid, last))


class TapeTests(SynchronousTestCase):
    def test_a_trade_at_the_ask_is_a_purchase(self) -> None:
        for last, side in (("11", 0), ("10", 1)):
            (trade,) = trades(quote("10", "11", last), Random(1))
            self.assertEqual(trade["symbolId"], "F.US.MNQ")
            self.assertEqual((trade["price"], trade["type"]), (Decimal(last), side))
            self.assertTrue(trade["volume"] >= 1)

    def test_depth_is_the_touch(self) -> None:
        rows = depth(quote("10", "11", "10"), Random(1))
        self.assertEqual([(row["type"], row["price"]) for row in rows], [(9, 10), (10, 11)])
        self.assertTrue(all(row["volume"] >= 1 and row["timestamp"] == "t" for row in rows))
