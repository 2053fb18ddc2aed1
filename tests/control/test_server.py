"""The operator's socket: who may connect, what a bad client cannot do, and problems at the start."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionAborted
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.logger import capturedLogs
from twisted.protocols.amp import AmpBox, RemoteAmpError, UnhandledCommand
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from riskd.control.protocol import MAX_PATH_BYTES, SOCKET_NAME, StatusCommand
from riskd.control.server import (
    IDLE_SECONDS,
    MAX_CONNECTIONS,
    MAX_REQUESTS,
    ControlFactory,
    ControlService,
)
from tests.support.control import NOW, ControlTestCase, FakeDaemon


class BadClientTests(ControlTestCase):
    """Clients that send the wrong things, too much, or nothing."""

    def raw(self, **entries: bytes) -> Deferred[Any]:
        """Send a box without checking its entries."""
        client, pump = self.connect()
        boxed = {name.encode(): entry for name, entry in entries.items()}
        return self.outcome(client._sendBoxCommand(b"LockCommand", AmpBox(boxed)), pump)

    def test_a_request_that_is_not_json_is_refused_with_a_sentence(self) -> None:
        for text in (
            b"{",
            b"\xff",
            b"[]",
            b'{"account": "x"}',
            b'{"account": 1, "until": "2026"}',
        ):
            error = self.failureResultOf(self.raw(request=text), RemoteAmpError).value
            self.assertEqual(error.errorCode, b"REFUSED")
            self.assertIn("the request cannot be read", error.description)

    def test_a_missing_request_is_refused(self) -> None:
        self.failureResultOf(self.raw(), RemoteAmpError)

    def test_an_unknown_command_is_refused(self) -> None:
        client, pump = self.connect()
        asked = self.outcome(client.callRemoteString(b"Nonsense"), pump)
        self.failureResultOf(asked, UnhandledCommand)

    def test_an_idle_connection_is_dropped(self) -> None:
        self.connect()
        self.clock.advance(IDLE_SECONDS)
        self.assertEqual(self.factory.connections, set())

    def test_a_request_in_drops_does_not_extend_the_timeout(self) -> None:
        client, pump = self.connect()
        for _ in range(5):
            client.transport.write(b"\x00\x01")
            pump.flush()
            self.clock.advance(IDLE_SECONDS / 5)
        self.assertEqual(self.factory.connections, set())

    def test_a_box_without_end_is_dropped(self) -> None:
        client, pump = self.connect()
        for number in range(200):
            client.transport.write(b"\x00\x03%03d\x03\xff%s" % (number, bytes(0x3FF)))
            pump.flush()
        self.assertEqual(self.factory.connections, set())

    def test_a_box_that_is_not_a_request_is_dropped(self) -> None:
        for box in (AmpBox(_answer=b"1"), AmpBox(_error=b"1"), AmpBox(x=b"1")):
            client, pump = self.connect()
            client.transport.write(box.serialize())
            pump.flush()
            self.assertEqual(self.factory.connections, set())

    def test_many_wrong_boxes_at_once_are_one_line_in_the_log(self) -> None:
        """A real connection is lost a turn after it is aborted."""
        server = self.factory.buildProtocol(None)
        assert server is not None
        transport = StringTransport()
        transport.getHandle = lambda: None
        server.makeConnection(transport)
        with capturedLogs() as logged:
            server.dataReceived(AmpBox(x=b"1").serialize() * 100)
        self.assertEqual(len(logged), 1)
        server.connectionLost(Failure(ConnectionAborted()))

    def test_a_connection_cannot_switch_to_tls(self) -> None:
        client, pump = self.connect()
        asked = self.outcome(client.callRemoteString(b"StartTLS"), pump)
        self.failureResultOf(asked, UnhandledCommand)

    def test_a_connection_with_too_many_requests_is_dropped(self) -> None:
        client, pump = self.connect()
        asked = [client.callRemote(StatusCommand) for _ in range(MAX_REQUESTS + 1)]
        asked[-1].addErrback(lambda _: None)
        pump.flush()
        self.successResultOf(asked[MAX_REQUESTS - 1])
        self.assertEqual(self.factory.connections, set())

    def test_the_number_of_connections_is_limited(self) -> None:
        for _ in range(MAX_CONNECTIONS):
            self.connect()
        self.assertIsNone(self.factory.buildProtocol(None))
        self.clock.advance(IDLE_SECONDS)
        self.connect()

    def test_a_client_that_leaves_leaves_no_connection_and_no_timer(self) -> None:
        client, pump = self.connect()
        client.transport.loseConnection()
        pump.flush()
        self.assertEqual(self.factory.connections, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ServiceTests(SynchronousTestCase):
    """The socket in the state directory."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactor()
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / SOCKET_NAME
        self.problems: list[tuple[str, str]] = []

    def start(self) -> ControlService:
        factory = ControlFactory(Clock(), FakeDaemon(123), lambda: NOW)
        service = ControlService(
            self.reactor, self.path, factory, lambda *problem: self.problems.append(problem)
        )
        service.startService()
        return service

    def test_only_the_owner_may_open_the_socket(self) -> None:
        umasks: list[int] = []

        def listen(*_arguments: Any, mode: int) -> Any:
            umasks.append(os.umask(0o177))
            self.assertEqual(mode, 0o600)

        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        self.patch(self.reactor, "listenUNIX", listen)
        self.start()
        self.assertEqual(umasks, [0o177])
        self.assertEqual(os.umask(0o022), 0o022)

    def test_a_file_in_the_place_of_the_socket_is_left_alone(self) -> None:
        self.path.write_text("mine")
        self.start()
        ((name, sentence),) = self.problems
        self.assertEqual(name, "control")
        self.assertIn("a file that is not a socket is in the way", sentence)
        self.assertEqual(self.path.read_text(), "mine")

    def test_a_path_that_is_too_long_is_reported_and_the_daemon_goes_on(self) -> None:
        self.path = Path("/") / ("x" * MAX_PATH_BYTES)
        service = self.start()
        ((_, sentence),) = self.problems
        self.assertIn(f"{MAX_PATH_BYTES + 1} bytes long", sentence)
        self.successResultOf(service.stopService())

    def test_an_error_of_the_operating_system_is_reported(self) -> None:
        def refuse(*_arguments: Any, **_options: Any) -> Any:
            raise CannotListenError(None, self.path, OSError(13, "Permission denied"))

        self.patch(self.reactor, "listenUNIX", refuse)
        self.start()
        self.assertIn("Permission denied", self.problems[0][1])

    def test_a_socket_that_somebody_removed_does_not_disturb_the_stop(self) -> None:
        def gone() -> None:
            raise FileNotFoundError

        port = type("Port", (), {"stopListening": staticmethod(gone)})
        self.patch(self.reactor, "listenUNIX", lambda *_a, **_k: port())
        self.successResultOf(self.start().stopService())
