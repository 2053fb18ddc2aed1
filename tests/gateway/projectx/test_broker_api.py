"""Reads and commands as requests of the broker's API."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from riskd.gateway.commands import (
    CancelOrder,
    CloseContract,
    ModifyOrder,
    PartialCloseContract,
    PlaceOrder,
)
from riskd.gateway.interface import (
    Found,
    GatewayRefusedError,
    GatewayUnansweredError,
    GatewayUnreadableError,
)
from riskd.model.bounds import MOST_ORDERS, MOST_POSITIONS
from riskd.model.broker import BrokerAccount
from riskd.model.events import OrderSide, OrderType
from tests.support.broker import (
    logged,
    make_token,
)
from tests.support.projectx_gateway import (
    FIRST,
    MNQ,
    GatewayTestCase,
)

POSITION_ROW = {"type": 1, "size": 1, "averagePrice": 1}
ORDER_ROW = {"side": 0, "size": 1, "status": 1}

STOP = PlaceOrder(
    account_id=123,
    contract_id=MNQ,
    type=OrderType.STOP,
    side=OrderSide.SELL,
    size=1,
    stop_price=Decimal("0.25"),
)


class ReadTests(GatewayTestCase):
    """Reads."""

    SINCE = datetime(2025, 7, 16, 18, 0, 0, 500000, tzinfo=timezone(timedelta(hours=-5)))

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def asks(self, asked: Deferred[Any], request: str, body: Any, **fields: Any) -> Any:
        """See what is asked, answer it, and return what comes of it."""
        sent = self.answer(request, **fields)
        self.assertEqual((sent.body, sent.token), (body, FIRST))
        return self.successResultOf(asked)

    def test_lists_of_positions_orders_and_trades(self) -> None:
        since = "2025-07-16T23:00:00.500000+00:00"
        gateway, found = self.gateway, [{"id": n, "accountId": 123} for n in (1, 2)]
        for asked, request, body, name in (
            (gateway.search_open_positions(123), "Position/searchOpen", {}, "positions"),
            (gateway.search_open_orders(123), "Order/searchOpen", {}, "orders"),
            (
                gateway.search_orders(123, self.SINCE),
                "Order/search",
                {"startTimestamp": since},
                "orders",
            ),
            (
                gateway.search_trades(123, self.SINCE),
                "Trade/search",
                {"startTimestamp": since},
                "trades",
            ),
        ):
            answer = self.asks(asked, request, {"accountId": 123, **body}, **{name: found})
            self.assertEqual([each.id for each in answer.unreadable], [1, 2])
            self.assertEqual(answer.items, ())

    def test_what_can_be_read_is_kept_beside_what_cannot(self) -> None:
        held = {"accountId": 123, "id": 1, "contractId": MNQ, "type": 1, "size": 2}
        held |= {"averagePrice": 21000, "creationTimestamp": "2025-07-17T14:00:00Z"}
        asked = self.gateway.search_open_positions(123)
        self.answer("Position/searchOpen", positions=[{**held, "size": "two"}, held])
        found = self.successResultOf(asked)
        self.assertEqual([each.size for each in found.items], [2])
        self.assertEqual([each.contract_id for each in found.unreadable], [MNQ])

    def test_very_many_rows_are_read_over_many_turns_and_the_rest_counted(self) -> None:
        """The rows are small, as in the largest answer that riskd reads."""
        ticks = itertools.count(0, 0.0001)
        for search, request, name, row, most in (
            (
                "search_open_positions",
                "Position/searchOpen",
                "positions",
                POSITION_ROW,
                MOST_POSITIONS,
            ),
            ("search_open_orders", "Order/searchOpen", "orders", ORDER_ROW, MOST_ORDERS),
        ):
            asked = getattr(self.gateway, search)(123)
            sent = self.take(request)
            # From here on, each reading of the clock is a little later.
            self.patch(self.reactor, "seconds", lambda: next(ticks) / 1000)
            rows = [{**row, "id": number, "contractId": f"C{number}"} for number in range(20_000)]
            sent.connection.succeed(**{name: rows})
            turns = 0
            while not asked.called:
                self.reactor.advance(0)
                turns += 1
            found = self.successResultOf(asked)
            self.assertEqual([each.id for each in found.items], list(range(most)))
            keys = range(most, 20_000)
            expected = [f"C{key}" for key in keys] if name == "positions" else [*keys]
            self.assertEqual([*found.beyond], expected)
            self.assertEqual(found.unreadable, ())

    def test_of_very_many_unreadable_rows_a_few_are_logged(self) -> None:
        asked = self.gateway.search_open_orders(123)
        self.answer("Order/searchOpen", orders=[{"id": number} for number in range(400)])
        self.assertEqual(len(self.successResultOf(asked).unreadable), 400)
        self.assertEqual(logged(self.events).count("cannot be read"), 10 * 2)

    def test_whole_numbers_may_have_zeros_behind_the_point(self) -> None:
        held = {"id": 5.0, "contractId": MNQ, "type": 1.0, "size": 2.0, "averagePrice": 7}
        asked = self.gateway.search_open_positions(123)
        self.answer("Position/searchOpen", positions=[held])
        (found,) = self.successResultOf(asked).items
        self.assertEqual(repr((found.id, found.size)), "(5, 2)")

    def test_a_list_that_is_missing_is_not_an_empty_one(self) -> None:
        asked = self.gateway.search_open_positions(123)
        self.answer("Position/searchOpen", positions=None)
        self.failureResultOf(asked, GatewayUnansweredError)

    def test_a_payload_of_another_account_is_no_answer(self) -> None:
        gateway = self.gateway
        foreign = {"id": 1, "accountId": 456}
        for asked, request, fields in (
            (gateway.search_open_positions(123), "Position/searchOpen", {"positions": [foreign]}),
            (gateway.search_open_orders(123), "Order/searchOpen", {"orders": [foreign]}),
            (gateway.search_orders(123, self.SINCE), "Order/search", {"orders": [foreign]}),
            (gateway.search_order(123, 1), "Order/searchById", {"order": foreign}),
            (gateway.search_trades(123, self.SINCE), "Trade/search", {"trades": [foreign]}),
        ):
            self.answer(request, **fields)
            self.failureResultOf(asked, GatewayUnansweredError)

    def test_trades_are_sorted_oldest_first_whatever_their_time_zones(self) -> None:
        moments = [
            "2025-07-17T14:00:00Z",
            "2025-07-17T14:00:00.1Z",
            "2025-07-17T14:00:00.12+00:00",
            "2025-07-17T14:00:00.123Z",
            "2025-07-17T14:00:00.1234567Z",
            "2025-07-17T14:00:01",
            "2025-07-17T14:00:01.5+00:00",
        ]
        trades = [
            {"id": n, "accountId": 123, "contractId": MNQ, "size": 1, "creationTimestamp": moment}
            for n, moment in enumerate(moments)
        ]
        asked = self.gateway.search_trades(123, self.SINCE)
        self.answer("Trade/search", trades=trades[::-1])
        found = self.successResultOf(asked).items
        self.assertEqual([each.id for each in found], [each["id"] for each in trades])

    def test_trades_of_one_time_are_sorted_by_id(self) -> None:
        moment = "2025-07-17T14:00:00Z"
        trades = [
            {"id": n, "accountId": 123, "contractId": MNQ, "size": 1, "creationTimestamp": moment}
            for n in (9, 10, 11)
        ]
        asked = self.gateway.search_trades(123, self.SINCE)
        self.answer("Trade/search", trades=trades[::-1])
        found = self.successResultOf(asked).items
        self.assertEqual([each.id for each in found], [each["id"] for each in trades])

    def test_trades_without_a_readable_time_are_returned_too(self) -> None:
        unreadable: list[dict[str, Any]] = [
            {"id": "x"},
            {"creationTimestamp": 5},
            {"id": 1, "creationTimestamp": "noon"},
        ]
        trades = [{"accountId": 123, **trade} for trade in unreadable]
        asked = self.gateway.search_trades(123, self.SINCE)
        self.answer("Trade/search", trades=trades)
        self.assertCountEqual(
            [each.id for each in self.successResultOf(asked).unreadable], [None, None, 1]
        )

    def test_one_order_and_one_contract(self) -> None:
        order = {"id": 7, "accountId": 123, "contractId": MNQ, "status": 1, "side": 0, "size": 1}
        order["creationTimestamp"] = "2025-07-17T14:00:00Z"
        body = {"accountId": 123, "orderId": 7}
        asked = self.gateway.search_order(123, 7)
        self.assertEqual(self.asks(asked, "Order/searchById", body, order=order).id, 7)
        contract = {"id": MNQ, "name": "MNQU5", "tickSize": 0.25, "tickValue": 0.5}
        asked = self.gateway.search_contract(MNQ)
        found = self.asks(asked, "Contract/searchById", {"contractId": MNQ}, contract=contract)
        self.assertEqual(found.name, "MNQU5")

    def test_an_order_that_cannot_be_read_is_no_answer(self) -> None:
        asked = self.gateway.search_order(123, 7)
        self.answer("Order/searchById", order={"id": 7, "accountId": 123, "status": 9})
        self.failureResultOf(asked, GatewayUnreadableError)

    def test_a_restricted_account_is_found(self) -> None:
        accounts = [{"id": 1}, {"id": 123, "canTrade": False, "balance": 5}]
        body = {"onlyActiveAccounts": False}
        found = self.asks(
            self.gateway.search_account(123), "Account/search", body, accounts=accounts
        )
        self.assertEqual(found, BrokerAccount(can_trade=False, balance=Decimal(5)))

    def test_an_account_that_is_not_listed_is_refused(self) -> None:
        asked = self.gateway.search_account(123)
        self.answer("Account/search", accounts=[{"id": 1, "name": "EXPRESS-1"}, {}])
        refusal = self.failureResultOf(asked, GatewayRefusedError).value
        self.assertEqual(refusal.code, 1)
        self.assertEqual(
            refusal.why, "this login has no such account, but 1 (EXPRESS-1), None (None)"
        )

    def test_a_read_is_tried_again(self) -> None:
        asked = self.gateway.search_open_orders(123)
        self.answer_badly("Order/searchOpen")
        self.pass_time(0.25)
        self.answer("Order/searchOpen", orders=[])
        self.assertEqual(self.successResultOf(asked), Found(()))

    def test_urgent_reads_have_room_when_others_have_none(self) -> None:
        for _ in range(140):
            self.gateway._requests._rate_limit.spend(self.reactor.seconds())
        self.assertFalse(self.gateway.has_room(1))
        for ask in (
            lambda urgent: self.gateway.search_open_positions(123, urgent=urgent),
            lambda urgent: self.gateway.search_open_orders(123, urgent=urgent),
            lambda urgent: self.gateway.search_orders(123, self.SINCE, urgent=urgent),
            lambda urgent: self.gateway.search_order(123, 7, urgent=urgent),
        ):
            waiting = ask(False)
            self.assertEqual(self.waiting, [])
            urgent = ask(True)
            self.assertEqual(len(self.waiting), 1)
            for asked in (waiting, urgent):
                asked.cancel()
                self.failureResultOf(asked, CancelledError)

    def test_a_canceled_read_fails_with_canceled_alone(self) -> None:
        for asked in (
            self.gateway.search_account(123),
            self.gateway.search_open_orders(123),
            self.gateway.search_order(123, 7),
            self.gateway.carry_out(CancelOrder(account_id=123, order_id=7)),
            self.gateway.carry_out(STOP),
        ):
            asked.cancel()
            self.failureResultOf(asked, CancelledError)


class ChangeTests(GatewayTestCase):
    """Commands."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def changes(self) -> Iterator[tuple[str, Deferred[Any], dict[str, Any]]]:
        """Yield each change as it is asked for, with what is to be sent."""
        gateway = self.gateway
        named, held = {"accountId": 123, "orderId": 7}, {"accountId": 123, "contractId": MNQ}
        yield (
            "Order/place",
            gateway.carry_out(STOP),
            {
                "accountId": 123,
                "contractId": MNQ,
                "type": 4,
                "side": 1,
                "size": 1,
                "stopPrice": 0.25,
            },
        )
        yield "Order/cancel", gateway.carry_out(CancelOrder(account_id=123, order_id=7)), named
        yield (
            "Order/modify",
            gateway.carry_out(ModifyOrder(account_id=123, order_id=7, size=2)),
            {**named, "size": 2},
        )
        yield (
            "Position/closeContract",
            gateway.carry_out(CloseContract(account_id=123, contract_id=MNQ)),
            held,
        )
        yield (
            "Position/partialCloseContract",
            gateway.carry_out(PartialCloseContract(account_id=123, contract_id=MNQ, size=2)),
            {**held, "size": 2},
        )

    def test_every_command_is_sent_as_documented(self) -> None:
        for request, asked, body in self.changes():
            self.assertEqual(self.answer(request, orderId=99).body, body)
            result = self.successResultOf(asked)
            self.assertEqual(result, 99 if request == "Order/place" else None)

    def test_every_command_is_sent_once_whatever_the_answer(self) -> None:
        for status in ("401 Unauthorized", "429 Too Many Requests", "500 Oops", "404 Not Found"):
            self.setUp()
            for request, asked, _ in self.changes():
                self.answer_badly(request, status)
                self.failureResultOf(asked, GatewayUnansweredError)
                if "401" in status:
                    self.pass_until_login()
                    self.log_in(make_token(request))
                self.pass_time(30)
                self.assertEqual(self.count(request), 1)

    def test_every_command_is_sent_once_without_an_answer(self) -> None:
        for request, asked, _ in self.changes():
            self.assertIn(request, self.waiting)
            self.pass_time(4)
            self.failureResultOf(asked, GatewayUnansweredError)
            self.pass_time(30)
            self.assertEqual(self.count(request), 1)

    def test_an_answer_without_an_order_id_leaves_the_outcome_open(self) -> None:
        for order_id in (None, "7", True, 7.5):
            asked = self.gateway.carry_out(STOP)
            self.answer("Order/place", orderId=order_id)
            self.failureResultOf(asked, GatewayUnansweredError)

    def test_a_refusal_gives_the_reason(self) -> None:
        asked = self.gateway.carry_out(STOP)
        body = b'{"success":false,"errorCode":2,"errorMessage":"Stop is too near","orderId":9}'
        self.take("Order/place").connection.answer(body)
        refusal = self.failureResultOf(asked, GatewayRefusedError).value
        self.assertEqual((refusal.code, refusal.why), (2, "Stop is too near"))


class ManyOrdersTests(GatewayTestCase):
    """A trader who places orders faster than the broker lets them be canceled."""

    def test_a_position_is_closed_although_many_orders_are_canceled(self) -> None:
        self.start()
        for number in range(250):
            canceling = self.gateway.carry_out(CancelOrder(account_id=123, order_id=number))
            canceling.addErrback(lambda failure: failure.trap(CancelledError))
            self.addCleanup(canceling.cancel)
        self.assertTrue(150 < self.count("Order/cancel") < 175)
        for asked, request in (
            (self.gateway.search_open_positions(123, urgent=True), "Position/searchOpen"),
            (self.gateway.search_open_orders(123, urgent=True), "Order/searchOpen"),
            (
                self.gateway.carry_out(CloseContract(account_id=123, contract_id=MNQ)),
                "Position/closeContract",
            ),
        ):
            self.addCleanup(asked.cancel)
            asked.addErrback(lambda failure: failure.trap(CancelledError))
            self.assertEqual(self.count(request), 1)
