"""A client of the broadcast: its handshake, its first events, and what it may send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from riskd import __version__
from riskd.broadcast.connection import may_become_handshake
from riskd.broadcast.cuts import Cut
from riskd.broadcast.server import BroadcastServerFactory
from riskd.model.wire import encode
from riskd.testing import make_event
from tests.support.broadcast import BroadcastTestCase, Peer
from tests.support.websocket_frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    client_frame,
    handshake,
    read_frames,
)


class BeginningTests(SynchronousTestCase):
    """Bytes that may be the beginning of a handshake, and bytes that cannot."""

    @given(st.integers(0, len(handshake())))
    def test_every_beginning_of_a_handshake_may_become_one(self, length: int) -> None:
        self.assertTrue(may_become_handshake(handshake()[:length]))

    def test_bytes_without_a_method_cannot(self) -> None:
        for received in (b"\x16\x03\x01", b"get / HTTP/1.1\r\n", b"GET\r\n", b"A" * 17):
            self.assertFalse(may_become_handshake(received), received)

    def test_size_and_lines_are_limited(self) -> None:
        self.assertTrue(may_become_handshake(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 199))
        self.assertFalse(may_become_handshake(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200))
        self.assertTrue(may_become_handshake(b"GET /".ljust(16 * 1024, b"x")))
        self.assertFalse(may_become_handshake(b"GET /".ljust(16 * 1024 + 1, b"x")))


class HandshakeTests(BroadcastTestCase):
    """Handshakes that are accepted, refused, or never completed."""

    def test_nothing_is_sent_on_connect(self) -> None:
        peer = self.join()
        self.clock.advance(1)
        self.assertEqual((peer.take(), self.factory.statistics.clients), (b"", 1))

    def test_the_response_names_the_gateway_and_accepts_no_compression(self) -> None:
        peer = self.connect(handshake(headers=("Sec-WebSocket-Extensions: permessage-deflate",)))
        answer = peer.take()
        self.assertIn(b"\r\nRiskd-Gateway: practice\r\n", answer)
        self.assertNotIn(b"permessage-deflate", answer)

    def test_the_response_names_a_dry_run(self) -> None:
        for is_dry_run in (False, True):
            factory = BroadcastServerFactory(
                self.clock,
                gateway_name="practice",
                addresses=[("127.0.0.1", 8765)],
                is_dry_run=is_dry_run,
                prepare=lambda: succeed(None),
            )
            peer = Peer(factory)
            peer.send(handshake())
            self.assertEqual(b"\r\nRiskd-Dry-Run: yes\r\n" in peer.take(), is_dry_run)

    def test_the_response_names_the_published_copy_and_its_instance(self) -> None:
        def answer(**options: Any) -> dict[bytes, bytes]:
            factory = BroadcastServerFactory(
                self.clock,
                gateway_name="practice",
                addresses=[("127.0.0.1", 8765)],
                prepare=lambda: succeed(None),
                **options,
            )
            peer = Peer(factory)
            peer.send(handshake())
            lines = peer.take().split(b"\r\n")
            return dict(line.split(b": ", 1) for line in lines if line.startswith(b"Riskd-"))

        path = Path("/var/caf\N{LATIN SMALL LETTER E WITH ACUTE} %\r\nX: y/last-known.db")
        self.assertEqual(
            answer(state_file=path, instance="0123abc"),
            {
                b"Riskd-Gateway": b"practice",
                b"Riskd-State": b"/var/caf%C3%A9%20%25%0D%0AX%3A%20y/last-known.db",
                b"Riskd-Instance": b"0123abc",
            },
        )
        self.assertEqual(answer(), {b"Riskd-Gateway": b"practice"})

    def test_own_hosts_are_accepted(self) -> None:
        for host in ("localhost:8765", "127.0.0.1:8765", "[::1]:8765", "LOCALHOST:8765"):
            self.assertEqual(self.status_of(handshake(host)), 101, host)

    def test_foreign_hosts_are_refused(self) -> None:
        for host in (
            "evil.example:8765",
            "localhost",
            "localhost:80",
            "localhost:8766",
            "127.0.0.2:8765",
            "localhost.evil.example:8765",
            "localhost:8765.evil.example:8765",
            "[::2]:8765",
        ):
            self.assertEqual(self.status_of(handshake(host)), 403, host)

    def test_a_request_without_or_with_two_hosts_is_refused(self) -> None:
        self.assertEqual(self.status_of(handshake(None)), 403)
        self.assertEqual(self.status_of(handshake(headers=("Host: localhost:8765",))), 403)

    def test_own_and_allowed_origins_are_accepted(self) -> None:
        for origin in (
            "http://localhost:8765",
            "http://127.0.0.1:8765",
            "http://[::1]:8765",
            "https://desk.example",
        ):
            self.assertEqual(
                self.status_of(handshake(headers=(f"Origin: {origin}",))), 101, origin
            )

    def test_foreign_origins_are_refused(self) -> None:
        for origin in (
            "null",
            "http://evil.example",
            "https://localhost:8765",
            "http://localhost",
            "http://localhost:8766",
            "http://localhost:8765.evil.example",
            "http://localhost:8765/",
            "https://desk.example.evil.example",
            "chrome-extension://abcdef",
            "file://",
            "garbage",
            "",
        ):
            for version in (13, 8):
                request = handshake(headers=(f"Origin: {origin}",), version=version)
                self.assertEqual(self.status_of(request), 403, origin)

    def test_two_origins_are_refused(self) -> None:
        origins = ("Origin: http://localhost:8765", "Origin: http://evil.example")
        self.assertEqual(self.status_of(handshake(headers=origins)), 403)

    def test_every_path_but_the_root_is_not_found(self) -> None:
        for path in ("/events", "/favicon.ico", "//", "//evil/", "/;x", "http://evil/", "/../"):
            self.assertEqual(self.status_of(handshake(path=path)), 404, path)
        self.assertEqual(self.status_of(handshake(path="/?a=b")), 101)

    def test_a_plain_request_gets_426_and_no_page(self) -> None:
        for line in ("GET / HTTP/1.1", "HEAD / HTTP/1.1", "POST /x HTTP/1.1", "GET / HTTP/1.0"):
            peer = self.connect(f"{line}\r\nHost: localhost:8765\r\n\r\n".encode())
            head, _, body = peer.take().partition(b"\r\n\r\n")
            status, *headers = head.split(b"\r\n")
            self.assertTrue(status.startswith(b"HTTP/1.1 426 "), status)
            self.assertLessEqual(
                {b"Connection: close", b"Content-Length: 0", b"Upgrade: websocket"}, set(headers)
            )
            self.assertIn(f"Server: riskd/{__version__}".encode(), headers)
            self.assertEqual((body, peer.is_gone), (b"", True))

    def test_a_plain_request_for_a_foreign_host_is_refused_as_foreign(self) -> None:
        self.assertEqual(self.status_of(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403)

    def test_old_versions_are_refused(self) -> None:
        self.assertEqual(self.status_of(handshake(version=8)), 400)

    def test_bytes_that_cannot_become_a_handshake_are_refused_at_once(self) -> None:
        for garbage in (
            b"\x16\x03\x01" + bytes(10_000),
            b"get / HTTP/1.1\r\n",
            b"GET\r\n",
            b"A" * 17,
        ):
            self.assertEqual(self.status_of(garbage), 400, garbage[:10])

    def test_a_handshake_may_arrive_in_single_bytes(self) -> None:
        peer = self.connect(b"")
        for byte in handshake():
            peer.send(bytes([byte]))
        self.assertEqual(self.factory.statistics.clients, 1)

    def test_a_handshake_without_end_is_cut(self) -> None:
        peer = self.connect(b"GET / HTTP/1.1\r\n")
        for _ in range(20):
            peer.send(b"X-Padding: " + b"x" * 1000 + b"\r\n")
        self.assertTrue(peer.is_gone)

    def test_a_handshake_of_very_many_lines_is_cut(self) -> None:
        self.assertEqual(self.status_of(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200), 400)

    def test_a_connection_without_a_handshake_is_closed_after_5_seconds(self) -> None:
        peer = self.connect(b"GET / HT")
        self.clock.pump([0.2] * 23)
        self.assertFalse(peer.is_gone)
        self.clock.pump([0.2] * 3)
        self.assertTrue(peer.is_gone)

    @given(st.binary(max_size=300))
    def test_no_bytes_raise(self, data: bytes) -> None:
        factory = BroadcastServerFactory(
            self.clock, gateway_name="practice", addresses=(), prepare=lambda: succeed(None)
        )
        for start in (b"", b"GET ", handshake()):
            peer = Peer(factory)
            peer.send(start + data)
            peer.protocol.connectionLost()


class JoiningTests(BroadcastTestCase):
    """The wait for the snapshot, from the handshake's request to its response."""

    def setUp(self) -> None:
        super().setUp()
        self.prepared = Deferred()

    def test_no_client_joins_before_the_snapshot_is_published(self) -> None:
        peer = self.connect()
        self.assertEqual((peer.take(), self.factory.statistics.clients), (b"", 0))
        self.prepared.callback(None)
        self.assertIn(b"101 Switching Protocols", peer.take())
        self.assertEqual(self.factory.statistics.clients, 1)

    def test_events_during_the_wait_are_queued_and_come_first(self) -> None:
        events = [make_event("GatewayUserTrade", {"id": number}) for number in range(4)]
        # In one turn: broadcast before the request, during the wait, and after the response.
        self.factory.broadcast(events[0])
        peer = self.connect()
        self.broadcast(events[1])
        self.factory.broadcast(events[2])
        self.prepared.callback(None)
        self.factory.broadcast(events[3])
        self.clock.advance(0)
        _, _, frames = peer.take().partition(b"\r\n\r\n")
        self.assertEqual(read_frames(frames), [(TEXT, encode(event)) for event in events[1:]])

    def test_a_joining_client_gets_only_the_latest_quote(self) -> None:
        peer = self.connect()
        trade = make_event("GatewayUserTrade", {})
        quotes = [make_event("MarketQuote", {"bid": bid}) for bid in (1, 2, 3)]
        for event in (*quotes, trade):
            self.broadcast(event)
        self.prepared.callback(None)
        _, _, frames = peer.take().partition(b"\r\n\r\n")
        self.assertEqual(read_frames(frames), [(TEXT, encode(trade)), (TEXT, encode(quotes[-1]))])
        self.assertEqual(self.factory.statistics.conflated_quotes, 2)

    def test_the_backlog_of_a_joining_client_is_limited(self) -> None:
        peer, statistics = self.connect(), self.factory.statistics
        # Larger than what is kept for anybody: 1 MiB.
        for number in range(2600):
            self.factory.broadcast(make_event("lockout_set", {"reason": "x" * 290}))
            if number % 100 == 0:
                self.clock.advance(0)
                self.assertLessEqual(statistics.queue_bytes, 1024 * 1024)
        self.clock.advance(0)
        answer = peer.take()
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer[:20])
        self.assertEqual((peer.is_gone, statistics.queue_bytes), (True, 0))
        self.assertEqual(statistics.cut, {Cut.TOO_MUCH_UNREAD: 1})
        self.prepared.callback(None)
        self.assertEqual((peer.take(), self.factory.statistics.clients), (b"", 0))

    def test_a_client_that_leaves_during_the_wait_is_forgotten(self) -> None:
        peer = self.connect()
        peer.transport.loseConnection()
        self.prepared.callback(None)
        self.broadcast(make_event("daemon_status", {}))
        self.assertNotIn(b"101", peer.take())
        self.assertEqual(self.factory.statistics.clients, 0)

    def test_joining_clients_count_as_clients(self) -> None:
        self.factory._max_clients = 1
        self.connect()
        self.assertEqual(self.status_of(handshake()), 503)


