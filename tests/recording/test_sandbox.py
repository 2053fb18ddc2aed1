"""The sandbox: an engine that receives turns, and whose requests leave under their names."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from riskd.gateway.commands import CloseContract
from riskd.gateway.interface import GatewayError, GatewayUnansweredError, IGateway
from riskd.journal.interface import IJournal
from riskd.recording.format import (
    Answered,
    Failed,
    Header,
    Input,
    Request,
    Started,
    TimerFired,
    Turn,
    Unanswered,
)
from riskd.recording.sandbox import Environment, FailedError, Sandbox
from tests.support.practice_daemon import ACCOUNT, CATALOGUE, MNQ, MONDAY_NOON
from tests.support.recorded_daemon import settings_of

HEADER = Header(
    recording=1,
    riskd="0.1.0",
    gateway="practice",
    answer_seconds=2.0,
    at=MONDAY_NOON,
    seconds=5.0,
    configuration="",
)
ARGUMENTS = {
    "account_id": ACCOUNT,
    "contract_id": MNQ,
    "order_id": 7,
    "size": 2,
    "since": datetime(2026, 11, 23, tzinfo=UTC),
    "urgent": True,
    "command": CloseContract(account_id=ACCOUNT, contract_id=MNQ),
    "requests": 3,
    "number": 4,
    "listener": None,
}


class MemoryEnvironment(Environment):
    """Keeps requests and what was abandoned."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.abandoned: list[int] = []

    def request(self, request: Request) -> None:
        self.requests.append(request)

    def abandon(self, number: int) -> None:
        self.abandoned.append(number)


class SandboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.environment = MemoryEnvironment()
        settings = settings_of(f"[[accounts]]\nid = {ACCOUNT}\n")
        self.sandbox = Sandbox(self.environment, HEADER, settings, CATALOGUE)
        self.gateway: Any = self.sandbox.engine._gateway

    def perform(self, received: Input) -> None:
        self.sandbox.perform(Turn(MONDAY_NOON, 6.0, received))

    def test_the_interfaces(self) -> None:
        verifyObject(IGateway, self.gateway)
        verifyObject(IJournal, self.sandbox.engine._journal)

    def test_every_request_of_the_gateway_leaves_with_its_name_and_arguments(self) -> None:
        names = set(IGateway) - {"name", "answer_seconds", "has_room"}
        for name in sorted(names):
            method = getattr(self.gateway, name)
            arguments = {key: ARGUMENTS[key] for key in inspect.signature(method).parameters}
            method(**arguments)
            arguments.pop("listener", None)
            request = self.environment.requests[-1]
            self.assertEqual((request.name, request.arguments), (f"gateway.{name}", arguments))
        numbers = [request.number for request in self.environment.requests]
        self.assertEqual(numbers, list(range(1, len(names) + 1)))

    def test_the_environment_has_room_by_default(self) -> None:
        self.assertIs(self.gateway.has_room(requests=3), True)

    def test_a_turn_answers_a_request(self) -> None:
        answers = [self.gateway.search_account(ACCOUNT) for _ in range(2)]
        self.perform(Answered(2, {"id": ACCOUNT}))
        self.assertEqual(self.successResultOf(answers[1]), {"id": ACCOUNT})
        self.perform(Unanswered(1, "Account/search", "nothing in 2 s"))
        self.failureResultOf(answers[0], GatewayUnansweredError)

    def test_each_kind_of_failure_is_raised_again(self) -> None:
        for kind, error in (
            ("gateway", GatewayError),
            ("canceled", CancelledError),
            ("riskd", FailedError),
        ):
            answer = self.gateway.search_account(ACCOUNT)
            number = self.environment.requests[-1].number
            self.perform(Failed(number, "why", kind))  # type: ignore[arg-type]
            self.assertEqual(str(self.failureResultOf(answer, error).value), "why")

    def test_an_abandoned_request_may_still_be_answered(self) -> None:
        answer = self.gateway.search_account(ACCOUNT)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(self.environment.abandoned, [1])
        self.perform(Answered(1, {}))

    def test_an_answer_without_a_request_is_an_error(self) -> None:
        with self.assertRaisesRegex(LookupError, "there is no request 1"):
            self.perform(Answered(1, {}))

    def test_a_timer_that_was_not_set_is_an_error(self) -> None:
        with self.assertRaisesRegex(LookupError, "there is no timer"):
            self.perform(TimerFired())

    def test_the_clocks_show_the_times_of_the_turn(self) -> None:
        self.assertEqual(self.sandbox.clock.seconds(), 5.0)
        self.perform(Started())
        self.assertEqual((self.sandbox.at, self.sandbox.clock.seconds()), (MONDAY_NOON, 6.0))
