"""The practice exchange: what is filled, what is told of it, and money that adds up."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.interface import GatewayRefusedError, Payload
from riskd.model.contracts import Contract, known_contract
from riskd.practice import exchange as exchange_module
from riskd.practice.exchange import Exchange, Memory, Message, OrderRejectedError, Quote
from riskd.practice.records import STARTING_BALANCE

ACCOUNT = 123
OTHER_ACCOUNT = 456
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)

BUY, SELL = GatewayOrderSide.BID, GatewayOrderSide.ASK
LIMIT, MARKET = GatewayOrderType.LIMIT, GatewayOrderType.MARKET
STOP, STOP_LIMIT = GatewayOrderType.STOP, GatewayOrderType.STOP_LIMIT

ORDER, TRADE = "GatewayUserOrder", "GatewayUserTrade"
POSITION, ACCOUNT_EVENT = "GatewayUserPosition", "GatewayUserAccount"


def contract_of(contract_id: str) -> Contract:
    contract = known_contract(contract_id)
    assert contract is not None
    return contract


MNQ = contract_of("CON.F.US.MNQ.H26")
ES = contract_of("CON.F.US.EP.H26")
EURO = contract_of("CON.F.US.EU6.H26")
FEES = {MNQ.id: Decimal("0.37"), ES.id: Decimal("1.40"), EURO.id: Decimal("1.62")}


def fresh_exchange(
    accounts: tuple[int, ...] = (ACCOUNT, OTHER_ACCOUNT),
    contracts: tuple[Contract, ...] = (MNQ, ES, EURO),
    first_id: int = 1,
) -> Exchange:
    return Exchange({key: f"PRACTICE-{key}" for key in accounts}, contracts, FEES, first_id)


class Desk:
    """An exchange with a clock, and short words for what accounts and the market do."""

    def __init__(self) -> None:
        self.exchange = fresh_exchange()
        self.now = NOW
        self.told: list[Message] = []

    def restart(self, memory: Memory) -> list[str]:
        """Go on with an exchange that knows nothing but ``memory``; return what it dropped."""
        quotes, available = self.quotes(), self.exchange.available
        self.exchange = fresh_exchange()
        self.exchange.available = available
        dropped = self.exchange.restore(memory, self.now)
        self.quote(quotes)
        return dropped

    def quotes(self) -> dict[str, Quote]:
        quotes = {contract.id: self.exchange.quote(contract.id) for contract in (MNQ, ES, EURO)}
        return {contract_id: quote for contract_id, quote in quotes.items() if quote is not None}

    def quote(self, quotes: dict[str, Quote]) -> None:
        """Quote contracts without a word of the market itself."""
        for contract_id, quote in quotes.items():
            self.exchange.move_market(contract_id, quote, self.now)
        told = self.exchange.take_messages()
        self.told += [message for message in told if message.contract_id is None]

    def move(self, bid: str | Decimal, last: str | Decimal = "", contract: Contract = MNQ) -> None:
        """Let the market be one tick wide at ``bid``; it traded last at the bid, or at ``last``."""
        low = Decimal(bid)
        quote = Quote(low, low + contract.tick_size, Decimal(last) if last else low)
        self.exchange.move_market(contract.id, quote, self.now)
        self._listen()

    def order(
        self,
        side: GatewayOrderSide,
        size: int,
        order_type: GatewayOrderType = MARKET,
        *,
        account_id: int = ACCOUNT,
        contract: Contract = MNQ,
        **fields: Any,
    ) -> int:
        order = {
            "contractId": contract.id,
            "type": int(order_type),
            "side": int(side),
            "size": size,
            **fields,
        }
        try:
            return self.exchange.place_order(account_id, order, self.now)
        finally:
            self._listen()

    def close(self, contract: Contract = MNQ, account_id: int = ACCOUNT) -> None:
        self.exchange.close_contract(account_id, contract.id, self.now)
        self._listen()

    def cancel(self, order_id: int, account_id: int = ACCOUNT) -> None:
        self.exchange.cancel_order(account_id, order_id, self.now)
        self._listen()

    def modify(self, order_id: int, account_id: int = ACCOUNT, **changes: Any) -> None:
        self.exchange.modify_order(account_id, order_id, changes, self.now)
        self._listen()

    def partial_close(self, size: int, contract: Contract = MNQ) -> None:
        self.exchange.partial_close_contract(ACCOUNT, contract.id, size, self.now)
        self._listen()

    def void(self, trade_id: int, account_id: int = ACCOUNT) -> None:
        self.exchange.void_trade(account_id, trade_id)
        self._listen()

    def restrict(self, *, can_trade: bool = False) -> None:
        self.exchange.set_can_trade(ACCOUNT, can_trade)
        self._listen()

    def payloads(self, target: str) -> list[Payload]:
        return [message.payload for message in self.told if message.target == target]

    def last(self, target: str) -> Payload:
        return self.payloads(target)[-1]

    def fills(self) -> list[tuple[int, Decimal]]:
        """Return the order and the price of every fill, in order."""
        return [
            (order["id"], order["filledPrice"])
            for order in self.payloads(ORDER)
            if order["status"] == GatewayOrderStatus.FILLED
        ]

    def working(self) -> list[int]:
        return [order["id"] for order in self.exchange.open_orders(ACCOUNT)]

    def forget(self) -> None:
        self.told.clear()

    def _listen(self) -> None:
        self.told += self.exchange.take_messages()


def prices(**given_prices: str) -> dict[str, Decimal]:
    return {f"{name}Price": Decimal(price) for name, price in given_prices.items()}


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


class PositionTests(SynchronousTestCase):
    """Netting: what opening, adding, closing and flipping make of a position and of money."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")

    def position(self, contract: Contract = MNQ) -> tuple[GatewayPositionType, int, Decimal]:
        """Return type, size and average price of the last position told."""
        told = [
            payload
            for payload in self.desk.payloads(POSITION)
            if payload["contractId"] == contract.id
        ][-1]
        return GatewayPositionType(told["type"]), told["size"], told["averagePrice"]

    def pnls(self) -> list[Decimal | None]:
        return [trade.get("profitAndLoss") for trade in self.desk.payloads(TRADE)]

    def test_an_opening_trade_has_no_profit_and_loss(self) -> None:
        """The key is left out; a 0 would say that a position was closed for nothing."""
        self.desk.order(BUY, 2)
        self.assertNotIn("profitAndLoss", self.desk.last(TRADE))
        self.assertEqual(self.position(), (GatewayPositionType.LONG, 2, Decimal("21000.25")))

    def test_adding_averages_the_price_off_the_tick(self) -> None:
        self.desk.order(BUY, 1)
        self.desk.move("21000.25")
        self.desk.order(BUY, 2)
        kind, size, average = self.position()
        self.assertEqual((kind, size), (GatewayPositionType.LONG, 3))
        self.assertEqual(average, Decimal("63001.25") / 3)
        self.assertEqual(self.pnls(), [None, None])

    def test_a_short_is_a_size_that_is_not_negative(self) -> None:
        self.desk.order(SELL, 3)
        self.assertEqual(self.position(), (GatewayPositionType.SHORT, 3, Decimal("21000.00")))

    def test_closing_makes_the_difference_in_ticks_times_their_value(self) -> None:
        for contract, side, size, opened, closed, dollars in (
            # A long pays the ask and gets the bid: a tick more than the move of the bid.
            (MNQ, BUY, 2, "21000.00", "21010.25", "40.00"),
            (MNQ, SELL, 2, "21000.00", "21009.75", "-40.00"),
            (ES, BUY, 1, "5800.00", "5797.75", "-125.00"),
            (EURO, SELL, 3, "1.10000", "1.09985", "37.50"),
        ):
            desk = Desk()
            desk.move(opened, contract=contract)
            desk.order(side, size, contract=contract)
            desk.move(closed, contract=contract)
            desk.order(SELL if side is BUY else BUY, size, contract=contract)
            made = str(desk.last(TRADE)["profitAndLoss"])
            self.assertEqual(made, dollars, (contract.name, side))

    def test_a_closed_position_keeps_its_average_price(self) -> None:
        self.desk.order(BUY, 2)
        opened = self.desk.last(POSITION)
        self.desk.move("21010.00")
        self.desk.order(SELL, 2)
        self.assertEqual(self.position(), (GatewayPositionType.UNDEFINED, 0, Decimal("21000.25")))
        self.assertEqual(self.desk.last(POSITION)["id"], opened["id"])
        self.assertEqual(self.desk.exchange.open_positions(ACCOUNT), [])

    def test_a_scratch_has_a_profit_and_loss_of_zero(self) -> None:
        """It is there, and it has no sign."""
        for side, back in ((BUY, "21000.25"), (SELL, "20999.75")):
            desk = Desk()
            desk.move("21000.00")
            desk.order(side, 1)
            desk.move(back)
            desk.order(SELL if side is BUY else BUY, 1)
            self.assertEqual(str(desk.last(TRADE)["profitAndLoss"]), "0.00", side)

    def test_a_flip_closes_first_and_opens_with_what_is_left(self) -> None:
        self.desk.order(BUY, 2)
        long = self.desk.last(POSITION)
        self.desk.forget()
        self.desk.now += timedelta(minutes=5)
        self.desk.move("21010.25")
        self.desk.order(SELL, 3)
        closing, opening = self.desk.payloads(TRADE)
        self.assertEqual((closing["size"], closing["profitAndLoss"]), (2, Decimal("40.00")))
        self.assertEqual((opening["size"], "profitAndLoss" in opening), (1, False))
        self.assertEqual(closing["orderId"], opening["orderId"])
        closed, opened = self.desk.payloads(POSITION)
        self.assertEqual((closed["id"], closed["size"], closed["type"]), (long["id"], 0, 0))
        self.assertEqual(closed["averagePrice"], Decimal("21000.25"))
        self.assertNotEqual(opened["id"], long["id"])
        self.assertEqual(
            (opened["size"], opened["type"], opened["averagePrice"]),
            (1, GatewayPositionType.SHORT, Decimal("21010.25")),
        )
        self.assertEqual(opened["creationTimestamp"], self.desk.now.isoformat())
        self.assertEqual(self.desk.exchange.open_positions(ACCOUNT), [opened])

    def test_what_rounding_a_partial_close_leaves_is_made_by_the_rest(self) -> None:
        """Two euros at an average of half a tick: 3.125 dollars each, and 6.25 together."""
        self.desk.move("1.10000", contract=EURO)
        self.desk.order(SELL, 1, contract=EURO)
        self.desk.move("1.10005", contract=EURO)
        self.desk.order(SELL, 1, contract=EURO)
        self.desk.move("1.09995", contract=EURO)
        self.desk.order(BUY, 1, contract=EURO)
        self.desk.order(BUY, 1, contract=EURO)
        self.assertEqual(self.pnls(), [None, None, Decimal("3.12"), Decimal("3.13")])

    def test_half_a_cent_is_rounded_to_even_however_the_average_is_written(self) -> None:
        """Six at an average with endless places: half of them make 15.625 dollars exactly."""
        self.desk.move("1.09995", contract=EURO)
        self.desk.order(BUY, 5, contract=EURO)
        self.desk.move("1.10000", contract=EURO)
        self.desk.order(BUY, 1, contract=EURO)
        self.desk.move("1.10005", contract=EURO)
        self.desk.order(SELL, 3, contract=EURO)
        self.assertEqual(self.pnls()[-1], Decimal("15.62"))
        self.desk.order(SELL, 3, contract=EURO)
        self.assertEqual(self.pnls()[-1], Decimal("15.63"))

    def test_three_thirds_of_a_cent_are_not_lost(self) -> None:
        self.desk.order(BUY, 2)
        self.desk.move("21000.25")
        self.desk.order(BUY, 1)
        for _ in range(3):
            self.desk.order(SELL, 1)
        made = self.pnls()[2:]
        self.assertEqual(len(made), 3)
        self.assertEqual(sum(pnl for pnl in made if pnl is not None), Decimal("-0.50"))

    def test_positions_are_netted_by_account_and_contract(self) -> None:
        self.desk.move("5800.00", contract=ES)
        self.desk.order(BUY, 1)
        self.desk.order(SELL, 2, contract=ES)
        self.desk.order(SELL, 3, account_id=OTHER_ACCOUNT)
        held = {
            (position["accountId"], position["contractId"]): (position["type"], position["size"])
            for account_id in (ACCOUNT, OTHER_ACCOUNT)
            for position in self.desk.exchange.open_positions(account_id)
        }
        self.assertEqual(
            held,
            {
                (ACCOUNT, MNQ.id): (GatewayPositionType.LONG, 1),
                (ACCOUNT, ES.id): (GatewayPositionType.SHORT, 2),
                (OTHER_ACCOUNT, MNQ.id): (GatewayPositionType.SHORT, 3),
            },
        )

    def test_both_half_turns_pay_fees_by_contract_and_the_balance_is_net(self) -> None:
        self.desk.order(BUY, 3)
        self.assertEqual(self.desk.last(TRADE)["fees"], Decimal("1.11"))
        self.assertEqual(
            self.desk.last(ACCOUNT_EVENT)["balance"], STARTING_BALANCE - Decimal("1.11")
        )
        self.desk.move("21010.25")
        self.desk.order(SELL, 2)
        self.assertEqual(self.desk.last(TRADE)["fees"], Decimal("0.74"))
        # Profit and loss is gross: the fees are beside it.
        self.assertEqual(self.desk.last(TRADE)["profitAndLoss"], Decimal("40.00"))
        self.assertEqual(str(self.desk.last(ACCOUNT_EVENT)["balance"]), "50038.15")

    def test_a_flip_pays_fees_for_every_contract_once(self) -> None:
        self.desk.order(BUY, 2)
        self.desk.forget()
        self.desk.order(SELL, 3)
        self.assertEqual(
            [trade["fees"] for trade in self.desk.payloads(TRADE)],
            [Decimal("0.74"), Decimal("0.37")],
        )


