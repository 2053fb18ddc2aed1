"""Connections in memory, at the test's pace."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from zope.interface import implementer


class MemoryTransport(StringTransportWithDisconnection):
    """A transport that loses its connection at once."""

    def unregisterProducer(self) -> None:
        self.producer = None

    def abortConnection(self) -> None:
        if self.connected:
            self.connected = False
            self.protocol.connectionLost(Failure(ConnectionAborted()))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed here."""


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """Records when a client tries to connect, and lets the test accept or refuse."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.tries: list[float] = []
        self.given_up = 0
        self._pending: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = []

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        self.tries.append(self._clock.seconds())
        connected: Deferred[IProtocol] = Deferred(self._give_up)
        self._pending.append((factory, connected))
        return connected

    def _give_up(self, _connected: Deferred[IProtocol]) -> None:
        self.given_up += 1

    def refuse(self, error: Exception | None = None) -> None:
        _, connected = self._pending.pop()
        connected.errback(error or Refused())

    def accept(self) -> MemoryTransport:
        """Accept the latest connection; return the client's end of it."""
        factory, connected = self._pending.pop()
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 8765))
        transport = MemoryTransport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        connected.callback(protocol)
        return transport
