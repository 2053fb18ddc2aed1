"""The prices that value positions, and the prices that are not believed."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import BestBidAsk
from riskd.model.events import Event, MarketQuote
from riskd.model.marks import Doubt, Mark, doubt_of, mark, outdates_market
from tests.support.rules import ES, MNQ, SHORT, at, position, quote, state_after, with_risk

TICK = Decimal("0.25")


def quoted(
    bid: str, ask: str, last: str, seconds: float = 0, contract_id: str = MNQ
) -> MarketQuote:
    prices = (Decimal(price) for price in (bid, ask, last))
    return MarketQuote(contract_id, *prices, at(seconds))


class DoubtTests(SynchronousTestCase):
    """A last price beside bid and ask."""

    def assert_doubt(
        self, doubt: Doubt | None, *quotes: tuple[str, str, str], tick: str = "0.25"
    ) -> None:
        for prices in quotes:
            with self.subTest(prices=prices):
                self.assertIs(doubt_of(quoted(*prices), Decimal(tick)), doubt)

    def test_what_lies_between_bid_and_ask_is_believed(self) -> None:
        self.assert_doubt(
            None,
            ("20999.75", "21000", "21000"),
            ("20000", "22000", "21900"),
            ("-37.65", "-37.60", "-37.63"),
            ("-0.01", "0.01", "0"),
        )

    def test_zero_beside_a_market_is_not_believed(self) -> None:
        self.assert_doubt(
            Doubt.ZERO,
            ("20999.75", "21000", "0"),
            ("-37.65", "-37.60", "0"),
            ("0", "0", "0"),
            ("0", "21000", "0"),
            ("21000", "0", "0"),
        )

    def test_zero_is_a_price_where_the_market_is_near_zero(self) -> None:
        self.assert_doubt(None, ("-0.02", "0", "0"), ("0", "0.01", "0"), tick="0.01")
        self.assert_doubt(Doubt.ZERO, ("0.04", "0.05", "0"), tick="0.01")

    def test_a_price_is_far_from_one_per_cent(self) -> None:
        self.assert_doubt(None, ("20999.75", "21000", "21210"), ("21000", "21000.25", "20790"))
        self.assert_doubt(
            Doubt.FAR,
            ("20999.75", "21000", "21210.25"),
            ("21000", "21000.25", "20789.75"),
            ("-2100.25", "-2100", "-2070"),
            ("21000", "21000.25", "2100"),
            ("21000", "21000.25", "210000"),
            ("21000", "21000.25", "-21000"),
        )

    def test_near_zero_a_hundred_ticks_are_far(self) -> None:
        self.assert_doubt(None, ("0.04", "0.05", "-0.96"), ("0.04", "0.05", "1.05"), tick="0.01")
        self.assert_doubt(Doubt.FAR, ("0.04", "0.05", "-0.97"), tick="0.01")

    def test_in_a_thin_market_as_much_as_the_spread_is_not_far(self) -> None:
        self.assert_doubt(None, ("20000", "21000", "19000"), ("20000", "21000", "22000"))
        self.assert_doubt(Doubt.FAR, ("20000", "21000", "18999"))

    def test_a_crossed_market_is_one(self) -> None:
        self.assert_doubt(None, ("21000.25", "21000", "20999"))
        self.assert_doubt(Doubt.FAR, ("21000.25", "21000", "20000"))

    def test_at_a_price_limit_there_is_one_side_only(self) -> None:
        self.assert_doubt(None, ("0", "19530", "19530"), ("0", "19530", "18000"))
        self.assert_doubt(None, ("22470", "0", "22470"), ("22470", "0", "23000"))
        self.assert_doubt(Doubt.FAR, ("0", "19530", "1953"), ("22470", "0", "224700"))

    def test_without_bid_and_ask_a_price_is_believed(self) -> None:
        self.assert_doubt(None, ("0", "0", "21000"))

    def test_a_trade_far_from_an_old_market_outdates_it(self) -> None:
        for last, expected in (
            ("21100", False),
            ("20500", True),
            ("18900", True),
            ("18899", False),
            ("0", False),
            ("2100", False),
        ):
            found = outdates_market(quoted("20999.75", "21000", last), TICK)
            self.assertIs(found, expected, last)

    @given(*[st.decimals(-50000, 50000, places=2)] * 4)
    def test_a_mirrored_market_gets_the_mirrored_answer(
        self, bid: Decimal, ask: Decimal, last: Decimal, tick: Decimal
    ) -> None:
        there = MarketQuote(MNQ, bid, ask, last, at(0))
        mirrored = MarketQuote(MNQ, -ask, -bid, -last, at(0))
        self.assertIs(doubt_of(there, abs(tick)), doubt_of(mirrored, abs(tick)))


class MarkTests(SynchronousTestCase):
    def test_the_last_price_is_the_mark(self) -> None:
        state = state_after(position(MNQ, 1), quote(MNQ, "21001", 3))
        (held,) = state.open_positions
        self.assertEqual(mark(state, held), Mark(Decimal(21001), at(3)))

    def test_where_it_is_not_believed_a_long_is_valued_at_the_bid_and_a_short_at_the_ask(
        self,
    ) -> None:
        for last in ("0", "2100", "42000"):
            event = Event(123, quoted("20999.75", "21000.25", last))
            for events, price in (
                ((position(MNQ, 1), event), "20999.75"),
                ((position(MNQ, 1, SHORT), event), "21000.25"),
            ):
                state = state_after(*events)
                found = mark(state, state.open_positions[0])
                assert found is not None
                self.assertEqual(found.price, Decimal(price))

    def test_a_bid_and_ask_that_are_far_from_each_other_value_nothing(self) -> None:
        event = Event(123, quoted("1", "21000", "0"))
        for side in ({}, {"side": SHORT}):
            state = state_after(position(MNQ, 1, **side), event)
            self.assertIsNone(mark(state, state.open_positions[0]))

    def test_a_side_that_is_zero_values_nothing(self) -> None:
        for bid, ask, side, price in (
            ("0", "21000", {}, None),
            ("0", "21000", {"side": SHORT}, Decimal(21000)),
            ("21000", "0", {"side": SHORT}, None),
            ("21000", "0", {}, Decimal(21000)),
            ("0", "0", {}, None),
        ):
            event = Event(123, quoted(bid, ask, "0"))
            state = state_after(position(MNQ, 1, **side), event)
            found = mark(state, state.open_positions[0])
            self.assertEqual(found and found.price, price)

    def test_what_was_known_before_an_entry_is_no_mark(self) -> None:
        old = quote(MNQ, "20000", 5)
        for entry in (
            (position(MNQ, 1),),
            (position(MNQ, 1, SHORT), old, position(MNQ, 1, seconds=5)),
            (position(MNQ, 1), old, position(MNQ, 0, seconds=5), position(MNQ, 1, seconds=6)),
            (position(MNQ, 1), old, position(MNQ, 3, seconds=5)),
            (position(MNQ, 1), old, position(MNQ, 1, seconds=5, opened=5)),
        ):
            state = state_after(old, *entry)
            self.assertIsNone(mark(state, state.open_positions[0]), entry)
            state = state_after(quote(MNQ, "20001", 5.001), state=state)
            self.assertEqual(mark(state, state.open_positions[0]), Mark(Decimal(20001), at(5.001)))

    def test_an_exit_of_some_contracts_keeps_the_mark(self) -> None:
        state = state_after(position(MNQ, 3), quote(MNQ, "20000", 5), position(MNQ, 1, seconds=5))
        self.assertEqual(mark(state, state.open_positions[0]), Mark(Decimal(20000), at(5)))

    def test_a_position_is_outdated_by_no_other_contract(self) -> None:
        state = state_after(position(MNQ, 1), quote(MNQ, "20000"), position(ES, 1))
        self.assertEqual(mark(state, state.open_positions[0]), Mark(Decimal(20000), at(0)))

    def test_bid_and_ask_without_a_last_price_value_a_position(self) -> None:
        for bid, ask, price in (
            ("21000", "21000.25", Decimal(21000)),
            ("21000", None, Decimal(21000)),
            (None, "21000.25", None),
            ("0", None, None),
            ("1", "21000", None),
        ):
            best = BestBidAsk(bid and Decimal(bid), ask and Decimal(ask), at(2))
            state = with_risk(state_after(position(MNQ, 1)), best_bid_asks={MNQ: best})
            found = mark(state, state.open_positions[0])
            self.assertEqual(found and found.price, price, (bid, ask))
            self.assertIn(found and found.at, (None, at(2)))