class EventTests(SynchronousTestCase):
    """What is told, in what order and in what shape."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")

    def test_a_fill_is_told_as_order_trade_position_account(self) -> None:
        self.desk.forget()
        self.desk.order(BUY, 1)
        self.assertEqual(
            [message.target for message in self.desk.told],
            [ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT],
        )
        self.assertEqual(
            [order["status"] for order in self.desk.payloads(ORDER)],
            [GatewayOrderStatus.OPEN, GatewayOrderStatus.FILLED],
        )

    def test_a_flip_tells_the_close_before_the_opening(self) -> None:
        self.desk.order(BUY, 1)
        self.desk.forget()
        self.desk.order(SELL, 2)
        self.assertEqual(
            [message.target for message in self.desk.told],
            [ORDER, ORDER, TRADE, POSITION, TRADE, POSITION, ACCOUNT_EVENT],
        )

    def test_a_quote_is_told_before_what_it_fills(self) -> None:
        self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        self.desk.forget()
        self.desk.move("20980.00")
        self.assertEqual(
            [message.target for message in self.desk.told],
            ["GatewayQuote", ORDER, TRADE, POSITION, ACCOUNT_EVENT],
        )

    def test_messages_are_taken_once(self) -> None:
        self.desk.exchange.move_market(
            MNQ.id, Quote(Decimal(1), Decimal("1.25"), Decimal(1)), self.desk.now
        )
        self.assertEqual(len(self.desk.exchange.take_messages()), 1)
        self.assertEqual(self.desk.exchange.take_messages(), [])

    def test_quote_payload(self) -> None:
        self.desk.forget()
        self.desk.move("21000.50", "21000.75")
        self.assertEqual(
            self.desk.told,
            [
                Message(
                    "GatewayQuote",
                    MNQ.id,
                    {
                        "symbol": "F.US.MNQ",
                        "bestBid": Decimal("21000.50"),
                        "bestAsk": Decimal("21000.75"),
                        "lastPrice": Decimal("21000.75"),
                        "lastUpdated": "2026-03-02T15:00:00+00:00",
                        "timestamp": "2026-03-02T15:00:00+00:00",
                    },
                )
            ],
        )

    def test_order_payload(self) -> None:
        """Prices that the order has not are left out, and so is a tag."""
        order_id = self.desk.order(SELL, 2, LIMIT, **prices(limit="21010.00"))
        working = {
            "id": order_id,
            "accountId": ACCOUNT,
            "contractId": MNQ.id,
            "symbolId": "F.US.MNQ",
            "creationTimestamp": "2026-03-02T15:00:00+00:00",
            "updateTimestamp": "2026-03-02T15:00:00+00:00",
            "status": 1,
            "type": 1,
            "side": 1,
            "size": 2,
            "fillVolume": 0,
            "limitPrice": Decimal("21010.00"),
        }
        self.assertEqual(self.desk.last(ORDER), working)
        self.assertEqual(self.desk.exchange.open_orders(ACCOUNT), [working])
        self.desk.now += timedelta(seconds=90, microseconds=250000)
        self.desk.move("21020.00")
        self.assertEqual(
            self.desk.last(ORDER),
            {
                **working,
                "updateTimestamp": "2026-03-02T15:01:30.250000+00:00",
                "status": 2,
                "fillVolume": 2,
                "filledPrice": Decimal("21010.00"),
            },
        )

    def test_order_types_and_sides_are_the_gateways_numbers(self) -> None:
        for order_type, side, given_prices, numbers in (
            (LIMIT, BUY, {"limit": "20990.00"}, (1, 0)),
            (MARKET, SELL, {}, (2, 1)),
            (STOP_LIMIT, BUY, {"stop": "21010.00", "limit": "21011.00"}, (3, 0)),
            (STOP, SELL, {"stop": "20990.00"}, (4, 1)),
        ):
            self.desk.order(side, 1, order_type, **prices(**given_prices))
            order = self.desk.last(ORDER)
            self.assertEqual((order["type"], order["side"]), numbers)
            self.assertEqual((type(order["type"]), type(order["side"])), (int, int))
            named = {name[:-5] for name in order if name in ("limitPrice", "stopPrice")}
            self.assertEqual(named, set(given_prices))

    def test_a_custom_tag_stays_with_its_order(self) -> None:
        self.desk.order(BUY, 1, customTag="RULE-003")
        self.assertEqual(
            [order["customTag"] for order in self.desk.payloads(ORDER)], ["RULE-003"] * 2
        )

    def test_trade_payload(self) -> None:
        self.desk.order(BUY, 1)
        order_id = self.desk.order(SELL, 1)
        self.assertEqual(
            self.desk.last(TRADE),
            {
                "id": self.desk.last(TRADE)["id"],
                "accountId": ACCOUNT,
                "contractId": MNQ.id,
                "creationTimestamp": "2026-03-02T15:00:00+00:00",
                "price": Decimal("21000.00"),
                "profitAndLoss": Decimal("-0.50"),
                "fees": Decimal("0.37"),
                "side": 1,
                "size": 1,
                "voided": False,
                "orderId": order_id,
            },
        )

    def test_position_payload(self) -> None:
        self.desk.order(SELL, 2)
        held = self.desk.last(POSITION)
        self.assertEqual(
            held,
            {
                "id": held["id"],
                "accountId": ACCOUNT,
                "contractId": MNQ.id,
                "creationTimestamp": "2026-03-02T15:00:00+00:00",
                "type": 2,
                "size": 2,
                "averagePrice": Decimal("21000.00"),
            },
        )
        self.assertEqual(self.desk.exchange.open_positions(ACCOUNT), [held])

    def test_a_position_keeps_its_id_and_its_time_while_it_is_held(self) -> None:
        self.desk.order(BUY, 2)
        self.desk.now += timedelta(minutes=1)
        self.desk.order(BUY, 1)
        self.desk.order(SELL, 3)
        told = self.desk.payloads(POSITION)
        self.assertEqual([position["size"] for position in told], [2, 3, 0])
        self.assertEqual(
            {(position["id"], position["creationTimestamp"]) for position in told},
            {(told[0]["id"], NOW.isoformat())},
        )

    def test_account_payload(self) -> None:
        self.desk.order(SELL, 1)
        self.assertEqual(
            self.desk.last(ACCOUNT_EVENT),
            {
                "id": ACCOUNT,
                "name": "PRACTICE-123",
                "balance": Decimal("49999.63"),
                "canTrade": True,
                "isVisible": True,
                "simulated": True,
            },
        )

    def test_contract_payload(self) -> None:
        self.assertEqual(
            self.desk.exchange.contract(ES.id),
            {
                "id": "CON.F.US.EP.H26",
                "name": "ESH6",
                "description": "E-mini S&P 500",
                "tickSize": Decimal("0.25"),
                "tickValue": Decimal("12.50"),
                "activeContract": True,
                "symbolId": "F.US.EP",
            },
        )

    def test_ids_count_on_from_the_first(self) -> None:
        exchange = Exchange({ACCOUNT: "PRACTICE-123"}, (MNQ,), FEES, first_id=1_000_000)
        exchange.move_market(MNQ.id, Quote(Decimal(10), Decimal("10.25"), Decimal(10)), NOW)
        order = {"contractId": MNQ.id, "type": 2, "side": 0, "size": 1}
        self.assertEqual(exchange.place_order(ACCOUNT, order, NOW), 1_000_000)

    def test_the_market_is_known_from_its_first_quote_on(self) -> None:
        self.assertIsNone(self.desk.exchange.quote(ES.id))
        self.assertEqual(
            self.desk.exchange.quote(MNQ.id),
            Quote(Decimal("21000.00"), Decimal("21000.25"), Decimal("21000.00")),
        )


class RefusalTests(SynchronousTestCase):
    """What is refused, with the code that the gateway documents for it."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")
        self.desk.forget()

    def refusal(self, act: Callable[[], object]) -> tuple[str, int]:
        error = self.assertRaises(GatewayRefusedError, act)
        return error.request, error.code

    def test_an_unknown_account_is_refused_whatever_is_asked(self) -> None:
        exchange = self.desk.exchange
        for request, act in (
            ("Order/place", lambda: self.desk.order(BUY, 1, account_id=9)),
            ("Order/cancel", lambda: self.desk.cancel(1, account_id=9)),
            ("Order/modify", lambda: self.desk.modify(1, account_id=9)),
            ("Position/closeContract", lambda: self.desk.close(account_id=9)),
            (
                "Position/partialCloseContract",
                lambda: exchange.partial_close_contract(9, MNQ.id, 1, NOW),
            ),
            ("Account/search", lambda: exchange.account(9)),
            ("Position/searchOpen", lambda: exchange.open_positions(9)),
            ("Order/searchOpen", lambda: exchange.open_orders(9)),
            ("Order/searchById", lambda: exchange.order(9, 1)),
            ("Trade/search", lambda: exchange.trades(9, NOW)),
        ):
            self.assertEqual(self.refusal(act), (request, 1))

    def test_an_unknown_contract_is_refused_with_the_code_of_each_request(self) -> None:
        unlisted = contract_of("CON.F.US.RTY.H26")
        for request, code, act in (
            ("Order/place", 8, lambda: self.desk.order(BUY, 1, contract=unlisted)),
            ("Position/closeContract", 3, lambda: self.desk.close(unlisted)),
            ("Position/partialCloseContract", 3, lambda: self.desk.partial_close(1, unlisted)),
            ("Contract/searchById", 1, lambda: self.desk.exchange.contract(unlisted.id)),
        ):
            self.assertEqual(self.refusal(act), (request, code))
        self.assertEqual(self.desk.told, [])

    def test_an_order_without_a_contract_is_refused(self) -> None:
        order = {"type": 2, "side": 0, "size": 1}
        self.assertEqual(
            self.refusal(lambda: self.desk.exchange.place_order(ACCOUNT, order, NOW)),
            ("Order/place", 8),
        )

    def test_an_order_before_the_first_quote_is_refused(self) -> None:
        self.assertEqual(
            self.refusal(lambda: self.desk.order(BUY, 1, contract=ES)), ("Order/place", 9)
        )

    def test_an_order_that_cannot_be_understood_is_refused(self) -> None:
        sound = {"contractId": MNQ.id, "type": 2, "side": 0, "size": 1}
        for order in (
            {**sound, "type": 8},
            {**sound, "type": None},
            {**sound, "side": 2},
            {key: value for key, value in sound.items() if key != "type"},
            {key: value for key, value in sound.items() if key != "side"},
            {key: value for key, value in sound.items() if key != "size"},
        ):
            self.assertEqual(
                self.refusal(
                    lambda order=order: self.desk.exchange.place_order(ACCOUNT, order, NOW)
                ),
                ("Order/place", 2),
                order,
            )

    def test_a_rejected_order_exists_and_says_so(self) -> None:
        """Every kind of fault: code 2, one event with status 5, and nothing works or is filled."""
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
            self.desk.forget()
            error = self.assertRaises(
                OrderRejectedError, self.desk.order, side, size, order_type, **fields
            )
            self.assertEqual((error.request, error.code), ("Order/place", 2), what)
            self.assertIn(words, error.message, what)
            ((target, _contract, order),) = self.desk.told
            self.assertEqual(target, ORDER, what)
            self.assertEqual((order["status"], order["fillVolume"]), (5, 0), what)
            self.assertEqual(order["id"], error.order_id, what)
            self.assertEqual(self.desk.working(), [], what)

    def test_brackets_that_are_null_are_none(self) -> None:
        self.desk.order(BUY, 1, stopLossBracket=None, takeProfitBracket=None)
        self.assertEqual(self.desk.told[-1].target, ACCOUNT_EVENT)

    def test_the_price_of_a_sound_stop_is_measured_from_the_last_trade(self) -> None:
        """A buy stop at the ask is sound while the last trade was at the bid."""
        self.desk.order(BUY, 1, STOP, **prices(stop="21000.25"))
        self.assertEqual(len(self.desk.working()), 1)


