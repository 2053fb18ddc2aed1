"""The broker of a recording answers reads that the recorded daemon never made."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import Found, GatewayRefusedError, GatewayUnansweredError
from riskd.model.broker import (
    BrokerAccount,
    BrokerNews,
    BrokerOrder,
    BrokerPosition,
    BrokerTrade,
    Unreadable,
)
from riskd.model.contracts import known_contract
from riskd.model.events import OrderState
from riskd.recording.recorded_broker import RecordedBroker
from tests.support.broker_values import (
    MNQ,
    NOON,
    broker_order,
    broker_position,
    broker_trade,
)

ACCOUNT = 123
ES = "CON.F.US.EP.Z26"


def position(contract: str = MNQ, size: int = 1) -> BrokerPosition:
    return broker_position(contract_id=contract, size=size)


def order(
    number: int = 7, state: OrderState = OrderState.ACTIVE, at: datetime = NOON
) -> BrokerOrder:
    return broker_order(id=number, state=state, at=at)


def trade(number: int = 9, at: datetime = NOON) -> BrokerTrade:
    return broker_trade(id=number, at=at)


def found(*items: Any) -> Found[Any]:
    return Found(items)


class RecordedBrokerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.broker = RecordedBroker()

    def report(self, news: BrokerNews, seconds: float = 0.0) -> None:
        self.broker.apply_event(ACCOUNT, news, seconds)

    def apply_answer(
        self, request: str, value: Any, requested_at: float = 100.0, **arguments: Any
    ) -> None:
        arguments = {"account_id": ACCOUNT, **arguments}
        self.broker.apply_answer(f"gateway.{request}", arguments, value, requested_at)

    def read(self, request: str, **arguments: Any) -> Any:
        return self.broker.answer(f"gateway.{request}", {"account_id": ACCOUNT, **arguments})

    def test_a_read_is_unanswered_until_the_recording_has_reported_it(self) -> None:
        self.report(position())
        self.report(order())
        self.report(trade())
        for request, arguments in (
            ("search_account", {}),
            # Events alone do not say that there is nothing else.
            ("search_open_positions", {}),
            ("search_open_orders", {}),
            ("search_orders", {"since": NOON}),
            ("search_trades", {"since": NOON}),
        ):
            self.assertRaises(GatewayUnansweredError, self.read, request, **arguments)
        with self.assertRaises(GatewayUnansweredError):
            self.broker.answer("gateway.search_contract", {"contract_id": MNQ})

    def test_changes_are_refused(self) -> None:
        self.assertRaises(GatewayRefusedError, self.read, "carry_out", contract_id=MNQ)

    def test_events_update_an_account(self) -> None:
        self.apply_answer("search_account", BrokerAccount(can_trade=True, balance=Decimal(5)))
        self.report(BrokerAccount(can_trade=False, balance=Decimal(6)))
        self.report(BrokerAccount(balance=Decimal(7)))
        self.assertEqual(
            self.read("search_account"), BrokerAccount(can_trade=False, balance=Decimal(7))
        )

    def test_a_contract_is_answered_as_recorded(self) -> None:
        contract = known_contract(MNQ)
        self.broker.apply_answer("gateway.search_contract", {"contract_id": MNQ}, contract, 0.0)
        self.assertEqual(
            self.broker.answer("gateway.search_contract", {"contract_id": MNQ}), contract
        )

    def test_events_open_and_close_positions(self) -> None:
        self.apply_answer("search_open_positions", found(position(MNQ)))
        self.report(position(ES, 2))
        self.assertEqual(
            self.read("search_open_positions", urgent=True), found(position(MNQ), position(ES, 2))
        )
        self.report(position(MNQ, 0))
        self.assertEqual(self.read("search_open_positions"), found(position(ES, 2)))

    def test_an_answer_makes_up_for_lost_events(self) -> None:
        self.report(position(MNQ), seconds=10)
        self.apply_answer("search_open_positions", found(position(ES)), requested_at=100)
        self.assertEqual(self.read("search_open_positions"), found(position(ES)))

    def test_an_answer_does_not_undo_an_event_that_may_be_newer(self) -> None:
        self.report(position(MNQ), seconds=100.5)
        self.report(position(ES, 0), seconds=99.5)
        self.apply_answer("search_open_positions", found(position(ES)), requested_at=100)
        self.assertEqual(self.read("search_open_positions"), found(position(MNQ)))

    def test_working_orders_all_orders_and_one_order(self) -> None:
        self.apply_answer("search_open_orders", found(order(1)))
        self.report(order(2))
        self.report(order(1, OrderState.FILLED))
        self.assertEqual(self.read("search_open_orders"), found(order(2)))
        self.assertEqual(self.read("search_order", order_id=1), order(1, OrderState.FILLED))
        self.apply_answer("search_order", order(3, OrderState.REJECTED, NOON - timedelta(hours=1)))
        self.apply_answer("search_orders", found(order(4)))
        since = [each.id for each in self.read("search_orders", since=NOON).items]
        self.assertEqual(since, [1, 2, 4])
        with self.assertRaises(GatewayRefusedError) as caught:
            self.read("search_order", order_id=99)
        self.assertEqual(caught.exception.code, 1)

    def test_an_order_missing_among_working_orders_counts_as_canceled(self) -> None:
        self.report(order(1), seconds=10)
        self.report(order(2), seconds=99.5)
        self.apply_answer("search_open_orders", found(), requested_at=100)
        self.assertEqual(self.read("search_open_orders"), found(order(2)))
        self.assertEqual(self.read("search_order", order_id=1).state, OrderState.CANCELED)

    def test_an_order_that_ended_during_the_request_has_ended(self) -> None:
        self.report(order(1, OrderState.CANCELED), seconds=100.5)
        self.apply_answer("search_open_orders", found(order(1)), requested_at=100)
        self.assertEqual(self.read("search_open_orders"), found())

    def test_trades_since_a_time(self) -> None:
        self.apply_answer(
            "search_trades", found(trade(1), trade(2, NOON - timedelta(seconds=0.1)))
        )
        self.report(trade(3))
        since = [each.id for each in self.read("search_trades", since=NOON).items]
        self.assertEqual(since, [1, 3])

    def test_what_could_not_be_read_is_not_known(self) -> None:
        self.report(Unreadable(what="GatewayUserPosition", why="size", contract_id=MNQ))
        self.apply_answer("search_open_positions", found())
        self.assertEqual(self.read("search_open_positions"), found())
