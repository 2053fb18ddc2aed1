"""The engine that records: one input at a time, each written down before it is handled."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from riskd.engine.interface import IOperated, IOperatedAccount
from riskd.gateway.interface import (
    GatewayError,
    GatewayRefusedError,
    GatewayUnansweredError,
    IGateway,
    IGatewayListener,
)
from riskd.journal.interface import IJournal
from riskd.model.broker import BrokerAccount
from riskd.recording.format import (
    Answered,
    Failed,
    Refused,
    Started,
    TimerFired,
    Turn,
    Unanswered,
)
from riskd.recording.recording_engine import RecordingEngine
from riskd.recording.sandbox import FailedError
from tests.support.guarded_account import RULES
from tests.support.practice_daemon import ACCOUNT, CATALOGUE, MONDAY_NOON
from tests.support.recorded_daemon import settings_of

CONFIG = f"{RULES}\n[[accounts]]\nid = {ACCOUNT}\n"


class FakeGateway:
    """A gateway that answers when the test says so."""

    name = "practice"
    answer_seconds = 2.0

    def __init__(self) -> None:
        self.requests: list[tuple[str, Deferred[Any]]] = []
        self.canceled: list[str] = []
        self.followed: list[str] = []
        self.listener: Any = None

    def start(self, listener: Any) -> Deferred[None]:
        self.listener = listener
        return self.answer("start")

    def has_room(self, requests: int) -> bool:
        return requests < 3

    def follow_account(self, account_id: int) -> None:
        self.followed.append(str(account_id))

    def follow_quotes(self, contract_id: str) -> None:
        self.followed.append(contract_id)

    def expect_commands(self, number: int) -> None:
        self.followed.append(f"{number} commands")

    def answer(self, name: str, *arguments: object, **options: object) -> Deferred[Any]:
        self.requests.append((name, Deferred(lambda _: self.canceled.append(name))))
        return self.requests[-1][1]

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: self.answer(name, *arguments, **options)


class FakeJournal:
    """A journal that is opened at once and never writes."""

    def __init__(self) -> None:
        self.durable: Deferred[str] = Deferred()
        self.changes: list[bool] = []
        self.noted: list[Any] = []

    def recover(self, account_ids: Any, states: Any, found: Any, report: Any) -> Deferred[None]:
        self.account_ids, self.states, self.found, self.report = account_ids, states, found, report
        return Deferred()

    def changed(self, *, only_quotes: bool = False) -> None:
        self.changes.append(only_quotes)

    def note_event(self, event: Any) -> None:
        self.noted.append(event)

    def make_durable(self) -> Deferred[str]:
        return self.durable


class MemoryWriter:
    """Keeps turns and lines as they are."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.written: list[Any] = []

    def start(self) -> None:
        """There is no file."""

    def write(self, line: Any) -> None:
        self.written.append(line)

    def write_bytes(self, line: bytes) -> None:
        self.written.append(line)

    def write_turn(self, turn: Turn) -> Turn:
        self.turns.append(turn)
        return turn


class RecordingEngineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.gateway = FakeGateway()
        self.journal = FakeJournal()
        self.writer = MemoryWriter()
        self.broadcasts: list[Any] = []
        self.engine = RecordingEngine(
            self.clock,
            self.gateway,
            settings_of(CONFIG),
            self.journal,
            self.broadcasts.append,
            lambda: MONDAY_NOON,
            CATALOGUE,
            writer=self.writer,
        )
        self.sandbox = self.engine._sandbox

    def inputs(self) -> list[Any]:
        return [turn.input for turn in self.writer.turns]

    def ask(self, name: str = "search_account") -> Deferred[Any]:
        return self.sandbox.ask(f"gateway.{name}", account_id=ACCOUNT)

    def test_the_interfaces(self) -> None:
        verifyObject(IOperated, self.engine)
        verifyObject(IOperatedAccount, self.engine.operated_accounts[ACCOUNT])
        verifyObject(IGateway, self.sandbox.engine._gateway)
        verifyObject(IJournal, self.sandbox.engine._journal)
        self.engine.startService()
        self.clock.advance(6)
        self.journal.report("")
        self.sandbox.ask("gateway.start")
        verifyObject(IGatewayListener, self.gateway.listener)

    def test_an_answer_waits_until_the_turn_is_over(self) -> None:
        answers: list[Any] = []

        def ask_and_answer_at_once() -> None:
            self.ask().addCallback(answers.append)
            self.gateway.requests[-1][1].callback({"id": 1})
            answers.append("the turn is over")

        self.engine._handle(Started(), ask_and_answer_at_once)
        self.assertEqual(answers, ["the turn is over", {"id": 1}])
        self.assertEqual(self.inputs(), [Started(), Answered(1, {"id": 1})])

    def test_events_wait_until_the_turn_is_over_and_keep_their_order(self) -> None:
        self.sandbox.ask("gateway.start")
        listener = self.gateway.listener

        def receive_two() -> None:
            listener.receive(1, BrokerAccount())
            listener.receive(2, BrokerAccount())
            self.assertEqual(self.inputs(), [Started()])

        self.engine._handle(Started(), receive_two)
        self.assertEqual([one.account for one in self.inputs()[1:]], [1, 2])

    def test_an_operator_cannot_act_within_a_turn(self) -> None:
        def lock() -> None:
            self.engine.operated_accounts[ACCOUNT].lock("x", "jane", None)

        self.assertRaises(RuntimeError, self.engine._handle, Started(), lock)

    def test_each_kind_of_failure_is_an_input_of_its_own(self) -> None:
        for error, came, kind in (
            (
                GatewayRefusedError("Order/place", 2, "no"),
                Refused(1, "Order/place", 2, "no"),
                None,
            ),
            (GatewayUnansweredError("x", "lost"), Unanswered(2, "x", "lost"), None),
            (GatewayError("strange"), Failed(3, "strange", "gateway"), None),
            (CancelledError(), Failed(4, "", "canceled"), None),
            (ZeroDivisionError("oops"), Failed(5, "oops", "riskd"), FailedError),
        ):
            answer = self.ask()
            self.gateway.requests[-1][1].errback(error)
            failure = self.failureResultOf(answer, kind or type(error))
            self.assertEqual(str(failure.value), str(error))
            self.assertEqual(self.inputs()[-1], came)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_canceled_request_is_canceled_at_the_gateway(self) -> None:
        answer = self.ask()
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(self.gateway.canceled, ["search_account"])

    def test_time_stands_still_within_a_turn(self) -> None:
        def read_clock() -> list[float]:
            before = self.sandbox.clock.seconds()
            self.clock.advance(5)
            return [before, self.sandbox.clock.seconds()]

        self.clock.advance(1)
        self.assertEqual(self.engine._handle(Started(), read_clock), [1.0, 1.0])

    def test_each_timer_fires_in_a_turn_of_its_own_when_it_is_due(self) -> None:
        fired: list[float] = []

        def set_timers() -> None:
            for delay in (3, 1, 1):
                self.sandbox.clock.callLater(delay, lambda: fired.append(self.clock.seconds()))

        self.engine._handle(Started(), set_timers)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0.5)
        self.assertEqual(fired, [])
        self.clock.advance(0.5)
        self.assertEqual(fired, [1.0, 1.0])
        self.clock.advance(2)
        self.assertEqual(fired, [1.0, 1.0, 3.0])
        self.assertEqual(self.inputs()[1:], [TimerFired()] * 3)

    def test_a_rescheduled_timer_fires_at_its_new_time(self) -> None:
        fired: list[float] = []
        act = lambda: fired.append(self.clock.seconds())  # noqa: E731
        timer = self.engine._handle(Started(), lambda: self.sandbox.clock.callLater(2, act))
        self.engine._handle(Started(), lambda: timer.reset(4))
        self.clock.advance(2)
        self.assertEqual(fired, [])
        self.engine._handle(Started(), lambda: timer.reset(1))
        self.clock.advance(1)
        self.assertEqual(fired, [3.0])

    def test_inputs_are_handled_after_an_internal_error(self) -> None:
        self.sandbox.ask("gateway.start")
        self.patch(self.sandbox.engine, "receive", lambda *_: 1 / 0)
        self.gateway.listener.receive(1, BrokerAccount())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        answer = self.ask()
        self.gateway.requests[-1][1].callback(7)
        self.assertEqual(self.successResultOf(answer), 7)

    def test_an_error_in_the_recovery_is_raised_to_the_journal(self) -> None:
        self.engine.startService()
        self.patch(self.sandbox, "found", lambda _recovery: 1 / 0)
        recovery = type("Recovery", (), {"accounts": {}, "problem": ""})()
        self.assertRaises(ZeroDivisionError, self.journal.found, recovery)
        self.assertIs(self.engine._is_in_turn, False)

    def test_making_durable_is_no_turn(self) -> None:
        self.assertIs(self.engine.make_durable(), self.journal.durable)
        self.assertEqual(self.inputs(), [])

    def test_reading_an_account_is_no_turn(self) -> None:
        account = self.engine.operated_accounts[ACCOUNT]
        self.assertEqual(account.account_state.account_id, ACCOUNT)
        self.assertTrue(account.rules)
        self.assertEqual((self.engine.gateway_name, self.engine.is_recovered), ("practice", False))
        self.assertEqual(self.inputs(), [])

    def test_the_journal_is_notified_of_changes(self) -> None:
        self.sandbox.engine._journal.changed(only_quotes=True)
        self.assertEqual(self.journal.changes, [True])
