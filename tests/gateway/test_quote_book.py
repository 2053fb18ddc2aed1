"""Quotes assembled from updates that hold only what changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway import mapping
from riskd.gateway.fields import Payload
from riskd.gateway.quote_book import MAX_AHEAD, QuoteBook
from riskd.model.events import MarketQuote

RECEIVED = datetime(2025, 1, 17, 14, 45, 16, tzinfo=UTC)
UPDATED = "2025-01-17T14:45:15.5Z"
MNQ = "CON.F.US.MNQ.U25"


def received() -> datetime:
    return RECEIVED


def merge(
    book: QuoteBook,
    contract_id: str,
    payload: Payload,
    now: Callable[[], datetime],
    *,
    is_trade: bool = False,
) -> MarketQuote | None:
    update = msgspec.structs.replace(mapping.quote(contract_id, payload), is_trade=is_trade)
    return book.merge(update, now)


class QuoteBookTests(SynchronousTestCase):
    def test_there_is_no_quote_until_bid_ask_and_last_are_known(self) -> None:
        book = QuoteBook()
        self.assertEqual(merge(book, MNQ, {"bestBid": Decimal(1)}, received), None)
        self.assertEqual(
            merge(book, MNQ, {"bestAsk": Decimal(2), "lastPrice": None}, received), None
        )
        quote = merge(book, MNQ, {"lastPrice": Decimal("1.5")}, received)
        assert quote is not None
        self.assertEqual((quote.bid, quote.ask, quote.last), (1, 2, Decimal("1.5")))

    def test_a_missing_price_keeps_its_last_value(self) -> None:
        book = QuoteBook()
        merge(book, MNQ, {"bestBid": 1, "bestAsk": 2, "lastPrice": 1}, received)
        quote = merge(book, MNQ, {"bestBid": None, "lastPrice": 2}, received)
        assert quote is not None
        self.assertEqual((quote.bid, quote.ask, quote.last), (1, 2, 2))

    def test_contracts_of_one_symbol_have_separate_quotes(self) -> None:
        book = QuoteBook()
        full = {"symbol": "F.US.MNQ", "bestBid": 1, "bestAsk": 2, "lastPrice": 1}
        merge(book, MNQ, full, received)
        self.assertEqual(merge(book, "CON.F.US.MNQ.Z25", {"bestBid": 5}, received), None)

    def test_a_quote_is_dated_by_its_stamp_else_the_clock(self) -> None:
        full = {"bestBid": 1, "bestAsk": 2, "lastPrice": 1}
        stamp = datetime(2025, 1, 17, 14, 45, 15, 500000, UTC)
        for stamps, expected in (({"timestamp": UPDATED}, stamp), ({}, RECEIVED)):
            quote = merge(QuoteBook(), MNQ, {**full, **stamps}, received)
            assert quote is not None
            self.assertEqual(quote.timestamp, expected)

    def test_a_quote_from_the_future_is_dated_two_seconds_ahead_at_most(self) -> None:
        book = QuoteBook()
        full = {"bestBid": 1, "bestAsk": 2, "lastPrice": 1}
        ahead = (RECEIVED + timedelta(hours=1)).isoformat()
        quote = merge(book, MNQ, {**full, "timestamp": ahead}, received)
        assert quote is not None
        self.assertEqual(quote.timestamp, RECEIVED + MAX_AHEAD)
        later = RECEIVED + MAX_AHEAD
        payload = {"lastPrice": 5, "timestamp": later.isoformat()}
        quote = merge(book, MNQ, payload, lambda: later)
        assert quote is not None
        self.assertEqual((quote.last, quote.timestamp), (5, later))

    def test_a_broker_whose_clock_is_ahead_still_updates_every_quote(self) -> None:
        book, ahead = QuoteBook(), timedelta(seconds=30)
        full = {"bestBid": 1, "bestAsk": 2}
        for second in range(10):
            now = RECEIVED + timedelta(seconds=second)
            payload = {**full, "lastPrice": second, "timestamp": (now + ahead).isoformat()}
            quote = merge(book, MNQ, payload, lambda now=now: now)  # type: ignore[misc]
            assert quote is not None
            self.assertEqual((quote.last, quote.timestamp), (second, now + MAX_AHEAD))

    def test_an_update_without_a_time_is_never_older_than_the_last_quote(self) -> None:
        book = QuoteBook()
        merge(book, MNQ, {"bestBid": 1, "bestAsk": 2, "lastPrice": 1}, received)
        quote = merge(book, MNQ, {"lastPrice": 5}, lambda: RECEIVED - timedelta(hours=1))
        assert quote is not None
        self.assertEqual((quote.last, quote.timestamp), (5, RECEIVED))

    def test_an_older_update_changes_nothing(self) -> None:
        book = QuoteBook()
        full = {"bestBid": 1, "bestAsk": 2, "lastPrice": 1, "timestamp": UPDATED}
        merge(book, MNQ, full, received)
        late = {"lastPrice": 9, "timestamp": "2025-01-17T14:45:14Z"}
        quote = merge(book, MNQ, late, received)
        assert quote is not None
        self.assertEqual(quote.last, 1)
        quote = merge(book, MNQ, late, received, is_trade=True)
        assert quote is not None
        self.assertEqual(quote.last, 1)

    def test_the_prices_of_an_older_update_count_from_the_next_one_on(self) -> None:
        book = QuoteBook()
        merge(
            book, MNQ, {"bestBid": 1, "bestAsk": 2, "lastPrice": 1, "timestamp": UPDATED}, received
        )
        older = {"bestBid": 8, "bestAsk": 9, "lastPrice": 8, "timestamp": "2025-01-17T14:45:15Z"}
        quote = merge(book, MNQ, older, received)
        assert quote is not None
        self.assertEqual((quote.bid, quote.ask, quote.last), (1, 2, 1))
        # The feed repeats no bid and no last price, since it has sent them.
        quote = merge(book, MNQ, {"bestAsk": 10, "timestamp": "2025-01-17T14:45:16Z"}, received)
        assert quote is not None
        self.assertEqual((quote.bid, quote.ask, quote.last), (8, 10, 8))

    def test_a_price_from_before_a_repeat_counts_at_once(self) -> None:
        book = QuoteBook()
        full = {"bestBid": 1, "bestAsk": 2, "lastPrice": 1, "timestamp": UPDATED}
        merge(book, MNQ, full, received)
        merge(book, MNQ, {"timestamp": "2025-01-17T14:45:15.9Z"}, received)
        for milliseconds in (600, 700):
            late = {"lastPrice": milliseconds, "timestamp": f"2025-01-17T14:45:15.{milliseconds}Z"}
            quote = merge(book, MNQ, late, received)
            assert quote is not None
            self.assertEqual((quote.last, quote.timestamp.microsecond), (milliseconds, 900_000))

    def test_a_trade_that_was_asked_for_shows_no_price_of_an_older_update(self) -> None:
        book = QuoteBook()
        full = {"bestBid": 1, "bestAsk": 3, "lastPrice": 1, "timestamp": UPDATED}
        merge(book, MNQ, full, received)
        older = {"bestBid": 2, "bestAsk": 4, "timestamp": "2025-01-17T14:45:15Z"}
        merge(book, MNQ, older, received)
        asked = {"lastPrice": 3, "timestamp": "2025-01-17T14:45:15.7Z"}
        quote = merge(book, MNQ, asked, received, is_trade=True)
        assert quote is not None
        self.assertEqual((quote.bid, quote.ask, quote.last), (1, 3, 3))
        quote = merge(book, MNQ, {"timestamp": "2025-01-17T14:45:16Z"}, received)
        assert quote is not None
        self.assertEqual((quote.bid, quote.ask, quote.last), (2, 4, 3))

    def test_prices_of_an_incomplete_quote_have_no_exponent(self) -> None:
        book = QuoteBook()
        merge(book, MNQ, {"bestBid": Decimal("2.1E+4"), "bestAsk": Decimal("0E+9")}, received)
        best_bid_ask = book.best_bid_ask(MNQ)
        self.assertEqual((str(best_bid_ask.bid), str(best_bid_ask.ask)), ("21000", "0"))

    def test_the_latest_quote_can_be_read(self) -> None:
        book = QuoteBook()
        self.assertIsNone(book.latest(MNQ))
        merge(book, MNQ, {"bestBid": 1, "bestAsk": 2}, received)
        self.assertIsNone(book.latest(MNQ))
        self.assertEqual(book.best_bid_ask(MNQ).at, RECEIVED)
        quote = merge(book, MNQ, {"lastPrice": 1}, received)
        self.assertIs(book.latest(MNQ), quote)
        self.assertEqual(book.best_bid_ask("CON.F.US.MNQ.Z25").at, None)

    def test_a_quote_without_bid_and_ask_says_that_they_are_as_before(self) -> None:
        book = QuoteBook()
        merge(book, MNQ, {"bestBid": 21000, "bestAsk": 21001, "lastPrice": 21000}, received)
        for seconds in (5, 15, 25):
            later = RECEIVED + timedelta(seconds=seconds)
            quote = merge(book, MNQ, {"lastPrice": 20000}, lambda later=later: later)  # type: ignore[misc]
            assert quote is not None
            self.assertEqual((quote.bid, quote.ask, quote.last), (21000, 21001, 20000))

    def test_a_trade_far_from_a_stale_bid_and_ask_replaces_them(self) -> None:
        full = {"bestBid": 21000, "bestAsk": 21001, "lastPrice": 21000}
        for seconds, last, bid, ask in (
            (10, 20000, 21000, 21001),
            (10.001, 20000, 20000, 20000),
            (10.001, 20900, 21000, 21001),
            (10.001, 0, 21000, 21001),
            (10.001, 210, 21000, 21001),
        ):
            book = QuoteBook()
            merge(book, MNQ, full, received)
            later = RECEIVED + timedelta(seconds=seconds)
            quote = merge(book, MNQ, {"lastPrice": last}, lambda later=later: later, is_trade=True)  # type: ignore[misc]
            assert quote is not None
            self.assertEqual((quote.bid, quote.ask, quote.last), (bid, ask, last))
            quote = merge(book, MNQ, {"bestBid": 5}, lambda later=later: later)  # type: ignore[misc]
            assert quote is not None
            self.assertEqual((quote.bid, quote.ask, quote.last), (5, ask, last))
