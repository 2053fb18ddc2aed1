"""Recorded days, replayed: to the byte what consoles were told, whatever happened."""

from __future__ import annotations

import importlib.resources
import io
import sqlite3
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from riskd.config.faults import Faults
from riskd.engine.interface import IOperated, IOperatedAccount
from riskd.gateway.interface import (
    GatewayError,
    GatewayRefusedError,
    GatewayUnansweredError,
    IGateway,
    IGatewayListener,
)
from riskd.journal.interface import IJournal
from riskd.journal.store import Store
from riskd.model.events import EnforcementAction, LockoutSet
from riskd.model.wire import decode
from riskd.recording.format import (
    Answered,
    Failed,
    Recording,
    RecordingError,
    Refused,
    Started,
    TimerFired,
    Turn,
    Unanswered,
    UserEvent,
    encode_line,
)
from riskd.recording.recording_engine import RecordingEngine
from riskd.recording.replay import DifferenceError, replay
from riskd.recording.sandbox import FailedError, Stage
from tests.engine.test_guard_machine import CONFIG as GUARDED
from tests.engine.test_guard_machine import FAULTS
from tests.support.practice_daemon import ACCOUNT, BUY, CATALOGUE, ES, MNQ, MONDAY_NOON, SELL
from tests.support.recorded_daemon import RecordedDaemon, played, settings_of, told_by

DEFAULT = (importlib.resources.files("riskd.config") / "practice.toml").read_text()
ONE_ACCOUNT = f'[[accounts]]\nid = {ACCOUNT}\nwatch = ["MNQ"]\n'
GUARDED_ACCOUNT = f"{GUARDED}\n{ONE_ACCOUNT}"
ALL_FAULTS = Faults(
    refuse=0.1,
    pending=0.1,
    unanswered=0.1,
    lost_requests=0.05,
    failed_reads=0.1,
    slow_seconds=1.5,
    partial_fills=0.3,
    fill_while_cancelled=0.2,
    lost_events=0.1,
    doubled_events=0.1,
    opening_half_again=True,
)


class RecordedTestCase(SynchronousTestCase):
    def daemon(self, config: str = GUARDED_ACCOUNT, **options: Any) -> RecordedDaemon:
        daemon = RecordedDaemon(config, **options)
        self.addCleanup(daemon.clean_up)
        return daemon

    def quiet(self, config: str = GUARDED_ACCOUNT, **options: Any) -> RecordedDaemon:
        """Return a daemon in step, in a market that moves when the test says so."""
        daemon = self.daemon(config, is_open=False, **options)
        daemon.gateway.move_market(MNQ, Decimal(21000))
        daemon.advance(3)
        return daemon

    def check(self, daemon: RecordedDaemon, recording: Path | None = None) -> Recording:
        """See that a day that has ended is replayed to what was told."""
        path = recording or daemon.end()
        opened, turns = played(path.read_bytes())
        self.assertEqual(told_by(turns), daemon.told)
        return opened

    def hold(self, daemon: RecordedDaemon, size: int) -> None:
        """Let the trader hold more than he may."""
        order = {"contractId": MNQ, "type": 2, "size": size, "side": int(BUY)}
        daemon.gateway.place_order(ACCOUNT, order)
        daemon.advance(2)

    def lose(self, daemon: RecordedDaemon, size: int = 2, points: int = 30) -> None:
        """Let the trader lose $2 a point and contract."""
        market_order = {"contractId": MNQ, "type": 2, "size": size}
        daemon.gateway.place_order(ACCOUNT, {**market_order, "side": int(BUY)})
        daemon.gateway.move_market(MNQ, Decimal(21000 - points))
        daemon.gateway.place_order(ACCOUNT, {**market_order, "side": int(SELL)})
        daemon.gateway.move_market(MNQ, Decimal(21000))
        daemon.advance(2)


