"""The alarm, on a clock and without processes."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.wire import encode
from riskd.testing import make_event
from trader.cli.alarm import BELL_SECONDS, HOOK_SECONDS, Alarm
from trader.model.guard_watch import ConnectionChange, GuardChange

LOCKOUT = make_event("lockout_set", {})
ENFORCEMENT = make_event("enforcement_action", {})
ERROR = make_event("daemon_status", {"status": "ERROR", "message": "no broker"})
GONE = ConnectionChange(connected=False, reason="lost connection to daemon")
BACK = ConnectionChange(connected=True, reason="connected")


class Transport:
    """Records what is written and sent to a process."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False
        self.signals: list[str] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def closeStdin(self) -> None:
        self.is_closed = True

    def signalProcess(self, number: str) -> None:
        self.signals.append(number)


class Processes(Clock):
    """A clock that records which processes are started."""

    error: OSError | None = None

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[Any, str, tuple[str, ...]]] = []

    def spawnProcess(self, protocol: Any, executable: str, args: Any, env: Any) -> None:
        if self.error is not None:
            raise self.error
        protocol.transport = Transport()
        self.started.append((protocol, executable, tuple(args)))
        protocol.connectionMade()


class AlarmTestCase(SynchronousTestCase):
    """An alarm with a bell and a hook."""

    def setUp(self) -> None:
        self.reactor = Processes()
        self.rung: list[float] = []
        self.alarm = Alarm(
            self.reactor, lambda: self.rung.append(self.reactor.seconds()), ("notify", "-u")
        )
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)

    def note(self, event: Any) -> None:
        if event.get("log_namespace") == "trader.cli.alarm":
            self.logged.append(event["log_format"].format(**event))

    def raise_alarm(self, *events: GuardChange, is_muted: bool = False) -> None:
        for event in events:
            self.alarm.handle(event, is_muted=is_muted)

    def end(self, reason: Exception, errors: bytes = b"") -> None:
        """End the last process."""
        process = self.reactor.started[-1][0]
        if errors:
            process.errReceived(errors)
        process.processEnded(Failure(reason))


class AlarmTests(AlarmTestCase):
    """Which events alarm, and how often."""

    def test_all_that_an_alarm_is_for_rings_and_runs_the_hook(self) -> None:
        for event in (LOCKOUT, ENFORCEMENT, ERROR, GONE, BACK):
            self.reactor.advance(HOOK_SECONDS)
            self.raise_alarm(event)
        self.assertEqual(len(self.rung), 5)
        self.assertEqual(len(self.reactor.started), 5)

    def test_other_events_do_not_alarm(self) -> None:
        self.raise_alarm(
            *(make_event(kind, {}) for kind in ("GatewayUserTrade", "lockout_cleared"))
        )
        self.assertEqual((self.rung, self.reactor.started), ([], []))

    def test_muting_silences_all_but_lockouts(self) -> None:
        self.raise_alarm(ENFORCEMENT, ERROR, GONE, BACK, is_muted=True)
        self.assertEqual((self.rung, self.reactor.started), ([], []))
        self.raise_alarm(LOCKOUT, is_muted=True)
        self.assertEqual((len(self.rung), len(self.reactor.started)), (1, 1))

    def test_the_bell_rings_once_a_second_at_most(self) -> None:
        for _ in range(100):
            self.raise_alarm(LOCKOUT)
            self.reactor.advance(BELL_SECONDS / 10)
        self.assertEqual(len(self.rung), 10)

    def test_a_flood_of_enforcement_runs_the_hook_every_ten_seconds(self) -> None:
        for _ in range(60):
            self.raise_alarm(ENFORCEMENT)
            self.reactor.advance(HOOK_SECONDS / 20)
        self.assertEqual(len(self.reactor.started), 3)

    def test_of_a_daemon_that_comes_and_goes_the_hook_learns_the_last_state(self) -> None:
        self.raise_alarm(*([GONE, BACK] * 50), GONE)
        self.reactor.pump([HOOK_SECONDS / 10] * 10)
        messages = [process.transport.written for process, *_ in self.reactor.started]
        gone = (
            b'{"type":"connection_status","account_id":null,'
            b'"data":{"connected":false,"reason":"lost connection to daemon"}}\n'
        )
        self.assertEqual(messages, [gone, gone])
        self.reactor.advance(HOOK_SECONDS)
        self.raise_alarm(BACK)
        self.assertEqual(len(self.reactor.started), 3)

    def test_an_error_of_the_daemon_reaches_the_hook_as_on_the_wire(self) -> None:
        self.raise_alarm(ENFORCEMENT, ERROR)
        process, *_ = self.reactor.started[-1]
        self.assertEqual(process.transport.written, encode(ERROR) + b"\n")

    def test_every_lockout_runs_the_hook(self) -> None:
        self.raise_alarm(ENFORCEMENT, LOCKOUT, LOCKOUT)
        self.assertEqual(len(self.reactor.started), 3)

    def test_without_bell_and_hook_nothing_happens(self) -> None:
        Alarm(self.reactor, None, ()).handle(LOCKOUT, is_muted=False)
        self.assertEqual(self.reactor.started, [])


class HookTests(AlarmTestCase):
    """A run of the hook."""

    def test_it_runs_without_a_shell_and_reads_the_event(self) -> None:
        self.raise_alarm(LOCKOUT)
        process, executable, arguments = self.reactor.started[0]
        self.assertEqual((executable, arguments), ("notify", ("notify", "-u")))
        self.assertEqual(process.transport.written, encode(LOCKOUT) + b"\n")
        self.assertTrue(process.transport.is_closed)

    def test_a_hook_that_succeeds_is_not_logged(self) -> None:
        self.raise_alarm(LOCKOUT)
        self.end(ProcessDone(0), b"some chatter")
        self.reactor.advance(2 * HOOK_SECONDS)
        self.assertEqual(self.logged, [])
        self.assertEqual(self.reactor.started[0][0].transport.signals, [])

    def test_a_failure_is_logged_with_the_last_line_of_its_errors(self) -> None:
        self.raise_alarm(LOCKOUT)
        self.end(ProcessTerminated(1), b"usage: ...\nnotify: no display\n")
        self.assertEqual(self.logged, ["the hook notify failed: notify: no display"])

    def test_a_failure_without_output_is_logged_with_its_status(self) -> None:
        self.raise_alarm(LOCKOUT)
        self.end(ProcessTerminated(3))
        self.assertIn("the hook notify failed: ", self.logged[0])
        self.assertIn("exit code 3", self.logged[0])

    def test_a_hook_that_hangs_is_killed(self) -> None:
        self.raise_alarm(LOCKOUT)
        self.reactor.advance(HOOK_SECONDS)
        self.assertEqual(self.reactor.started[0][0].transport.signals, ["KILL"])
        self.assertEqual(self.logged, ["the hook notify has run for 10 s and is killed"])

    def test_a_hook_that_cannot_be_started_is_logged(self) -> None:
        self.reactor.error = OSError(11, "Resource temporarily unavailable")
        self.raise_alarm(LOCKOUT)
        self.assertIn(
            "cannot start the hook notify: Resource temporarily unavailable", self.logged[0]
        )
