"""When an order fills, at what price, and why the exchange rejects it."""

from __future__ import annotations

from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderType,
)
from riskd.practice.exchange import OrderRejectedError
from riskd.practice.records import STARTING_BALANCE
from tests.support.practice_exchange import (
    ACCOUNT,
    ACCOUNT_EVENT,
    BUY,
    ES,
    FEES,
    LIMIT,
    MARKET,
    MNQ,
    ORDER,
    POSITION,
    SELL,
    STOP,
    STOP_LIMIT,
    TRADE,
    ExchangeDriver,
    RefusalTestCase,
    prices,
)


class FillTests(SynchronousTestCase):
    """Fills in a market that opens at 21000.00 to 21000.25."""

    def fill(
        self,
        order_type: GatewayOrderType,
        side: GatewayOrderSide,
        order_prices: dict[str, str],
        *moves: tuple[str, str],
    ) -> list[str]:
        """Return the fill prices at the order's placing and after each move, ``-`` for none."""
        driver = ExchangeDriver()
        driver.move("21000.00")
        driver.order(side, 1, order_type, **prices(**order_prices))
        filled = [self._new_fill(driver)]
        for bid, last in moves:
            driver.move(bid, last)
            filled.append(self._new_fill(driver))
        return filled

    def _new_fill(self, driver: ExchangeDriver) -> str:
        fills = driver.fills()
        driver.clear()
        return " ".join(str(price) for _id, price in fills) or "-"

    def test_market_orders_fill_at_the_best_price(self) -> None:
        self.assertEqual(self.fill(MARKET, BUY, {}), ["21000.25"])
        self.assertEqual(self.fill(MARKET, SELL, {}), ["21000.00"])

    def test_marketable_limits_fill_at_the_best_price(self) -> None:
        """A limit that may be filled at once gets the market's price, not its own."""
        for side, limit, price in (
            (BUY, "21000.25", "21000.25"),
            (BUY, "21005.00", "21000.25"),
            (SELL, "21000.00", "21000.00"),
            (SELL, "20995.00", "21000.00"),
        ):
            self.assertEqual(self.fill(LIMIT, side, {"limit": limit}), [price], (side, limit))

    def test_limits_inside_the_book_wait(self) -> None:
        """A limit at the best price of its own side is not marketable."""
        self.assertEqual(self.fill(LIMIT, BUY, {"limit": "21000.00"}), ["-"])
        self.assertEqual(self.fill(LIMIT, SELL, {"limit": "21000.25"}), ["-"])

    def test_resting_limits_fill_when_the_best_price_reaches_them(self) -> None:
        self.assertEqual(
            self.fill(LIMIT, BUY, {"limit": "20999.00"}, ("20999.00", ""), ("20998.75", "")),
            ["-", "-", "20999.00"],
        )
        self.assertEqual(
            self.fill(LIMIT, SELL, {"limit": "21001.00"}, ("21000.75", ""), ("21001.00", "")),
            ["-", "-", "21001.00"],
        )

    def test_resting_limits_keep_their_price_when_the_market_gaps_over_them(self) -> None:
        self.assertEqual(
            self.fill(LIMIT, BUY, {"limit": "20999.00"}, ("20950.00", "")), ["-", "20999.00"]
        )
        self.assertEqual(
            self.fill(LIMIT, SELL, {"limit": "21001.00"}, ("21050.00", "")), ["-", "21001.00"]
        )

    def test_a_last_trade_alone_fills_no_limit(self) -> None:
        self.assertEqual(
            self.fill(LIMIT, BUY, {"limit": "20999.00"}, ("21000.00", "20998.00")), ["-", "-"]
        )

    def test_stops_are_triggered_by_the_last_trade_and_fill_at_the_best_price(self) -> None:
        for side, stop, moves, fills in (
            # The ask reaches the stop before the last trade does, which is not enough.
            (
                BUY,
                "21002.00",
                [("21001.75", "21001.75"), ("21001.75", "21002.00")],
                ["-", "-", "21002.00"],
            ),
            (BUY, "21002.00", [("21002.00", "21002.00")], ["-", "21002.25"]),
            (
                SELL,
                "20998.00",
                [("20998.00", "20998.25"), ("20998.00", "20998.00")],
                ["-", "-", "20998.00"],
            ),
            (SELL, "20998.00", [("20997.75", "20998.00")], ["-", "20997.75"]),
        ):
            self.assertEqual(self.fill(STOP, side, {"stop": stop}, *moves), fills, (side, moves))

    def test_stops_slip_when_the_market_gaps(self) -> None:
        self.assertEqual(
            self.fill(STOP, BUY, {"stop": "21002.00"}, ("21040.00", "")), ["-", "21040.25"]
        )
        self.assertEqual(
            self.fill(STOP, SELL, {"stop": "20998.00"}, ("20960.00", "")), ["-", "20960.00"]
        )

    def test_stop_limits_fill_at_a_best_price_within_their_limit(self) -> None:
        self.assertEqual(
            self.fill(
                STOP_LIMIT, BUY, {"stop": "21002.00", "limit": "21003.00"}, ("21002.00", "")
            ),
            ["-", "21002.25"],
        )
        self.assertEqual(
            self.fill(
                STOP_LIMIT, SELL, {"stop": "20998.00", "limit": "20997.00"}, ("20998.00", "")
            ),
            ["-", "20998.00"],
        )

    def test_a_stop_limit_is_not_in_the_book_before_its_stop(self) -> None:
        """Their limit would be marketable from the start."""
        self.assertEqual(
            self.fill(
                STOP_LIMIT, BUY, {"stop": "21002.00", "limit": "21003.00"}, ("20990.00", "")
            ),
            ["-", "-"],
        )
        self.assertEqual(
            self.fill(
                STOP_LIMIT, SELL, {"stop": "20998.00", "limit": "20997.00"}, ("21010.00", "")
            ),
            ["-", "-"],
        )

    def test_a_stop_limit_rests_after_a_gap_until_the_market_comes_back(self) -> None:
        """Once triggered, they are limits in the book: filled at their own price."""
        self.assertEqual(
            self.fill(
                STOP_LIMIT,
                BUY,
                {"stop": "21002.00", "limit": "21003.00"},
                ("21010.00", ""),
                ("21003.00", ""),
                ("21002.75", ""),
            ),
            ["-", "-", "-", "21003.00"],
        )
        self.assertEqual(
            self.fill(
                STOP_LIMIT,
                SELL,
                {"stop": "20998.00", "limit": "20997.00"},
                ("20990.00", ""),
                ("21005.00", ""),
            ),
            ["-", "-", "20997.00"],
        )

    def test_a_quote_of_another_contract_fills_nothing(self) -> None:
        driver = ExchangeDriver()
        driver.move("21000.00")
        resting = driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        driver.move("5800.00", contract=ES)
        self.assertEqual(driver.working(), [resting])

    def test_the_market_fills_a_whole_order(self) -> None:
        driver = ExchangeDriver()
        driver.move("21000.00")
        driver.order(BUY, 250)
        order = driver.last(ORDER)
        self.assertEqual((order["fillVolume"], order["size"]), (250, 250))

    def test_a_move_fills_every_order_it_reaches_oldest_first(self) -> None:
        driver = ExchangeDriver()
        driver.move("21000.00")
        near = driver.order(BUY, 1, LIMIT, **prices(limit="20995.00"))
        far = driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        beyond = driver.order(BUY, 1, LIMIT, **prices(limit="20900.00"))
        driver.move("20950.00")
        self.assertEqual(driver.fills(), [(near, Decimal("20995.00")), (far, Decimal("20990.00"))])
        self.assertEqual(driver.working(), [beyond])


