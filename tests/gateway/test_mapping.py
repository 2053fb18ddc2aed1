"""Every row of the mapping from the gateway's payloads to riskd's events."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway import mapping, targets
from riskd.gateway.broker_text import MAX_LENGTH
from riskd.gateway.commands import (
    CancelOrder,
    CloseContract,
    ModifyOrder,
    PartialCloseContract,
    PlaceOrder,
)
from riskd.gateway.fields import MappingError
from riskd.host.secrets import Secret
from riskd.model.broker import (
    BrokerAccount,
    BrokerOrder,
    BrokerPosition,
    BrokerQuote,
    BrokerTrade,
    Unreadable,
)
from riskd.model.events import OrderSide, OrderState, OrderType, PositionType
from riskd.model.moments import NEVER

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
            order = mapping.order(order_payload(type=gateway))
            self.assertIs(order.type, wire, gateway)

    def test_the_prices_of_an_order_of_unknown_type_give_its_type(self) -> None:
        limit, stop = Decimal(21000), Decimal(20990)
        for prices, wire in (
            ({"limitPrice": limit, "stopPrice": stop}, OrderType.STOP_LIMIT),
            ({"stopPrice": stop}, OrderType.STOP),
            ({"limitPrice": limit}, OrderType.LIMIT),
            ({}, OrderType.MARKET),
        ):
            for unknown in (0, 8, 99, None, True, "2", [2], {}):
                payload = order_payload(type=unknown, **prices)
                self.assertIs(mapping.order(payload).type, wire)

    def test_order_sides(self) -> None:
        for gateway, wire in ((0, OrderSide.BUY), (1, OrderSide.SELL)):
            self.assertIs(mapping.order(order_payload(side=gateway)).side, wire)

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
            self.assertIs(mapping.order(order_payload(status=gateway)).state, wire)

    def test_order_fields(self) -> None:
        order = mapping.order(
            order_payload(limitPrice=Decimal("21000.000000000"), stopPrice=20990)
        )
        self.assertEqual((order.id, order.contract_id, order.size), (789, MNQ, 3))
        self.assertEqual((order.limit_price, order.stop_price), (Decimal(21000), Decimal(20990)))
        self.assertEqual(order.created_at, datetime(2025, 1, 17, 14, 45, 15, 123000, UTC))
        self.assertEqual(order.updated_at, datetime(2025, 1, 17, 14, 45, 15, 500000, UTC))

    def test_missing_prices_and_a_missing_stamp_are_none(self) -> None:
        for absent in ({"limitPrice": None, "stopPrice": None}, {}):
            order = mapping.order(order_payload(updateTimestamp=None, **absent))
            self.assertEqual((order.limit_price, order.stop_price), (None, None))
            self.assertEqual((order.stamp, order.updated_at), (None, order.created_at))

    def test_what_the_wire_drops_is_kept(self) -> None:
        order = mapping.order(order_payload(status=8, customTag="riskd-stop-1"))
        self.assertEqual(
            (order.filled, order.is_open, order.custom_tag), (1, False, "riskd-stop-1")
        )
        self.assertEqual(order.stamp, datetime(2025, 1, 17, 14, 45, 15, 500000, UTC))
        self.assertEqual((order.remaining, order.has_ended), (2, False))
        bare = mapping.order({**order_payload(), "fillVolume": None})
        self.assertEqual((bare.filled, bare.is_open, bare.custom_tag), (0, True, ""))

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
            ({"creationTimestamp": "soon"}, "creationTimestamp"),
        ):
            error = self.assertRaises(MappingError, mapping.order, order_payload(**changes))
            self.assertEqual(error.field, f"GatewayUserOrder.{field}")


class PositionTests(SynchronousTestCase):
    """Positions."""

    def test_position_types(self) -> None:
        for gateway, wire in ((1, PositionType.LONG), (2, PositionType.SHORT)):
            self.assertIs(mapping.position(position_payload(type=gateway)).type, wire)

    def test_side_and_average_of_an_open_position_are_never_guessed(self) -> None:
        for name, values in (("type", (0, None)), ("averagePrice", (None,))):
            for value in values:
                payload = position_payload(**{name: value})
                error = self.assertRaises(MappingError, mapping.position, payload)
                self.assertEqual(error.field, f"GatewayUserPosition.{name}")

    def test_a_closed_position_of_unknown_side_is_long(self) -> None:
        closed = mapping.position(position_payload(type=0, size=0, averagePrice=None))
        self.assertEqual((closed.type, closed.average_price), (PositionType.LONG, 0))

    def test_position_fields(self) -> None:
        position = mapping.position(position_payload())
        self.assertEqual((position.id, position.contract_id, position.size), (456, MNQ, 2))
        self.assertEqual(position.average_price, Decimal("21000.50"))
        self.assertEqual(position.created_at, datetime(2025, 1, 17, 14, 45, 15, 123000, UTC))
        self.assertEqual((position.stamp, position.updated_at), (None, position.created_at))
        for stamp, expected in (
            (UPDATED, datetime(2025, 1, 17, 14, 45, 15, 500000, UTC)),
            ("0001-01-01T00:00:00Z", None),
        ):
            position = mapping.position(position_payload(updateTimestamp=stamp))
            self.assertEqual(position.stamp, expected)

    def test_an_average_of_endless_places_is_rounded_to_nine(self) -> None:
        payload = position_payload(averagePrice=Decimal(63001) / 3)
        average = mapping.position(payload).average_price
        self.assertEqual(str(average), "21000.333333333")

    def test_a_position_whose_average_was_never_known_is_an_error(self) -> None:
        payload = position_payload()
        del payload["averagePrice"]
        error = self.assertRaises(MappingError, mapping.position, payload)
        self.assertEqual(error.field, "GatewayUserPosition.averagePrice")


class TradeTests(SynchronousTestCase):
    """Trades."""

    def test_full_turn_fields(self) -> None:
        trade = mapping.trade(trade_payload())
        self.assertEqual((trade.id, trade.contract_id, trade.quantity), (101112, MNQ, 2))
        self.assertEqual(trade.profit_and_loss, Decimal("-45.50"))
        self.assertEqual(trade.execution_time, datetime(2025, 1, 17, 14, 45, 15, 123000, UTC))
        self.assertEqual((trade.side, trade.price), (OrderSide.SELL, Decimal(21000)))
        self.assertEqual(
            (trade.order_id, trade.fees, trade.commissions), (789, Decimal("0.74"), 0)
        )
        self.assertEqual((trade.is_full_turn, trade.is_voided), (True, False))

    def test_a_trade_that_is_long_or_nested_deeply_is_read_and_not_kept(self) -> None:
        deep: list[Any] = []
        for _level in range(5000):
            deep = [deep]
        for more in ("x" * 5000, deep):
            trade = mapping.trade(trade_payload(id=77, more=more))
            self.assertEqual(trade.id, 77)
            self.assertNotIn(trade, mapping._TRADES.values())

    def test_a_trade_that_was_read_before_is_the_same_value(self) -> None:
        known = mapping.trade(trade_payload())
        self.assertIs(mapping.trade(trade_payload()), known)
        self.assertEqual(mapping.trade(trade_payload(voided=True)).is_voided, True)
        # True equals 1, and is no number.
        mapping.trade(trade_payload(id=1))
        with self.assertRaises(MappingError):
            mapping.trade(trade_payload(id=True))

    def test_a_half_turn_realizes_nothing(self) -> None:
        half_turn = trade_payload()
        del half_turn["profitAndLoss"]
        for payload in (half_turn, trade_payload(profitAndLoss=None)):
            trade = mapping.trade(payload)
            self.assertEqual((trade.is_full_turn, trade.profit_and_loss), (False, 0))
            self.assertEqual(trade.charges, Decimal("0.74"))

    def test_a_trade_of_no_order_has_no_order_id(self) -> None:
        for nothing in (None, 0, Decimal("0E-9")):
            self.assertIsNone(mapping.trade(trade_payload(orderId=nothing)).order_id)

    def test_amounts_have_no_superfluous_zeros(self) -> None:
        for written, expected in (
            ("-400.000000000", "-400"),
            ("-45.500000000", "-45.5"),
            ("-45.50", "-45.50"),
            ("100", "100"),
            ("1E+2", "100"),
            ("-1234567890.250000000000", "-1234567890.25"),
        ):
            trade = mapping.trade(trade_payload(profitAndLoss=Decimal(written)))
            self.assertEqual(str(trade.profit_and_loss), expected)

    def test_a_missing_date_is_the_empty_one(self) -> None:
        payload = trade_payload(creationTimestamp=None)
        self.assertEqual(mapping.trade(payload).execution_time, NEVER)
        self.assertEqual(mapping.order(order_payload(creationTimestamp=None)).created_at, NEVER)
        del payload["creationTimestamp"]
        self.assertEqual(mapping.trade(payload).execution_time, NEVER)

    def test_a_voided_trade_says_so(self) -> None:
        self.assertTrue(mapping.trade(trade_payload(voided=True)).is_voided)

    def test_a_scratch_trade_is_a_trade(self) -> None:
        for scratch in (0, Decimal("0.0")):
            trade = mapping.trade(trade_payload(profitAndLoss=scratch))
            self.assertTrue(trade.is_full_turn)
            self.assertEqual(trade.profit_and_loss, Decimal(0))

    def test_amounts_computed_in_binary_are_the_cents_that_they_mean(self) -> None:
        payload = trade_payload(
            profitAndLoss=Decimal("-249.99999999999997"),
            fees=Decimal("0.37000000000000005"),
            commissions=Decimal("0.24999999999999997"),
        )
        trade = mapping.trade(payload)
        self.assertEqual(trade.profit_and_loss, Decimal(-250))
        self.assertEqual(trade.charges, Decimal("0.62"))

    def test_other_amounts_are_kept_exactly(self) -> None:
        payload = trade_payload(profitAndLoss=Decimal("-249.375"), fees=Decimal("0.3725"))
        trade = mapping.trade(payload)
        self.assertEqual(trade.profit_and_loss, Decimal("-249.375"))
        self.assertEqual(trade.charges, Decimal("0.3725"))

    def test_an_amount_that_is_no_number_is_an_error(self) -> None:
        for wrong in ("7", True, Decimal("NaN"), Decimal("Infinity"), Decimal("1E+16"), []):
            error = self.assertRaises(
                MappingError, mapping.trade, trade_payload(profitAndLoss=wrong)
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


class NewsTests(SynchronousTestCase):
    """Payloads of events, readable or not."""

    def test_each_target_has_its_value(self) -> None:
        for target, payload, kind in (
            (targets.ORDER, order_payload(), BrokerOrder),
            (targets.POSITION, position_payload(), BrokerPosition),
            (targets.TRADE, trade_payload(), BrokerTrade),
            (targets.ACCOUNT, {"id": 123, "canTrade": False}, BrokerAccount),
        ):
            self.assertIsInstance(mapping.news(target, payload), kind)
            self.assertEqual(mapping.account_of(target, payload), 123)

    def test_what_cannot_be_read_keeps_what_can(self) -> None:
        payload = position_payload(size="two")
        self.assertEqual(
            mapping.news(targets.POSITION, payload),
            Unreadable(
                what="GatewayUserPosition",
                why="GatewayUserPosition.size: expected a whole number, got 'two'",
                id=456,
                contract_id=MNQ,
            ),
        )
        unknown = mapping.news(targets.ORDER, {"id": "x", "contractId": ["y"]})
        assert isinstance(unknown, Unreadable)
        self.assertEqual((unknown.id, unknown.contract_id), (None, None))

    def test_a_permission_that_is_neither_yes_nor_no_cannot_be_read(self) -> None:
        self.assertIsInstance(
            mapping.news(targets.ACCOUNT, {"id": 1, "canTrade": "yes"}), Unreadable
        )

    def test_a_balance_that_cannot_be_read_hides_no_permission(self) -> None:
        for balance in ("n/a", True, Decimal("NaN"), Decimal("Infinity"), Decimal("1e30"), []):
            account = mapping.account({"id": 1, "canTrade": False, "balance": balance})
            self.assertEqual((account.can_trade, account.balance), (False, None))
            self.assertIn("GatewayUserAccount.balance: expected a number", account.unreadable)

    def test_a_payload_without_an_account_is_of_none(self) -> None:
        for account_id in (None, "123", ["123"], True):
            self.assertIsNone(mapping.account_of(targets.ORDER, {"accountId": account_id}))


class TextTests(SynchronousTestCase):
    """Texts of the broker, which reach logs, terminals, recordings and files."""

    TEXT = "a\x1b[2J\x9b\x7f\u202eb\nc"
    SHOWN = r"a\x1b[2J\x9b\x7f\u202eb c"

    def test_texts_are_escaped_once_and_here(self) -> None:
        contract = {"id": MNQ, "name": self.TEXT, "tickSize": 1, "tickValue": 1}
        self.assertEqual(mapping.account({"name": self.TEXT}).name, self.SHOWN)
        self.assertEqual(mapping.contract(contract).name, self.SHOWN)
        order = mapping.order(order_payload(customTag=self.TEXT))
        self.assertEqual(order.custom_tag, self.SHOWN)

    def test_a_text_without_an_end_is_cut(self) -> None:
        self.assertEqual(mapping.account({"name": "x" * 9_999_999}).name, "x" * MAX_LENGTH)

    def test_an_echo_of_a_secret_is_removed_from_texts_and_errors(self) -> None:
        echo = "a-key-that-only-the-broker-knows"
        secret = Secret(echo)
        for payload in (order_payload(customTag=f"x {echo}"), order_payload(size=echo)):
            self.assertNotIn(secret.reveal(), repr(mapping.news(targets.ORDER, payload)))
        self.assertNotIn(echo[:12], repr(mapping.news(targets.ORDER, order_payload(id=[echo]))))


class QuoteTests(SynchronousTestCase):
    """Updates of quotes."""

    def test_only_what_is_given_is_an_update(self) -> None:
        self.assertEqual(
            mapping.quote(MNQ, {"bestBid": 1, "lastPrice": None, "symbol": "F.US.MNQ"}),
            BrokerQuote(MNQ, bid=Decimal(1)),
        )

    def test_prices_have_no_exponent(self) -> None:
        update = mapping.quote(MNQ, {"bestBid": Decimal("2.1E+4"), "bestAsk": Decimal("0E+9")})
        self.assertEqual((str(update.bid), str(update.ask)), ("21000", "0"))

    def test_a_quote_is_stamped_by_timestamp_else_last_updated(self) -> None:
        stamp = datetime(2025, 1, 17, 14, 45, 15, 500000, UTC)
        for stamps, expected in (
            ({"timestamp": None, "lastUpdated": UPDATED}, stamp),
            ({"timestamp": "2025-01-17T14:45:15.5"}, stamp),
            ({"timestamp": UPDATED, "lastUpdated": "no time"}, stamp),
            ({"timestamp": UPDATED, "lastUpdated": "2024-01-01T00:00:00Z"}, stamp),
            ({"lastUpdated": UPDATED}, stamp),
            ({"timestamp": "0001-01-01T00:00:00Z", "lastUpdated": UPDATED}, stamp),
            ({"timestamp": "0001-01-01T00:00:00Z"}, None),
            ({}, None),
        ):
            self.assertEqual(mapping.quote(MNQ, stamps).stamp, expected, stamps)

    def test_an_error_names_field_and_value(self) -> None:
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
                error = self.assertRaises(
                    MappingError, mapping.quote, MNQ, {"bestBid": 7, name: wrong}
                )
                self.assertEqual((error.field, error.value), (f"GatewayQuote.{name}", wrong))


class CommandTests(SynchronousTestCase):
    """Commands in the gateway's own fields."""

    def test_each_command(self) -> None:
        for command, body in (
            (CloseContract(account_id=1, contract_id=MNQ), {"contractId": MNQ}),
            (
                PartialCloseContract(account_id=1, contract_id=MNQ, size=2),
                {"contractId": MNQ, "size": 2},
            ),
            (CancelOrder(account_id=1, order_id=7), {"orderId": 7}),
            (ModifyOrder(account_id=1, order_id=7, size=2), {"orderId": 7, "size": 2}),
            (
                PlaceOrder(
                    account_id=1,
                    contract_id=MNQ,
                    type=OrderType.STOP,
                    side=OrderSide.SELL,
                    size=2,
                    stop_price=Decimal(20990),
                    custom_tag="tag",
                ),
                {
                    "contractId": MNQ,
                    "type": 4,
                    "side": 1,
                    "size": 2,
                    "stopPrice": Decimal(20990),
                    "customTag": "tag",
                },
            ),
        ):
            self.assertEqual(mapping.body_of(command), {"accountId": 1, **body})

    def test_types_and_sides_are_those_of_the_gateway(self) -> None:
        for kind, placed in (
            (OrderType.MARKET, 2),
            (OrderType.LIMIT, 1),
            (OrderType.STOP, 4),
            (OrderType.STOP_LIMIT, 3),
        ):
            for side, number in ((OrderSide.BUY, 0), (OrderSide.SELL, 1)):
                order = PlaceOrder(account_id=1, contract_id=MNQ, type=kind, side=side, size=1)
                body = mapping.body_of(order)
                self.assertEqual((body["type"], body["side"]), (placed, number))
