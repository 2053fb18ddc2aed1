"""Every row of the mapping from the gateway's payloads to riskd's events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway import mapping
from riskd.gateway.fields import MappingError
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

    def test_order_types(self) -> None:
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

    def test_the_prices_of_an_order_of_unknown_type_give_its_type(self) -> None:
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

    def test_order_sides(self) -> None:
        for gateway, wire in ((0, OrderSide.BUY), (1, OrderSide.SELL)):
            self.assertIs(mapping.order(order_payload(side=gateway), None, RECEIVED).side, wire)

    def test_order_states(self) -> None:
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

    def test_order_fields(self) -> None:
        order = mapping.order(
            order_payload(limitPrice=Decimal("21000.000000000"), stopPrice=20990), None, RECEIVED
        )
        self.assertEqual((order.id, order.contract_id, order.size), (789, MNQ, 3))
        self.assertEqual((order.limit_price, order.stop_price), (Decimal(21000), Decimal(20990)))
        self.assertEqual(order.created_at, datetime(2025, 1, 17, 14, 45, 15, 123000, UTC))
        self.assertEqual(order.updated_at, datetime(2025, 1, 17, 14, 45, 15, 500000, UTC))

    def test_missing_prices_are_none_and_a_missing_update_time_is_the_receipt(self) -> None:
        for absent in ({"limitPrice": None, "stopPrice": None}, {}):
            order = mapping.order(order_payload(updateTimestamp=None, **absent), None, RECEIVED)
            self.assertEqual((order.limit_price, order.stop_price), (None, None))
            self.assertEqual(order.updated_at, RECEIVED)

    def test_an_error_names_the_field_that_cannot_be_read(self) -> None:
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

    def test_position_types(self) -> None:
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

    def test_an_update_without_a_time_is_never_older_than_the_last_one(self) -> None:
        last = mapping.position(position_payload(), None, RECEIVED)
        earlier = RECEIVED - timedelta(hours=1)
        closed = mapping.position(position_payload(type=0, size=0), last, earlier)
        self.assertEqual(closed.updated_at, RECEIVED)
        untimed = order_payload(updateTimestamp=None)
        order = mapping.order(untimed, mapping.order(untimed, None, RECEIVED), earlier)
        self.assertEqual(order.updated_at, RECEIVED)

    def test_side_and_average_of_an_open_position_are_never_guessed(self) -> None:
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

    def test_position_fields(self) -> None:
        position = mapping.position(position_payload(), None, RECEIVED)
        self.assertEqual((position.id, position.contract_id, position.size), (456, MNQ, 2))
        self.assertEqual(position.average_price, Decimal("21000.50"))
        self.assertEqual(position.created_at, datetime(2025, 1, 17, 14, 45, 15, 123000, UTC))
        self.assertEqual(position.updated_at, RECEIVED)
        later = RECEIVED + timedelta(seconds=1)
        payload = position_payload(updateTimestamp=later.isoformat())
        self.assertEqual(mapping.position(payload, None, RECEIVED).updated_at, later)

    def test_an_average_of_endless_places_is_rounded_to_nine(self) -> None:
        payload = position_payload(averagePrice=Decimal(63001) / 3)
        average = mapping.position(payload, None, RECEIVED).average_price
        self.assertEqual(str(average), "21000.333333333")

    def test_a_position_whose_average_was_never_known_is_an_error(self) -> None:
        payload = position_payload()
        del payload["averagePrice"]
        error = self.assertRaises(MappingError, mapping.position, payload, None, RECEIVED)
        self.assertEqual(error.field, "GatewayUserPosition.averagePrice")


class TradeTests(SynchronousTestCase):
    """Trades."""

    def test_full_turn_fields(self) -> None:
        trade = mapping.trade(trade_payload(), RECEIVED)
        assert trade is not None
        self.assertEqual((trade.id, trade.contract_id, trade.quantity), (101112, MNQ, 2))
        self.assertEqual(trade.profit_and_loss, Decimal("-45.50"))
        self.assertEqual(trade.execution_time, datetime(2025, 1, 17, 14, 45, 15, 123000, UTC))
        self.assertEqual(trade.timestamp, RECEIVED)

    def test_a_half_turn_or_voided_trade_gives_no_event(self) -> None:
        half_turn = trade_payload()
        del half_turn["profitAndLoss"]
        for payload in (half_turn, trade_payload(profitAndLoss=None), trade_payload(voided=True)):
            self.assertEqual(mapping.trade(payload, RECEIVED), None)

    def test_a_scratch_trade_is_a_trade(self) -> None:
        for scratch in (0, Decimal("0.0")):
            trade = mapping.trade(trade_payload(profitAndLoss=scratch), RECEIVED)
            assert trade is not None
            self.assertEqual(trade.profit_and_loss, Decimal(0))

    def test_amounts_computed_in_binary_are_the_cents_that_they_mean(self) -> None:
        payload = trade_payload(
            profitAndLoss=Decimal("-249.99999999999997"),
            fees=Decimal("0.37000000000000005"),
            commissions=Decimal("0.24999999999999997"),
        )
        trade = mapping.trade(payload, RECEIVED)
        assert trade is not None
        self.assertEqual(trade.profit_and_loss, Decimal(-250))
        self.assertEqual(mapping.charge(payload)[1].amount, Decimal("0.62"))

    def test_other_amounts_are_kept_exactly(self) -> None:
        payload = trade_payload(profitAndLoss=Decimal("-249.375"), fees=Decimal("0.3725"))
        trade = mapping.trade(payload, RECEIVED)
        assert trade is not None
        self.assertEqual(trade.profit_and_loss, Decimal("-249.375"))
        self.assertEqual(mapping.charge(payload)[1].amount, Decimal("0.3725"))

    def test_an_amount_that_is_no_number_is_an_error(self) -> None:
        for wrong in ("7", True, Decimal("NaN"), Decimal("Infinity"), Decimal("1E+16"), []):
            error = self.assertRaises(
                MappingError, mapping.trade, trade_payload(profitAndLoss=wrong), RECEIVED
            )
            self.assertEqual(error.field, "GatewayUserTrade.profitAndLoss")


class ContractTests(SynchronousTestCase):
    """Contracts."""

    def test_contract_fields(self) -> None:
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

    def test_a_tick_size_or_value_of_zero_is_an_error(self) -> None:
        for field in ("tickSize", "tickValue"):
            payload = {"id": MNQ, "name": "MNQU5", "tickSize": 1, "tickValue": 1, field: 0}
            error = self.assertRaises(MappingError, mapping.contract, payload)
            self.assertEqual(error.field, f"contract.{field}")