class OneWayTests(BroadcastTestCase):
    """Frames that a client sends."""

    def test_a_message_closes_with_1008_and_a_reason(self) -> None:
        for opcode in (TEXT, BINARY):
            peer = self.join()
            peer.send(client_frame(opcode, b"hello"))
            (frame,) = peer.frames()
            self.assertEqual(frame, (CLOSE, b"\x03\xf0this stream is one-way"))

    def test_a_large_message_closes_with_1009(self) -> None:
        peer = self.join()
        peer.send(client_frame(TEXT, b"x" * 4097)[:20])
        self.assert_closed(peer, 1009)

    def test_the_first_fragment_of_a_message_closes_at_once(self) -> None:
        peer = self.join()
        peer.send(client_frame(TEXT, b"", final=False))
        self.assert_closed(peer, 1008)

    def test_a_client_that_keeps_sending_messages_is_logged_once(self) -> None:
        peer = self.join()
        with capturedLogs() as captured:
            for _ in range(100):
                peer.send(client_frame(TEXT, b"hello"))
        lines = [each for each in captured if "one-way" in formatEvent(each)]
        self.assertEqual(len(lines), 1)

    def test_a_client_that_closes_and_reads_nothing_is_aborted(self) -> None:
        peer = self.join()
        # A real connection cannot close while its buffer has bytes that the client does not read.
        peer.transport.loseConnection = lambda: None
        peer.send(client_frame(CLOSE, b"\x03\xe8"))
        self.assertEqual(self.factory.statistics.clients, 0)
        self.assertFalse(peer.is_gone)
        self.clock.advance(2)
        self.assertTrue(peer.is_gone)

    def test_a_client_that_sends_too_many_pings_is_aborted(self) -> None:
        peer = self.join()
        peer.send(client_frame(PING, b"1") * 30)
        self.assertFalse(peer.is_gone)
        peer.send(client_frame(PING, b"2") * 1000)
        self.assertTrue(peer.is_gone)
        self.assertEqual(peer.frames(), [(PONG, b"1")] * 30)
        self.assertEqual(self.factory.statistics.cut, {Cut.SENT_TOO_MUCH: 1})

    def test_a_client_that_is_being_closed_may_send_few_frames(self) -> None:
        peer = self.join()
        peer.send(client_frame(TEXT, b"hello") + client_frame(PING, b"1") * 3)
        self.assertFalse(peer.is_gone)
        peer.send(client_frame(PING, b"2") * 3)
        self.assertTrue(peer.is_gone)

    def test_a_client_may_ping_every_second(self) -> None:
        peer = self.join()
        for _ in range(200):
            self.clock.pump([0.1] * 10)
            for opcode, payload in peer.frames():
                if opcode == PING:
                    peer.send(client_frame(PONG, payload))
            peer.send(client_frame(PING, b"me too"))
        self.assertFalse(peer.is_gone)

    def test_fragments_after_the_close_are_aborted(self) -> None:
        peer = self.join()
        peer.send(client_frame(TEXT, b"", final=False))
        self.assert_closed(peer, 1008)
        peer.send(client_frame(0, b"", final=False) * 100)
        self.assertTrue(peer.is_gone)

    def test_a_ping_is_answered(self) -> None:
        peer = self.join()
        peer.send(client_frame(PING, b"are you there"))
        self.assertEqual(peer.frames(), [(PONG, b"are you there")])

    def test_bytes_that_are_not_frames_close_with_a_protocol_error(self) -> None:
        peer = self.join()
        peer.send(b"\x81\x05hello")
        self.assert_closed(peer, 1002)

    def test_a_clients_close_is_answered(self) -> None:
        peer = self.join()
        peer.send(client_frame(CLOSE, b"\x03\xe8"))
        self.assert_closed(peer, 1000)
        self.assertTrue(peer.is_gone)
        self.assertEqual(self.factory.statistics.clients, 0)

    def test_a_client_that_does_not_answer_a_close_is_closed(self) -> None:
        peer = self.join()
        peer.send(client_frame(TEXT, b"hello"))
        self.clock.pump([0.2] * 12)
        self.assertTrue(peer.is_gone)
