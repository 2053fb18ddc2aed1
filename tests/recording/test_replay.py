"""Recorded days, replayed: whatever happened, the replay broadcasts the same bytes."""

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
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import Faults
from riskd.engine.risk import RiskEngine
from riskd.gateway.interface import GatewayError
from riskd.gateway.payload_listener import PayloadListener
from riskd.journal.store import Store
from riskd.model.broker import BrokerAccount
from riskd.model.events import EnforcementAction, LockoutSet
from riskd.model.reduce_only import reduce_only_stage
from riskd.model.wire import decode
from riskd.recording.format import (
    Recording,
    RecordingError,
    TimerFired,
    Turn,
    encode_line,
    news_received,
)
from riskd.recording.replay import DifferenceError, replay
from riskd.recording.sandbox import Sandbox
from tests import examples, in_one_runner
from tests.support.guarded_account import FAULTS, RULES
from tests.support.practice_daemon import ACCOUNT, BUY, CATALOGUE, ES, MNQ, MONDAY_NOON, SELL
from tests.support.recorded_daemon import RecordedDaemon, broadcasts_of, replayed, settings_of

DEFAULT = (importlib.resources.files("riskd.config") / "practice.toml").read_text()
ONE_ACCOUNT = f'[[accounts]]\nid = {ACCOUNT}\nwatch = ["MNQ"]\n'
GUARDED_ACCOUNT = f"{RULES}\n{ONE_ACCOUNT}"
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
        """Return a reconciled daemon, in a market that moves when the test says so."""
        daemon = self.daemon(config, is_open=False, **options)
        daemon.gateway.move_market(MNQ, Decimal(21000))
        daemon.advance(3)
        return daemon

    def check(self, daemon: RecordedDaemon, recording: Path | None = None) -> Recording:
        """End the day, and check that its replay broadcasts the same."""
        path = recording or daemon.end()
        opened, turns = replayed(path.read_bytes())
        self.assertEqual(broadcasts_of(turns), daemon.broadcasts)
        return opened

    def hold(self, daemon: RecordedDaemon, size: int) -> None:
        """Let the trader buy at the market."""
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
    @in_one_runner
    def test_traders_rules_and_faults(self) -> None:
        daemon = self.daemon(DEFAULT, faults=ALL_FAULTS)
        daemon.advance(1500, step=1.0)
        kinds = {type(decode(message).data) for message in daemon.broadcasts}
        self.assertIn(EnforcementAction, kinds)
        self.assertIn(LockoutSet, kinds)
        self.check(daemon)

    def test_the_recording_ends_in_order_and_is_whole(self) -> None:
        daemon = self.quiet()
        recording = self.check(daemon)
        self.assertEqual(recording.broke_off, 0)
        self.assertIn(b"STOPPING", daemon.broadcasts[-1])

    def test_a_restart_with_a_lock_in_the_journal(self) -> None:
        daemon = self.quiet()
        self.lose(daemon, size=4, points=90)
        self.assertIn(b"lockout_set", b"".join(daemon.broadcasts))
        self.check(daemon, daemon.kill())
        daemon.begin()
        daemon.advance(5)
        self.assertIn("RULE-003", daemon.account(ACCOUNT).account_state.lockouts)
        self.assertIn(b"RULE-003", b"".join(daemon.broadcasts))
        self.check(daemon)

    def test_a_reduce_only_stage_over_a_kill(self) -> None:
        stage = "[rules.daily_realized_loss]\nloss_limit = 500\nreduce_only_at = 40\n"
        daemon = self.quiet(f"{stage}[rules.order_limits]\nmax_size = 9\n{ONE_ACCOUNT}")
        self.lose(daemon, points=60)
        self.hold(daemon, size=1)
        self.assertIn(b"may only reduce its positions", b"".join(daemon.broadcasts))
        self.assertIn(b"CLOSE_ALL_POSITIONS", b"".join(daemon.broadcasts))
        self.check(daemon, daemon.kill())
        daemon.begin()
        self.hold(daemon, size=10)
        self.assertIsNotNone(reduce_only_stage(daemon.account(ACCOUNT).account_state))
        self.assertIn(b"CLOSE_ALL_POSITIONS", b"".join(daemon.broadcasts))
        self.check(daemon)

    def test_a_journal_that_cannot_be_opened_at_first(self) -> None:
        daemon = self.quiet()
        self.lose(daemon, size=4, points=90)
        daemon.end()
        shut = self.patch(Store, "open", refuse_to_open)
        daemon.begin()
        daemon.advance(3)
        broadcasts = b"".join(daemon.broadcasts)
        self.assertIn(b"The state file cannot be written", broadcasts)
        # The published copy holds the lockout, too.
        self.assertIn(b"RULE-003", broadcasts)
        shut.restore()
        daemon.advance(5)
        self.assertTrue(daemon.engine.is_recovered)
        self.check(daemon)

    def test_a_reload(self) -> None:
        daemon = self.quiet()
        other = f"[rules.max_contracts]\nlimit = 1\n{ONE_ACCOUNT}"
        self.assertEqual(daemon.engine.reload(settings_of(other)), "")
        self.hold(daemon, size=2)
        self.assertIn(b"(limit 1)", b"".join(daemon.broadcasts))
        self.check(daemon)

    def test_commands_of_operators(self) -> None:
        daemon = self.quiet()
        account = daemon.account(ACCOUNT)
        self.assertIs(account.unlock("nothing to do", "jane"), False)
        account.lock("lunch", "jane", MONDAY_NOON + timedelta(hours=1))
        daemon.advance(2)
        self.assertIs(account.unlock("back", "jane"), True)
        account.flatten("news", "joe")
        account.lock("enough", "jane", None)
        account.set_floor(Decimal("48500.25"), "jane")
        self.assertEqual(account.account_state.balance.firm_floor.amount, Decimal("48500.25"))
        daemon.advance(2)
        self.assertIn(b"lunch", b"".join(daemon.broadcasts))
        self.check(daemon)

    def test_a_problem_reported_from_elsewhere_in_the_daemon(self) -> None:
        daemon = self.quiet()
        daemon.engine.report_problem("config", "The configuration is wrong")
        daemon.advance(1)
        daemon.engine.report_problem("config", "")
        self.assertIn(b"The configuration is wrong", b"".join(daemon.broadcasts))
        self.check(daemon)

    def test_problems_of_the_gateway(self) -> None:
        daemon = self.quiet()
        listener = daemon.engine
        listener.feed_lost("The broker is gone")
        listener.gateway_problem("token", "The token is old")
        daemon.advance(2)
        listener.feed_restored()
        listener.gateway_problem("token", "")
        daemon.advance(2)
        self.assertIn(b"The broker is gone", b"".join(daemon.broadcasts))
        self.check(daemon)

    def test_payloads_that_cannot_be_read(self) -> None:
        daemon = self.quiet()
        listener = PayloadListener(daemon.engine)
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
        self.assertIn(b"daily_reset", b"".join(daemon.broadcasts))
        self.check(daemon)

    def test_jumps_of_the_clock(self) -> None:
        daemon = self.quiet(seconds=1795460000.1)
        for hours in (30, -3, 0.001, 7):
            daemon.jump(hours=hours)
            self.lose(daemon)
        self.check(daemon)

    def test_a_wrong_clock_that_jumps_and_a_sleep(self) -> None:
        """The broker's clock goes its own way, and each answer brings its time."""
        daemon = self.quiet(faults=Faults(clock_offset_seconds=47.3, latency_seconds=0.1))
        daemon.gateway._time_of_day = lambda: (
            MONDAY_NOON + timedelta(seconds=daemon.clock.seconds())
        )
        daemon.advance(10)
        self.lose(daemon)
        for hours in (24, -25):
            daemon.jump(hours=hours)
            daemon.advance(10)
        daemon.clock.advance(7200)
        daemon.advance(10)
        error = daemon.engine.now() - daemon.gateway.broker_time()
        self.assertLess(abs(error.total_seconds()), 0.3)
        assert daemon.engine.clock_offset is not None
        self.assertLess(abs(daemon.engine.clock_offset.total_seconds() - 3647.3), 0.3)
        self.check(daemon)

    def test_fractions_of_seconds(self) -> None:
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
    @settings(max_examples=examples(40))
    @given(acts)
    def test_the_replay_of_any_day_broadcasts_the_same(self, acts: list[tuple[Any, ...]]) -> None:
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
        rules = RULES.replace("limit = 4", f"limit = {limit}", 1)
        daemon.engine.reload(settings_of(f"{rules}\n{ONE_ACCOUNT}"))

    def do_kill(self, daemon: RecordedDaemon) -> None:
        self.check(daemon, daemon.kill())
        daemon.begin()


