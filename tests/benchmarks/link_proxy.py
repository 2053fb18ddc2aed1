"""A proxy that makes a broker on this machine as distant as one across a continent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

ROUND_TRIP: Final = 0.08
"""Seconds."""


class DistantProxy:
    """Forwards connections with a delay each way.

    The first bytes of a connection wait for one round trip more, which its TCP handshake would have taken.

    :param reactor: the reactor.
    :param server: IP address and port to forward to.
    :param interface: the address to listen on, at the same port: the broker checks the header ``Host``.
    :ivar connections: how many connections were accepted.
    """

    def __init__(self, reactor: Any, server: tuple[str, int], interface: str) -> None:
        self.reactor = reactor
        self.server = server
        self.connections = 0
        self.relays: dict[_ClientEnd, None] = {}
        factory = Factory.forProtocol(_ClientEnd)
        factory.noisy = False
        factory.proxy = self
        self.port = reactor.listenTCP(server[1], factory, interface=interface)

    def drop_all_but(self, local_ports: set[int]) -> None:
        """Close connections as the broker does with idle ones.

        :param local_ports: as the broker sees them, those of the connections that stay.
        """
        for client in tuple(self.relays):
            if client.local_port is not None and client.local_port not in local_ports:
                client.end_by_server()


class DelayedPipe:
    """Acts in order, each act a fixed time after it was asked for.

    :param first_after: seconds before which the first act does not count as asked for.
    """

    def __init__(self, reactor: Any, delay: float, first_after: float = 0.0) -> None:
        self._reactor = reactor
        self._delay = delay
        self._opens_at = reactor.seconds() + first_after
        self._acts: deque[Callable[[], None]] = deque()

    def put(self, act: Callable[[], None]) -> None:
        """Act later, after all acts before."""
        self._acts.append(act)
        held = max(0.0, self._opens_at - self._reactor.seconds())
        self._reactor.callLater(held + self._delay, self._act)

    def _act(self) -> None:
        # Not a particular act: timers of the same moment fire in any order.
        self._acts.popleft()()


class _ClientEnd(Protocol):
    """The client's end of a connection."""

    factory: Any

    def connectionMade(self) -> None:
        self._proxy: DistantProxy = self.factory.proxy
        self._proxy.connections += 1
        self._proxy.relays[self] = None
        self.transport.setTcpNoDelay(True)
        reactor = self._proxy.reactor
        self._to_server = DelayedPipe(reactor, ROUND_TRIP / 2, first_after=ROUND_TRIP)
        self._to_client = DelayedPipe(reactor, ROUND_TRIP / 2)
        self.local_port: int | None = None
        self._server: _ServerEnd | None = None
        self._unsent: list[bytes] = []
        endpoint = TCP4ClientEndpoint(reactor, *self._proxy.server)
        connectProtocol(endpoint, _ServerEnd(self)).addErrback(
            lambda _failure: self.transport.abortConnection()
        )

    def server_connected(self, server: _ServerEnd) -> None:
        self._server = server
        self.local_port = server.transport.getHost().port
        for data in self._unsent:
            server.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        self._to_server.put(lambda: self._write_to_server(data))

    def _write_to_server(self, data: bytes) -> None:
        if self._server is None:
            self._unsent.append(data)
        else:
            self._server.transport.write(data)

    def from_server(self, data: bytes) -> None:
        self._to_client.put(lambda: self.transport.write(data))

    def end_by_server(self) -> None:
        if self._server is not None:
            self._server.transport.loseConnection()

    def server_lost(self) -> None:
        self._to_client.put(self.transport.loseConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._proxy.relays.pop(self, None)
        if self._server is not None:
            self._to_server.put(self._server.transport.loseConnection)


class _ServerEnd(Protocol):
    """The server's end of a connection."""

    def __init__(self, client: _ClientEnd) -> None:
        self._client = client

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._client.server_connected(self)

    def dataReceived(self, data: bytes) -> None:
        self._client.from_server(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._client.server_lost()
