"""The WebSocket under a hub: how it is opened, what it carries, and how it ends."""

from __future__ import annotations

import itertools
import struct
from typing import Any
from urllib.parse import parse_qs

import txaio
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx.hub_connection import HubConnection, HubError, TokenRejectedError
from riskd.gateway.projectx.websocket import OPEN_SECONDS, HubConnector
from riskd.gateway.signalr import Close, Invocation, encode, encode_handshake_response
from riskd.host.secrets import Secret
from tests.support.broker import logged, observed
from tests.support.memory_transport import MemoryEndpoint, MemoryTransport
from tests.support.websocket_frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    handshake_answer,
    read_client_frames,
    server_frame,
)

TOKEN = Secret("a token/with+signs=")
EVENT = Invocation("GatewayUserOrder", ({"id": 7},))
HELLO = b'{"protocol":"json","version":1}\x1e'


class WebSocketTestCase(SynchronousTestCase):
    URL = "https://rtc.example.test/hubs/user"

    def setUp(self) -> None:
        self.events = observed(self)
        self.reactor = MemoryReactorClock()
        # Autobahn's timers run on a loop of its own choosing.
        self.patch(txaio.config, "loop", self.reactor)
        self.endpoint = MemoryEndpoint(self.reactor)
        self.received: list[Invocation] = []
        self.ended: list[str] = []

    def connect(self) -> Deferred[HubConnection]:
        connector: Any = HubConnector(self.reactor, self.URL, self.endpoint)
        return Deferred.fromCoroutine(connector(TOKEN, self.received.append))

    def open(self, *headers: str, after: bytes = b"") -> MemoryTransport:
        """Open a WebSocket, and return the client's end of its connection."""
        connecting = self.connect()
        transport = self.endpoint.accept()
        answer = handshake_answer(transport.value(), *headers)
        transport.clear()
        transport.protocol.dataReceived(answer + after)
        self.connection = self.successResultOf(connecting)
        self.connection.ended.addCallback(self.ended.append)
        self.connection.handshaken.addErrback(lambda failure: failure.trap(HubError))
        return transport

    def send(self, transport: MemoryTransport, *frames: bytes) -> None:
        transport.protocol.dataReceived(b"".join(frames))

    def settle(self) -> None:
        """Let pass whatever time Autobahn still waits for something."""
        self.reactor.pump([0.5] * 60)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class OpeningTests(WebSocketTestCase):
    """Opening a socket."""

    def test_the_query_holds_the_token(self) -> None:
        self.connect()
        request = self.endpoint.accept().value().decode()
        first, *lines = request.split("\r\n")
        path, _, query = first.removeprefix("GET ").removesuffix(" HTTP/1.1").partition("?")
        self.assertEqual(path, "/hubs/user")
        self.assertEqual(parse_qs(query), {"access_token": ["a token/with+signs="]})
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        self.assertEqual(headers["host"], "rtc.example.test:443")
        self.assertTrue(headers["user-agent"].startswith("riskd/"))
        self.assertNotIn("origin", headers)

    def test_the_host_header_is_that_of_the_url(self) -> None:
        for url, host in (
            ("http://127.0.0.1:8080/hubs/user", "127.0.0.1:8080"),
            ("https://[::1]:8443/hubs/user", "[::1]:8443"),
        ):
            self.URL = url
            self.connect()
            request = self.endpoint.accept().value().decode().lower()
            self.assertIn(f"\r\nhost: {host}\r\n", request)

    def test_the_hubs_handshake_is_sent_as_one_text_when_the_socket_is_open(self) -> None:
        transport = self.open()
        self.assertEqual(read_client_frames(transport.value()), [(TEXT, HELLO)])
        self.assertFalse(self.connection.handshaken.called)

    def test_nothing_is_sent_before_the_socket_is_open(self) -> None:
        self.connect()
        transport = self.endpoint.accept()
        self.assertTrue(transport.value().endswith(b"\r\n\r\n"))

    def test_the_hub_may_send_records_in_the_segment_of_the_handshake(self) -> None:
        frame = server_frame(TEXT, encode_handshake_response() + encode(EVENT))
        self.open(after=frame)
        self.assertEqual(self.received, [EVENT])

    def test_a_refused_token_is_an_error_of_its_own(self) -> None:
        for status, kind in (
            ("401 Unauthorized", TokenRejectedError),
            ("403 Forbidden", HubError),
            ("404 Not Found", HubError),
            ("500 Internal Server Error", HubError),
            ("503 Service Unavailable", HubError),
            ("200 OK", HubError),
        ):
            connecting = self.connect()
            transport = self.endpoint.accept()
            transport.protocol.dataReceived(f"HTTP/1.1 {status}\r\n\r\n".encode())
            failure = self.failureResultOf(connecting, HubError)
            self.assertEqual(failure.type, kind, status)
            self.assertEqual(str(failure.value), f"the broker answered HTTP {status[:3]}")
            self.assertFalse(transport.connected)
        self.settle()

    def test_an_answer_that_is_no_handshake_is_an_error(self) -> None:
        upgrade = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        )
        for answer in (
            b"\x00" * 100 + b"\r\n\r\n",
            upgrade + b"\r\n",
            upgrade + b"Sec-WebSocket-Accept: bm90IHRoaXMgb25l\r\n\r\n",
            b"x" * (64 * 1024 + 1),
        ):
            connecting = self.connect()
            transport = self.endpoint.accept()
            transport.protocol.dataReceived(answer)
            self.failureResultOf(connecting, HubError)
            self.assertFalse(transport.connected)
        self.settle()

    def test_no_connection_is_an_error(self) -> None:
        connecting = self.connect()
        self.endpoint.refuse()
        self.assertEqual(str(self.failureResultOf(connecting, HubError).value), "no connection")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_an_error_names_the_name_that_cannot_be_looked_up(self) -> None:
        connecting = self.connect()
        self.endpoint.refuse(DNSLookupError("no such name"))
        self.assertEqual(
            str(self.failureResultOf(connecting, HubError).value),
            "the name rtc.example.test cannot be looked up",
        )

    def test_a_connection_lost_during_the_handshake_is_an_error(self) -> None:
        connecting = self.connect()
        self.endpoint.accept().loseConnection()
        failure = self.failureResultOf(connecting, HubError)
        self.assertEqual(str(failure.value), "the connection was lost")
        self.settle()

    def test_opening_takes_ten_seconds_at_most(self) -> None:
        for is_accepted in (False, True):
            self.setUp()
            connecting = self.connect()
            if is_accepted:
                self.reactor.advance(5)
                transport = self.endpoint.accept()
                self.reactor.advance(OPEN_SECONDS - 5.1)
            else:
                self.reactor.advance(OPEN_SECONDS - 0.1)
            self.assertNoResult(connecting)
            self.reactor.advance(0.2)
            failure = self.failureResultOf(connecting, HubError)
            self.assertIn(
                str(failure.value), ("no connection in 10 s", "no answer in 10 s"), is_accepted
            )
            if is_accepted:
                self.assertFalse(transport.connected)
            else:
                self.assertEqual(self.endpoint.given_up, 1)
            self.settle()

    def test_canceling_leaves_no_connection(self) -> None:
        for is_accepted in (False, True):
            self.setUp()
            connecting = self.connect()
            transport = self.endpoint.accept() if is_accepted else None
            connecting.cancel()
            self.failureResultOf(connecting, CancelledError)
            if transport is None:
                self.assertEqual(self.endpoint.given_up, 1)
            else:
                self.assertFalse(transport.connected)
            self.settle()

    def test_without_an_endpoint_the_url_gives_host_and_port(self) -> None:
        for url, port, first in (
            ("http://127.0.0.1:8080/hubs/user", 8080, b"GET /hubs/user?"),
            ("https://127.0.0.1/hubs/user", 443, b"\x16\x03"),
        ):
            self.setUp()
            connector: Any = HubConnector(self.reactor, url)
            Deferred.fromCoroutine(connector(TOKEN, self.received.append)).addErrback(
                lambda _: None
            )
            host, asked_port, factory = self.reactor.tcpClients[0][:3]
            self.assertEqual((host, asked_port), ("127.0.0.1", port))
            transport = MemoryTransport()
            transport.protocol = factory.buildProtocol(None)
            transport.protocol.makeConnection(transport)
            self.assertTrue(transport.value().startswith(first))