class CancelTests(SynchronousTestCase):
    """Taking working orders back."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")

    def test_a_cancelled_order_works_no_more(self) -> None:
        order_id = self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        self.desk.forget()
        self.desk.now += timedelta(seconds=5)
        self.desk.cancel(order_id)
        ((target, _contract, order),) = self.desk.told
        self.assertEqual((target, order["id"], order["status"]), (ORDER, order_id, 3))
        self.assertEqual(order["updateTimestamp"], self.desk.now.isoformat())
        self.assertEqual(self.desk.working(), [])
        self.desk.move("20900.00")
        self.assertEqual(self.desk.fills(), [])

    def test_only_a_working_order_of_the_account_can_be_cancelled(self) -> None:
        filled = self.desk.order(BUY, 1)
        working = self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        cancelled = self.desk.order(BUY, 1, LIMIT, **prices(limit="20980.00"))
        self.desk.cancel(cancelled)
        self.desk.forget()
        for order_id, account_id in (
            (987654, ACCOUNT),
            (filled, ACCOUNT),
            (cancelled, ACCOUNT),
            (working, OTHER_ACCOUNT),
        ):
            error = self.assertRaises(GatewayRefusedError, self.desk.cancel, order_id, account_id)
            self.assertEqual((error.request, error.code), ("Order/cancel", 2))
        self.assertEqual((self.desk.working(), self.desk.told), ([working], []))


class CloseTests(SynchronousTestCase):
    """Closing a position at the market."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")

    def test_a_position_is_closed_at_the_touch(self) -> None:
        for side, exit_price in ((BUY, "21000.00"), (SELL, "21000.25")):
            self.desk.order(side, 2)
            self.desk.close()
            self.assertEqual(str(self.desk.last(TRADE)["price"]), exit_price)
            self.assertEqual(str(self.desk.last(TRADE)["profitAndLoss"]), "-1.00")
            self.assertEqual(self.desk.exchange.open_positions(ACCOUNT), [])

    def test_other_contracts_and_accounts_are_left_alone(self) -> None:
        self.desk.move("5800.00", contract=ES)
        self.desk.order(BUY, 1)
        self.desk.order(BUY, 1, contract=ES)
        self.desk.order(BUY, 1, account_id=OTHER_ACCOUNT)
        self.desk.close()
        (es,) = self.desk.exchange.open_positions(ACCOUNT)
        self.assertEqual(es["contractId"], ES.id)
        self.assertEqual(len(self.desk.exchange.open_positions(OTHER_ACCOUNT)), 1)

    def test_without_a_position_it_is_refused(self) -> None:
        """Never held or held before: there is nothing to close."""
        for _ in range(2):
            error = self.assertRaises(GatewayRefusedError, self.desk.close)
            self.assertEqual((error.request, error.code), ("Position/closeContract", 2))
            self.desk.order(BUY, 1)
            self.desk.close()

    def test_resting_orders_stay_and_may_open_a_position_later(self) -> None:
        """As at the broker: whoever closes has to cancel, too."""
        self.desk.order(BUY, 2)
        orphan = self.desk.order(SELL, 2, STOP, **prices(stop="20990.00"))
        self.desk.close()
        self.assertEqual(self.desk.working(), [orphan])
        self.desk.move("20985.00")
        (held,) = self.desk.exchange.open_positions(ACCOUNT)
        self.assertEqual((held["type"], held["size"]), (GatewayPositionType.SHORT, 2))
        self.assertNotIn("profitAndLoss", self.desk.last(TRADE))