class DamageTests(RecordedTestCase):
    """Recordings that were changed."""

    def setUp(self) -> None:
        daemon = self.quiet()
        self.hold(daemon, size=5)
        self.lines = daemon.end().read_bytes().splitlines()

    def refusal(self, *lines: bytes) -> RecordingError:
        with self.assertRaises(RecordingError) as caught:
            replayed(b"\n".join(lines) + b"\n")
        return caught.exception

    def number_of(self, words: bytes) -> int:
        """Return the number, from 1, of the first line that contains ``words``."""
        return next(number for number, line in enumerate(self.lines, 1) if words in line)

    def changed(self, number: int, old: bytes, new: bytes) -> list[bytes]:
        self.assertIn(old, self.lines[number - 1])
        changed = self.lines[number - 1].replace(old, new)
        return [*self.lines[: number - 1], changed, *self.lines[number:]]

    def test_broadcasts_are_compared(self) -> None:
        number = self.number_of(b'{"told":{"type":"enforcement_action"')
        error = self.refusal(*self.changed(number, b"RULE-001", b"RULE-002"))
        self.assertIsInstance(error, DifferenceError)
        self.assertEqual(error.line, number)
        self.assertIn(f"day.jsonl, line {number} replays differently", str(error))
        recorded, replayed = str(error).splitlines()[1:]
        self.assertTrue(recorded.startswith("recorded: ") and "RULE-002" in recorded)
        self.assertTrue(replayed.startswith("replayed: ") and "RULE-001" in replayed)

    def test_requests_are_compared(self) -> None:
        number = self.number_of(b'"command":"close"')
        error = self.refusal(*self.changed(number, b"MNQ", b"MES"))
        self.assertIn(f"line {number} replays differently", str(error))

    def test_a_missing_or_additional_line_is_a_difference(self) -> None:
        number = self.number_of(b'{"told":{"type":"GatewayUserTrade"')
        error = self.refusal(*self.lines[: number - 1], *self.lines[number:])
        self.assertIn(f"line {number} replays differently", str(error))
        line = self.lines[number - 1]
        error = self.refusal(*self.lines[:number], line, *self.lines[number:])
        self.assertIn(f"line {number + 1} replays differently", str(error))

    def test_another_event_gives_other_outputs(self) -> None:
        number = self.number_of(b'"kind":"news","account":123,"position"')
        self.assertIn(
            "replays differently",
            str(self.refusal(*self.changed(number, b'"size":', b'"size":1'))),
        )

    def test_an_answer_without_a_request_is_damage(self) -> None:
        number = self.number_of(b'"kind":"answer"')
        line = self.lines[number - 1].replace(b'"number":', b'"number":9999')
        error = self.refusal(*self.lines[: number - 1], line, *self.lines[number:])
        self.assertIn(f"line {number} is damaged: ", str(error))
        self.assertIn("there is no request 9999", str(error))

    def test_a_timer_that_was_not_set_is_damage(self) -> None:
        timer = encode_line(Turn(MONDAY_NOON, 0.0, TimerFired()))
        error = self.refusal(self.lines[0], timer)
        self.assertIn("line 2 is damaged: there is no timer", str(error))

    def test_an_unknown_account_is_damage(self) -> None:
        operated = (
            b'{"at":"2026-11-23T18:00:00Z","seconds":1,"came":{"kind":"operator",'
            b'"command":"unlock","account":99,"reason":"x","operator":"y","until":null}}'
        )
        self.assertIn("line 2 is damaged: 99", str(self.refusal(self.lines[0], operated)))

    def test_a_configuration_that_this_riskd_cannot_read_is_an_error(self) -> None:
        error = self.refusal(self.lines[0].replace(b"max_contracts]", b"min_contracts]"))
        self.assertIn("the recorded configuration, line", str(error))
        self.assertIn("min_contracts", str(error))

    def test_a_difference_names_the_version_that_recorded(self) -> None:
        lines = self.changed(
            self.number_of(b'"told":{"type":"GatewayUserOrder"'), b'"id":', b'"id":1'
        )
        lines[0] = lines[0].replace(b'"riskd":"', b'"riskd":"9.')
        self.assertIn(", which riskd 9.", str(self.refusal(*lines)))

    def test_a_recording_that_breaks_off_is_replayed_to_its_end(self) -> None:
        whole = b"\n".join(self.lines) + b"\n"
        start = len(self.lines[0]) + 1
        for length in range(start, len(whole), 997):
            recording, turns = replayed(whole[:length])
            lines = [line for line in whole[:length].split(b"\n")[:-1] if b'{"told":' in line]
            self.assertEqual([b'{"told":%b}' % message for message in broadcasts_of(turns)], lines)
            self.assertEqual(recording.broke_off, whole[:length].count(b"\n"))

    def test_a_difference_is_found_where_the_recording_breaks_off_too(self) -> None:
        number = self.number_of(b'{"told":{"type":"enforcement_action"')
        lines = self.changed(number, b"RULE-001", b"RULE-002")[:number]
        self.assertIn(f"line {number} replays differently", str(self.refusal(*lines)))


