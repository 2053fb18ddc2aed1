"""The bell and the hook, on a clock and without processes."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.events import Event
from riskd.model.wire import encode
from riskd.testing import make_event
from trader.cli.alarm import BELL_SECONDS, HOOK_SECONDS, Alarm

LOCKOUT = make_event("lockout_set", {})
ENFORCEMENT = make_event("enforcement_action", {})


class Transport:
    """The pipes of a process that does not run."""

    def __init__(self) -> None:
        self.given = b""
        self.is_closed = False
        self.signals: list[str] = []

    def write(self, data: bytes) -> None:
        self.given += data

    def closeStdin(self) -> None:
        self.is_closed = True

    def signalProcess(self, number: str) -> None:
        self.signals.append(number)


class Processes(Clock):
    """A clock that starts processes."""

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


class AlarmCase(SynchronousTestCase):
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

    def tell(self, *events: Event, is_muted: bool = False) -> None:
        for event in events:
            self.alarm.handle(event, is_muted=is_muted)

    def end(self, reason: Exception, said: bytes = b"") -> None:
        """End the last process."""
        process = self.reactor.started[-1][0]
        if said:
            process.errReceived(said)
        process.processEnded(Failure(reason))


class AlarmTests(AlarmCase):
    """What alarms, and how often."""

    def test_lockouts_and_enforcement_ring_and_run_the_hook(self) -> None:
        for event in (LOCKOUT, ENFORCEMENT):
            self.reactor.advance(HOOK_SECONDS)
            self.tell(event)
        self.assertEqual(len(self.rung), 2)
        self.assertEqual(len(self.reactor.started), 2)

    def test_nothing_else_does(self) -> None:
        self.tell(*(make_event(kind, {}) for kind in ("GatewayUserTrade", "lockout_cleared")))
        self.assertEqual((self.rung, self.reactor.started), ([], []))

    def test_a_mute_silences_enforcement_and_no_lockout(self) -> None:
        self.tell(ENFORCEMENT, is_muted=True)
        self.assertEqual((self.rung, self.reactor.started), ([], []))
        self.tell(LOCKOUT, is_muted=True)
        self.assertEqual((len(self.rung), len(self.reactor.started)), (1, 1))

    def test_the_bell_rings_once_a_second_at_most(self) -> None:
        for _ in range(100):
            self.tell(LOCKOUT)
            self.reactor.advance(BELL_SECONDS / 10)
        self.assertEqual(len(self.rung), 10)

    def test_a_flood_of_enforcement_runs_the_hook_every_ten_seconds(self) -> None:
        for _ in range(60):
            self.tell(ENFORCEMENT)
            self.reactor.advance(HOOK_SECONDS / 20)
        self.assertEqual(len(self.reactor.started), 3)

    def test_no_lockout_is_left_out_of_the_hook(self) -> None:
        self.tell(ENFORCEMENT, LOCKOUT, LOCKOUT)
        self.assertEqual(len(self.reactor.started), 3)

    def test_without_bell_and_hook_it_is_silent(self) -> None:
        Alarm(self.reactor, None, ()).handle(LOCKOUT, is_muted=False)
        self.assertEqual(self.reactor.started, [])


class HookTests(AlarmCase):
    """A run of the hook."""

    def test_it_is_run_without_a_shell_and_given_the_event(self) -> None:
        self.tell(LOCKOUT)
        process, executable, arguments = self.reactor.started[0]
        self.assertEqual((executable, arguments), ("notify", ("notify", "-u")))
        self.assertEqual(process.transport.given, encode(LOCKOUT) + b"\n")
        self.assertTrue(process.transport.is_closed)

    def test_a_hook_that_ends_well_is_not_spoken_of(self) -> None:
        self.tell(LOCKOUT)
        self.end(ProcessDone(0), b"some chatter")
        self.reactor.advance(2 * HOOK_SECONDS)
        self.assertEqual(self.logged, [])
        self.assertEqual(self.reactor.started[0][0].transport.signals, [])

    def test_a_hook_that_fails_is_told_by_its_last_words(self) -> None:
        self.tell(LOCKOUT)
        self.end(ProcessTerminated(1), b"usage: ...\nnotify: no display\n")
        self.assertEqual(self.logged, ["the hook notify failed: notify: no display"])

    def test_a_hook_that_fails_silently_is_told_by_its_status(self) -> None:
        self.tell(LOCKOUT)
        self.end(ProcessTerminated(3))
        self.assertIn("the hook notify failed: ", self.logged[0])
        self.assertIn("exit code 3", self.logged[0])

    def test_a_hook_that_hangs_is_ended(self) -> None:
        self.tell(LOCKOUT)
        self.reactor.advance(HOOK_SECONDS)
        self.assertEqual(self.reactor.started[0][0].transport.signals, ["KILL"])
        self.assertEqual(self.logged, ["the hook notify runs for 10 s, and is ended"])

    def test_a_machine_without_room_for_a_process_is_told(self) -> None:
        self.reactor.error = OSError(11, "Resource temporarily unavailable")
        self.tell(LOCKOUT)
        self.assertIn(
            "the hook notify cannot be started: Resource temporarily unavailable", self.logged[0]
        )
