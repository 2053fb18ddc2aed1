"""When the market reaches an order, and at what price it fills it."""

from __future__ import annotations

from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderType,
)
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
    Desk,
    RefusalTestCase,
    prices,
)


class FillTests(SynchronousTestCase):
    """When an order is filled, and at what price; the market opens at 21000.00 to 21000.25."""

    def fill(
        self,
        order_type: GatewayOrderType,
        side: GatewayOrderSide,
        order_prices: dict[str, str],
        *moves: tuple[str, str],
    ) -> list[str]:
        """Return what was filled when the order was placed and after each move, ``-`` for nothing."""
        desk = Desk()
        desk.move("21000.00")
        desk.order(side, 1, order_type, **prices(**order_prices))
        filled = [self._new_fill(desk)]
        for bid, last in moves:
            desk.move(bid, last)
            filled.append(self._new_fill(desk))
        return filled

    def _new_fill(self, desk: Desk) -> str:
        fills = desk.fills()
        desk.forget()
        return " ".join(str(price) for _id, price in fills) or "-"

    def test_market_orders_fill_at_the_touch(self) -> None:
        self.assertEqual(self.fill(MARKET, BUY, {}), ["21000.25"])
        self.assertEqual(self.fill(MARKET, SELL, {}), ["21000.00"])

    def test_marketable_limits_fill_at_the_touch(self) -> None:
        """A limit that may be filled at once gets the market's price, not its own."""
        for side, limit, price in (
            (BUY, "21000.25", "21000.25"),
            (BUY, "21005.00", "21000.25"),
            (SELL, "21000.00", "21000.00"),
            (SELL, "20995.00", "21000.00"),
        ):
            self.assertEqual(self.fill(LIMIT, side, {"limit": limit}), [price], (side, limit))

    def test_limits_inside_the_book_wait(self) -> None:
        """A limit at its own side of the touch is not marketable."""
        self.assertEqual(self.fill(LIMIT, BUY, {"limit": "21000.00"}), ["-"])
        self.assertEqual(self.fill(LIMIT, SELL, {"limit": "21000.25"}), ["-"])

    def test_resting_limits_fill_when_the_touch_reaches_them(self) -> None:
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

    def test_stops_are_triggered_by_the_last_trade_and_fill_at_the_touch(self) -> None:
        for side, stop, moves, fills in (
            # The ask touches the stop first, and that is not enough.
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

    def test_stop_limits_fill_at_the_touch_when_it_is_within_their_limit(self) -> None:
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

    def test_stop_limits_are_not_in_the_book_before_their_stop(self) -> None:
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

    def test_stop_limits_that_the_market_gaps_over_rest_until_it_comes_back(self) -> None:
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

    def test_the_market_of_another_contract_fills_nothing(self) -> None:
        desk = Desk()
        desk.move("21000.00")
        resting = desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        desk.move("5800.00", contract=ES)
        self.assertEqual(desk.working(), [resting])

    def test_an_order_is_filled_whole(self) -> None:
        desk = Desk()
        desk.move("21000.00")
        desk.order(BUY, 250)
        order = desk.last(ORDER)
        self.assertEqual((order["fillVolume"], order["size"]), (250, 250))

    def test_all_orders_that_a_move_reaches_are_filled_oldest_first(self) -> None:
        desk = Desk()
        desk.move("21000.00")
        near = desk.order(BUY, 1, LIMIT, **prices(limit="20995.00"))
        far = desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        beyond = desk.order(BUY, 1, LIMIT, **prices(limit="20900.00"))
        desk.move("20950.00")
        self.assertEqual(desk.fills(), [(near, Decimal("20995.00")), (far, Decimal("20990.00"))])
        self.assertEqual(desk.working(), [beyond])


class PartialFillTests(RefusalTestCase):
    """Orders that the market takes in parts."""

    def setUp(self) -> None:
        super().setUp()
        self.desk.exchange.available = lambda size: min(size, 2)
        self.desk.forget()

    def volumes(self, order_id: int) -> list[tuple[int, int]]:
        """Return status and filled contracts of an order each time it was told."""
        return [
            (order["status"], order["fillVolume"])
            for order in self.desk.payloads(ORDER)
            if order["id"] == order_id
        ]

    def test_a_part_is_a_trade_and_a_position_and_the_rest_comes_with_the_next_quotes(
        self,
    ) -> None:
        order_id = self.desk.order(BUY, 5)
        self.assertEqual(
            [message.target for message in self.desk.told],
            [ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT],
        )
        self.assertEqual(self.desk.working(), [order_id])
        self.desk.move("21001.00")
        self.desk.move("21002.00")
        self.assertEqual(self.volumes(order_id), [(1, 0), (1, 2), (1, 4), (2, 5)])
        self.assertEqual(
            [(trade["size"], str(trade["price"])) for trade in self.desk.payloads(TRADE)],
            [(2, "21000.25"), (2, "21001.25"), (1, "21002.25")],
        )
        self.assertEqual([held["size"] for held in self.desk.payloads(POSITION)], [2, 4, 5])
        self.assertEqual(self.desk.last(ORDER)["filledPrice"], Decimal("21001.05"))
        self.assertEqual(self.desk.last(POSITION)["averagePrice"], Decimal("21001.05"))
        self.assertEqual(
            self.desk.last(ACCOUNT_EVENT)["balance"], STARTING_BALANCE - 5 * FEES[MNQ.id]
        )

    def test_the_rest_of_a_limit_stays_in_the_book_at_its_price(self) -> None:
        order_id = self.desk.order(BUY, 3, LIMIT, **prices(limit="21000.50"))
        self.desk.move("21010.00")
        self.assertEqual(self.desk.working(), [order_id])
        self.desk.move("21000.00")
        self.assertEqual(
            [str(trade["price"]) for trade in self.desk.payloads(TRADE)], ["21000.25", "21000.50"]
        )

    def test_the_rest_of_a_stop_waits_for_no_stop(self) -> None:
        order_id = self.desk.order(SELL, 3, STOP, **prices(stop="20990.00"))
        self.desk.move("20990.00")
        self.desk.modify(order_id, size=4)
        self.assertEqual(self.volumes(order_id), [(1, 0), (1, 2), (1, 2), (2, 4)])

    def test_the_rest_of_a_stop_is_filled_although_the_market_came_back(self) -> None:
        for restarts in (False, True):
            self.setUp()
            order_id = self.desk.order(SELL, 3, STOP, **prices(stop="20990.00"))
            self.desk.move("20990.00")
            self.desk.exchange.available = lambda size: size
            if restarts:
                self.desk.restart(self.desk.exchange.state(self.desk.now))
            self.desk.move("21010.00")
            self.assertEqual(self.volumes(order_id)[-1], (2, 3))

    def test_what_is_left_can_be_cancelled_and_what_is_filled_stays(self) -> None:
        order_id = self.desk.order(BUY, 5)
        self.desk.cancel(order_id)
        cancelled = self.desk.last(ORDER)
        self.assertEqual((cancelled["status"], cancelled["fillVolume"]), (3, 2))
        self.assertEqual(cancelled["filledPrice"], Decimal("21000.25"))
        self.desk.move("21000.00")
        self.assertEqual([held["size"] for held in self.desk.payloads(POSITION)], [2])

    def test_an_order_cannot_be_made_smaller_than_what_is_filled(self) -> None:
        order_id = self.desk.order(BUY, 5)
        for size in (1, 2):
            self.assertEqual(
                self.refusal(self.desk.modify, order_id, size=size), ("Order/modify", 3)
            )
        self.desk.modify(order_id, size=3)
        self.assertEqual(self.volumes(order_id)[-1], (2, 3))

    def test_a_part_may_turn_a_position_round(self) -> None:
        self.desk.exchange.available = lambda size: size
        self.desk.order(BUY, 1)
        self.desk.exchange.available = lambda size: min(size, 2)
        self.desk.order(SELL, 3)
        self.desk.move("21000.00")
        self.assertEqual([held["size"] for held in self.desk.payloads(POSITION)], [1, 0, 1, 2])

    def test_while_a_close_is_filled_another_is_pending(self) -> None:
        """It would turn the position round."""
        self.desk.exchange.available = lambda size: size
        self.desk.order(BUY, 3)
        self.desk.exchange.available = lambda size: min(size, 1)
        self.desk.close()
        self.assertEqual(self.refusal(self.desk.close), ("Position/closeContract", 6))
        self.assertEqual(
            self.refusal(self.desk.partial_close, 1), ("Position/partialCloseContract", 7)
        )
        for _ in range(2):
            self.desk.move("21000.00")
        self.assertEqual((self.desk.working(), self.desk.last(POSITION)["size"]), ([], 0))

    def test_an_order_to_buy_more_is_no_close(self) -> None:
        self.desk.order(BUY, 3)
        self.desk.close()
        self.assertEqual(self.desk.exchange.open_positions(ACCOUNT), [])

    def test_an_order_can_be_filled_wherever_the_market_is(self) -> None:
        """All that is left of it, at its limit or else at the touch."""
        for order_type, given_prices, price in (
            (LIMIT, prices(limit="20900.00"), "20900.00"),
            (STOP, prices(stop="21900.00"), "21000.25"),
        ):
            order_id = self.desk.order(BUY, 5, order_type, **given_prices)
            self.desk.exchange.fills_while_canceled = lambda: True
            self.assertEqual(self.refusal(self.desk.cancel, order_id), ("Order/cancel", 2))
            self.desk._listen()
            self.assertEqual(self.volumes(order_id), [(1, 0), (2, 5)])
            self.assertEqual(str(self.desk.last(TRADE)["price"]), price)
        self.assertEqual(self.refusal(self.desk.cancel, order_id), ("Order/cancel", 2))
