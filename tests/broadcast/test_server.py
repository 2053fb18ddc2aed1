"""The broadcast: who is let in, what they get, and how they are seen out."""

from __future__ import annotations

import socket
from unittest import skipUnless

import txaio
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from riskd.broadcast import BroadcastServerFactory, ConsoleProtocol
from riskd.broadcast.connection_log import LINES, SECONDS
from riskd.broadcast.heartbeat import GROUP
from riskd.broadcast.service import adopt
from riskd.broadcast.statistics import Cut
from riskd.host.loopback import listen
from riskd.model.events import Event
from riskd.model.wire import encode
from riskd.testing import make_event
from tests.support.memory_transport import MemoryTransport
from tests.support.websocket_frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    client_frame,
    close_code,
    handshake,
    read_frames,
)


class Peer:
    """A client in memory: its bytes in, the server's bytes out."""

    def __init__(self, factory: BroadcastServerFactory) -> None:
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50000))
        assert isinstance(protocol, ConsoleProtocol)
        self.protocol = protocol
        self.transport = MemoryTransport()
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        if self.transport.connected:
            self.protocol.dataReceived(data)

    def take(self) -> bytes:
        data = self.transport.value()
        self.transport.clear()
        return data

    def frames(self) -> list[tuple[int, bytes]]:
        return read_frames(self.take())

    @property
    def is_gone(self) -> bool:
        return not self.transport.connected


class BroadcastTestCase(SynchronousTestCase):
    """A factory on a clock, and peers in memory."""

    max_clients = 1000

    def setUp(self) -> None:
        self.clock = Clock()
        # Autobahn's timers run on a loop of its own choosing.
        self.patch(txaio.config, "loop", self.clock)
        self.prepared: Deferred[None] = succeed(None)
        self.factory = BroadcastServerFactory(
            self.clock,
            gateway_name="practice",
            prepare=lambda: self.prepared,
            max_clients=self.max_clients,
            allowed_origins=["https://desk.example"],
        )
        self.factory.serve_at([("127.0.0.1", 8765), ("::1", 8765)])

    def tell(self, event: Event) -> None:
        """Broadcast ``event`` in a turn of its own."""
        self.factory.broadcast(event)
        self.clock.advance(0)

    def connect(self, request: bytes | None = None) -> Peer:
        peer = Peer(self.factory)
        peer.send(handshake() if request is None else request)
        return peer

    def let_in(self) -> Peer:
        peer = self.connect()
        self.assertEqual(peer.take().split(b"\r\n")[0], b"HTTP/1.1 101 Switching Protocols")
        return peer

    def status_of(self, request: bytes) -> int:
        """Return the HTTP status that answers ``request``; whoever is refused is also cut."""
        peer = self.connect(request)
        status = int(peer.take().split(b" ")[1])
        self.assertEqual(peer.is_gone, status != 101)
        return status

    def assert_closed(self, peer: Peer, code: int) -> None:
        frames = peer.frames()
        self.assertEqual([opcode for opcode, _ in frames], [CLOSE])
        self.assertEqual(close_code(frames[0][1]), code)