class RefusalTestCase(SynchronousTestCase):
    """A desk in a market at 21000.00, and what it is refused."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")

    def refusal(self, act: Callable[..., object], *args: Any, **fields: Any) -> tuple[str, int]:
        error = self.assertRaises(GatewayRefusedError, act, *args, **fields)
        return error.request, error.code


class ModifyTests(RefusalTestCase):
    """Changing a working order."""

    def test_size_and_prices_are_changed_and_told(self) -> None:
        limit = self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        stop = self.desk.order(SELL, 1, STOP, **prices(stop="20980.00"))
        self.desk.now += timedelta(seconds=5)
        for order_id, changes in (
            (limit, {"size": 3}),
            (limit, prices(limit="20985.00")),
            (stop, {"size": 2, **prices(stop="20970.00")}),
        ):
            self.desk.modify(order_id, **changes)
            told = self.desk.last(ORDER)
            self.assertEqual((told["id"], told["status"]), (order_id, 1))
            self.assertEqual({key: told[key] for key in changes}, changes)
            self.assertEqual(told["updateTimestamp"], self.desk.now.isoformat())
            self.assertEqual(self.desk.exchange.order(ACCOUNT, order_id), told)
        self.assertEqual(self.desk.exchange.order(ACCOUNT, limit)["size"], 3)
        self.desk.move("20970.00")
        self.assertEqual([price for _id, price in self.desk.fills()], [20985, 20970])

    def test_all_orders_since_a_moment_can_be_looked_up_whatever_became_of_them(self) -> None:
        self.desk.order(BUY, 1, LIMIT, **prices(limit="20980.00"))
        self.desk.now += timedelta(seconds=1)
        filled = self.desk.order(BUY, 1)
        working = self.desk.order(BUY, 2, LIMIT, **prices(limit="20981.00"))
        self.desk.order(BUY, 1, account_id=OTHER_ACCOUNT)
        found = self.desk.exchange.orders(ACCOUNT, self.desk.now)
        self.assertEqual([order["id"] for order in found], [filled, working])
        self.assertEqual([order["status"] for order in found], [2, 1])

    def test_null_and_unknown_fields_change_nothing(self) -> None:
        order_id = self.desk.order(BUY, 2, LIMIT, **prices(limit="20990.00"))
        before = self.desk.last(ORDER)
        self.desk.modify(order_id, size=None, limitPrice=None, stopPrice=None, trailPrice=None)
        self.assertEqual(self.desk.last(ORDER), before)

    def test_a_limit_that_becomes_marketable_is_filled_at_the_touch(self) -> None:
        order_id = self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        self.desk.modify(order_id, **prices(limit="21005.00"))
        self.assertEqual(self.desk.fills(), [(order_id, Decimal("21000.25"))])

    def test_what_does_not_work_cannot_be_changed(self) -> None:
        filled = self.desk.order(BUY, 1)
        working = self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        for order_id, account_id in ((999, ACCOUNT), (filled, ACCOUNT), (working, OTHER_ACCOUNT)):
            self.assertEqual(
                self.refusal(self.desk.modify, order_id, account_id, size=2), ("Order/modify", 2)
            )

    def test_what_would_not_be_sound_is_refused_and_nothing_changes(self) -> None:
        limit = self.desk.order(BUY, 2, LIMIT, **prices(limit="20990.00"))
        stop = self.desk.order(SELL, 2, STOP, **prices(stop="20980.00"))
        before = self.desk.exchange.open_orders(ACCOUNT)
        self.desk.forget()
        for order_id, changes in (
            (limit, {"size": 0}),
            (limit, {"size": -1}),
            (limit, prices(limit="20990.10")),
            (limit, prices(limit="-1")),
            (limit, prices(stop="20990.00")),
            (stop, prices(stop="21000.00")),
            (stop, prices(stop="21500.00")),
            (stop, prices(stop="20980.01")),
            (stop, {"size": 5, **prices(limit="20970.00")}),
        ):
            self.assertEqual(
                self.refusal(self.desk.modify, order_id, **changes), ("Order/modify", 3), changes
            )
        self.assertEqual((self.desk.exchange.open_orders(ACCOUNT), self.desk.told), (before, []))

    def test_before_the_market_is_known_it_is_refused(self) -> None:
        order_id = self.desk.order(BUY, 2, LIMIT, **prices(limit="20990.00"))
        exchange = fresh_exchange()
        exchange.restore(self.desk.exchange.memory(NOW), NOW)
        self.assertEqual(
            self.refusal(exchange.modify_order, ACCOUNT, order_id, {"size": 3}, NOW),
            ("Order/modify", 3),
        )

    def test_a_stop_limit_that_was_changed_still_waits_for_its_stop_after_a_restart(self) -> None:
        order_id = self.desk.order(BUY, 1, STOP_LIMIT, **prices(stop="21002.00", limit="21003.00"))
        self.desk.now += timedelta(seconds=1)
        self.desk.modify(order_id, size=2)
        self.desk.restart(self.desk.exchange.memory(self.desk.now))
        self.desk.move("20990.00")
        self.assertEqual(self.desk.working(), [order_id])
        self.desk.move("21002.00")
        self.assertEqual(self.desk.fills(), [(order_id, Decimal("21002.25"))])


class TagTests(RefusalTestCase):
    """A custom tag is used once by an account."""

    def test_a_tag_is_refused_the_second_time_whatever_became_of_the_first(self) -> None:
        self.desk.order(BUY, 1, customTag="filled")
        self.desk.order(BUY, 1, LIMIT, customTag="working", **prices(limit="20990.00"))
        self.desk.cancel(
            self.desk.order(BUY, 1, LIMIT, customTag="cancelled", **prices(limit="20990.00"))
        )
        self.refusal(self.desk.order, BUY, 0, customTag="rejected")
        for restarts in (False, True):
            if restarts:
                self.desk.restart(self.desk.exchange.memory(self.desk.now))
            self.desk.forget()
            for tag in ("filled", "working", "cancelled", "rejected"):
                self.assertEqual(
                    self.refusal(self.desk.order, BUY, 1, customTag=tag), ("Order/place", 2), tag
                )
            self.assertEqual(self.desk.told, [], "there is no order of it")

    def test_another_account_may_use_it_and_no_tag_is_none(self) -> None:
        self.desk.order(BUY, 1, customTag="tag")
        self.desk.order(BUY, 1, customTag="tag", account_id=OTHER_ACCOUNT)
        for _ in range(2):
            self.desk.order(BUY, 1)
            self.desk.order(BUY, 1, customTag=None)

    def test_a_tag_is_remembered_as_long_as_its_order(self) -> None:
        self.patch(exchange_module, "MAX_ENDED_ORDERS", 2)
        self.desk.order(BUY, 1, customTag="tag")
        self.desk.order(BUY, 1)
        self.refusal(self.desk.order, BUY, 1, customTag="tag")
        self.desk.order(BUY, 1)
        self.desk.order(BUY, 1, customTag="tag")


class PartialCloseTests(RefusalTestCase):
    """Closing a part of a position."""

    def test_so_many_contracts_are_closed(self) -> None:
        for side, kind in ((BUY, GatewayPositionType.LONG), (SELL, GatewayPositionType.SHORT)):
            self.desk.order(side, 5)
            self.desk.partial_close(2)
            held = self.desk.last(POSITION)
            self.assertEqual((held["type"], held["size"]), (kind, 3))
            self.assertEqual(self.desk.last(TRADE)["size"], 2)
            self.desk.partial_close(3)
            self.assertEqual(self.desk.exchange.open_positions(ACCOUNT), [])

    def test_a_size_that_is_not_held_is_refused(self) -> None:
        self.desk.order(BUY, 2)
        for size in (0, -1, 3):
            self.assertEqual(
                self.refusal(self.desk.partial_close, size), ("Position/partialCloseContract", 5)
            )

    def test_without_a_position_it_is_refused(self) -> None:
        self.assertEqual(
            self.refusal(self.desk.partial_close, 1), ("Position/partialCloseContract", 2)
        )

    def test_without_a_market_a_close_is_refused_for_now(self) -> None:
        self.desk.order(BUY, 2)
        exchange = fresh_exchange()
        exchange.restore(self.desk.exchange.memory(NOW), NOW)
        self.assertEqual(
            self.refusal(exchange.close_contract, ACCOUNT, MNQ.id, NOW),
            ("Position/closeContract", 5),
        )
        self.assertEqual(
            self.refusal(exchange.partial_close_contract, ACCOUNT, MNQ.id, 1, NOW),
            ("Position/partialCloseContract", 6),
        )


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
                self.desk.restart(self.desk.exchange.memory(self.desk.now))
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
            self.desk.exchange.fill_order(ACCOUNT, order_id, NOW)
            self.desk._listen()
            self.assertEqual(self.volumes(order_id), [(1, 0), (2, 5)])
            self.assertEqual(str(self.desk.last(TRADE)["price"]), price)
        self.assertEqual(
            self.refusal(self.desk.exchange.fill_order, ACCOUNT, order_id, NOW),
            ("Order/cancel", 2),
        )


class RestrictionTests(RefusalTestCase):
    """Accounts that may not trade."""

    def test_it_is_told_and_found(self) -> None:
        for can_trade in (False, True):
            self.desk.restrict(can_trade=can_trade)
            told = self.desk.last(ACCOUNT_EVENT)
            self.assertEqual((told["id"], told["canTrade"]), (ACCOUNT, can_trade))
            self.assertEqual(self.desk.exchange.account(ACCOUNT), told)

    def test_placing_is_refused_closing_and_cancelling_are_not(self) -> None:
        self.desk.order(BUY, 3)
        order_id = self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        self.desk.restrict()
        self.desk.forget()
        self.assertEqual(self.refusal(self.desk.order, BUY, 1), ("Order/place", 4))
        self.assertEqual(self.desk.told, [])
        self.desk.cancel(order_id)
        self.desk.partial_close(1)
        self.desk.close()
        self.assertEqual(self.desk.exchange.open_positions(ACCOUNT), [])
        self.desk.order(BUY, 1, account_id=OTHER_ACCOUNT)
        self.desk.restrict(can_trade=True)
        self.desk.order(BUY, 1)

    def test_it_outlives_a_restart(self) -> None:
        self.desk.restrict()
        self.desk.restart(self.desk.exchange.memory(self.desk.now))
        self.assertEqual(self.refusal(self.desk.order, BUY, 1), ("Order/place", 4))

    def test_an_unknown_account_cannot_be_restricted(self) -> None:
        error = self.assertRaises(GatewayRefusedError, self.desk.exchange.set_can_trade, 9, True)
        self.assertEqual(error.code, 1)


class VoidTests(RefusalTestCase):
    """Trades that the broker takes back."""

    def test_it_is_told_again_and_what_it_brought_is_gone(self) -> None:
        self.desk.order(BUY, 2)
        self.desk.move("21010.25")
        before = self.desk.last(ACCOUNT_EVENT)["balance"]
        self.desk.order(SELL, 2)
        trade = self.desk.last(TRADE)
        self.desk.forget()
        self.desk.void(trade["id"])
        self.assertEqual([message.target for message in self.desk.told], [TRADE, ACCOUNT_EVENT])
        self.assertEqual(self.desk.last(TRADE), {**trade, "voided": True})
        self.assertFalse(trade["voided"], "what was told before is another payload")
        self.assertEqual(self.desk.last(ACCOUNT_EVENT)["balance"], before)
        found = self.desk.exchange.trades(ACCOUNT, NOW)
        self.assertEqual([trade["voided"] for trade in found], [False, True])

    def test_a_half_turn_gives_its_fees_back(self) -> None:
        self.desk.order(BUY, 2)
        self.desk.void(self.desk.last(TRADE)["id"])
        self.assertEqual(self.desk.last(ACCOUNT_EVENT)["balance"], STARTING_BALANCE)
        self.assertEqual(len(self.desk.exchange.open_positions(ACCOUNT)), 1)

    def test_only_a_trade_of_the_account_is_voided_and_once(self) -> None:
        self.desk.order(BUY, 2)
        trade_id = self.desk.last(TRADE)["id"]
        for account_id, voided, code in (
            (ACCOUNT, 999, 1),
            (OTHER_ACCOUNT, trade_id, 1),
            (9, trade_id, 1),
        ):
            self.assertEqual(
                self.refusal(self.desk.void, voided, account_id), ("Trade/void", code)
            )
        self.desk.void(trade_id)
        self.assertEqual(self.refusal(self.desk.void, trade_id), ("Trade/void", 2))


class OpeningAgainTests(RefusalTestCase):
    """Exits that are told as two trades."""

    def test_the_entry_is_told_once_more_and_costs_nothing(self) -> None:
        self.desk.exchange.tells_opening_again = True
        self.desk.order(SELL, 2)
        self.desk.move("21010.00")
        self.desk.forget()
        self.desk.order(BUY, 1)
        again, exit_ = self.desk.payloads(TRADE)
        self.assertNotEqual(again["id"], exit_["id"])
        self.assertNotIn("profitAndLoss", again)
        self.assertEqual(
            (again["side"], again["size"], str(again["price"]), str(again["fees"])),
            (SELL, 1, "21000.00", "0.00"),
        )
        self.assertEqual((exit_["side"], str(exit_["profitAndLoss"])), (BUY, "-20.50"))
        self.assertEqual(again["orderId"], exit_["orderId"])
        self.assertEqual(
            self.desk.last(ACCOUNT_EVENT)["balance"],
            STARTING_BALANCE - 3 * FEES[MNQ.id] - Decimal("20.50"),
        )
        self.assertEqual(self.desk.exchange.trades(ACCOUNT, NOW)[1:], [again, exit_])


class ListTests(SynchronousTestCase):
    """All that there is."""

    def test_every_account_and_every_contract_is_listed(self) -> None:
        exchange = fresh_exchange()
        self.assertEqual(
            exchange.accounts(), [exchange.account(key) for key in (ACCOUNT, OTHER_ACCOUNT)]
        )
        self.assertEqual(
            exchange.contracts(), [exchange.contract(each.id) for each in (MNQ, ES, EURO)]
        )


class OrderSearchTests(SynchronousTestCase):
    """An order can be asked for, whatever became of it."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")

    def status(self, order_id: int) -> int:
        order = self.desk.exchange.order(ACCOUNT, order_id)
        self.assertEqual(
            order, [told for told in self.desk.payloads(ORDER) if told["id"] == order_id][-1]
        )
        status: int = order["status"]
        return status

    def refusal(self, order_id: int, account_id: int = ACCOUNT) -> tuple[str, int]:
        error = self.assertRaises(
            GatewayRefusedError, self.desk.exchange.order, account_id, order_id
        )
        return error.request, error.code

    def test_an_order_is_found_in_every_state(self) -> None:
        """As it was told last."""
        filled = self.desk.order(BUY, 2)
        working = self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        cancelled = self.desk.order(SELL, 1, LIMIT, **prices(limit="21090.00"))
        self.desk.now += timedelta(seconds=1)
        self.desk.cancel(cancelled)
        self.assertRaises(GatewayRefusedError, self.desk.order, BUY, 0)
        rejected = self.desk.last(ORDER)["id"]
        self.assertEqual(
            [self.status(order_id) for order_id in (filled, working, cancelled, rejected)],
            [2, 1, 3, 5],
        )

    def test_an_order_nobody_placed_is_refused(self) -> None:
        self.assertEqual(self.refusal(999), ("Order/searchById", 1))

    def test_an_order_of_another_account_is_refused(self) -> None:
        for order_id in (
            self.desk.order(BUY, 1),
            self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00")),
        ):
            self.assertEqual(self.refusal(order_id, OTHER_ACCOUNT), ("Order/searchById", 1))

    def test_only_so_many_ended_orders_are_remembered(self) -> None:
        self.patch(exchange_module, "MAX_ENDED_ORDERS", 3)
        first, *others = (self.desk.order(BUY, 1) for _ in range(4))
        self.assertEqual(self.refusal(first), ("Order/searchById", 1))
        self.assertEqual([self.status(order_id) for order_id in others], [2] * 3)

    def test_what_is_found_is_a_copy(self) -> None:
        order_id = self.desk.order(BUY, 1)
        self.desk.exchange.order(ACCOUNT, order_id)["size"] = 99
        self.assertEqual(self.status(order_id), 2)


