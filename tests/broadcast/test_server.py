"""The broadcast: its sockets, its clients, its counts, and its stop."""

from __future__ import annotations

import socket
from unittest import skipUnless

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from riskd.broadcast.cuts import Cut
from riskd.broadcast.server import BroadcastService
from riskd.host.loopback import listen
from riskd.model.wire import encode
from riskd.testing import make_event
from tests.support.broadcast import BroadcastTestCase, CongestionTestCase, Peer, quote
from tests.support.memory_transport import MemoryTransport
from tests.support.websocket_frames import CLOSE, TEXT, client_frame, handshake, read_frames


class LimitTests(BroadcastTestCase):
    """More connections than the limit."""

    max_clients = 2

    def test_a_client_too_many_is_refused_until_another_leaves(self) -> None:
        first, _second = self.join(), self.join()
        self.assertEqual(self.status_of(handshake()), 503)
        first.transport.loseConnection()
        self.join()

    def test_too_many_pending_connections_drive_out_the_oldest_of_them(self) -> None:
        pending = [self.connect(b"") for _ in range(5)]
        self.join()
        self.assertEqual([peer.is_gone for peer in pending], [True, True, True, True, False])
        self.assertEqual(self.factory.statistics.cut, {Cut.TOO_MANY_PENDING: 4})

    def test_a_joining_client_is_not_driven_out_by_pending_connections(self) -> None:
        self.prepared = Deferred()
        waiting = self.connect()
        for _ in range(5):
            self.connect(b"GET ")
        self.prepared.callback(None)
        self.assertIn(b"101 Switching Protocols", waiting.take())


class StreamTests(BroadcastTestCase):
    """The events that clients get."""

    def test_every_client_gets_every_event_in_order(self) -> None:
        peers = [self.join() for _ in range(3)]
        events = [make_event("MarketQuote", {"bid": bid}) for bid in (1, 2, 3)]
        for event in events:
            self.factory.broadcast(event)
        self.clock.advance(0)
        for peer in peers:
            self.assertEqual(peer.frames(), [(TEXT, encode(event)) for event in events])

    def test_events_of_one_turn_are_one_write(self) -> None:
        peer = self.join()
        written: list[bytes] = []
        self.patch(peer.transport, "write", written.append)
        events = [make_event("MarketQuote", {"bid": bid}) for bid in (1, 2, 3)]
        for event in events:
            self.factory.broadcast(event)
        self.assertEqual(written, [])
        self.clock.advance(0)
        (frames,) = written
        self.assertEqual(read_frames(frames), [(TEXT, encode(event)) for event in events])

    def test_without_a_client_an_event_is_counted_and_costs_no_turn(self) -> None:
        timers = len(self.clock.getDelayedCalls())
        self.factory.broadcast(make_event("MarketQuote", {"bid": 1}))
        self.assertEqual(len(self.clock.getDelayedCalls()), timers)
        statistics = self.factory.statistics
        self.assertEqual((statistics.events["MarketQuote"], self.factory.messages_sent), (1, 1))

    def test_a_client_that_joins_gets_what_is_broadcast_from_then_on(self) -> None:
        self.prepared = Deferred()
        self.broadcast(make_event("MarketQuote", {"bid": 1}))
        waiting = self.connect()
        event = make_event("MarketQuote", {"bid": 2})
        self.broadcast(event)
        self.prepared.callback(None)
        self.assertIn(encode(event), waiting.take())

    def test_the_last_event_is_sent_before_the_close(self) -> None:
        peer = self.join()
        self.factory.broadcast(make_event("daemon_status", {"status": "STOPPING"}))
        self.factory.close_all()
        self.assertEqual([opcode for opcode, _ in peer.frames()], [TEXT, CLOSE])

    def test_a_client_that_left_gets_nothing(self) -> None:
        peer, other = self.join(), self.join()
        peer.transport.loseConnection()
        self.broadcast(make_event("daemon_status", {}))
        self.assertEqual((peer.take(), len(other.frames())), (b"", 1))

    def test_nothing_follows_a_close_frame(self) -> None:
        peer = self.join()
        peer.send(client_frame(TEXT, b"hello"))
        self.broadcast(make_event("daemon_status", {}))
        self.assert_closed(peer, 1008)

    def test_a_client_that_leaves_during_a_broadcast_disturbs_no_other(self) -> None:
        first, second = self.join(), self.join()
        for peer, other in ((first, second), (second, first)):

            def leave_too(data: bytes, peer: Peer = peer, other: Peer = other) -> None:
                if peer.transport.connected:
                    other.transport.loseConnection()
                MemoryTransport.write(peer.transport, data)

            self.patch(peer.transport, "write", leave_too)
        self.broadcast(make_event("daemon_status", {}))
        self.assertEqual(self.factory.statistics.clients, 1)