class DayTests(RecordedTestCase):
    def test_an_hour_with_traders_rules_and_faults(self) -> None:
        daemon = self.daemon(DEFAULT, faults=ALL_FAULTS)
        daemon.advance(3600, step=1.0)
        kinds = {type(decode(message).data) for message in daemon.told}
        self.assertIn(EnforcementAction, kinds)
        self.assertIn(LockoutSet, kinds)
        self.check(daemon)

    def test_the_recording_ends_in_order_and_is_whole(self) -> None:
        daemon = self.quiet()
        recording = self.check(daemon)
        self.assertEqual(recording.broke_off, 0)
        self.assertIn(b"STOPPING", daemon.told[-1])

    def test_a_restart_with_a_lock_in_the_journal(self) -> None:
        daemon = self.quiet()
        self.lose(daemon, size=4, points=90)
        self.assertIn(b"lockout_set", b"".join(daemon.told))
        self.check(daemon, daemon.kill())
        daemon.begin()
        daemon.advance(5)
        self.assertIn("RULE-003", daemon.account(ACCOUNT).account_state.lockouts)
        self.assertIn(b"RULE-003", b"".join(daemon.told))
        self.check(daemon)

    def test_a_journal_that_cannot_be_opened_at_first(self) -> None:
        daemon = self.quiet()
        self.lose(daemon, size=4, points=90)
        daemon.end()
        shut = self.patch(Store, "open", refuse_to_open)
        daemon.begin()
        daemon.advance(3)
        told = b"".join(daemon.told)
        self.assertIn(b"The state file cannot be written", told)
        # The copy knows the lock, too.
        self.assertIn(b"RULE-003", told)
        shut.restore()
        daemon.advance(5)
        self.assertTrue(daemon.engine.is_recovered)
        self.check(daemon)

    def test_a_reload(self) -> None:
        daemon = self.quiet()
        other = f"[rules.max_contracts]\nlimit = 1\n{ONE_ACCOUNT}"
        self.assertEqual(daemon.engine.reload(settings_of(other)), "")
        self.hold(daemon, size=2)
        self.assertIn(b"(limit 1)", b"".join(daemon.told))
        self.check(daemon)

    def test_what_operators_do(self) -> None:
        daemon = self.quiet()
        account = daemon.account(ACCOUNT)
        self.assertIs(account.unlock("nothing to do", "jane"), False)
        account.lock("lunch", "jane", MONDAY_NOON + timedelta(hours=1))
        daemon.advance(2)
        self.assertIs(account.unlock("back", "jane"), True)
        account.flatten("news", "joe")
        account.lock("enough", "jane", None)
        daemon.advance(2)
        self.assertIn(b"lunch", b"".join(daemon.told))
        self.check(daemon)

    def test_trouble_told_from_elsewhere_in_the_daemon(self) -> None:
        daemon = self.quiet()
        daemon.engine.report_problem("config", "The configuration is wrong")
        daemon.advance(1)
        daemon.engine.report_problem("config", "")
        self.assertIn(b"The configuration is wrong", b"".join(daemon.told))
        self.check(daemon)

    def test_a_gateway_in_trouble(self) -> None:
        daemon = self.quiet()
        listener = daemon.gateway._listener
        listener.feed_lost("The broker is gone")
        listener.gateway_trouble("token", "The token is old")
        daemon.advance(2)
        listener.feed_restored()
        listener.gateway_trouble("token", "")
        daemon.advance(2)
        self.assertIn(b"The broker is gone", b"".join(daemon.told))
        self.check(daemon)

    def test_payloads_that_nobody_can_read(self) -> None:
        daemon = self.quiet()
        listener = daemon.gateway._listener
        listener.user_event("GatewayUserOrder", {"accountId": ACCOUNT, "id": "what?"})
        listener.user_event("GatewayUserTrade", {"accountId": ["?"], "id": None})
        listener.market_event("GatewayQuote", MNQ, {"lastPrice": "much"})
        self.lose(daemon)
        self.check(daemon)
        self.flushLoggedErrors()

    def test_the_end_of_a_trading_day(self) -> None:
        end_of_day = datetime(2026, 11, 23, 22, 59, 50, tzinfo=UTC)
        daemon = self.quiet(now=end_of_day)
        self.lose(daemon, size=4, points=90)
        daemon.advance(20)
        self.assertIn(b"daily_reset", b"".join(daemon.told))
        self.check(daemon)

    def test_clocks_that_jump(self) -> None:
        daemon = self.quiet(seconds=1795460000.1)
        for hours in (30, -3, 0.001, 7):
            daemon.jump(hours=hours)
            self.lose(daemon)
        self.check(daemon)

    def test_a_second_ends_in_any_fraction(self) -> None:
        daemon = self.quiet(seconds=1795460000.123456)
        daemon.advance(10, step=0.1)
        self.lose(daemon)
        self.check(daemon)


def refuse_to_open(*_arguments: object) -> None:
    raise sqlite3.OperationalError("unable to open database file")


