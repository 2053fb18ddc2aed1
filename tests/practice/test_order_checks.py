"""Why the exchange rejects an order."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.enums import (
    GatewayOrderType,
)
from riskd.practice.exchange import OrderRejectedError
from tests.support.practice_exchange import (
    ACCOUNT_EVENT,
    BUY,
    LIMIT,
    MARKET,
    ORDER,
    SELL,
    STOP,
    STOP_LIMIT,
    ExchangeDriver,
    prices,
)


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
            ("limit of zero", BUY, 1, LIMIT, prices(limit="0"), "not on a tick"),
            ("negative stop", SELL, 1, STOP, prices(stop="-5"), "not on a tick"),
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
            self.assertIn(words, error.message, what)
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