class CarryingTests(WebSocketTestCase):
    """An open socket."""

    def setUp(self) -> None:
        super().setUp()
        self.transport = self.open(after=server_frame(TEXT, encode_handshake_response()))
        self.transport.clear()

    def test_records_may_be_framed_in_any_way(self) -> None:
        record = encode(EVENT)
        self.send(self.transport, server_frame(TEXT, record + record))
        self.send(self.transport, server_frame(BINARY, record))
        self.send(
            self.transport,
            server_frame(TEXT, record[:5], final=False),
            server_frame(PING, b"x"),
            server_frame(0, record[5:]),
        )
        self.send(self.transport, server_frame(TEXT, record[:9]), server_frame(TEXT, record[9:]))
        for byte in server_frame(TEXT, record):
            self.send(self.transport, bytes([byte]))
        self.assertEqual(self.received, [EVENT] * 6)

    def test_records_are_sent_as_one_text_message(self) -> None:
        self.connection.invoke("SubscribeOrders", 123)
        ((opcode, payload),) = read_client_frames(self.transport.value())
        self.assertEqual(
            (opcode, payload),
            (TEXT, encode(Invocation("SubscribeOrders", (123,), "1"))),
        )

    def test_pings_of_the_websocket_are_answered(self) -> None:
        self.send(self.transport, server_frame(PING, b"abc"))
        self.assertEqual(read_client_frames(self.transport.value()), [(PONG, b"abc")])

    def test_a_flood_of_pings_is_answered_now_and_then(self) -> None:
        for _ in range(3):
            self.send(self.transport, server_frame(PING, b"abc") * 1000)
            self.reactor.advance(0.1)
        self.assertEqual(len(read_client_frames(self.transport.value())), 3)

    def make_busy(self) -> None:
        """Let each reading of the reactor's clock take a millisecond."""
        ticks = itertools.count(self.reactor.seconds(), 0.001)
        self.patch(self.reactor, "seconds", lambda: next(ticks))

    def test_a_flood_of_frames_waits_for_the_next_turns_of_the_reactor(self) -> None:
        for frames in (
            server_frame(TEXT, encode(EVENT)) * 500,
            server_frame(TEXT, encode(EVENT) * 500),
        ):
            self.setUp()
            self.make_busy()
            self.send(self.transport, frames)
            self.assertLess(len(self.received), 100)
            self.assertEqual(self.transport.producerState, "paused")
            self.send(self.transport, server_frame(TEXT, encode(EVENT)))
            while self.transport.producerState == "paused":
                self.reactor.advance(0)
            self.assertEqual(self.received, [EVENT] * 501)
            self.assertEqual(self.ended, [])
            self.doCleanups()

    def test_a_flood_of_pings_waits_too(self) -> None:
        self.make_busy()
        self.send(self.transport, server_frame(PING) * 5_000)
        self.assertEqual(self.transport.producerState, "paused")
        while self.transport.producerState == "paused":
            self.reactor.advance(0)
        self.send(self.transport, server_frame(TEXT, encode(EVENT)))
        self.assertEqual(self.received, [EVENT])

    def test_the_loss_of_tcp_drops_what_waits(self) -> None:
        self.make_busy()
        self.send(self.transport, server_frame(TEXT, encode(EVENT)) * 500)
        handled = len(self.received)
        self.transport.loseConnection()
        self.reactor.advance(0)
        self.assertEqual((len(self.received), len(self.ended)), (handled, 1))

    def test_the_loss_of_tcp_ends_the_conversation(self) -> None:
        self.transport.loseConnection()
        self.assertEqual(len(self.ended), 1)
        self.settle()

    def test_a_close_frame_ends_the_conversation_with_its_reason(self) -> None:
        self.send(self.transport, server_frame(CLOSE, struct.pack("!H", 1001) + b"restarting"))
        self.assertEqual(self.ended, ["the broker closed the connection (1001: restarting)"])
        self.assertFalse(self.transport.connected)
        self.settle()

    def test_the_reason_is_made_printable(self) -> None:
        self.send(self.transport, server_frame(CLOSE, struct.pack("!H", 1001) + b"a\n\x1b[2Jb"))
        self.assertEqual(self.ended, ["the broker closed the connection (1001: a \\x1b[2Jb)"])
        self.settle()

    def test_the_end_of_the_conversation_closes_the_socket(self) -> None:
        self.connection.end("enough")
        self.assertFalse(self.transport.connected)
        self.assertEqual(self.ended, ["enough"])
        self.settle()

    def test_a_close_message_of_the_hub_closes_the_socket(self) -> None:
        self.send(self.transport, server_frame(TEXT, encode(Close("bye"))))
        self.assertFalse(self.transport.connected)
        self.assertEqual(self.ended, ["the broker closed the connection: bye"])

    def test_30_seconds_of_silence_close_the_socket(self) -> None:
        self.reactor.pump([1] * 30)
        self.assertFalse(self.transport.connected)
        self.assertEqual(self.ended, ["nothing received for 30 s"])
        self.settle()

    def test_a_violation_of_the_websocket_protocol_ends_the_conversation(self) -> None:
        for data in (
            b"\xff\xff\xff\xff",
            server_frame(TEXT, b"\xff\xfe"),
            b"\x81\x7f" + b"\x7f" * 8,
        ):
            self.setUp()
            self.send(self.transport, data)
            self.reactor.pump([0.5] * 10)
            self.assertEqual(len(self.ended), 1, data)
            self.assertFalse(self.transport.connected)

    def test_nothing_is_sent_after_the_end(self) -> None:
        self.connection.end("enough")
        self.transport.clear()
        self.failureResultOf(self.connection.invoke("A"), HubError)
        self.assertEqual(self.transport.value(), b"")

    @given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=5))
    def test_any_bytes_are_handled_or_end_the_conversation(self, chunks: list[bytes]) -> None:
        self.setUp()
        for chunk in chunks:
            if self.transport.connected:
                self.send(self.transport, chunk)
        self.connection.end("the test is over")
        self.assertEqual(len(self.ended), 1)
        self.settle()


class SecrecyTests(WebSocketTestCase):
    """Secrets."""

    def test_the_url_is_in_no_log_and_no_error(self) -> None:
        errors = []

        def fail(connecting: Deferred[HubConnection]) -> None:
            errors.append(str(self.failureResultOf(connecting, HubError).value))

        connecting = self.connect()
        self.endpoint.refuse()
        fail(connecting)
        for answer in (b"HTTP/1.1 401 Unauthorized\r\n\r\n", b"x" * 70000, b"\x00\r\n\r\n"):
            connecting = self.connect()
            self.endpoint.accept().protocol.dataReceived(answer)
            fail(connecting)
        connecting = self.connect()
        self.endpoint.accept()
        self.reactor.pump([1] * 20)
        fail(connecting)
        self.open(after=b"\xff\xff\xff\xff")
        transport = self.open()
        transport.loseConnection()
        self.settle()
        seen = logged(self.events) + repr(errors) + repr(self.ended)
        for secret in (TOKEN.reveal(), "a+token", "a%20token", "access_token"):
            self.assertNotIn(secret, seen)