acts = st.lists(
    st.one_of(
        st.tuples(st.just("lose"), st.integers(1, 5), st.integers(0, 90)),
        st.tuples(st.just("order"), st.sampled_from([MNQ, ES]), st.integers(-60, 60)),
        st.tuples(st.just("wait"), st.sampled_from([0.25, 1.0, 5.0, 61.0])),
        st.tuples(st.just("break"), FAULTS),
        st.tuples(st.just("restrict"), st.booleans()),
        st.tuples(st.just("jump"), st.sampled_from([-1.0, 0.001, 7.0, 30.0])),
        st.tuples(st.just("operate"), st.sampled_from(["lock", "unlock", "flatten"])),
        st.tuples(st.just("reload"), st.integers(1, 5)),
        st.tuples(st.just("kill")),
    ),
    max_size=15,
)


class AnyDayTests(RecordedTestCase):
    @settings(max_examples=40)
    @given(acts)
    def test_any_day_is_replayed_to_what_was_told(self, acts: list[tuple[Any, ...]]) -> None:
        daemon = RecordedDaemon(GUARDED_ACCOUNT, is_open=False)
        try:
            for contract, price in ((MNQ, 21000), (ES, 5800)):
                daemon.gateway.move_market(contract, Decimal(price))
            for name, *arguments in acts:
                getattr(self, f"do_{name}")(daemon, *arguments)
            self.check(daemon)
        finally:
            daemon.clean_up()

    def do_lose(self, daemon: RecordedDaemon, size: int, points: int) -> None:
        for side, price in ((BUY, 21000 - points), (SELL, 21000)):
            self.place(daemon, MNQ, {"type": 2, "side": int(side), "size": size})
            daemon.gateway.move_market(MNQ, Decimal(price))

    def do_order(self, daemon: RecordedDaemon, contract: str, points: int) -> None:
        price = Decimal((21000 if contract == MNQ else 5800) + points)
        order = {"type": 1, "side": int(BUY), "size": 2, "limitPrice": price}
        self.place(daemon, contract, order)

    def place(self, daemon: RecordedDaemon, contract: str, order: dict[str, Any]) -> None:
        placed = daemon.gateway.place_order(ACCOUNT, {"contractId": contract, **order})
        placed.addErrback(lambda failure: failure.trap(GatewayError))

    def do_wait(self, daemon: RecordedDaemon, seconds: float) -> None:
        daemon.advance(seconds, step=0.5)

    def do_break(self, daemon: RecordedDaemon, faults: Faults) -> None:
        daemon.gateway.faults = faults

    def do_restrict(self, daemon: RecordedDaemon, may_trade: bool) -> None:
        daemon.gateway.set_can_trade(ACCOUNT, may_trade)

    def do_jump(self, daemon: RecordedDaemon, hours: float) -> None:
        daemon.jump(hours=hours)

    def do_operate(self, daemon: RecordedDaemon, command: str) -> None:
        more = (None,) if command == "lock" else ()
        getattr(daemon.account(ACCOUNT), command)("because", "jane", *more)

    def do_reload(self, daemon: RecordedDaemon, limit: int) -> None:
        rules = GUARDED.replace("limit = 4", f"limit = {limit}", 1)
        daemon.engine.reload(settings_of(f"{rules}\n{ONE_ACCOUNT}"))

    def do_kill(self, daemon: RecordedDaemon) -> None:
        self.check(daemon, daemon.kill())
        daemon.begin()


