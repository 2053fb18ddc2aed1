"""The gateway's payloads in riskd's terms: every row of the mapping."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway import mapping
from riskd.gateway.mapping import MAX_AHEAD, MappingError, QuoteBook
from riskd.model.events import GatewayUserPosition, OrderSide, OrderState, OrderType, PositionType

RECEIVED = datetime(2025, 1, 17, 14, 45, 16, tzinfo=UTC)
CREATED = "2025-01-17T14:45:15.1234567+00:00"
UPDATED = "2025-01-17T14:45:15.5Z"
MNQ = "CON.F.US.MNQ.U25"


def order_payload(**changes: Any) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "id": 789,
        "accountId": 123,
        "contractId": MNQ,
        "creationTimestamp": CREATED,
        "updateTimestamp": UPDATED,
        "status": 1,
        "type": 2,
        "side": 0,
        "size": 3,
        "fillVolume": 1,
    }
    payload.update(changes)
    return payload


def position_payload(**changes: Any) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "id": 456,
        "accountId": 123,
        "contractId": MNQ,
        "creationTimestamp": CREATED,
        "type": 1,
        "size": 2,
        "averagePrice": Decimal("21000.50"),
    }
    payload.update(changes)
    return payload


def trade_payload(**changes: Any) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "id": 101112,
        "accountId": 123,
        "contractId": MNQ,
        "creationTimestamp": CREATED,
        "price": Decimal(21000),
        "profitAndLoss": Decimal("-45.5"),
        "fees": Decimal("0.74"),
        "side": 1,
        "size": 2,
        "voided": False,
        "orderId": 789,
    }
    payload.update(changes)
    return payload


class OrderTests(SynchronousTestCase):
    """Orders."""

    def test_types(self) -> None:
        for gateway, wire in (
            (1, OrderType.LIMIT),
            (2, OrderType.MARKET),
            (3, OrderType.STOP_LIMIT),
            (4, OrderType.STOP),
            (5, OrderType.STOP),
            (6, OrderType.LIMIT),
            (7, OrderType.LIMIT),
        ):
            order = mapping.order(order_payload(type=gateway), None, RECEIVED)
            self.assertIs(order.type, wire, gateway)
            self.assertTrue(mapping.has_known_type(order_payload(type=gateway)))

    def test_an_unknown_type_is_told_by_its_prices(self) -> None:
        limit, stop = Decimal(21000), Decimal(20990)
        for prices, wire in (
            ({"limitPrice": limit, "stopPrice": stop}, OrderType.STOP_LIMIT),
            ({"stopPrice": stop}, OrderType.STOP),
            ({"limitPrice": limit}, OrderType.LIMIT),
            ({}, OrderType.MARKET),
        ):
            for unknown in (0, 8, 99):
                payload = order_payload(type=unknown, **prices)
                self.assertIs(mapping.order(payload, None, RECEIVED).type, wire)
                self.assertFalse(mapping.has_known_type(payload))

    def test_sides(self) -> None:
        for gateway, wire in ((0, OrderSide.BUY), (1, OrderSide.SELL)):
            self.assertIs(mapping.order(order_payload(side=gateway), None, RECEIVED).side, wire)

    def test_states(self) -> None:
        for gateway, wire in (
            (0, OrderState.ACTIVE),
            (1, OrderState.ACTIVE),
            (2, OrderState.FILLED),
            (3, OrderState.CANCELED),
            (4, OrderState.CANCELED),
            (5, OrderState.REJECTED),
            (6, OrderState.ACTIVE),
            (7, OrderState.ACTIVE),
            (8, OrderState.ACTIVE),
        ):
            self.assertIs(mapping.order(order_payload(status=gateway), None, RECEIVED).state, wire)

    def test_fields(self) -> None:
        order = mapping.order(
            order_payload(limitPrice=Decimal("21000.000000000"), stopPrice=20990), None, RECEIVED
        )
        self.assertEqual((order.id, order.contract_id, order.size), (789, MNQ, 3))
        self.assertEqual((order.limit_price, order.stop_price), (Decimal(21000), Decimal(20990)))
        self.assertEqual(order.created_at, datetime(2025, 1, 17, 14, 45, 15, 123000, UTC))
        self.assertEqual(order.updated_at, datetime(2025, 1, 17, 14, 45, 15, 500000, UTC))

    def test_missing_prices_are_none_and_a_missing_update_is_now(self) -> None:
        for absent in ({"limitPrice": None, "stopPrice": None}, {}):
            order = mapping.order(order_payload(updateTimestamp=None, **absent), None, RECEIVED)
            self.assertEqual((order.limit_price, order.stop_price), (None, None))
            self.assertEqual(order.updated_at, RECEIVED)

    def test_what_cannot_be_read_is_named(self) -> None:
        for changes, field in (
            ({"side": 2}, "side"),
            ({"side": None}, "side"),
            ({"side": False}, "side"),
            ({"status": 9}, "status"),
            ({"id": "789"}, "id"),
            ({"size": -1}, "size"),
            ({"size": Decimal("1.5")}, "size"),
            ({"size": True}, "size"),
            ({"contractId": ""}, "contractId"),
            ({"contractId": "x" * 65}, "contractId"),
            ({"limitPrice": "21000"}, "limitPrice"),
            ({"limitPrice": Decimal("NaN")}, "limitPrice"),
            ({"limitPrice": Decimal("1e99")}, "limitPrice"),
            ({"creationTimestamp": None}, "creationTimestamp"),
            ({"creationTimestamp": "soon"}, "creationTimestamp"),
        ):
            error = self.assertRaises(
                MappingError, mapping.order, order_payload(**changes), None, RECEIVED
            )
            self.assertEqual(error.field, f"GatewayUserOrder.{field}")


class PositionTests(SynchronousTestCase):
    """Positions."""

    def test_types(self) -> None:
        for gateway, wire in ((1, PositionType.LONG), (2, PositionType.SHORT)):
            self.assertIs(
                mapping.position(position_payload(type=gateway), None, RECEIVED).type, wire
            )

    def test_a_closed_position_keeps_the_side_and_average_last_known(self) -> None:
        last = GatewayUserPosition(
            id=456,
            contract_id=MNQ,
            type=PositionType.SHORT,
            size=2,
            average_price=Decimal("21000.25"),
            created_at=RECEIVED,
            updated_at=RECEIVED,
        )
        payload = position_payload(type=0, size=0, averagePrice=None)
        closed = mapping.position(payload, last, RECEIVED)
        self.assertEqual((closed.size, closed.type), (0, PositionType.SHORT))
        self.assertEqual(closed.average_price, Decimal("21000.25"))

    def test_what_comes_later_is_newer_though_the_clock_was_set_back(self) -> None:
        last = mapping.position(position_payload(), None, RECEIVED)
        earlier = RECEIVED - timedelta(hours=1)
        closed = mapping.position(position_payload(type=0, size=0), last, earlier)
        self.assertEqual(closed.updated_at, RECEIVED)
        untimed = order_payload(updateTimestamp=None)
        order = mapping.order(untimed, mapping.order(untimed, None, RECEIVED), earlier)
        self.assertEqual(order.updated_at, RECEIVED)

    def test_of_an_open_position_neither_side_nor_average_is_guessed(self) -> None:
        last = mapping.position(position_payload(type=2), None, RECEIVED)
        for name, values in (("type", (0, None)), ("averagePrice", (None,))):
            for value in values:
                for known in (last, None):
                    payload = position_payload(**{name: value})
                    error = self.assertRaises(
                        MappingError, mapping.position, payload, known, RECEIVED
                    )
                    self.assertEqual(error.field, f"GatewayUserPosition.{name}")

    def test_a_closed_position_of_unknown_side_is_long(self) -> None:
        closed = mapping.position(position_payload(type=0, size=0), None, RECEIVED)
        self.assertIs(closed.type, PositionType.LONG)

    def test_fields(self) -> None:
        position = mapping.position(position_payload(), None, RECEIVED)
        self.assertEqual((position.id, position.contract_id, position.size), (456, MNQ, 2))
        self.assertEqual(position.average_price, Decimal("21000.50"))
        self.assertEqual(position.created_at, datetime(2025, 1, 17, 14, 45, 15, 123000, UTC))
        self.assertEqual(position.updated_at, RECEIVED)
        later = RECEIVED + timedelta(seconds=1)
        payload = position_payload(updateTimestamp=later.isoformat())
        self.assertEqual(mapping.position(payload, None, RECEIVED).updated_at, later)

    def test_an_average_without_end_is_cut_to_nine_places(self) -> None:
        payload = position_payload(averagePrice=Decimal(63001) / 3)
        average = mapping.position(payload, None, RECEIVED).average_price
        self.assertEqual(str(average), "21000.333333333")

    def test_a_position_without_an_average_ever_cannot_be_read(self) -> None:
        payload = position_payload()
        del payload["averagePrice"]
        error = self.assertRaises(MappingError, mapping.position, payload, None, RECEIVED)
        self.assertEqual(error.field, "GatewayUserPosition.averagePrice")


class TradeTests(SynchronousTestCase):
    """Trades."""

    def test_a_full_turn(self) -> None:
        trade = mapping.trade(trade_payload(), RECEIVED)
        assert trade is not None
        self.assertEqual((trade.id, trade.contract_id, trade.quantity), (101112, MNQ, 2))
        self.assertEqual(trade.profit_and_loss, Decimal("-45.50"))
        self.assertEqual(trade.execution_time, datetime(2025, 1, 17, 14, 45, 15, 123000, UTC))
        self.assertEqual(trade.timestamp, RECEIVED)

    def test_half_turns_and_voided_trades_are_none(self) -> None:
        half_turn = trade_payload()
        del half_turn["profitAndLoss"]
        for payload in (half_turn, trade_payload(profitAndLoss=None), trade_payload(voided=True)):
            self.assertEqual(mapping.trade(payload, RECEIVED), None)

    def test_a_scratch_trade_is_one(self) -> None:
        for scratch in (0, Decimal("0.0")):
            trade = mapping.trade(trade_payload(profitAndLoss=scratch), RECEIVED)
            assert trade is not None
            self.assertEqual(trade.profit_and_loss, Decimal(0))


def received() -> datetime:
    return RECEIVED


class QuoteTests(SynchronousTestCase):
    """Quotes, which come as what has changed."""

    def test_a_quote_is_held_until_bid_ask_and_last_are_known(self) -> None:
        book = QuoteBook()
        self.assertEqual(book.merge(MNQ, {"bestBid": Decimal(1)}, received), None)
        self.assertEqual(
            book.merge(MNQ, {"bestAsk": Decimal(2), "lastPrice": None}, received), None
        )
        quote = book.merge(MNQ, {"lastPrice": Decimal("1.5")}, received)
        assert quote is not None
        self.assertEqual((quote.bid, quote.ask, quote.last), (1, 2, Decimal("1.5")))

    def test_what_is_missing_is_as_before_and_not_zero(self) -> None:
        book = QuoteBook()
        book.merge(MNQ, {"bestBid": 1, "bestAsk": 2, "lastPrice": 1}, received)
        quote = book.merge(MNQ, {"bestBid": None, "lastPrice": 2}, received)
        assert quote is not None
        self.assertEqual((quote.bid, quote.ask, quote.last), (1, 2, 2))

    def test_contracts_of_one_symbol_are_held_apart(self) -> None:
        book = QuoteBook()
        full = {"symbol": "F.US.MNQ", "bestBid": 1, "bestAsk": 2, "lastPrice": 1}
        book.merge(MNQ, full, received)
        self.assertEqual(book.merge("CON.F.US.MNQ.Z25", {"bestBid": 5}, received), None)

    def test_the_time_is_the_quotes_else_that_of_the_update_else_now(self) -> None:
        full = {"bestBid": 1, "bestAsk": 2, "lastPrice": 1}
        stamp = datetime(2025, 1, 17, 14, 45, 15, 500000, UTC)
        for stamps, expected in (
            ({"timestamp": UPDATED, "lastUpdated": "no time"}, stamp),
            ({"timestamp": None, "lastUpdated": UPDATED}, stamp),
            ({"timestamp": "2025-01-17T14:45:15.5"}, stamp),
            ({"timestamp": UPDATED, "lastUpdated": "2024-01-01T00:00:00Z"}, stamp),
            ({"lastUpdated": UPDATED}, stamp),
            ({"lastUpdated": "2025-01-17T14:45:15.5"}, stamp),
            ({}, RECEIVED),
        ):
            quote = QuoteBook().merge(MNQ, {**full, **stamps}, received)
            assert quote is not None
            self.assertEqual(quote.timestamp, expected)

    def test_nothing_is_kept_of_a_payload_that_cannot_be_read(self) -> None:
        book = QuoteBook()
        book.merge(MNQ, {"bestBid": 1, "bestAsk": 2, "lastPrice": 1}, received)
        for name, wrong in (
            ("bestBid", True),
            ("bestAsk", 10**15),
            ("bestAsk", Decimal("1E+999999")),
            ("lastPrice", "x"),
            ("lastPrice", "1.5"),
            ("timestamp", 7),
            ("timestamp", "yesterday"),
            ("lastUpdated", "yesterday"),
        ):
            with self.subTest(name=name, wrong=wrong):
                payload = {"bestBid": 7, name: wrong}
                error = self.assertRaises(MappingError, book.merge, MNQ, payload, received)
                self.assertEqual((error.field, error.value), (f"GatewayQuote.{name}", wrong))
        quote = book.merge(MNQ, {"bestAsk": 3}, received)
        assert quote is not None
        self.assertEqual((quote.bid, quote.ask), (1, 3))

    def test_a_time_before_all_times_is_no_time(self) -> None:
        full = {"bestBid": 1, "bestAsk": 2, "lastPrice": 1}
        payload = {**full, "timestamp": "0001-01-01T00:00:00+14:00"}
        error = self.assertRaises(MappingError, QuoteBook().merge, MNQ, payload, received)
        self.assertIn("0001-01-01", str(error))

    def test_one_that_is_dated_ahead_keeps_out_those_that_follow_for_seconds(self) -> None:
        book = QuoteBook()
        full = {"bestBid": 1, "bestAsk": 2, "lastPrice": 1}
        ahead = (RECEIVED + timedelta(hours=1)).isoformat()
        quote = book.merge(MNQ, {**full, "timestamp": ahead}, received)
        assert quote is not None
        self.assertEqual(quote.timestamp, RECEIVED + MAX_AHEAD)
        later = RECEIVED + MAX_AHEAD
        payload = {"lastPrice": 5, "timestamp": later.isoformat()}
        quote = book.merge(MNQ, payload, lambda: later)
        assert quote is not None
        self.assertEqual((quote.last, quote.timestamp), (5, later))

    def test_of_a_broker_whose_clock_is_ahead_each_is_told(self) -> None:
        book, ahead = QuoteBook(), timedelta(seconds=30)
        full = {"bestBid": 1, "bestAsk": 2}
        for second in range(10):
            now = RECEIVED + timedelta(seconds=second)
            payload = {**full, "lastPrice": second, "timestamp": (now + ahead).isoformat()}
            quote = book.merge(MNQ, payload, lambda now=now: now)  # type: ignore[misc]
            assert quote is not None
            self.assertEqual((quote.last, quote.timestamp), (second, now + MAX_AHEAD))

    def test_one_without_a_time_is_newer_though_the_clock_was_set_back(self) -> None:
        book = QuoteBook()
        book.merge(MNQ, {"bestBid": 1, "bestAsk": 2, "lastPrice": 1}, received)
        quote = book.merge(MNQ, {"lastPrice": 5}, lambda: RECEIVED - timedelta(hours=1))
        assert quote is not None
        self.assertEqual((quote.last, quote.timestamp), (5, RECEIVED))

    def test_of_one_that_comes_late_nothing_is_kept(self) -> None:
        book = QuoteBook()
        full = {"bestBid": 1, "bestAsk": 2, "lastPrice": 1, "timestamp": UPDATED}
        book.merge(MNQ, full, received)
        late = {"lastPrice": 9, "timestamp": "2025-01-17T14:45:14Z"}
        quote = book.merge(MNQ, late, received)
        assert quote is not None
        self.assertEqual(quote.last, 1)
        quote = book.merge(MNQ, {"bestBid": 2, "timestamp": "2025-01-17T14:45:16Z"}, received)
        assert quote is not None
        self.assertEqual((quote.bid, quote.last), (2, 1))

    def test_prices_are_plain_before_the_quote_is_complete_too(self) -> None:
        book = QuoteBook()
        book.merge(MNQ, {"bestBid": Decimal("2.1E+4"), "bestAsk": Decimal("0E+9")}, received)
        best_bid_ask = book.best_bid_ask(MNQ)
        self.assertEqual((str(best_bid_ask.bid), str(best_bid_ask.ask)), ("21000", "0"))


class ContractTests(SynchronousTestCase):
    """Contracts."""

    def test_fields(self) -> None:
        payload = {
            "id": MNQ,
            "name": "MNQU5",
            "tickSize": Decimal("0.25"),
            "tickValue": Decimal("0.5"),
        }
        contract = mapping.contract(payload)
        self.assertEqual((contract.id, contract.name, contract.root), (MNQ, "MNQU5", "MNQ"))
        self.assertEqual(
            (contract.tick_size, contract.tick_value), (Decimal("0.25"), Decimal("0.5"))
        )

    def test_a_tick_of_nothing_is_refused(self) -> None:
        for field in ("tickSize", "tickValue"):
            payload = {"id": MNQ, "name": "MNQU5", "tickSize": 1, "tickValue": 1, field: 0}
            error = self.assertRaises(MappingError, mapping.contract, payload)
            self.assertEqual(error.field, f"contract.{field}")


class WholeNumberTests(SynchronousTestCase):
    """Ids, sizes and enumerations, in whatever form the gateway writes them."""

    def test_zeros_behind_the_point_are_nothing(self) -> None:
        decimals = {
            name: Decimal(f"{value}.000000000")
            for name, value in order_payload().items()
            if isinstance(value, int)
        }
        self.assertEqual(
            mapping.order(order_payload(**decimals), None, RECEIVED),
            mapping.order(order_payload(), None, RECEIVED),
        )

    def test_what_the_journal_cannot_hold_cannot_be_read(self) -> None:
        for huge in (2**63, -(2**63), 10**30, Decimal("1E+999999999"), Decimal("1E+18")):
            with self.subTest(huge=huge):
                payload = order_payload(size=huge)
                self.assertRaises(MappingError, mapping.order, payload, None, RECEIVED)
        for huge in (2**63, -(2**63), Decimal("1E+999999999")):
            payload = order_payload(id=huge)
            self.assertRaises(MappingError, mapping.order, payload, None, RECEIVED)