class DoorTests(BroadcastTestCase):
    """The handshake."""

    def test_nothing_is_sent_on_connect(self) -> None:
        peer = self.let_in()
        self.clock.advance(1)
        self.assertEqual((peer.take(), self.factory.count), (b"", 1))

    def test_the_answer_names_the_gateway_and_compresses_nothing(self) -> None:
        peer = self.connect(handshake(headers=("Sec-WebSocket-Extensions: permessage-deflate",)))
        answer = peer.take()
        self.assertIn(b"\r\nRiskd-Gateway: practice\r\n", answer)
        self.assertNotIn(b"permessage-deflate", answer)

    def test_the_answer_says_whether_it_is_a_dry_run(self) -> None:
        for is_dry_run in (False, True):
            factory = BroadcastServerFactory(
                self.clock,
                gateway_name="practice",
                is_dry_run=is_dry_run,
                prepare=lambda: succeed(None),
            )
            factory.serve_at([("127.0.0.1", 8765)])
            peer = Peer(factory)
            peer.send(handshake())
            self.assertEqual(b"\r\nRiskd-Dry-Run: yes\r\n" in peer.take(), is_dry_run)

    def test_own_hosts_are_welcome(self) -> None:
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

    def test_own_pages_and_listed_ones_are_welcome(self) -> None:
        for origin in (
            "http://localhost:8765",
            "http://127.0.0.1:8765",
            "http://[::1]:8765",
            "https://desk.example",
        ):
            self.assertEqual(
                self.status_of(handshake(headers=(f"Origin: {origin}",))), 101, origin
            )

    def test_foreign_pages_are_refused(self) -> None:
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

    def test_there_is_nothing_but_the_root(self) -> None:
        for path in ("/events", "/favicon.ico", "//", "//evil/", "/;x", "http://evil/", "/../"):
            self.assertEqual(self.status_of(handshake(path=path)), 404, path)
        self.assertEqual(self.status_of(handshake(path="/?a=b")), 101)

    def test_a_plain_request_gets_no_page(self) -> None:
        for line in ("GET / HTTP/1.1", "HEAD / HTTP/1.1", "POST /x HTTP/1.1", "GET / HTTP/1.0"):
            peer = self.connect(f"{line}\r\nHost: localhost:8765\r\n\r\n".encode())
            head, _, body = peer.take().partition(b"\r\n\r\n")
            status, *headers = head.split(b"\r\n")
            self.assertTrue(status.startswith(b"HTTP/1.1 426 "), status)
            self.assertLessEqual(
                {b"Connection: close", b"Content-Length: 0", b"Upgrade: websocket"}, set(headers)
            )
            self.assertEqual((body, peer.is_gone), (b"", True))

    def test_a_plain_request_for_a_foreign_host_is_a_strangers(self) -> None:
        self.assertEqual(self.status_of(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403)

    def test_old_versions_are_refused(self) -> None:
        self.assertEqual(self.status_of(handshake(version=8)), 400)

    def test_what_cannot_become_a_handshake_is_refused_at_once(self) -> None:
        for garbage in (
            b"\x16\x03\x01" + bytes(10_000),
            b"get / HTTP/1.1\r\n",
            b"GET\r\n",
            b"A" * 17,
        ):
            self.assertEqual(self.status_of(garbage), 400, garbage[:10])

    def test_a_handshake_may_come_in_single_bytes(self) -> None:
        peer = self.connect(b"")
        for byte in handshake():
            peer.send(bytes([byte]))
        self.assertEqual(self.factory.count, 1)

    def test_a_handshake_without_end_is_cut(self) -> None:
        peer = self.connect(b"GET / HTTP/1.1\r\n")
        for _ in range(20):
            peer.send(b"X-Padding: " + b"x" * 1000 + b"\r\n")
        self.assertTrue(peer.is_gone)

    def test_a_handshake_of_very_many_lines_is_cut(self) -> None:
        self.assertEqual(self.status_of(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200), 400)

    def test_a_handshake_that_does_not_come_is_cut_after_5_seconds(self) -> None:
        peer = self.connect(b"GET / HT")
        self.clock.pump([0.2] * 23)
        self.assertFalse(peer.is_gone)
        self.clock.pump([0.2] * 3)
        self.assertTrue(peer.is_gone)

    @given(st.binary(max_size=300))
    def test_no_bytes_raise(self, data: bytes) -> None:
        factory = BroadcastServerFactory(
            self.clock, gateway_name="practice", prepare=lambda: succeed(None)
        )
        for start in (b"", b"GET ", handshake()):
            peer = Peer(factory)
            peer.send(start + data)
            peer.protocol.connectionLost()


class CrowdTests(BroadcastTestCase):
    """More clients than are served."""

    max_clients = 2

    def test_one_too_many_is_refused_until_one_has_left(self) -> None:
        first, _second = self.let_in(), self.let_in()
        self.assertEqual(self.status_of(handshake()), 503)
        first.transport.loseConnection()
        self.let_in()

    def test_those_who_have_not_shaken_hands_put_out_one_another(self) -> None:
        strangers = [self.connect(b"") for _ in range(5)]
        self.let_in()
        self.assertEqual([peer.is_gone for peer in strangers], [True, True, True, True, False])
        self.assertEqual(self.factory.statistics.cut, {Cut.CROWD_AT_THE_DOOR: 4})

    def test_who_waits_to_be_let_in_is_put_out_by_nobody(self) -> None:
        self.prepared = Deferred()
        waiting = self.connect()
        for _ in range(5):
            self.connect(b"GET ")
        self.prepared.callback(None)
        self.assertIn(b"101 Switching Protocols", waiting.take())


class StreamTests(BroadcastTestCase):
    """What clients get."""

    def test_every_client_gets_every_event_in_order(self) -> None:
        peers = [self.let_in() for _ in range(3)]
        events = [make_event("MarketQuote", {"bid": bid}) for bid in (1, 2, 3)]
        for event in events:
            self.factory.broadcast(event)
        self.clock.advance(0)
        for peer in peers:
            self.assertEqual(peer.frames(), [(TEXT, encode(event)) for event in events])

    def test_what_is_told_in_one_turn_is_one_write(self) -> None:
        peer = self.let_in()
        written: list[bytes] = []
        self.patch(peer.transport, "write", written.append)
        events = [make_event("MarketQuote", {"bid": bid}) for bid in (1, 2, 3)]
        for event in events:
            self.factory.broadcast(event)
        self.assertEqual(written, [])
        self.clock.advance(0)
        (frames,) = written
        self.assertEqual(read_frames(frames), [(TEXT, encode(event)) for event in events])

    def test_the_last_word_goes_out_before_the_close(self) -> None:
        peer = self.let_in()
        self.factory.broadcast(make_event("daemon_status", {"status": "STOPPING"}))
        self.factory.close_all()
        self.assertEqual([opcode for opcode, _ in peer.frames()], [TEXT, CLOSE])

    def test_a_client_that_left_gets_nothing(self) -> None:
        peer, other = self.let_in(), self.let_in()
        peer.transport.loseConnection()
        self.tell(make_event("daemon_status", {}))
        self.assertEqual((peer.take(), len(other.frames())), (b"", 1))

    def test_nothing_follows_a_close_frame(self) -> None:
        peer = self.let_in()
        peer.send(client_frame(TEXT, b"hello"))
        self.tell(make_event("daemon_status", {}))
        self.assert_closed(peer, 1008)

    def test_a_client_that_leaves_during_a_broadcast_disturbs_nobody(self) -> None:
        first, second = self.let_in(), self.let_in()
        for peer, other in ((first, second), (second, first)):

            def leave_too(data: bytes, peer: Peer = peer, other: Peer = other) -> None:
                if peer.transport.connected:
                    other.transport.loseConnection()
                MemoryTransport.write(peer.transport, data)

            self.patch(peer.transport, "write", leave_too)
        self.tell(make_event("daemon_status", {}))
        self.assertEqual(self.factory.count, 1)


class JoiningTests(BroadcastTestCase):
    """A handshake waits until the state file is up to date."""

    def setUp(self) -> None:
        super().setUp()
        self.prepared = Deferred()

    def test_nobody_is_let_in_before(self) -> None:
        peer = self.connect()
        self.assertEqual((peer.take(), self.factory.count), (b"", 0))
        self.prepared.callback(None)
        self.assertIn(b"101 Switching Protocols", peer.take())
        self.assertEqual(self.factory.count, 1)

    def test_what_is_told_meanwhile_is_kept_and_comes_first(self) -> None:
        events = [make_event("GatewayUserTrade", {"id": number}) for number in range(4)]
        # In one turn: told before it came, while it waits, and after it is in.
        self.factory.broadcast(events[0])
        peer = self.connect()
        self.tell(events[1])
        self.factory.broadcast(events[2])
        self.prepared.callback(None)
        self.factory.broadcast(events[3])
        self.clock.advance(0)
        _, _, frames = peer.take().partition(b"\r\n\r\n")
        self.assertEqual(read_frames(frames), [(TEXT, encode(event)) for event in events[1:]])

    def test_of_quotes_it_gets_the_latest(self) -> None:
        peer = self.connect()
        trade = make_event("GatewayUserTrade", {})
        quotes = [make_event("MarketQuote", {"bid": bid}) for bid in (1, 2, 3)]
        for event in (*quotes, trade):
            self.tell(event)
        self.prepared.callback(None)
        _, _, frames = peer.take().partition(b"\r\n\r\n")
        self.assertEqual(read_frames(frames), [(TEXT, encode(trade)), (TEXT, encode(quotes[-1]))])
        self.assertEqual(self.factory.statistics.conflated_quotes, 2)

    def test_what_is_kept_for_it_is_bounded(self) -> None:
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
        self.assertEqual((peer.take(), self.factory.count), (b"", 0))

    def test_who_leaves_meanwhile_is_forgotten(self) -> None:
        peer = self.connect()
        peer.transport.loseConnection()
        self.prepared.callback(None)
        self.tell(make_event("daemon_status", {}))
        self.assertNotIn(b"101", peer.take())
        self.assertEqual(self.factory.count, 0)

    def test_those_who_wait_count(self) -> None:
        self.factory._max_clients = 1
        self.connect()
        self.assertEqual(self.status_of(handshake()), 503)


class OneWayTests(BroadcastTestCase):
    """Clients have nothing to say."""

    def test_a_message_closes_with_1008_and_a_reason(self) -> None:
        for opcode in (TEXT, BINARY):
            peer = self.let_in()
            peer.send(client_frame(opcode, b"hello"))
            (frame,) = peer.frames()
            self.assertEqual(frame, (CLOSE, b"\x03\xf0this stream is one-way"))

    def test_a_large_message_closes_with_1009(self) -> None:
        peer = self.let_in()
        peer.send(client_frame(TEXT, b"x" * 4097)[:20])
        self.assert_closed(peer, 1009)

    def test_a_message_that_has_only_begun_closes_at_once(self) -> None:
        peer = self.let_in()
        peer.send(client_frame(TEXT, b"", final=False))
        self.assert_closed(peer, 1008)

    def test_a_client_that_goes_on_talking_is_logged_once(self) -> None:
        peer = self.let_in()
        with capturedLogs() as captured:
            for _ in range(100):
                peer.send(client_frame(TEXT, b"hello"))
        told = [each for each in captured if "one-way" in formatEvent(each)]
        self.assertEqual(len(told), 1)

    def test_a_client_that_closes_and_reads_nothing_is_cut(self) -> None:
        peer = self.let_in()
        # Bytes that nobody reads keep a real connection from closing.
        peer.transport.loseConnection = lambda: None
        peer.send(client_frame(CLOSE, b"\x03\xe8"))
        self.assertEqual(self.factory.count, 0)
        self.assertFalse(peer.is_gone)
        self.clock.advance(2)
        self.assertTrue(peer.is_gone)

    def test_a_client_that_pings_without_end_is_cut(self) -> None:
        peer = self.let_in()
        peer.send(client_frame(PING, b"1") * 30)
        self.assertFalse(peer.is_gone)
        peer.send(client_frame(PING, b"2") * 1000)
        self.assertTrue(peer.is_gone)
        self.assertEqual(peer.frames(), [(PONG, b"1")] * 30)
        self.assertEqual(self.factory.statistics.cut, {Cut.SENT_TOO_MUCH: 1})

    def test_what_a_client_sends_that_is_closed_for_it_is_not_worked_through(self) -> None:
        peer = self.let_in()
        peer.send(client_frame(TEXT, b"hello") + client_frame(PING, b"1") * 3)
        self.assertFalse(peer.is_gone)
        peer.send(client_frame(PING, b"2") * 3)
        self.assertTrue(peer.is_gone)

    def test_a_client_may_ping_each_second_all_day(self) -> None:
        peer = self.let_in()
        for _ in range(200):
            self.clock.pump([0.1] * 10)
            for opcode, payload in peer.frames():
                if opcode == PING:
                    peer.send(client_frame(PONG, payload))
            peer.send(client_frame(PING, b"me too"))
        self.assertFalse(peer.is_gone)

    def test_a_client_that_goes_on_in_fragments_after_its_close_is_cut(self) -> None:
        peer = self.let_in()
        peer.send(client_frame(TEXT, b"", final=False))
        self.assert_closed(peer, 1008)
        peer.send(client_frame(0, b"", final=False) * 100)
        self.assertTrue(peer.is_gone)

    def test_a_ping_is_answered(self) -> None:
        peer = self.let_in()
        peer.send(client_frame(PING, b"are you there"))
        self.assertEqual(peer.frames(), [(PONG, b"are you there")])

    def test_garbage_in_place_of_frames_closes_with_a_protocol_error(self) -> None:
        peer = self.let_in()
        peer.send(b"\x81\x05hello")
        self.assert_closed(peer, 1002)

    def test_a_client_that_closes_is_answered_and_gone(self) -> None:
        peer = self.let_in()
        peer.send(client_frame(CLOSE, b"\x03\xe8"))
        self.assert_closed(peer, 1000)
        self.assertTrue(peer.is_gone)
        self.assertEqual(self.factory.count, 0)

    def test_a_client_that_does_not_answer_a_close_is_cut(self) -> None:
        peer = self.let_in()
        peer.send(client_frame(TEXT, b"hello"))
        self.clock.pump([0.2] * 12)
        self.assertTrue(peer.is_gone)


class KeepaliveTests(BroadcastTestCase):
    """Pings, every 20 seconds."""

    def advance(self, seconds: float) -> None:
        self.clock.pump([0.2] * round(seconds / 0.2))

    def test_a_client_that_pongs_stays(self) -> None:
        peer = self.let_in()
        for _ in range(4):
            self.advance(20.4)
            ((opcode, payload),) = peer.frames()
            self.assertEqual(opcode, PING)
            peer.send(client_frame(PONG, payload))
        self.assertFalse(peer.is_gone)

    def test_a_dead_peer_is_gone_within_40_seconds(self) -> None:
        peer = self.let_in()
        self.advance(19)
        self.assertEqual(peer.take(), b"")
        self.advance(19)
        self.assertFalse(peer.is_gone)
        self.advance(2.4)
        self.assertTrue(peer.is_gone)
        self.assertEqual(self.factory.count, 0)

    def test_only_a_pong_counts(self) -> None:
        peer = self.let_in()
        # The second ping goes out at 20 s; traffic in its place would put the end off to 60 s.
        for _ in range(205):
            self.advance(0.2)
            peer.send(client_frame(PING, b"me too"))
        self.assertTrue(peer.is_gone)

    def test_only_the_pong_that_was_asked_for_counts(self) -> None:
        peer = self.let_in()
        for _ in range(41):
            self.advance(1)
            peer.send(client_frame(PONG, b"guessed"))
        self.assertTrue(peer.is_gone)
        self.assertEqual(self.factory.statistics.cut, {Cut.NO_PONG: 1})

    def test_pings_of_many_are_spread_over_the_twenty_seconds(self) -> None:
        peers = [self.let_in() for _ in range(400)]
        pinged = []
        for _ in range(200):
            self.clock.advance(0.1)
            pinged.append(sum(bool(peer.take()) for peer in peers))
        self.assertEqual([each for each in pinged if each], [GROUP] * 8)
        quiet = "".join(" x"[bool(each)] for each in pinged).split("x")
        self.assertLess(max(map(len, quiet)), 60)

    def test_after_a_stall_everyone_has_time_to_answer(self) -> None:
        peers = [self.let_in() for _ in range(50)]
        self.clock.advance(60)
        for _ in range(150):
            for peer in peers:
                for _opcode, payload in peer.frames():
                    peer.send(client_frame(PONG, payload))
            self.clock.advance(0.1)
        self.assertEqual(self.factory.count, 50)

    def test_room_in_a_group_is_used_again(self) -> None:
        peers = [self.let_in() for _ in range(2 * GROUP)]
        for peer in peers[: GROUP - 1]:
            peer.transport.loseConnection()
        late = [self.let_in() for _ in range(GROUP - 1)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.advance(20.4)
        for peer in (*peers[GROUP - 1 :], *late):
            self.assertEqual([opcode for opcode, _ in peer.frames()], [PING])

    def test_without_clients_there_is_no_timer(self) -> None:
        peer = self.let_in()
        self.assertNotEqual(self.clock.getDelayedCalls(), [])
        peer.transport.loseConnection()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StatisticsTests(BroadcastTestCase):
    """What is counted."""

    def test_clients_events_and_bytes(self) -> None:
        peers = [self.let_in() for _ in range(3)]
        self.tell(make_event("GatewayUserTrade", {}))
        self.tell(make_event("MarketQuote", {}))
        statistics = self.factory.statistics
        self.assertEqual(statistics.clients, 3)
        self.assertEqual(statistics.events, {"GatewayUserTrade": 1, "MarketQuote": 1})
        self.assertEqual(statistics.bytes_sent, sum(len(peer.take()) for peer in peers))
        peers[0].transport.loseConnection()
        self.assertEqual(statistics.clients, 2)

    def test_why_a_client_was_cut(self) -> None:
        self.let_in().send(client_frame(TEXT, b"hello"))
        self.assertEqual(self.factory.statistics.cut, {Cut.SENT_A_MESSAGE: 1})


class ServiceTests(BroadcastTestCase):
    """The listeners."""

    def adopt(self, reactor: MemoryReactorClock) -> tuple[socket.socket, object]:
        (listening,) = listen(0, "127.0.0.1")
        self.addCleanup(listening.close)
        return listening, adopt(reactor, listening, self.factory)

    def test_a_reactor_of_another_kind_brings_its_own_port(self) -> None:
        reactor = MemoryReactorClock()
        listening, _ = self.adopt(reactor)
        self.assertEqual(
            reactor.adoptedPorts, [(listening.fileno(), socket.AF_INET, self.factory)]
        )

    @skipUnless(hasattr(socket, "TCP_NOTSENT_LOWAT"), "this platform does not know the option")
    def test_the_kernel_holds_little_for_an_accepted_socket(self) -> None:
        listening, _ = self.adopt(MemoryReactorClock())
        listening.setblocking(True)
        with (
            socket.create_connection(listening.getsockname()),
            listening.accept()[0] as accepted,
        ):
            self.assertEqual(
                accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT), 16 * 1024
            )


class ShutdownTests(BroadcastTestCase):
    """The end."""

    def test_every_client_is_told_1001(self) -> None:
        peers = [self.let_in() for _ in range(3)]
        gone = self.factory.close_all()
        for peer in peers:
            self.assertNoResult(gone)
            self.assert_closed(peer, 1001)
            peer.send(client_frame(CLOSE, b"\x03\xe9"))
        self.successResultOf(gone)
        self.assertEqual(self.factory.count, 0)

    def test_without_clients_there_is_nothing_to_wait_for(self) -> None:
        self.successResultOf(self.factory.close_all())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_does_not_answer_is_cut_after_2_seconds(self) -> None:
        peer = self.let_in()
        gone = self.factory.close_all()
        self.clock.advance(1.9)
        self.assertNoResult(gone)
        self.clock.advance(0.1)
        self.successResultOf(gone)
        self.assertTrue(peer.is_gone)

    def test_who_is_joining_or_comes_later_is_refused(self) -> None:
        self.prepared = Deferred()
        joining, stranger = self.connect(), self.connect(b"GET")
        self.tell(make_event("daemon_status", {"status": "STOPPING"}))
        self.successResultOf(self.factory.close_all())
        answer = joining.take()
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 the daemon is stopping"), answer)
        self.assertTrue(joining.is_gone)
        self.prepared.callback(None)
        self.assertEqual((joining.take(), self.factory.count), (b"", 0))
        stranger.send(handshake().removeprefix(b"GET"))
        self.assertTrue(stranger.take().startswith(b"HTTP/1.1 503 "))
        self.assertTrue(stranger.is_gone)
        self.assertEqual(self.factory.statistics.queue_bytes, 0)


class LogTests(BroadcastTestCase):
    """The connection log."""

    def log_of(self, act: object) -> list[tuple[LogLevel, str]]:
        with capturedLogs() as captured:
            act()
        return [
            (event["log_level"], formatEvent(event))
            for event in captured
            if event["log_namespace"].startswith("riskd")
        ]

    def test_a_connection_is_told_from_beginning_to_end(self) -> None:
        def connect_and_leave() -> None:
            peer = self.let_in()
            self.tell(make_event("daemon_status", {}))
            self.clock.advance(12.5)
            peer.send(client_frame(CLOSE, b"\x03\xe8"))

        (_, first), (_, last) = self.log_of(connect_and_leave)
        self.assertEqual(first, "client tcp4:192.168.1.1:54321 connected, 1 in all")
        self.assertEqual(
            last,
            "client tcp4:192.168.1.1:54321 disconnected: "
            "code 1000, 12.5 s connected, 1 messages sent",
        )

    def test_a_refusal_is_told_with_its_reason(self) -> None:
        ((level, text),) = self.log_of(lambda: self.connect(handshake("evil.example:8765")))
        self.assertEqual(level, LogLevel.warn)
        self.assertEqual(text, "refused tcp4:192.168.1.1:54321: foreign Host")

    def test_a_flood_of_strangers_does_not_fill_it(self) -> None:
        def flood(strangers: int = 3 * LINES) -> None:
            for _ in range(strangers):
                self.connect(handshake("evil.example:8765"))

        self.clock.advance(SECONDS)
        texts = [text for _, text in self.log_of(flood)]
        self.assertEqual(len(texts), LINES + 1)
        self.assertEqual(
            texts[-1],
            "more than 200 lines about clients within 60 s, what follows is left out",
        )
        self.clock.advance(SECONDS)
        texts = [text for _, text in self.log_of(lambda: flood(1))]
        self.assertEqual(
            texts,
            [
                "400 lines about clients were left out",
                "refused tcp4:192.168.1.1:54321: foreign Host",
            ],
        )

    def test_strangers_write_nothing_of_their_own(self) -> None:
        for request in (
            b"GET /\x1b[2J HTTP/9.9\r\nHost: localhost:8765\r\nUpgrade: websocket\r\n\r\n",
            handshake(headers=("Sec-WebSocket-Key: \x1b]0;owned\x07",)),
            handshake(headers=("Sec-WebSocket-Protocol: a, " + "b" * 10_000 + ",a",)),
        ):
            ((_, text),) = self.log_of(lambda request=request: self.connect(request))
            self.assertTrue(text.isprintable(), text)
            self.assertLess(len(text), 200)

    def test_a_close_without_a_code_is_1005(self) -> None:
        texts = [text for _, text in self.log_of(lambda: self.let_in().send(client_frame(CLOSE)))]
        self.assertIn("code 1005", texts[-1])

    def test_a_client_that_talks_is_told_without_what_it_said(self) -> None:
        def talk() -> None:
            peer = self.let_in()
            peer.send(client_frame(TEXT, b"secret"))
            peer.send(client_frame(CLOSE, b"\x03\xf0"))

        texts = [text for _, text in self.log_of(talk)]
        self.assertIn("one-way", texts[1])
        self.assertIn("code 1008", texts[2])
        self.assertNotIn("secret", "".join(texts))