class TradeSearchTests(SynchronousTestCase):
    """The trades of an account, from a moment on."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")

    def test_all_trades_since_a_moment_are_found_oldest_first(self) -> None:
        """Half-turns too, of this account only, and those made at that very moment."""
        self.desk.order(BUY, 1)
        self.desk.now += timedelta(minutes=1)
        since = self.desk.now
        self.desk.order(BUY, 1)
        self.desk.order(SELL, 7, account_id=OTHER_ACCOUNT)
        self.desk.now += timedelta(microseconds=1)
        self.desk.order(SELL, 2)
        found = self.desk.exchange.trades(ACCOUNT, since)
        own = [trade for trade in self.desk.payloads(TRADE) if trade["accountId"] == ACCOUNT]
        self.assertEqual(found, own[1:])
        self.assertEqual(["profitAndLoss" in trade for trade in found], [False, True])
        self.assertEqual(self.desk.exchange.trades(ACCOUNT, NOW), own)
        self.assertEqual(
            self.desk.exchange.trades(ACCOUNT, self.desk.now + timedelta(seconds=1)), []
        )

    def test_trades_older_than_two_days_are_forgotten(self) -> None:
        for hours in (0, 1, 48):
            self.desk.now = NOW + timedelta(hours=hours, seconds=1)
            self.desk.order(BUY, 1)
        found = self.desk.exchange.trades(ACCOUNT, NOW - timedelta(days=9))
        self.assertEqual(found, self.desk.payloads(TRADE))
        self.desk.now += timedelta(seconds=1)
        self.desk.order(BUY, 1)
        found = self.desk.exchange.trades(ACCOUNT, NOW - timedelta(days=9))
        self.assertEqual(found, self.desk.payloads(TRADE)[1:])

    def test_what_is_found_is_a_copy(self) -> None:
        self.desk.order(BUY, 1)
        self.desk.exchange.trades(ACCOUNT, NOW)[0]["size"] = 99
        self.assertEqual(self.desk.exchange.trades(ACCOUNT, NOW)[0]["size"], 1)


class MemoryTests(SynchronousTestCase):
    """What another exchange goes on from."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")
        self.desk.move("1.10000", contract=EURO)

    def memory(self) -> Memory:
        return self.desk.exchange.memory(self.desk.now)

    def test_an_exchange_goes_on_from_what_another_knew(self) -> None:
        self.desk.order(BUY, 2)
        self.desk.order(SELL, 1, contract=EURO, account_id=OTHER_ACCOUNT)
        self.desk.order(SELL, 2, STOP, **prices(stop="20990.00"))
        self.desk.order(BUY, 3, LIMIT, customTag="a tag", **prices(limit="20980.00"))
        before = self.memory()
        self.assertEqual(len(before.positions) + len(before.orders), 4)
        self.assertEqual(self.desk.restart(before), [])
        self.assertEqual(self.memory(), before)

    def test_of_the_past_it_holds_two_days(self) -> None:
        self.desk.order(BUY, 1)
        resting = self.desk.order(BUY, 1, LIMIT, **prices(limit="20000.00"))
        self.desk.now += timedelta(days=2, seconds=1)
        memory = self.memory()
        self.assertEqual((memory.trades, memory.ended), ((), ()))
        self.assertEqual([order["id"] for order in memory.orders], [resting])
        self.assertEqual([held["size"] for held in memory.positions], [1])

    def test_ids_go_on_above_the_highest_and_above_the_first(self) -> None:
        order = {"contractId": MNQ.id, "type": 2, "side": 0, "size": 1}
        for first_id, next_id in ((1, 5001), (9000, 9000)):
            exchange = fresh_exchange(first_id=first_id)
            exchange.restore(Memory(highest_id=5000), NOW)
            exchange.move_market(MNQ.id, Quote(Decimal(10), Decimal("10.25"), Decimal(10)), NOW)
            self.assertEqual(exchange.place_order(ACCOUNT, order, NOW), next_id)

    def test_what_is_in_a_contract_not_listed_any_more_is_dropped(self) -> None:
        """Its order has expired; its trades were made all the same."""
        self.desk.order(BUY, 2)
        self.desk.order(SELL, 1, contract=EURO)
        order_id = self.desk.order(SELL, 2, STOP, **prices(stop="20990.00"))
        exchange = fresh_exchange(contracts=(ES, EURO))
        later = NOW + timedelta(hours=1)
        position, order = exchange.restore(self.memory(), later)
        for sentence, kind in ((position, "position"), (order, "order")):
            self.assertIn(kind, sentence)
            self.assertIn("account 123, 2 CON.F.US.MNQ.H26, is dropped", sentence)
        self.assertEqual(
            [held["contractId"] for held in exchange.open_positions(ACCOUNT)], [EURO.id]
        )
        self.assertEqual(exchange.open_orders(ACCOUNT), [])
        expired = exchange.order(ACCOUNT, order_id)
        self.assertEqual((expired["status"], expired["updateTimestamp"]), (4, later.isoformat()))
        self.assertEqual(exchange.trades(ACCOUNT, NOW), self.desk.payloads(TRADE))
        self.assertEqual(exchange.take_messages(), [])

    def test_what_is_of_an_account_not_traded_any_more_is_dropped(self) -> None:
        self.desk.order(BUY, 2)
        self.desk.order(SELL, 2, STOP, **prices(stop="20990.00"))
        exchange = fresh_exchange(accounts=(OTHER_ACCOUNT,))
        (sentence,) = exchange.restore(self.memory(), NOW)
        self.assertIn("account 123", sentence)
        memory = exchange.memory(NOW)
        self.assertEqual(
            (memory.positions, memory.orders, memory.ended, memory.trades), ((), (), (), ())
        )

    def test_half_a_cent_falls_to_the_same_side_although_the_average_was_cut(self) -> None:
        for cut in ("1.100008333333333333333333333", "1.100008333333333333333333334"):
            self.desk = Desk()
            self.desk.move("1.09995", contract=EURO)
            self.desk.order(BUY, 5, contract=EURO)
            self.desk.move("1.10000", contract=EURO)
            self.desk.order(BUY, 1, contract=EURO)
            self.desk.move("1.10005", contract=EURO)
            memory = self.memory()
            memory.positions[0]["averagePrice"] = Decimal(cut)
            self.desk.restart(memory)
            for made in ("15.62", "15.63"):
                self.desk.order(SELL, 3, contract=EURO)
                self.assertEqual(str(self.desk.last(TRADE)["profitAndLoss"]), made)

    def test_a_stop_limit_stays_triggered(self) -> None:
        """It rests as a limit once its stop was reached, and only then."""
        order_id = self.desk.order(BUY, 1, STOP_LIMIT, **prices(stop="21002.00", limit="21003.00"))
        waiting = self.memory()
        self.desk.now += timedelta(seconds=1)
        self.desk.move("21010.00")
        triggered = self.desk.last(ORDER)
        self.assertEqual(
            (triggered["id"], triggered["status"], triggered["updateTimestamp"]),
            (order_id, 1, self.desk.now.isoformat()),
        )
        resting = self.memory()
        for memory, fills in ((waiting, []), (resting, [(order_id, Decimal("21003.00"))])):
            desk = Desk()
            desk.restart(memory)
            desk.move("21001.00")
            self.assertEqual(desk.fills(), fills)

    def test_a_resting_limit_keeps_its_price_when_the_market_opens_beyond_it(self) -> None:
        order_id = self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        desk = Desk()
        desk.restart(self.memory())
        desk.move("20950.00")
        self.assertEqual(desk.fills(), [(order_id, Decimal("20990.00"))])