class StatisticsTests(BroadcastTestCase):
    """The counts for the metrics."""

    def test_clients_events_and_bytes_are_counted(self) -> None:
        peers = [self.join() for _ in range(3)]
        self.broadcast(make_event("GatewayUserTrade", {}))
        self.broadcast(make_event("MarketQuote", {}))
        statistics = self.factory.statistics
        self.assertEqual(statistics.clients, 3)
        self.assertEqual(statistics.events, {"GatewayUserTrade": 1, "MarketQuote": 1})
        self.assertEqual(statistics.bytes_sent, sum(len(peer.take()) for peer in peers))
        peers[0].transport.loseConnection()
        self.assertEqual(statistics.clients, 2)

    def test_cut_clients_are_counted_by_reason(self) -> None:
        self.join().send(client_frame(TEXT, b"hello"))
        self.assertEqual(self.factory.statistics.cut, {Cut.SENT_A_MESSAGE: 1})


class ShutdownTests(BroadcastTestCase):
    """The stop of the daemon."""

    def test_every_client_is_closed_with_1001(self) -> None:
        peers = [self.join() for _ in range(3)]
        gone = self.factory.close_all()
        for peer in peers:
            self.assertNoResult(gone)
            self.assert_closed(peer, 1001)
            peer.send(client_frame(CLOSE, b"\x03\xe9"))
        self.successResultOf(gone)
        self.assertEqual(self.factory.statistics.clients, 0)

    def test_without_clients_the_stop_is_immediate(self) -> None:
        self.successResultOf(self.factory.close_all())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_does_not_answer_is_aborted_after_2_seconds(self) -> None:
        peer = self.join()
        gone = self.factory.close_all()
        self.clock.advance(1.9)
        self.assertNoResult(gone)
        self.clock.advance(0.1)
        self.successResultOf(gone)
        self.assertTrue(peer.is_gone)

    def test_joining_and_later_clients_are_refused(self) -> None:
        self.prepared = Deferred()
        joining, pending = self.connect(), self.connect(b"GET")
        self.broadcast(make_event("daemon_status", {"status": "STOPPING"}))
        self.successResultOf(self.factory.close_all())
        answer = joining.take()
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 the daemon is stopping"), answer)
        self.assertTrue(joining.is_gone)
        self.prepared.callback(None)
        self.assertEqual((joining.take(), self.factory.statistics.clients), (b"", 0))
        pending.send(handshake().removeprefix(b"GET"))
        self.assertTrue(pending.take().startswith(b"HTTP/1.1 503 "))
        self.assertTrue(pending.is_gone)
        self.assertEqual(self.factory.statistics.queue_bytes, 0)


class SystemCallTests(CongestionTestCase):
    """System calls per delivery; unlike times, they can be counted without noise."""

    clients = 100

    def cost(self, *, turns: int, burst: int) -> tuple[float, int]:
        """Return sends per delivery, and how often the reactor was asked to watch a socket."""
        peers = [self.connect() for _ in range(self.clients)]
        sends = sum(peer.socket.sends for peer in peers)
        changes = self.reactor.changes
        for number in range(turns):
            for _ in range(burst):
                self.factory.broadcast(quote(0, number))
            self.reactor.turn()
        sends = sum(peer.socket.sends for peer in peers) - sends
        self.assertEqual({len(peer.events()) for peer in peers}, {turns * burst})
        deliveries = turns * burst * self.clients
        return sends / deliveries, self.reactor.changes - changes

    def test_a_single_event_is_one_send_per_client(self) -> None:
        sends, changes = self.cost(turns=20, burst=1)
        self.assertLessEqual(sends, 1.1)
        self.assertEqual(changes, 0)

    def test_a_burst_of_ten_events_is_one_send_per_client(self) -> None:
        sends, changes = self.cost(turns=20, burst=10)
        self.assertLessEqual(sends, 0.15)
        self.assertEqual(changes, 0)


class ServiceTests(BroadcastTestCase):
    """Ports on listening sockets."""

    def adopt(self, reactor: MemoryReactorClock) -> socket.socket:
        (listening,) = listen(0, "127.0.0.1")
        self.addCleanup(listening.close)
        BroadcastService(reactor, self.factory, [listening]).adopt(listening)
        return listening

    def test_another_kind_of_reactor_makes_its_own_port(self) -> None:
        reactor = MemoryReactorClock()
        listening = self.adopt(reactor)
        self.assertEqual(
            reactor.adoptedPorts, [(listening.fileno(), socket.AF_INET, self.factory)]
        )

    @skipUnless(hasattr(socket, "TCP_NOTSENT_LOWAT"), "this platform does not know the option")
    def test_the_kernel_buffers_little_for_an_accepted_socket(self) -> None:
        listening = self.adopt(MemoryReactorClock())
        listening.setblocking(True)
        with (
            socket.create_connection(listening.getsockname()),
            listening.accept()[0] as accepted,
        ):
            self.assertEqual(
                accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT), 16 * 1024
            )