class WithinTurnTests(SynchronousTestCase):
    """Requests that the gateway answers within the turn, or not at all."""

    def test_checks_for_room_and_subscriptions_are_recorded_and_replayed(self) -> None:
        daemon = RecordedDaemon(GUARDED_ACCOUNT, is_open=False)
        self.addCleanup(daemon.clean_up)
        self.patch(daemon.gateway, "has_room", lambda requests: requests < 3)
        asking: list[Any] = []
        asked = news_received(0, BrokerAccount(name="Ask"))
        original = Sandbox.perform

        def perform(sandbox: Sandbox, turn: Turn, act: Any = None) -> Any:
            if turn.input == asked:
                gateway = sandbox.engine._gateway
                asking.append([gateway.has_room(number) for number in (2, 3)])
                gateway.follow_quotes(MNQ)
            return original(sandbox, turn, act)

        self.patch(Sandbox, "perform", perform)
        daemon.advance(3)
        daemon.engine.receive(0, BrokerAccount(name="Ask"))
        daemon.advance(1)
        lines = daemon.end().read_bytes()
        self.assertIn(b'{"room":true,"requests":2}\n{"room":false,"requests":3}\n', lines)
        self.assertIn(b'"request":"gateway.follow_quotes"', lines)
        replayed(lines)
        self.assertEqual(asking, [[True, False]] * 2)
        with self.assertRaises(DifferenceError):
            replayed(lines.replace(b'{"room":true,"requests":2}\n', b""))


class DeterminismTests(RecordedTestCase):
    def test_the_tags_of_stops_depend_on_the_account_alone(self) -> None:
        """A replay places the same orders, whatever else has run in the process."""
        config = f"[rules.trade_management]\nenabled = true\n{ONE_ACCOUNT}"
        for _ in range(2):
            daemon = self.quiet(config)
            self.hold(daemon, size=2)
            recording = daemon.end().read_bytes()
            self.assertIn(
                b'-1"',
                next(line for line in recording.splitlines() if b'"command":"place"' in line),
            )
            opened = Recording(io.BytesIO(recording), "day.jsonl")
            for _turn in replay(opened, CATALOGUE):
                pass

    def test_the_replay_goes_on_after_an_internal_error_as_the_daemon_did(self) -> None:
        daemon = self.quiet()
        self.patch(RiskEngine, "receive_account", lambda *_more, **_: 1 / 0)
        daemon.engine.receive(ACCOUNT, BrokerAccount())
        recording = daemon.end().read_bytes()
        self.flushLoggedErrors()
        with capturedLogs() as logged:
            replayed(recording)
        self.assertTrue(any(event.get("log_failure") for event in logged))
        self.flushLoggedErrors()
