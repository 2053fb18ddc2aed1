"""The hubs' events in the form of the live feed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.exact_json import decode_json, encode_json
from riskd.practice.server import live_events
from riskd.practice.server.live_events import (
    ACCOUNT_SECONDS,
    CREATED,
    DELETED,
    POSITION_SECONDS,
    UPDATED,
    HubEvent,
    Quirks,
    QuoteChanges,
    depth,
    trades,
)

BEGAN = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def order(identifier: int = 1, status: int = 1, created: datetime = BEGAN) -> dict[str, Any]:
    stamp = created.isoformat()
    return {"id": identifier, "status": status, "creationTimestamp": stamp}


def position(identifier: int = 1, size: int = 1, created: datetime = BEGAN) -> dict[str, Any]:
    return {"id": identifier, "size": size, "creationTimestamp": created.isoformat()}


def trade(identifier: int = 3, *, voided: bool = False) -> dict[str, Any]:
    return {"id": identifier, "voided": voided, "creationTimestamp": BEGAN.isoformat()}


class QuirksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.quirks = Quirks(Random(1), BEGAN)

    def hub_event(self, target: str, payload: dict[str, Any]) -> HubEvent:
        return self.quirks.account_event(f"GatewayUser{target}", payload)

    def action(self, target: str, payload: dict[str, Any]) -> int:
        action: int = self.hub_event(target, payload).argument["action"]
        return action

    def test_events_are_wrapped_in_an_action(self) -> None:
        for target, payload in (
            ("Account", {"id": 1, "balance": Decimal(5)}),
            ("Order", order()),
            ("Position", position()),
            ("Trade", trade()),
        ):
            argument = self.hub_event(target, payload).argument
            self.assertEqual(list(argument), ["action", "data"])
            self.assertEqual(set(argument["data"]), set(payload))

    def test_an_order_is_created_once_and_then_updated(self) -> None:
        actions = [self.action("Order", order(status=status)) for status in (1, 1, 2, 2)]
        self.assertEqual(actions, [CREATED, UPDATED, UPDATED, UPDATED])

    def test_an_order_older_than_the_feed_is_an_update(self) -> None:
        old = BEGAN - timedelta(seconds=1)
        self.assertEqual(self.action("Order", order(created=old)), UPDATED)
        self.assertEqual(self.action("Position", position(2, created=old)), UPDATED)

    def test_a_position_is_created_updated_and_deleted(self) -> None:
        sizes = (1, 2, 1, 0)
        actions = [self.action("Position", position(size=size)) for size in sizes]
        self.assertEqual(actions, [CREATED, UPDATED, UPDATED, DELETED])
        self.assertEqual(self.action("Position", position(2)), CREATED)

    def test_a_trade_is_created_and_an_amended_or_voided_one_updated(self) -> None:
        self.assertEqual(self.action("Trade", trade(1)), CREATED)
        self.assertEqual(self.action("Trade", trade(1)), UPDATED)
        self.assertEqual(self.action("Trade", trade(2, voided=True)), UPDATED)

    def test_an_empty_date_is_written_with_four_digits_of_its_year(self) -> None:
        empty = {"creationTimestamp": "0001-01-01T00:00:00+00:00"}
        for _ in range(20):
            spelled = self.quirks.spelled(empty)["creationTimestamp"]
            self.assertTrue(spelled.startswith("0001-01-01T00:00:00"), spelled)

    def test_the_digits_of_a_double_are_kept_and_an_endless_average_is_cut(self) -> None:
        noisy, endless = Decimal("-249.99999999999997"), Decimal(16) / 3
        for _ in range(20):
            spelled = self.quirks.spelled({"profitAndLoss": noisy, "averagePrice": endless})
            self.assertEqual(spelled["profitAndLoss"], noisy)
            self.assertEqual(str(spelled["averagePrice"]), "5.333333333")

    def test_positions_follow_orders_and_trades_and_accounts_come_last(self) -> None:
        self.assertEqual(self.hub_event("Order", order()).after, 0)
        self.assertEqual(self.hub_event("Trade", trade()).after, 0)
        self.assertEqual(self.hub_event("Position", position()).after, POSITION_SECONDS)
        self.assertEqual(self.hub_event("Account", {"id": 1}).after, ACCOUNT_SECONDS)
        self.assertTrue(0 < POSITION_SECONDS < ACCOUNT_SECONDS)

    def test_accounts_are_sent_two_to_four_times_and_all_else_once(self) -> None:
        times = {self.hub_event("Account", {"id": 1}).times for _ in range(100)}
        self.assertEqual(times, {2, 3, 4})
        self.assertEqual(self.hub_event("Order", order()).times, 1)

    def test_times_and_numbers_are_written_in_every_spelling(self) -> None:
        at = datetime(2026, 3, 2, 15, 0, 1, 234567, tzinfo=UTC)
        payload = {"creationTimestamp": at.isoformat(), "price": Decimal("5138.0"), "id": 7}
        spelled = [encode_json(self.quirks.spelled(payload)).decode() for _ in range(200)]
        for spelling in (
            '"2026-03-02T15:00:01.234567+00:00"',
            '"2026-03-02T15:00:01.2345671Z"',
            '"price":5138.000000000,',
            '"price":5138,',
            '"price":5138.0,',
        ):
            self.assertTrue(any(spelling in text for text in spelled), spelling)

    @given(
        st.decimals(-(10**9), 10**9, places=9, allow_nan=False),
        st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        st.integers(),
    )
    def test_every_spelling_has_the_same_value(
        self, number: Decimal, at: datetime, seed: int
    ) -> None:
        payload = {"price": number, "lastUpdated": at.isoformat(), "timestamp": at.isoformat()}
        spelled = decode_json(encode_json(Quirks(Random(seed), BEGAN).spelled(payload)))
        self.assertEqual(spelled["price"], number)
        for name in ("lastUpdated", "timestamp"):
            self.assertEqual(datetime.fromisoformat(spelled[name]), at)

    def test_the_oldest_ids_are_forgotten(self) -> None:
        self.patch(live_events, "_MAX_KNOWN", 3)
        actions = [self.action("Order", order(number)) for number in (1, 2, 3, 1, 4, 1)]
        self.assertEqual(actions, [CREATED, CREATED, CREATED, UPDATED, CREATED, CREATED])

    def test_an_average_is_written_with_nine_places(self) -> None:
        third = Decimal(61415) / 3
        for _ in range(20):
            spelled = self.quirks.spelled({"averagePrice": third})
            self.assertEqual(str(spelled["averagePrice"]), "20471.666666667")

    def test_nothing_is_added_to_a_payload(self) -> None:
        """A null that the exchange leaves out stays out."""
        for _ in range(20):
            data = self.hub_event("Trade", trade()).argument["data"]
            self.assertNotIn("profitAndLoss", data)


# Events of the market.

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
