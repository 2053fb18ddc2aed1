"""The broker of a recording answers reads that the recorded daemon never made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.recording.recorded_broker import RecordedBroker

ACCOUNT = 123
MNQ, ES = "CON.F.US.MNQ.Z26", "CON.F.US.EP.Z26"
NOON = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


def position(contract: str = MNQ, size: int = 1) -> dict[str, Any]:
    return {"accountId": ACCOUNT, "id": 1, "contractId": contract, "size": size}


def order(number: int = 7, status: int = 1, at: str = "2026-11-23T18:00:00Z") -> dict[str, Any]:
    return {"accountId": ACCOUNT, "id": number, "status": status, "creationTimestamp": at}


def trade(number: int = 9, at: str = "2026-11-23T18:00:00Z") -> dict[str, Any]:
    return {"accountId": ACCOUNT, "id": number, "creationTimestamp": at}


class RecordedBrokerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.broker = RecordedBroker()

    def report(self, target: str, payload: dict[str, Any], seconds: float = 0.0) -> None:
        self.broker.apply_event(target, payload, seconds)

    def apply_answer(
        self, request: str, value: Any, requested_at: float = 100.0, **arguments: Any
    ) -> None:
        arguments = {"account_id": ACCOUNT, **arguments}
        self.broker.apply_answer(f"gateway.{request}", arguments, value, requested_at)

    def read(self, request: str, **arguments: Any) -> Any:
        return self.broker.answer(f"gateway.{request}", {"account_id": ACCOUNT, **arguments})

    def test_a_read_is_unanswered_until_the_recording_has_reported_it(self) -> None:
        self.report("GatewayUserPosition", position())
        self.report("GatewayUserOrder", order())
        self.report("GatewayUserTrade", trade())
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
        for request in ("place_order", "cancel_order", "modify_order", "close_contract"):
            self.assertRaises(GatewayRefusedError, self.read, request, contract_id=MNQ)

    def test_events_update_an_account(self) -> None:
        self.apply_answer("search_account", {"id": ACCOUNT, "canTrade": True, "balance": 5})
        self.report("GatewayUserAccount", {"id": ACCOUNT, "canTrade": False})
        self.assertEqual(
            self.read("search_account"), {"id": ACCOUNT, "canTrade": False, "balance": 5}
        )

    def test_a_contract_is_answered_as_recorded(self) -> None:
        self.broker.apply_answer("gateway.search_contract", {"contract_id": MNQ}, {"id": MNQ}, 0.0)
        self.assertEqual(
            self.broker.answer("gateway.search_contract", {"contract_id": MNQ}), {"id": MNQ}
        )

    def test_events_open_and_close_positions(self) -> None:
        self.apply_answer("search_open_positions", [position(MNQ)])
        self.report("GatewayUserPosition", position(ES, 2))
        self.assertEqual(
            self.read("search_open_positions", urgent=True), [position(MNQ), position(ES, 2)]
        )
        self.report("GatewayUserPosition", position(MNQ, 0))
        self.assertEqual(self.read("search_open_positions"), [position(ES, 2)])

    def test_an_answer_makes_up_for_lost_events(self) -> None:
        self.report("GatewayUserPosition", position(MNQ), seconds=10)
        self.apply_answer("search_open_positions", [position(ES)], requested_at=100)
        self.assertEqual(self.read("search_open_positions"), [position(ES)])

    def test_an_answer_does_not_undo_an_event_that_may_be_newer(self) -> None:
        self.report("GatewayUserPosition", position(MNQ), seconds=100.5)
        self.report("GatewayUserPosition", position(ES, 0), seconds=99.5)
        self.apply_answer("search_open_positions", [position(ES)], requested_at=100)
        self.assertEqual(self.read("search_open_positions"), [position(MNQ)])

    def test_working_orders_all_orders_and_one_order(self) -> None:
        self.apply_answer("search_open_orders", [order(1)])
        self.report("GatewayUserOrder", order(2))
        self.report("GatewayUserOrder", order(1, status=2))
        self.assertEqual(self.read("search_open_orders"), [order(2)])
        self.assertEqual(self.read("search_order", order_id=1), order(1, status=2))
        self.apply_answer("search_order", order(3, status=5, at="2026-11-23T17:00:00"))
        self.apply_answer("search_orders", [order(4)])
        since = [payload["id"] for payload in self.read("search_orders", since=NOON)]
        self.assertEqual(since, [1, 2, 4])
        with self.assertRaises(GatewayRefusedError) as caught:
            self.read("search_order", order_id=99)
        self.assertEqual(caught.exception.code, 1)

    def test_an_order_missing_among_working_orders_counts_as_canceled(self) -> None:
        self.report("GatewayUserOrder", order(1), seconds=10)
        self.report("GatewayUserOrder", order(2), seconds=99.5)
        self.apply_answer("search_open_orders", [], requested_at=100)
        self.assertEqual(self.read("search_open_orders"), [order(2)])
        self.assertEqual(self.read("search_order", order_id=1)["status"], 3)

    def test_an_order_that_ended_during_the_request_has_ended(self) -> None:
        self.report("GatewayUserOrder", order(1, status=3), seconds=100.5)
        self.apply_answer("search_open_orders", [order(1)], requested_at=100)
        self.assertEqual(self.read("search_open_orders"), [])

    def test_trades_since_a_time(self) -> None:
        self.apply_answer("search_trades", [trade(1), trade(2, "2026-11-23T17:59:59.9Z")])
        self.report("GatewayUserTrade", trade(3))
        found = [payload["id"] for payload in self.read("search_trades", since=NOON)]
        self.assertEqual(found, [1, 3])

    def test_events_of_no_account_or_kind_are_ignored(self) -> None:
        self.report("GatewayUserPosition", {"contractId": MNQ, "size": 1})
        self.report("GatewayUserSomething", position())
        self.apply_answer("search_open_positions", [])
        self.assertEqual(self.read("search_open_positions"), [])