class DamageTests(RecordedTestCase):
    """A recording that is not what it was."""

    def setUp(self) -> None:
        daemon = self.quiet()
        self.hold(daemon, size=5)
        self.lines = daemon.end().read_bytes().splitlines()

    def refusal(self, *lines: bytes) -> RecordingError:
        with self.assertRaises(RecordingError) as caught:
            played(b"\n".join(lines) + b"\n")
        return caught.exception

    def number_of(self, words: bytes) -> int:
        """Return the number of the first line with ``words``, from 1."""
        return next(number for number, line in enumerate(self.lines, 1) if words in line)

    def changed(self, number: int, old: bytes, new: bytes) -> list[bytes]:
        self.assertIn(old, self.lines[number - 1])
        changed = self.lines[number - 1].replace(old, new)
        return [*self.lines[: number - 1], changed, *self.lines[number:]]

    def test_what_consoles_were_told_is_compared(self) -> None:
        number = self.number_of(b'{"told":{"type":"enforcement_action"')
        error = self.refusal(*self.changed(number, b"RULE-001", b"RULE-002"))
        self.assertIsInstance(error, DifferenceError)
        self.assertEqual(error.line, number)
        self.assertIn(f"day.jsonl, line {number} is replayed to something else", str(error))
        recorded, replayed = str(error).splitlines()[1:]
        self.assertTrue(recorded.startswith("recorded: ") and "RULE-002" in recorded)
        self.assertTrue(replayed.startswith("replayed: ") and "RULE-001" in replayed)

    def test_what_was_asked_is_compared(self) -> None:
        number = self.number_of(b"gateway.close_contract")
        error = self.refusal(*self.changed(number, b"MNQ", b"MES"))
        self.assertIn(f"line {number} is replayed to something else", str(error))

    def test_what_is_missing_or_too_much_is_told(self) -> None:
        number = self.number_of(b'{"told":{"type":"GatewayUserTrade"')
        error = self.refusal(*self.lines[: number - 1], *self.lines[number:])
        self.assertIn(f"line {number} is replayed to something else", str(error))
        line = self.lines[number - 1]
        error = self.refusal(*self.lines[:number], line, *self.lines[number:])
        self.assertIn(f"line {number + 1} is replayed to something else", str(error))

    def test_an_event_that_was_changed_has_other_consequences(self) -> None:
        number = self.number_of(b'"target":"GatewayUserPosition"')
        self.assertIn(
            "replayed to something else",
            str(self.refusal(*self.changed(number, b'"size":', b'"size":1'))),
        )

    def test_an_answer_to_what_was_not_asked(self) -> None:
        number = self.number_of(b'"kind":"answer"')
        line = self.lines[number - 1].replace(b'"number":', b'"number":9999')
        error = self.refusal(*self.lines[: number - 1], line, *self.lines[number:])
        self.assertIn(f"line {number} is damaged: ", str(error))
        self.assertIn("there is no request 9999", str(error))

    def test_a_timer_that_nobody_set(self) -> None:
        timer = encode_line(Turn(MONDAY_NOON, 0.0, TimerFired()))
        error = self.refusal(self.lines[0], timer)
        self.assertIn("line 2 is damaged: there is no timer", str(error))

    def test_an_account_that_is_not_there(self) -> None:
        operated = (
            b'{"at":"2026-11-23T18:00:00Z","seconds":1,"came":{"kind":"operator",'
            b'"command":"unlock","account":99,"reason":"x","operator":"y","until":null}}'
        )
        self.assertIn("line 2 is damaged: 99", str(self.refusal(self.lines[0], operated)))

    def test_a_configuration_that_is_wrong_here(self) -> None:
        error = self.refusal(self.lines[0].replace(b"max_contracts]", b"min_contracts]"))
        self.assertIn("the recorded configuration, line", str(error))
        self.assertIn("min_contracts", str(error))

    def test_a_difference_to_another_version_names_it(self) -> None:
        lines = self.changed(
            self.number_of(b'"told":{"type":"GatewayUserOrder"'), b'"id":', b'"id":1'
        )
        lines[0] = lines[0].replace(b'"riskd":"', b'"riskd":"9.')
        self.assertIn(", which riskd 9.", str(self.refusal(*lines)))

    def test_wherever_it_breaks_off_it_is_replayed_up_to_there(self) -> None:
        whole = b"\n".join(self.lines) + b"\n"
        start = len(self.lines[0]) + 1
        for length in range(start, len(whole), 997):
            recording, turns = played(whole[:length])
            told = [line for line in whole[:length].split(b"\n")[:-1] if b'{"told":' in line]
            self.assertEqual([b'{"told":%b}' % message for message in told_by(turns)], told)
            self.assertEqual(recording.broke_off, whole[:length].count(b"\n"))

    def test_a_difference_is_told_also_where_it_breaks_off(self) -> None:
        number = self.number_of(b'{"told":{"type":"enforcement_action"')
        lines = self.changed(number, b"RULE-001", b"RULE-002")[:number]
        self.assertIn(f"line {number} is replayed", str(self.refusal(*lines)))


class Broker:
    """A gateway that answers when the test says so."""

    name = "practice"
    answer_seconds = 2.0

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Any]]] = []
        self.left: list[str] = []
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

    def answer(self, name: str, *arguments: object, **options: object) -> Deferred[Any]:
        self.asked.append((name, Deferred(lambda _: self.left.append(name))))
        return self.asked[-1][1]

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: self.answer(name, *arguments, **options)


