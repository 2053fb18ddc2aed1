"""Clients of a broadcast in memory: on a transport that takes everything, and on a socket that takes what a test allows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import txaio
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.tcp import Server
from twisted.trial.unittest import SynchronousTestCase

from riskd.broadcast.connection import ConsoleProtocol
from riskd.broadcast.eager import EagerServer
from riskd.broadcast.server import BroadcastServerFactory
from riskd.model.events import Event, LockoutSet, MarketQuote
from riskd.model.wire import decode
from tests.support.memory_transport import MemoryTransport
from tests.support.sockets import ScriptedSocket, TurnReactor
from tests.support.websocket_frames import CLOSE, TEXT, close_code, handshake, read_frames

ASKING = handshake(path="/?quote_interval_ms=100")
"""The handshake of a client that asks for fewer quotes."""

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


def quote(contract: int, number: int, account: int = 123) -> Event:
    price = Decimal(number)
    return Event(
        account,
        MarketQuote(
            contract_id=f"CON.{contract}", bid=price, ask=price, last=price, timestamp=NOW
        ),
    )


def lockout(number: int, reason: str = "x" * 290) -> Event:
    """Return an event of some 400 bytes that must not be lost."""
    return Event(
        123,
        LockoutSet(reason=reason, locked_until=None, rule_id=f"R-{number}", locked_at=NOW),
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
    """A broadcast on a clock, with clients in memory."""

    max_clients = 1000

    def setUp(self) -> None:
        self.clock = Clock()
        # Autobahn's timers run on a loop of its own choosing.
        self.patch(txaio.config, "loop", self.clock)
        self.prepared: Deferred[None] = succeed(None)
        self.factory = BroadcastServerFactory(
            self.clock,
            gateway_name="practice",
            addresses=[("127.0.0.1", 8765), ("::1", 8765)],
            prepare=lambda: self.prepared,
            max_clients=self.max_clients,
            allowed_origins=["https://desk.example"],
        )

    def broadcast(self, event: Event) -> None:
        """Broadcast ``event`` in a turn of its own."""
        self.factory.broadcast(event)
        self.clock.advance(0)

    def connect(self, request: bytes | None = None) -> Peer:
        peer = Peer(self.factory)
        peer.send(handshake() if request is None else request)
        return peer

    def join(self) -> Peer:
        peer = self.connect()
        self.assertEqual(peer.take().split(b"\r\n")[0], b"HTTP/1.1 101 Switching Protocols")
        return peer

    def status_of(self, request: bytes) -> int:
        """Return the HTTP status for ``request``; assert that a refused connection is closed."""
        peer = self.connect(request)
        status = int(peer.take().split(b" ")[1])
        self.assertEqual(peer.is_gone, status != 101)
        return status

    def assert_closed(self, peer: Peer, code: int) -> None:
        frames = peer.frames()
        self.assertEqual([opcode for opcode, _ in frames], [CLOSE])
        self.assertEqual(close_code(frames[0][1]), code)


class SocketPeer:
    """A client on a real transport whose socket takes as many bytes as the test allows."""

    def __init__(
        self,
        factory: BroadcastServerFactory,
        reactor: TurnReactor,
        kind: type[Server],
        request: bytes,
    ) -> None:
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50000))
        assert isinstance(protocol, ConsoleProtocol)
        self.protocol = protocol
        self.socket = ScriptedSocket()
        end: Any = self.socket
        anything: Any = reactor
        unused: Any = None
        self.transport = kind(end, protocol, ("127.0.0.1", 50000), unused, 0, anything)
        protocol.makeConnection(self.transport)
        protocol.dataReceived(request)
        reactor.settle()
        assert b"101 Switching" in self.socket.received
        self.socket.received.clear()

    def frames(self) -> list[tuple[int, bytes]]:
        return read_frames(bytes(self.socket.received))

    def events(self) -> list[Event]:
        return [decode(payload) for opcode, payload in self.frames() if opcode == TEXT]

    @property
    def held(self) -> int:
        """Bytes in its backlog and in its transport's buffer."""
        transport, backlog = self.transport, self.protocol._backlog
        return (
            len(transport.dataBuffer)
            - transport.offset
            + transport._tempDataLen
            + (backlog.size if backlog else 0)
        )

    @property
    def is_open(self) -> bool:
        return self.protocol.state == ConsoleProtocol.STATE_OPEN


class CongestionTestCase(SynchronousTestCase):
    """A broadcast to clients on sockets in memory."""

    kind: type[Server] = EagerServer

    def setUp(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.reactor = TurnReactor()
        self.patch(txaio.config, "loop", self.reactor)
        self.factory = BroadcastServerFactory(
            self.reactor,
            gateway_name="practice",
            addresses=[("127.0.0.1", 8765)],
            prepare=lambda: succeed(None),
        )

    def connect(self, request: bytes | None = None) -> SocketPeer:
        return SocketPeer(self.factory, self.reactor, self.kind, request or handshake())

    def congest(self, peer: SocketPeer) -> int:
        """Let ``peer`` read nothing until it is congested; return how many events that took."""
        peer.socket.room = 0
        count = 0
        while peer.protocol._backlog is None:
            for _ in range(100):
                self.factory.broadcast(lockout(count))
                count += 1
            self.reactor.turn()
        return count

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.2)):
            self.reactor.advance(0.2)
            self.reactor.turn()

    def read_all(self, peer: SocketPeer) -> None:
        peer.socket.room = None
        self.reactor.settle()
