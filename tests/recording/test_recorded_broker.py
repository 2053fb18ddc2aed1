"""What a recording has told of a gateway: enough to answer reads that were never made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.recording.recorded_broker import Book

ACCOUNT = 123
MNQ, ES = "CON.F.US.MNQ.Z26", "CON.F.US.EP.Z26"
NOON = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


def position(contract: str = MNQ, size: int = 1) -> dict[str, Any]:
    return {"accountId": ACCOUNT, "id": 1, "contractId": contract, "size": size}


def order(number: int = 7, status: int = 1, at: str = "2026-11-23T18:00:00Z") -> dict[str, Any]:
    return {"accountId": ACCOUNT, "id": number, "status": status, "creationTimestamp": at}


def trade(number: int = 9, at: str = "2026-11-23T18:00:00Z") -> dict[str, Any]:
    return {"accountId": ACCOUNT, "id": number, "creationTimestamp": at}


class BookTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.book = Book()

    def told(self, target: str, payload: dict[str, Any], seconds: float = 0.0) -> None:
        self.book.take_event(target, payload, seconds)

    def answered(self, request: str, value: Any, asked: float = 100.0, **arguments: Any) -> None:
        arguments = {"account_id": ACCOUNT, **arguments}
        self.book.take_answer(f"gateway.{request}", arguments, value, asked)

    def ask(self, request: str, **arguments: Any) -> Any:
        return self.book.answer(f"gateway.{request}", {"account_id": ACCOUNT, **arguments})

    def test_what_was_never_told_is_not_answered(self) -> None:
        self.told("GatewayUserPosition", position())
        self.told("GatewayUserOrder", order())
        self.told("GatewayUserTrade", trade())
        for request, arguments in (
            ("search_account", {}),
            # Events alone do not say that there is nothing else.
            ("search_open_positions", {}),
            ("search_open_orders", {}),
            ("search_orders", {"since": NOON}),
            ("search_trades", {"since": NOON}),
        ):
            self.assertRaises(GatewayUnansweredError, self.ask, request, **arguments)
        with self.assertRaises(GatewayUnansweredError):
            self.book.answer("gateway.search_contract", {"contract_id": MNQ})

    def test_nothing_can_be_changed(self) -> None:
        for request in ("place_order", "cancel_order", "modify_order", "close_contract"):
            self.assertRaises(GatewayRefusedError, self.ask, request, contract_id=MNQ)

    def test_an_account_is_what_was_answered_and_told_since(self) -> None:
        self.answered("search_account", {"id": ACCOUNT, "canTrade": True, "balance": 5})
        self.told("GatewayUserAccount", {"id": ACCOUNT, "canTrade": False})
        self.assertEqual(
            self.ask("search_account"), {"id": ACCOUNT, "canTrade": False, "balance": 5}
        )

    def test_a_contract(self) -> None:
        self.book.take_answer("gateway.search_contract", {"contract_id": MNQ}, {"id": MNQ}, 0.0)
        self.assertEqual(
            self.book.answer("gateway.search_contract", {"contract_id": MNQ}), {"id": MNQ}
        )

    def test_positions_come_and_go_with_events(self) -> None:
        self.answered("search_open_positions", [position(MNQ)])
        self.told("GatewayUserPosition", position(ES, 2))
        self.assertEqual(
            self.ask("search_open_positions", urgent=True), [position(MNQ), position(ES, 2)]
        )
        self.told("GatewayUserPosition", position(MNQ, 0))
        self.assertEqual(self.ask("search_open_positions"), [position(ES, 2)])

    def test_an_answer_finds_events_that_were_lost(self) -> None:
        self.told("GatewayUserPosition", position(MNQ), seconds=10)
        self.answered("search_open_positions", [position(ES)], asked=100)
        self.assertEqual(self.ask("search_open_positions"), [position(ES)])

    def test_an_answer_that_may_be_older_than_an_event_does_not_undo_it(self) -> None:
        self.told("GatewayUserPosition", position(MNQ), seconds=100.5)
        self.told("GatewayUserPosition", position(ES, 0), seconds=99.5)
        self.answered("search_open_positions", [position(ES)], asked=100)
        self.assertEqual(self.ask("search_open_positions"), [position(MNQ)])

    def test_working_orders_and_all_orders(self) -> None:
        self.answered("search_open_orders", [order(1)])
        self.told("GatewayUserOrder", order(2))
        self.told("GatewayUserOrder", order(1, status=2))
        self.assertEqual(self.ask("search_open_orders"), [order(2)])
        self.assertEqual(self.ask("search_order", order_id=1), order(1, status=2))
        self.answered("search_order", order(3, status=5, at="2026-11-23T17:00:00"))
        self.answered("search_orders", [order(4)])
        since = [payload["id"] for payload in self.ask("search_orders", since=NOON)]
        self.assertEqual(since, [1, 2, 4])
        with self.assertRaises(GatewayRefusedError) as caught:
            self.ask("search_order", order_id=99)
        self.assertEqual(caught.exception.code, 1)

    def test_an_order_that_works_no_more_and_nobody_said_so(self) -> None:
        self.told("GatewayUserOrder", order(1), seconds=10)
        self.told("GatewayUserOrder", order(2), seconds=99.5)
        self.answered("search_open_orders", [], asked=100)
        self.assertEqual(self.ask("search_open_orders"), [order(2)])
        self.assertEqual(self.ask("search_order", order_id=1)["status"], 3)

    def test_an_order_that_ended_while_it_was_asked_for(self) -> None:
        self.told("GatewayUserOrder", order(1, status=3), seconds=100.5)
        self.answered("search_open_orders", [order(1)], asked=100)
        self.assertEqual(self.ask("search_open_orders"), [])

    def test_trades_since(self) -> None:
        self.answered("search_trades", [trade(1), trade(2, "2026-11-23T17:59:59.9Z")])
        self.told("GatewayUserTrade", trade(3))
        found = [payload["id"] for payload in self.ask("search_trades", since=NOON)]
        self.assertEqual(found, [1, 3])

    def test_what_is_of_no_account_is_passed_over(self) -> None:
        self.told("GatewayUserPosition", {"contractId": MNQ, "size": 1})
        self.told("GatewayUserSomething", position())
        self.answered("search_open_positions", [])
        self.assertEqual(self.ask("search_open_positions"), [])