class Journal:
    """A journal that is there at once, and asks for nothing."""

    def __init__(self) -> None:
        self.durable: Deferred[None] = Deferred()
        self.changes: list[bool] = []

    def recover(self, account_ids: Any, states: Any, found: Any, report: Any) -> Deferred[None]:
        self.account_ids, self.states, self.found, self.report = account_ids, states, found, report
        return Deferred()

    def changed(self, *, only_quotes: bool = False) -> None:
        self.changes.append(only_quotes)

    def make_durable(self) -> Deferred[None]:
        return self.durable


class Lines:
    """Stands in for a recorder; keeps turns as they are."""

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


class RecordedPipelineTests(SynchronousTestCase):
    """The doors of a pipeline that records."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.broker = Broker()
        self.journal = Journal()
        self.lines = Lines()
        self.told: list[Any] = []
        self.engine = RecordingEngine(
            self.clock,
            self.broker,
            settings_of(GUARDED_ACCOUNT),
            self.journal,
            self.told.append,
            lambda: MONDAY_NOON,
            CATALOGUE,
            recorder=self.lines,
        )
        self.stage = self.engine._stage

    def came(self) -> list[Any]:
        return [turn.came for turn in self.lines.turns]

    def ask(self, name: str = "search_account") -> Deferred[Any]:
        return self.stage.ask(f"gateway.{name}", account_id=ACCOUNT)

    def test_it_is_what_it_says(self) -> None:
        verifyObject(IOperated, self.engine)
        verifyObject(IOperatedAccount, self.engine.operated_accounts[ACCOUNT])
        verifyObject(IGateway, self.stage.engine._gateway)
        verifyObject(IJournal, self.stage.engine._journal)
        self.engine.startService()
        self.clock.advance(6)
        self.journal.report("")
        self.stage.ask("gateway.start")
        verifyObject(IGatewayListener, self.broker.listener)

    def test_an_answer_never_comes_within_the_turn(self) -> None:
        answers: list[Any] = []

        def ask_and_be_answered_at_once() -> None:
            self.ask().addCallback(answers.append)
            self.broker.asked[-1][1].callback({"id": 1})
            answers.append("the turn is over")

        self.engine._take(Started(), ask_and_be_answered_at_once)
        self.assertEqual(answers, ["the turn is over", {"id": 1}])
        self.assertEqual(self.came(), [Started(), Answered(1, {"id": 1})])

    def test_events_within_a_turn_wait_and_keep_their_order(self) -> None:
        self.stage.ask("gateway.start")
        listener = self.broker.listener

        def hear() -> None:
            listener.user_event("GatewayUserAccount", {"id": 1})
            listener.user_event("GatewayUserAccount", {"id": 2})
            self.assertEqual(self.came(), [Started()])

        self.engine._take(Started(), hear)
        self.assertEqual([one.payload["id"] for one in self.came()[1:]], [1, 2])

    def test_what_must_be_done_at_once_cannot_be_within_a_turn(self) -> None:
        def lock() -> None:
            self.engine.operated_accounts[ACCOUNT].lock("x", "jane", None)

        self.assertRaises(RuntimeError, self.engine._take, Started(), lock)

    def test_failures_come_in_as_what_they_are(self) -> None:
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
            self.broker.asked[-1][1].errback(error)
            failure = self.failureResultOf(answer, kind or type(error))
            self.assertEqual(str(failure.value), str(error))
            self.assertEqual(self.came()[-1], came)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_who_does_not_wait_any_more_lets_the_gateway_know(self) -> None:
        answer = self.ask()
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(self.broker.left, ["search_account"])

    def test_time_stands_still_within_a_turn(self) -> None:
        def look() -> list[float]:
            before = self.stage.clock.seconds()
            self.clock.advance(5)
            return [before, self.stage.clock.seconds()]

        self.clock.advance(1)
        self.assertEqual(self.engine._take(Started(), look), [1.0, 1.0])

    def test_timers_fire_when_they_are_due_each_in_a_turn_of_its_own(self) -> None:
        fired: list[float] = []

        def set_timers() -> None:
            for delay in (3, 1, 1):
                self.stage.clock.callLater(delay, lambda: fired.append(self.clock.seconds()))

        self.engine._take(Started(), set_timers)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0.5)
        self.assertEqual(fired, [])
        self.clock.advance(0.5)
        self.assertEqual(fired, [1.0, 1.0])
        self.clock.advance(2)
        self.assertEqual(fired, [1.0, 1.0, 3.0])
        self.assertEqual(self.came()[1:], [TimerFired()] * 3)

    def test_a_timer_that_was_put_off_or_set_earlier(self) -> None:
        fired: list[float] = []
        act = lambda: fired.append(self.clock.seconds())  # noqa: E731
        timer = self.engine._take(Started(), lambda: self.stage.clock.callLater(2, act))
        self.engine._take(Started(), lambda: timer.reset(4))
        self.clock.advance(2)
        self.assertEqual(fired, [])
        self.engine._take(Started(), lambda: timer.reset(1))
        self.clock.advance(1)
        self.assertEqual(fired, [3.0])

    def test_a_mistake_of_ours_holds_nothing_up(self) -> None:
        self.stage.ask("gateway.start")
        self.patch(self.stage.engine, "user_event", lambda *_: 1 / 0)
        self.broker.listener.user_event("GatewayUserAccount", {})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        answer = self.ask()
        self.broker.asked[-1][1].callback(7)
        self.assertEqual(self.successResultOf(answer), 7)

    def test_a_recovery_that_fails_is_the_journals_to_know(self) -> None:
        self.engine.startService()
        self.patch(self.stage, "found", lambda _recovery: 1 / 0)
        recovery = type("Recovery", (), {"accounts": {}, "problem": ""})()
        self.assertRaises(ZeroDivisionError, self.journal.found, recovery)
        self.assertIs(self.engine._is_in_turn, False)

    def test_an_operator_waits_for_the_journal_itself(self) -> None:
        self.assertIs(self.engine.make_durable(), self.journal.durable)
        self.assertEqual(self.came(), [])

    def test_to_look_is_no_turn(self) -> None:
        account = self.engine.operated_accounts[ACCOUNT]
        self.assertEqual(account.account_state.account_id, ACCOUNT)
        self.assertTrue(account.rules)
        self.assertEqual((self.engine.gateway_name, self.engine.is_recovered), ("practice", False))
        self.assertEqual(self.came(), [])

    def test_the_journal_is_told_of_changes(self) -> None:
        self.stage.engine._journal.changed(only_quotes=True)
        self.assertEqual(self.journal.changes, [True])


class RoomTests(SynchronousTestCase):
    """What a gateway answers at once, and what it is told without an answer."""

    def test_they_are_recorded_and_replayed(self) -> None:
        daemon = RecordedDaemon(GUARDED_ACCOUNT, is_open=False)
        self.addCleanup(daemon.clean_up)
        self.patch(daemon.gateway, "has_room", lambda requests: requests < 3)
        asking: list[Any] = []
        original = Stage.perform

        def perform(stage: Stage, turn: Turn, act: Any = None) -> Any:
            if isinstance(turn.came, UserEvent) and turn.came.target == "Ask":
                gateway = stage.engine._gateway
                asking.append([gateway.has_room(number) for number in (2, 3)])
                gateway.follow_quotes(MNQ)
            return original(stage, turn, act)

        self.patch(Stage, "perform", perform)
        daemon.advance(3)
        daemon.gateway._listener.user_event("Ask", {})
        daemon.advance(1)
        lines = daemon.end().read_bytes()
        self.assertIn(b'{"room":true,"requests":2}\n{"room":false,"requests":3}\n', lines)
        self.assertIn(b'"request":"gateway.follow_quotes"', lines)
        played(lines)
        self.assertEqual(asking, [[True, False]] * 2)
        with self.assertRaises(DifferenceError):
            played(lines.replace(b'{"room":true,"requests":2}\n', b""))


class OrderTests(RecordedTestCase):
    def test_the_tags_of_stops_depend_on_nothing_but_the_account(self) -> None:
        """Whatever else has run in the process, a replay places the same orders."""
        config = f"[rules.trade_management]\nenabled = true\n{ONE_ACCOUNT}"
        for _ in range(2):
            daemon = self.quiet(config)
            self.hold(daemon, size=2)
            recording = daemon.end().read_bytes()
            self.assertIn(
                b'-1"',
                next(line for line in recording.splitlines() if b"gateway.place_order" in line),
            )
            opened = Recording(io.BytesIO(recording), "day.jsonl")
            for _turn in replay(opened, CATALOGUE):
                pass

    def test_mistakes_of_the_day_are_logged_and_played_over(self) -> None:
        daemon = self.quiet()
        daemon.gateway._listener.user_event("GatewayUserTrade", {"accountId": []})
        recording = daemon.end().read_bytes()
        self.flushLoggedErrors()
        with capturedLogs() as logged:
            played(recording)
        self.assertTrue(any(event.get("log_failure") for event in logged))
        self.flushLoggedErrors()