class PartialFillTests(RefusalTestCase):
    """Orders that the market fills in parts."""

    def setUp(self) -> None:
        super().setUp()
        self.driver.injector.available = lambda size: min(size, 2)
        self.driver.clear()

    def volumes(self, order_id: int) -> list[tuple[int, int]]:
        """Return an order's status and fill volume in each of its events."""
        return [
            (order["status"], order["fillVolume"])
            for order in self.driver.payloads(ORDER)
            if order["id"] == order_id
        ]

    def test_each_quote_fills_a_part_with_a_trade_of_its_own(
        self,
    ) -> None:
        order_id = self.driver.order(BUY, 5)
        self.assertEqual(
            [message.target for message in self.driver.messages],
            [ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT],
        )
        self.assertEqual(self.driver.working(), [order_id])
        self.driver.move("21001.00")
        self.driver.move("21002.00")
        self.assertEqual(self.volumes(order_id), [(1, 0), (1, 2), (1, 4), (2, 5)])
        self.assertEqual(
            [(trade["size"], str(trade["price"])) for trade in self.driver.payloads(TRADE)],
            [(2, "21000.25"), (2, "21001.25"), (1, "21002.25")],
        )
        self.assertEqual([held["size"] for held in self.driver.payloads(POSITION)], [2, 4, 5])
        self.assertEqual(self.driver.last(ORDER)["filledPrice"], Decimal("21001.05"))
        self.assertEqual(self.driver.last(POSITION)["averagePrice"], Decimal("21001.05"))
        self.assertEqual(
            self.driver.last(ACCOUNT_EVENT)["balance"], STARTING_BALANCE - 5 * FEES[MNQ.id]
        )

    def test_the_rest_of_a_limit_fills_at_its_own_price(self) -> None:
        order_id = self.driver.order(BUY, 3, LIMIT, **prices(limit="21000.50"))
        self.driver.move("21010.00")
        self.assertEqual(self.driver.working(), [order_id])
        self.driver.move("21000.00")
        self.assertEqual(
            [str(trade["price"]) for trade in self.driver.payloads(TRADE)],
            ["21000.25", "21000.50"],
        )

    def test_the_rest_of_a_triggered_stop_can_be_enlarged(self) -> None:
        order_id = self.driver.order(SELL, 3, STOP, **prices(stop="20990.00"))
        self.driver.move("20990.00")
        self.driver.modify(order_id, size=4)
        self.assertEqual(self.volumes(order_id), [(1, 0), (1, 2), (1, 2), (2, 4)])

    def test_the_rest_of_a_triggered_stop_fills_wherever_the_market_is(self) -> None:
        for restarts in (False, True):
            self.setUp()
            order_id = self.driver.order(SELL, 3, STOP, **prices(stop="20990.00"))
            self.driver.move("20990.00")
            self.driver.injector.available = lambda size: size
            if restarts:
                self.driver.restart(self.driver.exchange.store.state(self.driver.now))
            self.driver.move("21010.00")
            self.assertEqual(self.volumes(order_id)[-1], (2, 3))

    def test_canceling_the_rest_keeps_the_filled_part(self) -> None:
        order_id = self.driver.order(BUY, 5)
        self.driver.cancel(order_id)
        canceled = self.driver.last(ORDER)
        self.assertEqual((canceled["status"], canceled["fillVolume"]), (3, 2))
        self.assertEqual(canceled["filledPrice"], Decimal("21000.25"))
        self.driver.move("21000.00")
        self.assertEqual([held["size"] for held in self.driver.payloads(POSITION)], [2])

    def test_an_order_cannot_shrink_to_its_filled_part(self) -> None:
        order_id = self.driver.order(BUY, 5)
        for size in (1, 2):
            self.assertEqual(
                self.refusal(self.driver.modify, order_id, size=size), ("Order/modify", 3)
            )
        self.driver.modify(order_id, size=3)
        self.assertEqual(self.volumes(order_id)[-1], (2, 3))

    def test_a_partial_fill_may_reverse_a_position(self) -> None:
        self.driver.injector.available = lambda size: size
        self.driver.order(BUY, 1)
        self.driver.injector.available = lambda size: min(size, 2)
        self.driver.order(SELL, 3)
        self.driver.move("21000.00")
        self.assertEqual([held["size"] for held in self.driver.payloads(POSITION)], [1, 0, 1, 2])

    def test_a_second_close_is_pending_while_the_first_is_filled(self) -> None:
        """It would reverse the position."""
        self.driver.injector.available = lambda size: size
        self.driver.order(BUY, 3)
        self.driver.injector.available = lambda size: min(size, 1)
        self.driver.close()
        self.assertEqual(self.refusal(self.driver.close), ("Position/closeContract", 6))
        self.assertEqual(
            self.refusal(self.driver.partial_close, 1), ("Position/partialCloseContract", 7)
        )
        for _ in range(2):
            self.driver.move("21000.00")
        self.assertEqual((self.driver.working(), self.driver.last(POSITION)["size"]), ([], 0))

    def test_a_filled_entry_does_not_delay_a_close(self) -> None:
        self.driver.order(BUY, 3)
        self.driver.close()
        self.assertEqual(self.driver.exchange.store.open_positions(ACCOUNT), [])

    def test_a_cancel_may_lose_against_a_fill_anywhere_in_the_market(self) -> None:
        """The whole rest is filled, at its limit or else at the best price."""
        for order_type, given_prices, price in (
            (LIMIT, prices(limit="20900.00"), "20900.00"),
            (STOP, prices(stop="21900.00"), "21000.25"),
        ):
            order_id = self.driver.order(BUY, 5, order_type, **given_prices)
            self.driver.injector.fills_while_canceled = lambda: True
            self.assertEqual(self.refusal(self.driver.cancel, order_id), ("Order/cancel", 2))
            self.driver.collect()
            self.assertEqual(self.volumes(order_id), [(1, 0), (2, 5)])
            self.assertEqual(str(self.driver.last(TRADE)["price"]), price)
        self.assertEqual(self.refusal(self.driver.cancel, order_id), ("Order/cancel", 2))


