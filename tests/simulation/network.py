"""A network in memory between two programs on one simulated clock, and how it fails.

Bytes arrive in order, half a round trip after they were written.  Connections may be cut, which both ends
learn; fall silent, which no end learns; be refused; and the whole network may be unplugged for a while, after
which what was sent arrives all the same, as TCP sends it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    UserError,
)
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import (
    TimeoutError as ConnectTimeout,
)
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.clocks import SortedClock

HOST = "127.0.0.1"


class SteppingClock(SortedClock):
    """A clock that runs each call at its own time, so that one call may follow from another."""

    def advance(self, amount: float) -> None:
        end = self.rightNow + amount
        while self.times and self.times[0] <= end:
            super().advance(max(0.0, self.times[0] - self.rightNow))
        self.rightNow = max(self.rightNow, end)

    def jump(self, amount: float) -> None:
        """Run everything that is due, late, as on a machine that slept."""
        super().advance(amount)


class Network:
    """Carries bytes between machines.

    :param clock: the world's.
    :param random: spreads the delays.
    :param latency: how many seconds bytes are under way.
    :param jitter: up to so much longer, at random.
    """

    def __init__(self, clock: Clock, random: Random, latency: float, jitter: float) -> None:
        self.clock = clock
        self._random = random
        self._latency = latency
        self._jitter = jitter
        self.is_plugged = True
        self.is_refusing = False
        self._servers: dict[int, Any] = {}
        self._links: dict[_Link, None] = {}
        self._next_port = 50000

    def listen(self, port: int, factory: Any) -> None:
        self._servers[port] = factory

    def delay(self) -> float:
        return self._latency + self._random.uniform(0, self._jitter)

    # What fails.

    def cut(self) -> None:
        """End all connections, as a router does that forgets them with a word."""
        for link in tuple(self._links):
            link.reset()

    def silence(self) -> None:
        """Let nothing more arrive on the connections that are open now."""
        for link in self._links:
            link.is_silent = True

    def unplug(self) -> None:
        """Let nothing arrive, until :meth:`plug`."""
        self.is_plugged = False

    def plug(self) -> None:
        """Let everything arrive that was sent meanwhile."""
        self.is_plugged = True
        for link in tuple(self._links):
            link.deliver_all()

    # Connecting.

    def connect(self, machine: Machine, port: int, factory: Any, timeout: float) -> _Connector:
        self._next_port += 1
        connector = _Connector(self, machine, port, factory, self._next_port)
        connector.begin(timeout)
        return connector

    def accept(self, connector: _Connector) -> None:
        """Connect a client with the server at its port, or refuse it."""
        server = None if self.is_refusing else self._servers.get(connector.port)
        if server is None:
            connector.fail(Refused())
            return
        here = IPv4Address("TCP", HOST, connector.local_port)
        there = IPv4Address("TCP", HOST, connector.port)
        link = _Link(self, here, there, connector.machine)
        self._links[link] = None
        link.server.protocol = server.buildProtocol(here)
        link.server.protocol.makeConnection(link.server)
        connector.succeed(link)

    def forget(self, link: _Link) -> None:
        self._links.pop(link, None)

    def lose(self, machine: Machine) -> None:
        """End the connections of a machine that has crashed; its own ends learn nothing."""
        for link in tuple(self._links):
            if link.machine is machine:
                link.client.is_connected = False
                link.to_server.send(_End.RESET)


class _End:
    RESET = "reset"
    DONE = "done"


class _Link:
    """A connection: a pipe to each end."""

    def __init__(
        self, network: Network, here: IPv4Address, there: IPv4Address, machine: Machine
    ) -> None:
        self.network = network
        self.machine = machine
        self.is_silent = False
        self.client, self.server = _Transport(here, there), _Transport(there, here)
        self.to_server = _Pipe(self, self.server)
        self.to_client = _Pipe(self, self.client)
        self.client.open(self, self.to_server)
        self.server.open(self, self.to_client)

    def reset(self) -> None:
        for pipe in (self.to_server, self.to_client):
            pipe.send(_End.RESET)

    def deliver_all(self) -> None:
        for pipe in (self.to_server, self.to_client):
            pipe.deliver()

    def forget_if_over(self) -> None:
        if not (self.client.is_connected or self.server.is_connected):
            self.network.forget(self)


class _Pipe:
    """One direction of a connection."""

    def __init__(self, link: _Link, target: _Transport) -> None:
        self._link = link
        self._target = target
        self._clock = link.network.clock
        self._under_way: deque[tuple[float, Any]] = deque()
        self._arrives_at = 0.0

    def send(self, data: Any) -> None:
        now = self._clock.seconds()
        at = max(self._arrives_at, now + self._link.network.delay())
        if at > self._arrives_at or not self._under_way:
            self._clock.callLater(at - now, self.deliver)
        self._arrives_at = at
        self._under_way.append((at, data))

    def deliver(self) -> None:
        """Hand over what has arrived."""
        if not self._link.network.is_plugged:
            return
        now = self._clock.seconds()
        arrived = []
        while self._under_way and self._under_way[0][0] <= now + 1e-9:
            arrived.append(self._under_way.popleft()[1])
        if self._link.is_silent:
            return
        data = b"".join(each for each in arrived if isinstance(each, bytes))
        if data:
            self._target.receive(data)
        for each in arrived:
            if each == _End.DONE:
                self._target.end(ConnectionDone())
            elif each == _End.RESET:
                self._target.end(ConnectionLost())


@implementer(ITCPTransport)
class _Transport:
    """One end of a connection."""

    disconnecting = False
    protocol: Any = None

    def __init__(self, here: IPv4Address, there: IPv4Address) -> None:
        self._here = here
        self._there = there
        self.is_connected = True
        self._is_paused = False
        self._received: list[bytes] = []

    def open(self, link: _Link, pipe: _Pipe) -> None:
        self._link, self._pipe = link, pipe

    # What arrives.

    def receive(self, data: bytes) -> None:
        if not self.is_connected:
            return
        if self._is_paused:
            self._received.append(data)
        else:
            self.protocol.dataReceived(data)

    def end(self, why: Exception) -> None:
        if self.is_connected:
            self.is_connected = False
            self._link.forget_if_over()
            self.protocol.connectionLost(Failure(why))

    # What the protocol does.

    def write(self, data: bytes) -> None:
        if self.is_connected and not self.disconnecting and data:
            self._pipe.send(bytes(data))

    def writeSequence(self, iovec: Any) -> None:
        self.write(b"".join(iovec))

    def loseConnection(self, *_reason: object) -> None:
        if self.is_connected and not self.disconnecting:
            self.disconnecting = True
            self._pipe.send(_End.DONE)
            self._later(self.end, ConnectionDone())

    def abortConnection(self) -> None:
        if self.is_connected:
            self.disconnecting = True
            self._pipe.send(_End.RESET)
            self._later(self.end, ConnectionAborted())

    def _later(self, act: Callable[..., None], *arguments: object) -> None:
        # As Twisted's: never within the call.
        self._link.network.clock.callLater(0, act, *arguments)

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        if self._received:
            self._later(self._go_on)

    def _go_on(self) -> None:
        if not self._is_paused:
            received, self._received = b"".join(self._received), []
            if received:
                self.receive(received)

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Nothing is ever congested here."""

    def unregisterProducer(self) -> None:
        """See :meth:`registerProducer`."""

    def getHost(self) -> IPv4Address:
        return self._here

    def getPeer(self) -> IPv4Address:
        return self._there

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed here."""

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """No connection needs it here."""

    def getTcpKeepAlive(self) -> bool:
        return False

    def loseWriteConnection(self) -> None:
        self.loseConnection()


@implementer(IConnector)
class _Connector:
    """A try to connect."""

    def __init__(
        self, network: Network, machine: Machine, port: int, factory: Any, local_port: int
    ) -> None:
        self._network = network
        self.machine = machine
        self.port = port
        self.local_port = local_port
        self._factory = factory
        self._timeout: IDelayedCall | None = None
        self._is_over = False

    def begin(self, timeout: float) -> None:
        self._factory.doStart()
        self._factory.startedConnecting(self)
        if not self._is_over:
            self._timeout = self.machine.callLater(timeout, self.fail, ConnectTimeout())
            self._try()

    def _try(self) -> None:
        # A request to connect is sent again and again until an answer comes.
        if self._is_over:
            return
        if self._network.is_plugged:
            self.machine.callLater(2 * self._network.delay(), self._arrive)
        else:
            self.machine.callLater(1.0, self._try)

    def _arrive(self) -> None:
        if not self._is_over:
            self._network.accept(self)

    def succeed(self, link: _Link) -> None:
        self._end()
        link.client.protocol = self._factory.buildProtocol(self.getDestination())
        if link.client.protocol is None:
            link.client.abortConnection()
        else:
            link.client.protocol.makeConnection(link.client)

    def fail(self, why: Exception) -> None:
        if not self._is_over:
            self._end()
            self._factory.clientConnectionFailed(self, Failure(why))
            self._factory.doStop()

    def _end(self) -> None:
        self._is_over = True
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()

    def stopConnecting(self) -> None:
        self.fail(UserError())

    def disconnect(self) -> None:
        self.stopConnecting()

    def connect(self) -> None:
        raise NotImplementedError

    def getDestination(self) -> IPv4Address:
        return IPv4Address("TCP", HOST, self.port)


class _Names:
    """Resolves only addresses."""

    def resolveHostName(self, receiver: Any, *name: str, **more: Any) -> Any:
        receiver.resolutionBegan(None)
        receiver.addressResolved(IPv4Address("TCP", name[0], more["portNumber"]))
        receiver.resolutionComplete()


@implementer(IReactorTime, IReactorTCP, IReactorPluggableNameResolver)
class Machine:
    """The reactor of one program; its timers and connections end when the machine crashes."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._clock = network.clock
        # The clock's own method, for the programs ask very often.
        self.seconds = network.clock.seconds
        self.nameResolver = _Names()
        self._calls: list[IDelayedCall] = []

    def callLater(self, delay: float, act: Callable[..., Any], *args: Any, **more: Any) -> Any:
        call = self._clock.callLater(delay, act, *args, **more)
        self._calls.append(call)
        if len(self._calls) > 500:
            self._calls = [each for each in self._calls if each.active()]
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        return [each for each in self._calls if each.active()]

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, **_more: Any
    ) -> _Connector:
        return self._network.connect(self, port, factory, timeout)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        raise NotImplementedError

    def installNameResolver(self, resolver: Any) -> Any:
        raise NotImplementedError

    def crash(self) -> None:
        """Run and receive nothing more."""
        for call in self.getDelayedCalls():
            call.cancel()
        self._network.lose(self)
