"""HTTP sites that bound their connections and the time of a request's arrival.

Each connection takes a file descriptor, which the rest of the program needs, and Twisted gives a client a
minute after every byte.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

REQUEST_SECONDS: Final = 5
"""How long a request may take to arrive whole, from its first byte; on a new connection, from its opening."""

_IDLE_SECONDS: Final = 60
"""How long a connection may be without a request, once it has had one."""


class BodilessRequest(Request):
    """A request whose body is discarded.

    Twisted would keep it in memory or on the disk.
    """

    def gotLength(self, _length: int | None) -> None:
        """Expect no body, whatever length the client announces."""
        super().gotLength(0)

    def handleContentChunk(self, data: bytes) -> None:
        """Drop a piece of the body."""


class BoundedSite(Site):
    """A site that makes room for a new client by cutting one that sends no request.

    Cut is the connection that waits longest for its first request, else the one that is idle longest after
    its last.  An honest client sends its request at once, so a flood of silent connections only drives out
    its own.  A client is refused if all others are being served.

    :param clock: times the connections.
    :param max_connections: the most connections at a time, those that a WebSocket took over included.
    :param idle_seconds: how long a connection may be without a request, once it has had one.
    """

    def __init__(
        self,
        resource: Resource,
        clock: IReactorTime,
        max_connections: int,
        request_factory: type[HTTPRequest],
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        super().__init__(
            resource, requestFactory=request_factory, timeout=idle_seconds, reactor=clock
        )
        self.displayTracebacks = False
        self.noisy = False
        self._clock = clock
        self._max_connections = max_connections
        # Dicts serve as ordered sets.
        self._connections: dict[_Connection, None] = {}
        self._new: dict[_Connection, None] = {}
        self._idle: dict[_Connection, None] = {}

    def log(self, request: HTTPRequest) -> None:
        """Log nothing: a client could flood the log, and an address may hold a token."""

    def buildProtocol(self, addr: IAddress | None) -> _Connection | None:  # type: ignore[override]
        """Accept a connection if there is room for it, or if another one can be cut."""
        if len(self._connections) >= self._max_connections:
            waiting = next(iter(self._new or self._idle), None)
            if waiting is None:
                return None
            waiting.abort()
        return _Connection(self, super().buildProtocol(addr), self._clock)

    def getResourceFor(self, request: Any) -> Any:  # noqa: N802  # Twisted's name
        """Note that a request has arrived whole; return its resource."""
        connection: _Connection = request.channel.transport
        self._new.pop(connection, None)
        self._idle.pop(connection, None)
        connection.request_arrived()
        request.notifyFinish().addBoth(lambda _: self._request_ended(connection))
        return super().getResourceFor(request)

    def _request_ended(self, connection: _Connection) -> None:
        if connection.request_ended() and connection in self._connections:
            self._idle[connection] = None

    # What Twisted's wrapper of a connection calls.

    def registerProtocol(self, connection: _Connection) -> None:
        """Add a connection, which has had no request yet."""
        self._connections[connection] = self._new[connection] = None

    def unregisterProtocol(self, connection: _Connection) -> None:
        """Forget a connection that is lost."""
        for connections in (self._connections, self._new, self._idle):
            connections.pop(connection, None)


class _Connection(ProtocolWrapper):
    """One connection, cut if a request takes too long to arrive."""

    transport: Any

    def __init__(self, site: BoundedSite, channel: Any, clock: IReactorTime) -> None:
        super().__init__(site, channel)  # type: ignore[arg-type]
        self._site = site
        self._channel = channel
        self._clock = clock
        # A client may send several requests before it reads an answer.
        self._unanswered = 0
        self._has_sent_more = False
        self._deadline: IDelayedCall | None = None

    def makeConnection(self, transport: Any) -> None:
        """Wait for the first request."""
        self._start_timer()
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on; those after an answered request begin another one."""
        # A WebSocket that took the connection over has timeouts of its own.
        if self.wrappedProtocol is self._channel:
            self._has_sent_more = True
            if not self._unanswered:
                self._start_timer()
        super().dataReceived(data)

    def request_arrived(self) -> None:
        """Stop the timer."""
        self._unanswered += 1
        self._has_sent_more = False
        self._stop_timer()

    def request_ended(self) -> bool:
        """Return whether no request waits for its answer."""
        self._unanswered -= 1
        if self._has_sent_more and not self._unanswered:
            self._start_timer()
        return not self._unanswered

    def abort(self) -> None:
        """Cut the connection at once, whatever is unsent."""
        # The transport loses the connection only in the reactor's next turn.
        self._site.unregisterProtocol(self)
        self._stop_timer()
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Forget the connection."""
        super().connectionLost(reason)
        self._has_sent_more = False
        self._stop_timer()
        self._channel = None

    def _start_timer(self) -> None:
        if self._deadline is None:
            self._deadline = self._clock.callLater(REQUEST_SECONDS, self.abort)

    def _stop_timer(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