class OrderCheckTests(SynchronousTestCase):
    """Orders in a market at 21000.00 to 21000.25."""

    def setUp(self) -> None:
        self.driver = ExchangeDriver()
        self.driver.move("21000.00")
        self.driver.clear()

    def test_an_unsound_order_is_rejected_and_exists(self) -> None:
        """Whatever the reason: code 2, one event with status 5, no working order and no fill."""
        near, far = prices(limit="20990.00"), prices(stop="21010.00")
        for what, side, size, order_type, fields, words in (
            ("no size", BUY, 0, MARKET, {}, "size is 0"),
            ("negative size", SELL, -2, MARKET, {}, "size is -2"),
            ("limit without price", BUY, 1, LIMIT, {}, "limitPrice is missing"),
            ("null price", BUY, 1, LIMIT, {"limitPrice": None}, "limitPrice is missing"),
            ("stop without price", BUY, 1, STOP, {}, "stopPrice is missing"),
            ("stop limit without limit", BUY, 1, STOP_LIMIT, far, "limitPrice is missing"),
            ("stop limit without stop", BUY, 1, STOP_LIMIT, near, "stopPrice is missing"),
            ("market with limit", BUY, 1, MARKET, near, "limitPrice is not wanted"),
            ("market with stop", BUY, 1, MARKET, far, "stopPrice is not wanted"),
            ("limit with stop", BUY, 1, LIMIT, {**near, **far}, "stopPrice is not wanted"),
            ("stop with limit", BUY, 1, STOP, {**near, **far}, "limitPrice is not wanted"),
            ("limit off tick", BUY, 1, LIMIT, prices(limit="20990.10"), "not on a tick"),
            ("stop off tick", BUY, 1, STOP, prices(stop="21010.01"), "not on a tick"),
            ("off tick below zero", SELL, 1, STOP, prices(stop="-5.10"), "not on a tick"),
            ("buy stop below", BUY, 1, STOP, prices(stop="20999.75"), "through the market"),
            ("buy stop at last", BUY, 1, STOP, prices(stop="21000.00"), "through the market"),
            ("sell stop above", SELL, 1, STOP, prices(stop="21000.25"), "through the market"),
            ("sell stop at last", SELL, 1, STOP, prices(stop="21000.00"), "through the market"),
            (
                "stop limit through",
                BUY,
                1,
                STOP_LIMIT,
                prices(stop="20990.00", limit="21010.00"),
                "through the market",
            ),
            ("no type", BUY, 1, GatewayOrderType.UNKNOWN, {}, "type 0"),
            ("trailing", BUY, 1, GatewayOrderType.TRAILING_STOP, {}, "type 5"),
            ("join", BUY, 1, GatewayOrderType.JOIN_BID, {}, "type 6"),
            ("stop bracket", BUY, 1, MARKET, {"stopLossBracket": {}}, "stopLossBracket cannot"),
            (
                "profit bracket",
                BUY,
                1,
                MARKET,
                {"takeProfitBracket": {"ticks": 4, "type": 1}},
                "takeProfitBracket cannot",
            ),
        ):
            self.driver.clear()
            error = self.assertRaises(
                OrderRejectedError, self.driver.order, side, size, order_type, **fields
            )
            self.assertEqual((error.request, error.code), ("Order/place", 2), what)
            self.assertIn(words, error.why, what)
            ((target, _contract, order),) = self.driver.messages
            self.assertEqual(target, ORDER, what)
            self.assertEqual((order["status"], order["fillVolume"]), (5, 0), what)
            self.assertEqual(order["id"], error.order_id, what)
            self.assertEqual(self.driver.working(), [], what)

    def test_null_brackets_are_accepted(self) -> None:
        self.driver.order(BUY, 1, stopLossBracket=None, takeProfitBracket=None)
        self.assertEqual(self.driver.messages[-1].target, ACCOUNT_EVENT)

    def test_a_stop_is_checked_against_the_last_trade(self) -> None:
        """A buy stop at the ask is sound while the last trade was at the bid."""
        self.driver.order(BUY, 1, STOP, **prices(stop="21000.25"))
        self.assertEqual(len(self.driver.working()), 1)