# Any course of trading.

STARTS = {MNQ: Decimal("21000.00"), EURO: Decimal("1.10000")}
WORTH = {contract: contract.tick_value / contract.tick_size for contract in STARTS}

contracts = st.sampled_from(list(STARTS))
account_ids = st.sampled_from([ACCOUNT, OTHER_ACCOUNT])
distances = st.integers(min_value=-6, max_value=6)
placings = st.fixed_dictionaries(
    {
        "account_id": account_ids,
        "contract": contracts,
        "side": st.sampled_from(GatewayOrderSide),
        "size": st.integers(min_value=0, max_value=7),
        "order_type": st.sampled_from([MARKET, MARKET, LIMIT, STOP, STOP_LIMIT]),
        "limit": distances,
        "stop": distances,
    }
)
courses = st.lists(
    st.tuples(st.just("move"), contracts, distances, st.booleans())
    | st.tuples(st.just("place"), placings)
    | st.tuples(st.just("cancel"), account_ids, st.integers(min_value=0, max_value=20))
    | st.tuples(st.just("close"), account_ids, contracts),
    min_size=5,
    max_size=40,
)


class Course:
    """A course of trading on a desk: markets move, two accounts act, refusals are shrugged off."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.bids = dict(STARTS)
        for contract in STARTS:
            self.move(contract, 0, False)

    def play(self, steps: list[Any]) -> None:
        for kind, *args in steps:
            try:
                getattr(self, kind)(*args)
            except GatewayRefusedError:
                continue

    def move(self, contract: Contract, ticks: int, at_ask: bool) -> None:
        bid = self.bids[contract] = self.bids[contract] + ticks * contract.tick_size
        self.desk.now += timedelta(milliseconds=250)
        self.desk.move(bid, bid + contract.tick_size if at_ask else bid, contract)

    def place(self, wish: dict[str, Any]) -> None:
        contract, order_type = wish["contract"], wish["order_type"]
        fields = {}
        for name, kinds in (("limit", (LIMIT, STOP_LIMIT)), ("stop", (STOP, STOP_LIMIT))):
            if order_type in kinds:
                price = self.bids[contract] + wish[name] * contract.tick_size
                fields[f"{name}Price"] = price
        self.desk.order(
            wish["side"],
            wish["size"],
            order_type,
            account_id=wish["account_id"],
            contract=contract,
            **fields,
        )

    def cancel(self, account_id: int, index: int) -> None:
        working = self.desk.exchange.open_orders(account_id)
        if working:
            self.desk.cancel(working[index % len(working)]["id"], account_id)

    def close(self, account_id: int, contract: Contract) -> None:
        self.desk.close(contract, account_id)

    def close_all(self) -> None:
        for account_id, contract in itertools.product((ACCOUNT, OTHER_ACCOUNT), STARTS):
            self.play([("close", account_id, contract)])

    def trades(self, account_id: int, contract: Contract) -> list[Payload]:
        return [
            trade
            for trade in self.desk.payloads(TRADE)
            if (trade["accountId"], trade["contractId"]) == (account_id, contract.id)
        ]

    def books(self) -> list[tuple[int, Contract, list[Payload]]]:
        """Return the trades of every account in every contract."""
        return [
            (account_id, contract, self.trades(account_id, contract))
            for account_id, contract in itertools.product((ACCOUNT, OTHER_ACCOUNT), STARTS)
        ]


troubled_courses = st.lists(
    st.tuples(st.just("move"), contracts, distances, st.booleans())
    | st.tuples(st.just("place"), placings)
    | st.tuples(st.just("take"), st.integers(min_value=1, max_value=4))
    | st.tuples(
        st.just("modify"),
        account_ids,
        st.integers(min_value=0, max_value=20),
        st.integers(min_value=1, max_value=9),
        distances,
    )
    | st.tuples(st.just("close_part"), contracts, st.integers(min_value=0, max_value=5))
    | st.tuples(st.just("tag"), st.sampled_from("abc"))
    | st.tuples(st.just("void"), st.integers(min_value=0, max_value=20))
    | st.tuples(st.just("restrict"), account_ids, st.booleans())
    | st.tuples(st.just("cancel"), account_ids, st.integers(min_value=0, max_value=20))
    | st.tuples(st.just("close"), account_ids, contracts),
    min_size=10,
    max_size=40,
)


class TroubledCourse(Course):
    """A course of trading on which orders are filled in parts and changed, and the broker acts."""

    def take(self, most: int) -> None:
        """Let the market take no more than ``most`` contracts of an order at a time."""
        self.desk.exchange.available = lambda size: min(size, most)

    def modify(self, account_id: int, index: int, size: int, ticks: int) -> None:
        working = self.desk.exchange.open_orders(account_id)
        if not working:
            return
        order = working[index % len(working)]
        contract = contract_of(order["contractId"])
        price = self.bids[contract] + ticks * contract.tick_size
        names = [name for name in ("limitPrice", "stopPrice") if name in order]
        changes = dict.fromkeys(names, price) if ticks else {}
        self.desk.modify(order["id"], account_id, size=size, **changes)

    def close_part(self, contract: Contract, size: int) -> None:
        self.desk.partial_close(size, contract)

    def tag(self, tag: str) -> None:
        self.desk.order(BUY, 1, customTag=tag)

    def void(self, index: int) -> None:
        trades = self.desk.exchange.trades(ACCOUNT, NOW)
        if trades:
            self.desk.void(trades[index % len(trades)]["id"])

    def restrict(self, account_id: int, can_trade: bool) -> None:
        self.desk.exchange.set_can_trade(account_id, can_trade)
        self.desk._listen()


def direction(trade: Payload) -> int:
    return 1 if trade["side"] == GatewayOrderSide.BID else -1


def cash_flow(contract: Contract, trades: list[Payload]) -> Decimal:
    """Return the dollars that sales brought in beyond what purchases cost."""
    flow = sum(
        (-direction(trade) * trade["price"] * trade["size"] for trade in trades), Decimal(0)
    )
    return flow * WORTH[contract]


def total_pnl(trades: list[Payload]) -> Decimal:
    return sum((trade.get("profitAndLoss", Decimal(0)) for trade in trades), Decimal(0))


class InvariantTests(SynchronousTestCase):
    """What holds for any course of trading."""

    def course(self, steps: list[Any]) -> Course:
        course = Course()
        course.play(steps)
        return course

    @given(courses)
    @settings(max_examples=40)
    def test_when_flat_the_trades_made_what_the_fills_cost(self, steps: list[Any]) -> None:
        course = self.course(steps)
        course.close_all()
        for account_id, contract, trades in course.books():
            self.assertEqual(
                total_pnl(trades), cash_flow(contract, trades), (account_id, contract.name)
            )

    @given(courses)
    @settings(max_examples=40)
    def test_what_is_made_and_what_is_held_come_to_what_the_fills_cost(
        self, steps: list[Any]
    ) -> None:
        """The average price of an open position leaves out no cent of what its trades made."""
        course = self.course(steps)
        for account_id, contract, trades in course.books():
            cost = sum(
                (
                    held["averagePrice"]
                    * held["size"]
                    * (1 if held["type"] == GatewayPositionType.LONG else -1)
                    for held in course.desk.exchange.open_positions(account_id)
                    if held["contractId"] == contract.id
                ),
                Decimal(0),
            )
            difference = total_pnl(trades) - cost * WORTH[contract] - cash_flow(contract, trades)
            self.assertTrue(abs(difference) < Decimal("1e-9"), difference)

    @given(courses)
    @settings(max_examples=40)
    def test_positions_are_the_sum_of_their_fills(self, steps: list[Any]) -> None:
        course = self.course(steps)
        expected = {
            (account_id, contract.id): sum(direction(trade) * trade["size"] for trade in trades)
            for account_id, contract, trades in course.books()
        }
        held = {
            (position["accountId"], position["contractId"]): position["size"]
            * (1 if position["type"] == GatewayPositionType.LONG else -1)
            for account_id in (ACCOUNT, OTHER_ACCOUNT)
            for position in course.desk.exchange.open_positions(account_id)
        }
        self.assertEqual(held, {key: net for key, net in expected.items() if net})
        # And the last word on each position is what a search finds.
        told = {
            (position["accountId"], position["contractId"]): position["size"]
            for position in course.desk.payloads(POSITION)
        }
        self.assertEqual(told, {key: abs(expected[key]) for key in told})

    @given(courses)
    @settings(max_examples=40)
    def test_the_balance_is_what_was_made_less_fees(self, steps: list[Any]) -> None:
        course = self.course(steps)
        trades = course.desk.payloads(TRADE)
        for account_id in {trade["accountId"] for trade in trades}:
            own = [trade for trade in trades if trade["accountId"] == account_id]
            fees = sum(FEES[trade["contractId"]] * trade["size"] for trade in own)
            self.assertEqual(sum(trade["fees"] for trade in own), fees)
            balance = [
                account["balance"]
                for account in course.desk.payloads(ACCOUNT_EVENT)
                if account["id"] == account_id
            ][-1]
            self.assertEqual(balance, STARTING_BALANCE + total_pnl(own) - fees)

    @given(courses)
    @settings(max_examples=40)
    def test_every_profit_and_loss_is_in_whole_cents(self, steps: list[Any]) -> None:
        course = self.course(steps)
        course.close_all()
        for trade in course.desk.payloads(TRADE):
            if "profitAndLoss" in trade:
                pnl = trade["profitAndLoss"]
                self.assertEqual(pnl.as_tuple().exponent, -2)
                self.assertFalse(pnl.is_zero() and pnl.is_signed(), "a zero has no sign")

    @given(courses)
    @settings(max_examples=40)
    def test_an_order_ends_once_and_then_works_no_more(self, steps: list[Any]) -> None:
        course = self.course(steps)
        ended = Counter(
            order["id"]
            for order in course.desk.payloads(ORDER)
            if order["status"] != GatewayOrderStatus.OPEN
        )
        begun = {order["id"] for order in course.desk.payloads(ORDER)}
        working = {
            order["id"]
            for account_id in (ACCOUNT, OTHER_ACCOUNT)
            for order in course.desk.exchange.open_orders(account_id)
            if order["status"] == GatewayOrderStatus.OPEN
        }
        self.assertEqual(working, begun - set(ended))
        self.assertEqual(set(ended.values()) - {1}, set())

    @given(courses)
    @settings(max_examples=40)
    def test_ids_are_unique_across_orders_trades_and_positions(self, steps: list[Any]) -> None:
        desk = self.course(steps).desk
        trades = [trade["id"] for trade in desk.payloads(TRADE)]
        owners: dict[int, set[tuple[str, int, str]]] = {}
        for target in (ORDER, POSITION, TRADE):
            for payload in desk.payloads(target):
                owner = (target, payload["accountId"], payload["contractId"])
                owners.setdefault(payload["id"], set()).add(owner)
        self.assertEqual(len(trades), len(set(trades)))
        self.assertEqual({len(owner) for owner in owners.values()} - {1}, set())

    @given(courses)
    @settings(max_examples=40)
    def test_a_position_id_is_of_one_position_from_opening_to_flat(self, steps: list[Any]) -> None:
        flat: set[int] = set()
        for position in self.course(steps).desk.payloads(POSITION):
            self.assertNotIn(position["id"], flat)
            if not position["size"]:
                flat.add(position["id"])

    @given(courses)
    @settings(max_examples=40)
    def test_nobody_trades_at_a_price_worse_than_their_limit(self, steps: list[Any]) -> None:
        for order in self.course(steps).desk.payloads(ORDER):
            if "filledPrice" in order and "limitPrice" in order:
                better = (order["limitPrice"] - order["filledPrice"]) * direction(order)
                self.assertTrue(better >= 0, order)

    @given(courses)
    @settings(max_examples=40)
    def test_no_order_works_that_the_market_would_fill(self, steps: list[Any]) -> None:
        """After every course, what still works is out of reach or waits for its stop."""
        course = self.course(steps)
        for account_id in (ACCOUNT, OTHER_ACCOUNT):
            for order in course.desk.exchange.open_orders(account_id):
                quote = course.desk.exchange.quote(order["contractId"])
                assert quote is not None
                if "stopPrice" not in order:
                    touch = quote.ask if order["side"] == BUY else quote.bid
                    self.assertTrue((touch - order["limitPrice"]) * direction(order) > 0, order)
                elif "limitPrice" not in order:
                    away = (order["stopPrice"] - quote.last) * direction(order)
                    self.assertTrue(away > 0, order)


class TroubledInvariantTests(SynchronousTestCase):
    """What holds for any course of partial fills, changes, partial closes and voided trades."""

    def course(self, steps: list[Any]) -> TroubledCourse:
        course = TroubledCourse()
        course.play(steps)
        return course

    @given(troubled_courses)
    def test_the_balance_is_what_the_trades_made_less_their_fees(self, steps: list[Any]) -> None:
        exchange = self.course(steps).desk.exchange
        for account_id in (ACCOUNT, OTHER_ACCOUNT):
            counted = [trade for trade in exchange.trades(account_id, NOW) if not trade["voided"]]
            fees = sum((trade["fees"] for trade in counted), Decimal(0))
            change = exchange.account(account_id)["balance"] - STARTING_BALANCE
            self.assertEqual(total_pnl(counted), change + fees)

    @given(troubled_courses)
    def test_what_is_filled_of_orders_is_what_was_traded(self, steps: list[Any]) -> None:
        course = self.course(steps)
        traded: Counter[int] = Counter()
        for account_id, _contract, _trades in course.books()[::2]:
            for trade in course.desk.exchange.trades(account_id, NOW):
                traded[trade["orderId"]] += trade["size"]
        last = {order["id"]: order for order in course.desk.payloads(ORDER)}
        for order_id, order in last.items():
            filled = order["fillVolume"]
            self.assertEqual(filled, traded[order_id])
            self.assertEqual("filledPrice" in order, filled > 0)
            if order["status"] == GatewayOrderStatus.FILLED:
                self.assertEqual(filled, order["size"])
            elif order["status"] == GatewayOrderStatus.OPEN:
                self.assertTrue(filled < order["size"])

    @given(troubled_courses)
    def test_a_tag_is_of_one_order(self, steps: list[Any]) -> None:
        tagged = {
            (order["customTag"], order["id"])
            for order in self.course(steps).desk.payloads(ORDER)
            if "customTag" in order
        }
        self.assertEqual(len(tagged), len({tag for tag, _id in tagged}))

    @given(troubled_courses)
    def test_when_flat_the_trades_made_what_the_fills_cost(self, steps: list[Any]) -> None:
        course = self.course([step for step in steps if step[0] != "void"])
        course.take(1000)
        for contract in STARTS:
            course.move(contract, 0, False)
        course.close_all()
        for account_id, contract, trades in course.books():
            held = course.desk.exchange.open_positions(account_id)
            self.assertNotIn(contract.id, [position["contractId"] for position in held])
            self.assertEqual(total_pnl(trades), cash_flow(contract, trades))

    @given(troubled_courses)
    def test_an_exchange_goes_on_from_what_another_knew(self, steps: list[Any]) -> None:
        desk = self.course(steps).desk
        memory = desk.exchange.memory(desk.now)
        exchange = fresh_exchange()
        self.assertEqual(exchange.restore(memory, desk.now), [])
        self.assertEqual(exchange.memory(desk.now), memory)
