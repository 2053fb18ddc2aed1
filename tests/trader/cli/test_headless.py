"""``--plain`` and ``--json``, with a client and a reactor in memory."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import Limit
from riskd.model.events import EVENT_TYPES
from riskd.model.reduce_only import REDUCE_ONLY, ReduceOnly
from riskd.model.wire import decode, encode, open_envelope
from riskd.testing import make_event
from tests.support.accounts import AllAccountsTestCase, account, running
from tests.support.command_line import CommandLineTestCase
from tests.support.console import BEGIN, DAY, SessionTestCase, at
from trader.cli import headless
from trader.cli.headless import AllPlainLines, PlainLines, json_line, run_headless
from trader.client import UnreadEvent
from trader.model.followed_daemon import FollowedDaemon
from trader.model.formatting import clock, stamp


class FakeReactor:
    """Calls what is due when it runs, then shuts down."""

    def __init__(self) -> None:
        self.running = False
        self.stops = 0
        self._at_start: list[Any] = []
        self._at_shutdown: list[Any] = []

    def callWhenRunning(self, function: Any) -> None:
        self._at_start.append(function)

    def addSystemEventTrigger(self, _phase: str, _event: str, function: Any) -> None:
        self._at_shutdown.append(function)

    def run(self) -> None:
        self.running = True
        for function in (*self._at_start, *self._at_shutdown):
            function()

    def stop(self) -> None:
        """Stop once, as Twisted's reactors do."""
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


class FakeClient:
    """Reports a connection and an event as soon as it connects."""

    def __init__(
        self,
        account_id: int,
        event_callback: Any,
        url: str,
        *,
        reactor: object,
        take_event: Any = None,
        find_url: object = None,
        admit: object = None,
    ) -> None:
        self._callback = event_callback
        self._lazy_callback = take_event

    def connect(self) -> None:
        self._callback("connection_status", {"connected": False, "reason": "cannot connect"})
        message = encode(make_event("daemon_status", {"message": "In step"}))
        self._lazy_callback("daemon_status", UnreadEvent(open_envelope(message), self.drop))

    def drop(self, error: object) -> None:
        """Fail, since each message is well-formed."""
        raise AssertionError(error)

    def disconnect(self) -> Deferred[None]:
        self._callback("connection_status", {"connected": False, "reason": "disconnected"})
        return succeed(None)


class ClosedPipe(io.StringIO):
    """An output whose reader is gone."""

    def flush(self) -> None:
        raise BrokenPipeError


