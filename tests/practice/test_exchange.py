"""The practice exchange: its requests, refusals and messages."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import Faults
from riskd.gateway.enums import (
    GatewayOrderStatus,
    GatewayPositionType,
)
from riskd.gateway.interface import GatewayRefusedError
from riskd.practice.records import STARTING_BALANCE, Message, Quote
from tests.support.practice_exchange import (
    ACCOUNT,
    ACCOUNT_EVENT,
    BUY,
    ES,
    FEES,
    LIMIT,
    MARKET,
    MNQ,
    NOW,
    ORDER,
    OTHER_ACCOUNT,
    POSITION,
    SELL,
    STOP,
    STOP_LIMIT,
    TRADE,
    ExchangeDriver,
    RefusalTestCase,
    contract_of,
    fresh_exchange,
    prices,
)


class EventTests(SynchronousTestCase):
    """The order and the payloads of messages."""

    def setUp(self) -> None:
        self.driver = ExchangeDriver()
        self.driver.move("21000.00")

    def test_a_fill_is_reported_as_order_trade_position_account(self) -> None:
        self.driver.clear()
        self.driver.order(BUY, 1)
        self.assertEqual(
            [message.target for message in self.driver.messages],
            [ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT],
        )
        self.assertEqual(
            [order["status"] for order in self.driver.payloads(ORDER)],
            [GatewayOrderStatus.OPEN, GatewayOrderStatus.FILLED],
        )

    def test_a_flip_reports_the_close_before_the_opening(self) -> None:
        self.driver.order(BUY, 1)
        self.driver.clear()
        self.driver.order(SELL, 2)
        self.assertEqual(
            [message.target for message in self.driver.messages],
            [ORDER, ORDER, TRADE, POSITION, TRADE, POSITION, ACCOUNT_EVENT],
        )

    def test_a_quote_is_reported_before_the_orders_it_fills(self) -> None:
        self.driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        self.driver.clear()
        self.driver.move("20980.00")
        self.assertEqual(
            [message.target for message in self.driver.messages],
            ["GatewayQuote", ORDER, TRADE, POSITION, ACCOUNT_EVENT],
        )

    def test_each_message_is_returned_once(self) -> None:
        self.driver.exchange.move_market(
            MNQ.id, Quote(Decimal(1), Decimal("1.25"), Decimal(1)), self.driver.now
        )
        self.assertEqual(len(self.driver.exchange.take_messages()), 1)
        self.assertEqual(self.driver.exchange.take_messages(), [])

    def test_a_quote_has_the_fields_of_the_gateway(self) -> None:
        self.driver.clear()
        self.driver.move("21000.50", "21000.75")
        self.assertEqual(
            self.driver.messages,
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

    def test_an_order_has_the_fields_of_the_gateway(self) -> None:
        """A price or a tag that the order does not have is left out."""
        order_id = self.driver.order(SELL, 2, LIMIT, **prices(limit="21010.00"))
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
        self.assertEqual(self.driver.last(ORDER), working)
        self.assertEqual(self.driver.exchange.store.open_orders(ACCOUNT), [working])
        self.driver.now += timedelta(seconds=90, microseconds=250000)
        self.driver.move("21020.00")
        self.assertEqual(
            self.driver.last(ORDER),
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
            self.driver.order(side, 1, order_type, **prices(**given_prices))
            order = self.driver.last(ORDER)
            self.assertEqual((order["type"], order["side"]), numbers)
            self.assertEqual((type(order["type"]), type(order["side"])), (int, int))
            named = {name[:-5] for name in order if name in ("limitPrice", "stopPrice")}
            self.assertEqual(named, set(given_prices))

    def test_a_custom_tag_stays_with_its_order(self) -> None:
        self.driver.order(BUY, 1, customTag="RULE-003")
        self.assertEqual(
            [order["customTag"] for order in self.driver.payloads(ORDER)], ["RULE-003"] * 2
        )

    def test_a_trade_has_the_fields_of_the_gateway(self) -> None:
        self.driver.order(BUY, 1)
        order_id = self.driver.order(SELL, 1)
        self.assertEqual(
            self.driver.last(TRADE),
            {
                "id": self.driver.last(TRADE)["id"],
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

    def test_a_position_has_the_fields_of_the_gateway(self) -> None:
        self.driver.order(SELL, 2)
        held = self.driver.last(POSITION)
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
        self.assertEqual(self.driver.exchange.store.open_positions(ACCOUNT), [held])

    def test_a_position_keeps_its_id_and_creation_time(self) -> None:
        self.driver.order(BUY, 2)
        self.driver.now += timedelta(minutes=1)
        self.driver.order(BUY, 1)
        self.driver.order(SELL, 3)
        reported = self.driver.payloads(POSITION)
        self.assertEqual([position["size"] for position in reported], [2, 3, 0])
        self.assertEqual(
            {(position["id"], position["creationTimestamp"]) for position in reported},
            {(reported[0]["id"], NOW.isoformat())},
        )

    def test_an_account_has_the_fields_of_the_gateway(self) -> None:
        self.driver.order(SELL, 1)
        self.assertEqual(
            self.driver.last(ACCOUNT_EVENT),
            {
                "id": ACCOUNT,
                "name": "PRACTICE-123",
                "balance": Decimal("49999.63"),
                "canTrade": True,
                "isVisible": True,
                "simulated": True,
            },
        )

    def test_a_contract_has_the_fields_of_the_gateway(self) -> None:
        self.assertEqual(
            self.driver.exchange.store.contract(ES.id),
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

    def test_ids_count_up_from_the_first(self) -> None:
        exchange = fresh_exchange((ACCOUNT,), (MNQ,), first_id=1_000_000)
        exchange.move_market(MNQ.id, Quote(Decimal(10), Decimal("10.25"), Decimal(10)), NOW)
        order = {"contractId": MNQ.id, "type": 2, "side": 0, "size": 1}
        self.assertEqual(exchange.place_order(ACCOUNT, order, NOW), 1_000_000)

    def test_a_contract_has_a_quote_only_after_its_first(self) -> None:
        self.assertIsNone(self.driver.exchange.quote(ES.id))
        self.assertEqual(
            self.driver.exchange.quote(MNQ.id),
            Quote(Decimal("21000.00"), Decimal("21000.25"), Decimal("21000.00")),
        )


class RefusalTests(RefusalTestCase):
    """Refusals, with the codes that the gateway documents."""

    def setUp(self) -> None:
        super().setUp()
        self.driver.clear()

    def test_every_request_for_an_unknown_account_is_refused(self) -> None:
        exchange = self.driver.exchange
        for request, act in (
            ("Order/place", lambda: self.driver.order(BUY, 1, account_id=9)),
            ("Order/cancel", lambda: self.driver.cancel(1, account_id=9)),
            ("Order/modify", lambda: self.driver.modify(1, account_id=9)),
            ("Position/closeContract", lambda: self.driver.close(account_id=9)),
            (
                "Position/partialCloseContract",
                lambda: exchange.partial_close_contract(9, MNQ.id, 1, NOW),
            ),
            ("Account/search", lambda: exchange.store.account(9)),
            ("Position/searchOpen", lambda: exchange.store.open_positions(9)),
            ("Order/searchOpen", lambda: exchange.store.open_orders(9)),
            ("Order/searchById", lambda: exchange.store.order(9, 1)),
            ("Trade/search", lambda: exchange.store.trades(9, NOW)),
        ):
            self.assertEqual(self.refusal(act), (request, 1))

    def test_an_unknown_contract_is_refused_with_the_code_of_each_request(self) -> None:
        unlisted = contract_of("CON.F.US.RTY.H26")
        for request, code, act in (
            ("Order/place", 8, lambda: self.driver.order(BUY, 1, contract=unlisted)),
            ("Position/closeContract", 3, lambda: self.driver.close(unlisted)),
            ("Position/partialCloseContract", 3, lambda: self.driver.partial_close(1, unlisted)),
            ("Contract/searchById", 1, lambda: self.driver.exchange.store.contract(unlisted.id)),
        ):
            self.assertEqual(self.refusal(act), (request, code))
        self.assertEqual(self.driver.messages, [])

    def test_an_order_without_a_contract_is_refused(self) -> None:
        order = {"type": 2, "side": 0, "size": 1}
        self.assertEqual(
            self.refusal(lambda: self.driver.exchange.place_order(ACCOUNT, order, NOW)),
            ("Order/place", 8),
        )

    def test_an_order_before_the_first_quote_is_refused(self) -> None:
        self.assertEqual(
            self.refusal(lambda: self.driver.order(BUY, 1, contract=ES)), ("Order/place", 9)
        )

    def test_an_order_without_a_known_type_side_or_size_is_refused(self) -> None:
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
                    lambda order=order: self.driver.exchange.place_order(ACCOUNT, order, NOW)
                ),
                ("Order/place", 2),
                order,
            )


class CancelTests(SynchronousTestCase):
    """Canceling working orders."""

    def setUp(self) -> None:
        self.driver = ExchangeDriver()
        self.driver.move("21000.00")

    def test_a_canceled_order_is_not_filled_later(self) -> None:
        order_id = self.driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        self.driver.clear()
        self.driver.now += timedelta(seconds=5)
        self.driver.cancel(order_id)
        ((target, _contract, order),) = self.driver.messages
        self.assertEqual((target, order["id"], order["status"]), (ORDER, order_id, 3))
        self.assertEqual(order["updateTimestamp"], self.driver.now.isoformat())
        self.assertEqual(self.driver.working(), [])
        self.driver.move("20900.00")
        self.assertEqual(self.driver.fills(), [])

    def test_only_a_working_order_of_the_account_can_be_canceled(self) -> None:
        filled = self.driver.order(BUY, 1)
        working = self.driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        canceled = self.driver.order(BUY, 1, LIMIT, **prices(limit="20980.00"))
        self.driver.cancel(canceled)
        self.driver.clear()
        for order_id, account_id in (
            (987654, ACCOUNT),
            (filled, ACCOUNT),
            (canceled, ACCOUNT),
            (working, OTHER_ACCOUNT),
        ):
            error = self.assertRaises(
                GatewayRefusedError, self.driver.cancel, order_id, account_id
            )
            self.assertEqual((error.request, error.code), ("Order/cancel", 2))
        self.assertEqual((self.driver.working(), self.driver.messages), ([working], []))


class CloseTests(SynchronousTestCase):
    """Closing a position at the market."""

    def setUp(self) -> None:
        self.driver = ExchangeDriver()
        self.driver.move("21000.00")

    def test_a_position_is_closed_at_the_best_price(self) -> None:
        for side, exit_price in ((BUY, "21000.00"), (SELL, "21000.25")):
            self.driver.order(side, 2)
            self.driver.close()
            self.assertEqual(str(self.driver.last(TRADE)["price"]), exit_price)
            self.assertEqual(str(self.driver.last(TRADE)["profitAndLoss"]), "-1.00")
            self.assertEqual(self.driver.exchange.store.open_positions(ACCOUNT), [])

    def test_closing_leaves_other_contracts_and_accounts_alone(self) -> None:
        self.driver.move("5800.00", contract=ES)
        self.driver.order(BUY, 1)
        self.driver.order(BUY, 1, contract=ES)
        self.driver.order(BUY, 1, account_id=OTHER_ACCOUNT)
        self.driver.close()
        (es,) = self.driver.exchange.store.open_positions(ACCOUNT)
        self.assertEqual(es["contractId"], ES.id)
        self.assertEqual(len(self.driver.exchange.store.open_positions(OTHER_ACCOUNT)), 1)

    def test_without_a_position_it_is_refused(self) -> None:
        """Both before the first position and after the last."""
        for _ in range(2):
            error = self.assertRaises(GatewayRefusedError, self.driver.close)
            self.assertEqual((error.request, error.code), ("Position/closeContract", 2))
            self.driver.order(BUY, 1)
            self.driver.close()

    def test_working_orders_survive_a_close_and_may_open_a_position(self) -> None:
        """As at the broker: a client that closes has to cancel, too."""
        self.driver.order(BUY, 2)
        orphan = self.driver.order(SELL, 2, STOP, **prices(stop="20990.00"))
        self.driver.close()
        self.assertEqual(self.driver.working(), [orphan])
        self.driver.move("20985.00")
        (held,) = self.driver.exchange.store.open_positions(ACCOUNT)
        self.assertEqual((held["type"], held["size"]), (GatewayPositionType.SHORT, 2))
        self.assertNotIn("profitAndLoss", self.driver.last(TRADE))


class ModifyTests(RefusalTestCase):
    """Changing a working order."""

    def test_changes_of_size_and_price_are_reported(self) -> None:
        limit = self.driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        stop = self.driver.order(SELL, 1, STOP, **prices(stop="20980.00"))
        self.driver.now += timedelta(seconds=5)
        for order_id, changes in (
            (limit, {"size": 3}),
            (limit, prices(limit="20985.00")),
            (stop, {"size": 2, **prices(stop="20970.00")}),
        ):
            self.driver.modify(order_id, **changes)
            reported = self.driver.last(ORDER)
            self.assertEqual((reported["id"], reported["status"]), (order_id, 1))
            self.assertEqual({key: reported[key] for key in changes}, changes)
            self.assertEqual(reported["updateTimestamp"], self.driver.now.isoformat())
            self.assertEqual(self.driver.exchange.store.order(ACCOUNT, order_id), reported)
        self.assertEqual(self.driver.exchange.store.order(ACCOUNT, limit)["size"], 3)
        self.driver.move("20970.00")
        self.assertEqual([price for _id, price in self.driver.fills()], [20985, 20970])

    def test_orders_placed_since_a_moment_are_found_in_any_state(self) -> None:
        self.driver.order(BUY, 1, LIMIT, **prices(limit="20980.00"))
        self.driver.now += timedelta(seconds=1)
        filled = self.driver.order(BUY, 1)
        working = self.driver.order(BUY, 2, LIMIT, **prices(limit="20981.00"))
        self.driver.order(BUY, 1, account_id=OTHER_ACCOUNT)
        found = self.driver.exchange.store.orders(ACCOUNT, self.driver.now)
        self.assertEqual([order["id"] for order in found], [filled, working])
        self.assertEqual([order["status"] for order in found], [2, 1])

    def test_null_and_unknown_fields_change_nothing(self) -> None:
        order_id = self.driver.order(BUY, 2, LIMIT, **prices(limit="20990.00"))
        before = self.driver.last(ORDER)
        self.driver.modify(order_id, size=None, limitPrice=None, stopPrice=None, trailPrice=None)
        self.assertEqual(self.driver.last(ORDER), before)

    def test_a_limit_that_becomes_marketable_fills_at_the_best_price(self) -> None:
        order_id = self.driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        self.driver.modify(order_id, **prices(limit="21005.00"))
        self.assertEqual(self.driver.fills(), [(order_id, Decimal("21000.25"))])

    def test_only_a_working_order_of_the_account_can_be_changed(self) -> None:
        filled = self.driver.order(BUY, 1)
        working = self.driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        for order_id, account_id in ((999, ACCOUNT), (filled, ACCOUNT), (working, OTHER_ACCOUNT)):
            self.assertEqual(
                self.refusal(self.driver.modify, order_id, account_id, size=2), ("Order/modify", 2)
            )

    def test_an_unsound_change_is_refused_and_changes_nothing(self) -> None:
        limit = self.driver.order(BUY, 2, LIMIT, **prices(limit="20990.00"))
        stop = self.driver.order(SELL, 2, STOP, **prices(stop="20980.00"))
        before = self.driver.exchange.store.open_orders(ACCOUNT)
        self.driver.clear()
        for order_id, changes in (
            (limit, {"size": 0}),
            (limit, {"size": -1}),
            (limit, prices(limit="20990.10")),
            (limit, prices(limit="-1.10")),
            (limit, prices(stop="20990.00")),
            (stop, prices(stop="21000.00")),
            (stop, prices(stop="21500.00")),
            (stop, prices(stop="20980.01")),
            (stop, {"size": 5, **prices(limit="20970.00")}),
        ):
            self.assertEqual(
                self.refusal(self.driver.modify, order_id, **changes), ("Order/modify", 3), changes
            )
        self.assertEqual(
            (self.driver.exchange.store.open_orders(ACCOUNT), self.driver.messages), (before, [])
        )

    def test_a_change_before_the_first_quote_is_refused(self) -> None:
        order_id = self.driver.order(BUY, 2, LIMIT, **prices(limit="20990.00"))
        exchange = fresh_exchange()
        exchange.store.restore(self.driver.exchange.store.state(NOW), NOW)
        self.assertEqual(
            self.refusal(exchange.modify_order, ACCOUNT, order_id, {"size": 3}, NOW),
            ("Order/modify", 3),
        )

    def test_a_changed_stop_limit_still_waits_for_its_stop_after_a_restart(self) -> None:
        order_id = self.driver.order(
            BUY, 1, STOP_LIMIT, **prices(stop="21002.00", limit="21003.00")
        )
        self.driver.now += timedelta(seconds=1)
        self.driver.modify(order_id, size=2)
        self.driver.restart(self.driver.exchange.store.state(self.driver.now))
        self.driver.move("20990.00")
        self.assertEqual(self.driver.working(), [order_id])
        self.driver.move("21002.00")
        self.assertEqual(self.driver.fills(), [(order_id, Decimal("21002.25"))])


class PartialCloseTests(RefusalTestCase):
    """Closing a part of a position."""

    def test_a_partial_close_closes_the_given_size(self) -> None:
        for side, kind in ((BUY, GatewayPositionType.LONG), (SELL, GatewayPositionType.SHORT)):
            self.driver.order(side, 5)
            self.driver.partial_close(2)
            held = self.driver.last(POSITION)
            self.assertEqual((held["type"], held["size"]), (kind, 3))
            self.assertEqual(self.driver.last(TRADE)["size"], 2)
            self.driver.partial_close(3)
            self.assertEqual(self.driver.exchange.store.open_positions(ACCOUNT), [])

    def test_a_partial_close_larger_than_the_position_is_refused(self) -> None:
        self.driver.order(BUY, 2)
        for size in (0, -1, 3):
            self.assertEqual(
                self.refusal(self.driver.partial_close, size), ("Position/partialCloseContract", 5)
            )

    def test_without_a_position_it_is_refused(self) -> None:
        self.assertEqual(
            self.refusal(self.driver.partial_close, 1), ("Position/partialCloseContract", 2)
        )

    def test_a_close_before_the_first_quote_is_refused(self) -> None:
        self.driver.order(BUY, 2)
        exchange = fresh_exchange()
        exchange.store.restore(self.driver.exchange.store.state(NOW), NOW)
        self.assertEqual(
            self.refusal(exchange.close_contract, ACCOUNT, MNQ.id, NOW),
            ("Position/closeContract", 5),
        )
        self.assertEqual(
            self.refusal(exchange.partial_close_contract, ACCOUNT, MNQ.id, 1, NOW),
            ("Position/partialCloseContract", 6),
        )


class RestrictionTests(RefusalTestCase):
    """Restricted accounts."""

    def test_a_restriction_is_reported_and_found(self) -> None:
        for can_trade in (False, True):
            self.driver.restrict(can_trade=can_trade)
            reported = self.driver.last(ACCOUNT_EVENT)
            self.assertEqual((reported["id"], reported["canTrade"]), (ACCOUNT, can_trade))
            self.assertEqual(self.driver.exchange.store.account(ACCOUNT), reported)

    def test_a_restricted_account_may_only_cancel_and_close(self) -> None:
        self.driver.order(BUY, 3)
        order_id = self.driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        self.driver.restrict()
        self.driver.clear()
        self.assertEqual(self.refusal(self.driver.order, BUY, 1), ("Order/place", 4))
        self.assertEqual(self.driver.messages, [])
        self.driver.cancel(order_id)
        self.driver.partial_close(1)
        self.driver.close()
        self.assertEqual(self.driver.exchange.store.open_positions(ACCOUNT), [])
        self.driver.order(BUY, 1, account_id=OTHER_ACCOUNT)
        self.driver.restrict(can_trade=True)
        self.driver.order(BUY, 1)

    def test_a_restriction_survives_a_restart(self) -> None:
        self.driver.restrict()
        self.driver.restart(self.driver.exchange.store.state(self.driver.now))
        self.assertEqual(self.refusal(self.driver.order, BUY, 1), ("Order/place", 4))

    def test_an_unknown_account_cannot_be_restricted(self) -> None:
        error = self.assertRaises(GatewayRefusedError, self.driver.exchange.set_can_trade, 9, True)
        self.assertEqual(error.code, 1)


class VoidTests(RefusalTestCase):
    """Voided trades."""

    def test_a_voided_trade_is_reported_again_and_its_money_taken_back(self) -> None:
        self.driver.order(BUY, 2)
        self.driver.move("21010.25")
        before = self.driver.last(ACCOUNT_EVENT)["balance"]
        self.driver.order(SELL, 2)
        trade = self.driver.last(TRADE)
        self.driver.clear()
        self.driver.void(trade["id"])
        self.assertEqual(
            [message.target for message in self.driver.messages], [TRADE, ACCOUNT_EVENT]
        )
        self.assertEqual(self.driver.last(TRADE), {**trade, "voided": True})
        self.assertFalse(trade["voided"], "the payload reported before must not change")
        self.assertEqual(self.driver.last(ACCOUNT_EVENT)["balance"], before)
        found = self.driver.exchange.store.trades(ACCOUNT, NOW)
        self.assertEqual([trade["voided"] for trade in found], [False, True])

    def test_voiding_an_entry_refunds_its_fees(self) -> None:
        self.driver.order(BUY, 2)
        self.driver.void(self.driver.last(TRADE)["id"])
        self.assertEqual(self.driver.last(ACCOUNT_EVENT)["balance"], STARTING_BALANCE)
        self.assertEqual(len(self.driver.exchange.store.open_positions(ACCOUNT)), 1)

    def test_only_a_trade_of_the_account_can_be_voided_and_only_once(self) -> None:
        self.driver.order(BUY, 2)
        trade_id = self.driver.last(TRADE)["id"]
        for account_id, voided, code in (
            (ACCOUNT, 999, 1),
            (OTHER_ACCOUNT, trade_id, 1),
            (9, trade_id, 1),
        ):
            self.assertEqual(
                self.refusal(self.driver.void, voided, account_id), ("Practice/voidTrade", code)
            )
        self.driver.void(trade_id)
        self.assertEqual(self.refusal(self.driver.void, trade_id), ("Practice/voidTrade", 2))


class RepeatedEntryTests(RefusalTestCase):
    """Exits that are reported as two trades."""

    def test_the_repeated_entry_costs_nothing(self) -> None:
        self.driver.injector.faults = Faults(opening_half_again=True)
        self.driver.order(SELL, 2)
        self.driver.move("21010.00")
        self.driver.clear()
        self.driver.order(BUY, 1)
        again, exit_ = self.driver.payloads(TRADE)
        self.assertNotEqual(again["id"], exit_["id"])
        self.assertNotIn("profitAndLoss", again)
        self.assertEqual(
            (again["side"], again["size"], str(again["price"]), str(again["fees"])),
            (SELL, 1, "21000.00", "0.00"),
        )
        self.assertEqual((exit_["side"], str(exit_["profitAndLoss"])), (BUY, "-20.50"))
        self.assertEqual(again["orderId"], exit_["orderId"])
        self.assertEqual(
            self.driver.last(ACCOUNT_EVENT)["balance"],
            STARTING_BALANCE - 3 * FEES[MNQ.id] - Decimal("20.50"),
        )
        self.assertEqual(self.driver.exchange.store.trades(ACCOUNT, NOW)[1:], [again, exit_])


class PricesBelowZeroTests(SynchronousTestCase):
    """Prices below zero and at zero, which are prices like any other."""

    def setUp(self) -> None:
        self.driver = ExchangeDriver()
        self.driver.move("1.00")

    def test_a_position_is_carried_through_zero(self) -> None:
        self.driver.order(BUY, 2)
        self.driver.move("-1.00")
        self.driver.close()
        # Bought at 1.25 and sold at -1.00; a point of MNQ is worth $2.
        self.assertEqual(self.driver.last(TRADE)["profitAndLoss"], Decimal("-9.00"))

    def test_a_stop_below_zero_is_triggered_there(self) -> None:
        self.driver.order(BUY, 1)
        stop = self.driver.order(SELL, 1, STOP, **prices(stop="-5.00"))
        self.driver.move("-4.75")
        self.assertEqual(self.driver.working(), [stop])
        self.driver.move("-5.25")
        self.assertEqual(self.driver.fills()[-1], (stop, Decimal("-5.25")))

    def test_a_limit_at_zero_and_below_is_filled_there(self) -> None:
        for limit in ("0.00", "-2.50"):
            order = self.driver.order(BUY, 1, LIMIT, **prices(limit=limit))
            self.driver.move("-3.00")
            self.assertEqual(self.driver.fills()[-1], (order, Decimal(limit)))
            self.driver.move("1.00")

    def test_a_limit_at_zero_that_is_filled_while_it_is_canceled_is_filled_at_zero(self) -> None:
        order = self.driver.order(BUY, 1, LIMIT, **prices(limit="0.00"))
        self.driver.injector.fills_while_canceled = lambda: True  # type: ignore[method-assign]
        self.assertRaises(GatewayRefusedError, self.driver.cancel, order)
        self.driver.collect()
        self.assertEqual(self.driver.last(TRADE)["price"], Decimal(0))

    def test_a_change_to_a_price_below_zero_is_accepted(self) -> None:
        self.driver.order(BUY, 1)
        stop = self.driver.order(SELL, 1, STOP, **prices(stop="0.00"))
        self.driver.modify(stop, stopPrice=Decimal("-0.25"))
        self.assertEqual(self.driver.last(ORDER)["stopPrice"], Decimal("-0.25"))

    def test_positions_and_orders_below_zero_outlive_a_restart(self) -> None:
        self.driver.move("-10.00")
        self.driver.order(BUY, 3)
        self.driver.order(SELL, 3, STOP, **prices(stop="-12.00"))
        state = self.driver.exchange.store.state(self.driver.now)
        self.assertEqual(self.driver.restart(state), [])
        self.assertEqual(self.driver.exchange.store.state(self.driver.now), state)
        self.driver.move("-12.00")
        self.assertEqual(self.driver.last(TRADE)["profitAndLoss"], Decimal("-13.50"))