class HeadlessTests(CommandLineTestCase):
    """Lines on standard output until the reactor stops."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = FakeReactor()
        self.patch(headless, "DaemonClient", FakeClient)
        # Logging is global, and belongs to the test runner.
        self.patch(headless.globalLogBeginner, "beginLoggingTo", lambda *_, **__: None)
        self.output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        self.patch(sys, "stdout", self.output)

    def run_with(self, output: str) -> list[str]:
        """Run the program; return the lines of its output."""
        followed = FollowedDaemon(123, None, self.directory, self.directory)
        run_headless(123, followed, output, self.reactor)
        self.output.seek(0)
        return self.output.read().splitlines()

    def test_json_writes_events_and_the_status_of_the_connection(self) -> None:
        lines = [json.loads(line) for line in self.run_with("json")]
        self.assertEqual(
            [(line["type"], line["data"].get("reason")) for line in lines],
            [
                ("connection_status", "cannot connect"),
                ("daemon_status", None),
                ("connection_status", "disconnected"),
            ],
        )

    def test_plain_writes_sentences(self) -> None:
        first, status, *rest = self.run_with("plain")
        self.assertEqual((first, rest), ("Cannot connect", ["Disconnected"]))
        self.assertIn("Daemon RUNNING: In step", status)

    def test_a_reader_that_closes_the_pipe_stops_the_reactor(self) -> None:
        discarded: list[bool] = []
        self.patch(headless, "discard_output", lambda: discarded.append(True))
        followed = FollowedDaemon(123, None, None, self.directory)
        pipe = ClosedPipe()
        pipe.reconfigure = lambda **_: None  # type: ignore[attr-defined]
        self.patch(sys, "stdout", pipe)
        run_headless(123, followed, "json", self.reactor)
        self.assertEqual((len(discarded), self.reactor.stops), (3, 3))


class PlainTests(SessionTestCase):
    """A sentence for each event, and a summary for each connection."""

    def setUp(self) -> None:
        super().setUp()
        self.file.publish()
        self.lines: list[str] = []
        self.plain = PlainLines(self.session, self.lines.append)

    def connect(self) -> None:
        self.plain.receive_status("connection_status", {"connected": True, "reason": "connected"})

    def lose(self, reason: str = "lost connection to daemon") -> None:
        self.plain.receive_status("connection_status", {"connected": False, "reason": reason})

    def receive(self, event_type: str, **data: Any) -> None:
        event = decode(encode(make_event(event_type, data)))
        self.plain.receive(event.type, lambda: event)

    def test_a_connection_writes_a_summary_of_the_account(self) -> None:
        position = make_event("GatewayUserPosition", {})
        trade = {"profitAndLoss": 5, "timestamp": at(-5)}
        self.file.publish(position, make_event("GatewayUserTrade", trade))
        self.connect()
        self.assertEqual(
            self.lines,
            [
                f"{stamp(BEGIN - timedelta(seconds=5))} Trade +$5.00  MNQU5 x2",
                f"{stamp(BEGIN)} Connected to daemon",
                (
                    "account 123, PRACTICE, realized +$5.00 in 1 trade, 1 position, "
                    "0 working orders, not locked"
                ),
            ],
        )

    def test_the_summary_of_the_reduce_only_stage_says_until_when(self) -> None:
        stage = ReduceOnly(since=BEGIN, reasons={"RULE-003": "a large loss"})
        day = Limit("daily_reset", '{"reset_time": "17:00:00", "time_zone": "UTC"}')
        self.file.publish(limits={"DAY": day, REDUCE_ONLY: stage.limit})
        self.connect()
        end = clock(datetime(2025, 1, 17, 17, tzinfo=UTC))
        self.assertTrue(self.lines[-1].endswith(f", REDUCE ONLY until {end}: a large loss"))

    def test_without_data_of_the_broker_the_summary_has_no_figures(self) -> None:
        self.connect()
        self.assertEqual(
            self.lines[-1],
            "account 123, PRACTICE, P&L, positions and orders: no broker data yet, not locked",
        )

    def test_the_summary_names_an_error_of_the_daemon(self) -> None:
        error = {"status": "ERROR", "message": "The broker refuses the login"}
        self.file.publish(make_event("daemon_status", error))
        self.connect()
        self.assertIn("orders: the daemon has an error, not locked", self.lines[-1])
        self.assertTrue(self.lines[-1].endswith("; Daemon ERROR: The broker refuses the login"))

    def test_each_event_but_a_quote_writes_a_line(self) -> None:
        self.connect()
        self.lines.clear()
        for event_type in EVENT_TYPES:
            self.receive(event_type)
        self.assertEqual(len(self.lines), len(EVENT_TYPES) - 1)
        self.assertTrue(all(line.startswith(stamp(BEGIN)) for line in self.lines))

    def test_a_lock_of_the_file_is_in_the_summary_and_what_was_enforced_before_it(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        self.assertTrue(any("ENFORCED" in line for line in self.lines))
        self.assertRegex(self.lines[-1], r"LOCKED OUT until \d{4}-\d\d-\d\d [\d:]{8}: Daily loss")

    def test_the_summary_names_a_problem_with_the_file(self) -> None:
        self.file.fail()
        self.connect()
        self.assertIn("; No last known state: ", self.lines[-1])

    def test_a_repeated_connection_problem_is_written_once(self) -> None:
        for reason in ("cannot connect", "cannot connect", "no such host"):
            self.lose(reason)
        self.assertEqual(self.lines, ["Cannot connect", "No such host"])

    def test_a_lost_connection_is_written_once(self) -> None:
        self.connect()
        self.lines.clear()
        for reason in ("lost connection to daemon", "cannot connect"):
            self.lose(reason)
        self.assertEqual(self.lines, [f"{stamp(BEGIN)} Lost connection to daemon"])

    def test_control_characters_in_an_event_are_replaced(self) -> None:
        self.connect()
        self.receive("lockout_set", reason="a\x1b[2J\nb")
        self.assertTrue(all(line.isprintable() for line in self.lines))


class AllPlainTests(AllAccountsTestCase):
    """The lines of all accounts, each with its account."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        self.accounts = AllPlainLines(  # type: ignore[assignment]  # it is fed as all accounts are
            lambda: self.now,
            self.copy,  # type: ignore[arg-type]  # a copy in memory
            self.lines.append,
        )

    def test_a_connection_writes_a_summary_of_each_account(self) -> None:
        self.copy.publish(account(1, running()), account(2, running()))
        self.connect()
        self.assertEqual(
            self.lines,
            [
                f"{stamp(BEGIN)} Connected to daemon",
                *(
                    f"account {number}, PRACTICE, realized $0.00 in 0 trades, 0 positions, "
                    "0 working orders, not locked"
                    for number in (1, 2)
                ),
            ],
        )

    def test_an_event_has_its_account_and_one_of_the_daemon_has_none(self) -> None:
        self.copy.publish(account(1, running()), account(2, running()))
        self.connect()
        self.lines.clear()
        self.receive("GatewayUserTrade", 2, profitAndLoss=-45.50)
        self.receive("daemon_status", None, status="ERROR", message="no login")
        self.assertEqual(len(self.lines), 2)
        self.assertIn("account 2: Trade -$45.50", self.lines[0])
        self.assertEqual(self.lines[1], f"{stamp(BEGIN)} Daemon ERROR: no login")

    def test_a_problem_is_written_once(self) -> None:
        self.copy.publish(account(1), account(2))
        self.lose("cannot connect")
        self.lose("cannot connect")
        self.assertEqual(self.lines, ["Cannot connect"])

    def test_without_an_account_it_says_why(self) -> None:
        self.connect()
        self.assertEqual(len(self.lines), 1)
        self.assertIn("No last known state", self.lines[0])


class JsonLineTests(SynchronousTestCase):
    """Each event as a JSON object."""

    def test_each_event_is_as_on_the_wire(self) -> None:
        for event_type in EVENT_TYPES:
            message = encode(make_event(event_type, {}))
            envelope = open_envelope(message)
            line = json_line(envelope.account_id, envelope.type, envelope.read_data())
            self.assertEqual(json.loads(line), json.loads(message))
            self.assertNotIn("\n", line)

    def test_control_characters_are_escaped(self) -> None:
        reason = "\x9b2J\x7f\u202e"
        line = json_line(123, "lockout_set", {"reason": reason})
        self.assertTrue(line.isprintable())
        self.assertEqual(json.loads(line)["data"]["reason"], reason)

    def test_a_connection_status_is_an_object_too(self) -> None:
        line = json_line(None, "connection_status", {"connected": False, "reason": "gone"})
        self.assertEqual(
            json.loads(line),
            {
                "type": "connection_status",
                "account_id": None,
                "data": {"connected": False, "reason": "gone"},
            },
        )
