"""The connections to the broker's REST API, open before a request needs them.

A new connection takes a round trip, and TLS one or two more; a close must not wait for them.

**Number.**  Once the broker has answered a first request, the pool holds a connection for each command that
may have to leave at once, from 2 to 8: see :meth:`Connections.expect_commands`.  A lost connection is replaced
at once, or after growing waits if connecting fails.

**Pings.**  Servers close idle connections.  The pool requests ``Status/ping`` on each connection that has been
silent for 15 s, on one at a time, so that the others stay free.  A ping gives way to all other requests; a
connection that has been silent for 30 s is closed and replaced, which takes no request.

**Urgent requests** take the idle connection on which the broker answered last, or else the first that becomes
free: one that another request returns, or a new one.  **Other requests** take the idle connection that has
been silent longest, which saves its ping.  They leave the last idle one to a command, and wait for a new
connection if one can be opened.

**Doubt.**  When a request gets no answer on a connection that had been idle, the broker or a router may have
dropped the others too.  Those without an answer since the request was sent are closed and replaced.

The pool never sends a request twice; see :meth:`riskd.gateway.projectx.rest.BrokerRequests.change`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from random import Random
from typing import Any, Final, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IReactorTime,
    ISSLTransport,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web._newclient import HEADER, STATUS, HTTP11ClientProtocol
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from riskd.gateway.projectx.backoff import Backoff
from riskd.gateway.projectx.http_body import Body
from riskd.host.reads import bound_reads
from riskd.host.timing import lasting_loop

_log = Logger()

LEAST_CONNECTIONS: Final = 2
MOST_CONNECTIONS: Final = 8

CONNECT_SECONDS: Final = 5.0
"""How long a connection may take, and its TLS handshake after that."""

PING_AFTER_SECONDS: Final = 15.0
"""Servers that close idle connections early do so after 20 to 30 s."""

PING_SECONDS: Final = 2.5
"""How long a ping may take."""

IDLE_SECONDS: Final = 30.0
"""A connection that was silent for so long is not used: it may be dead without showing it."""

MAX_HEAD_BYTES: Final = 64 * 1024
"""How many bytes may arrive before the body of an answer."""

_CHECK_SECONDS: Final = 1.0


class HeadTooLargeError(Exception):
    """The headers of an answer are longer than any that riskd reads."""

    def __init__(self) -> None:
        super().__init__(f"the answer's headers are longer than {MAX_HEAD_BYTES // 1024} kB")


@implementer(IHandshakeListener)
class _Connection(HTTP11ClientProtocol):
    """A connection of the pool.

    :ivar is_ready: whether a request that is written leaves at once.
    :ivar opened_at: when it was opened.
    :ivar active_at: when the broker last answered on it; before the first answer, when it was opened.
    :ivar lent_at: when it was last taken for a request.
    :ivar was_kept: whether it has been idle.
    :ivar is_useful: whether the broker has answered on it, or riskd has closed it by itself.
    """

    def __init__(self, pool: Connections) -> None:
        super().__init__(pool.put)
        self._pool = pool
        self.is_ready = False
        self.opened_at = self.active_at = self.lent_at = 0.0
        self.was_kept = self.is_useful = False
        self._head_bytes = 0

    def connectionMade(self) -> None:
        """Bound what one turn of the reactor reads."""
        super().connectionMade()
        bound_reads(self.transport)

    def request(self, request: Any) -> Deferred[IResponse]:
        """Send a request; the head of its answer is bounded, its body by the reader."""
        self._head_bytes = 0
        return super().request(request)

    def handshakeCompleted(self) -> None:  # noqa: N802  # Twisted's name
        """Note that requests leave at once from now on."""
        self._pool.ready(self)

    def close(self) -> None:
        """End the connection, whatever its state."""
        transport: Any = self.transport
        # Not loseConnection(): with TLS that waits for the peer, which may be dead.
        transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self.state == "QUIESCENT":
            # Whatever it is, it answers no request; such as HTTP 408 before the server closes.
            self._pool.drop(self)
            return
        super().dataReceived(data)
        if self._parser is not None and self._parser.state in (STATUS, HEADER):
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                # Endless headers, or endless answers before the answer.
                self._giveUp(Failure(HeadTooLargeError()))
                self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # First, so that a request that is sent again at once takes no connection that is in doubt.
        self._pool.lost(self, was_answered=self.state == "QUIESCENT")
        super().connectionLost(reason)


class _Factory(Factory):
    noisy = False

    def __init__(self, pool: Connections) -> None:
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> _Connection:  # noqa: ARG002
        return _Connection(self._pool)


class Connections:
    """The open connections to one broker.

    :param clock: times pings.
    :param random: spreads tries in time.
    """

    def __init__(self, clock: IReactorTime, random: Random) -> None:
        self._clock = clock
        self._backoff = Backoff(random)
        self._factory = _Factory(self)
        self._key: Hashable | None = None
        self._endpoint: IStreamClientEndpoint | None = None
        # The one on which the broker answered last comes last.
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._dials: list[Deferred[_Connection]] = []
        self._urgent: deque[Deferred[_Connection]] = deque()
        self._ordinary: deque[Deferred[_Connection]] = deque()
        self._expected = 0
        self._has_answered = False
        self._is_stopped = False
        self._not_before = 0.0
        self._retry: IDelayedCall | None = None
        self._ping: Callable[[_Connection], Deferred[None]] | None = None
        self._may_ping: Callable[[], bool] = lambda: False
        self._is_pinging = False
        self._checks = lasting_loop(clock, self._check, _log)

    def keep_warm(
        self, ping: Callable[[_Connection], Deferred[None]], may_ping: Callable[[], bool]
    ) -> None:
        """Hold connections open from now on.

        :param ping: sends a ping on a connection; its Deferred fires when it is over, however it ended.
        :param may_ping: returns whether the broker may be sent a ping now.
        """
        self._ping, self._may_ping = ping, may_ping
        self._fill()

    def expect_commands(self, number: int) -> None:
        """Hold connections for so many commands that may have to leave at once."""
        self._expected = number
        self._fill()

    def stop(self) -> None:
        """Close the connections that are idle, and each other one after its request."""
        self._is_stopped = True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        self._cancel_dials()
        for connection in tuple(self._idle):
            self.drop(connection)

    @property
    def _wanted(self) -> int:
        if self._ping is None or self._is_stopped or not self._has_answered:
            return 0
        return min(max(self._expected, LEAST_CONNECTIONS), MOST_CONNECTIONS)

    @property
    def _open(self) -> int:
        return len(self._idle) + len(self._busy) + len(self._dials)

    # Requests.

    def take(
        self, key: Hashable, endpoint: IStreamClientEndpoint, *, urgent: bool
    ) -> Deferred[_Connection]:
        """Return a Deferred of a connection for one request.

        :param key: names the broker; all requests have the same.
        """
        if self._key not in (None, key):
            return fail(ValueError(f"expected requests to {self._key}, not to {key}"))
        self._key, self._endpoint = key, endpoint
        connection = self._pick(urgent=urgent)
        if connection is not None:
            return succeed(self._lend(connection))
        waiter: Deferred[_Connection] = Deferred(self._forget)
        (self._urgent if urgent else self._ordinary).append(waiter)
        if len(self._dials) < self._waiting:
            self._dial(endpoint)
        return waiter

    @property
    def _waiting(self) -> int:
        return len(self._urgent) + len(self._ordinary)

    def _pick(self, *, urgent: bool) -> _Connection | None:
        """Return the idle connection to take for a request."""
        self._drop_silent()
        ready = [each for each in self._idle if each.is_ready]
        if urgent:
            # One whose handshake is under way is still ahead of a new one.
            return ready[-1] if ready else next(iter(self._idle), None)
        can_dial = self._not_before <= self._clock.seconds()
        reserved = len(self._urgent) + (1 if self._wanted and can_dial else 0)
        return ready[0] if len(ready) > reserved else None

    def _lend(self, connection: _Connection) -> _Connection:
        if connection in self._idle:
            self._idle.remove(connection)
        self._busy.add(connection)
        connection.lent_at = self._clock.seconds()
        return connection

    def _forget(self, waiter: Deferred[_Connection]) -> None:
        for waiting in (self._urgent, self._ordinary):
            if waiter in waiting:
                waiting.remove(waiter)
        self._cancel_dials()

    def put(self, connection: _Connection) -> None:
        """Take back a connection whose request was answered."""
        self._busy.discard(connection)
        connection.active_at = self._clock.seconds()
        connection.is_useful = self._has_answered = True
        self._backoff.succeeded()
        self._not_before = 0.0
        self._keep(connection)
        if self._waiting:
            # Not within this call: the protocol has not ended the request that was answered.
            self._clock.callLater(0, self._serve)

    def _keep(self, connection: _Connection) -> None:
        if self._is_stopped or len(self._idle) + len(self._busy) >= MOST_CONNECTIONS:
            connection.close()
            return
        connection.was_kept = True
        self._idle.append(connection)
        if not self._checks.running:
            self._checks.start(_CHECK_SECONDS, now=False)
        self._fill()

    def _serve(self) -> None:
        while self._waiting:
            connection = self._pick(urgent=bool(self._urgent))
            if connection is None:
                return
            (self._urgent or self._ordinary).popleft().callback(self._lend(connection))

    # New connections.

    def _fill(self) -> None:
        endpoint = self._endpoint
        while (
            endpoint is not None
            and self._open < self._wanted
            and self._not_before <= self._clock.seconds()
        ):
            self._dial(endpoint)

    def _dial(self, endpoint: IStreamClientEndpoint) -> None:
        dial = cast("Deferred[_Connection]", endpoint.connect(self._factory))
        self._dials.append(dial)
        dial.addCallbacks(
            self._dialed, self._dial_failed, callbackArgs=(dial,), errbackArgs=(dial,)
        )

    def _dialed(self, connection: _Connection, dial: Deferred[_Connection]) -> None:
        self._dials.remove(dial)
        connection.opened_at = connection.active_at = self._clock.seconds()
        connection.is_ready = not ISSLTransport.providedBy(connection.transport)
        if self._waiting:
            (self._urgent or self._ordinary).popleft().callback(self._lend(connection))
        else:
            self._keep(connection)

    def _dial_failed(self, failure: Failure, dial: Deferred[_Connection]) -> None:
        if dial not in self._dials:
            # It was canceled.
            return
        self._dials.remove(dial)
        self._postpone()
        # Requests that wait for a new connection may have the last idle one, now that there is no other.
        self._serve()
        if self._waiting > len(self._dials):
            (self._ordinary or self._urgent).pop().errback(failure)

    def _cancel_dials(self) -> None:
        """Cancel the dials that no request and no expected command needs."""
        while len(self._dials) > self._waiting and self._open > self._wanted:
            self._dials.pop().cancel()

    def _postpone(self) -> None:
        now = self._clock.seconds()
        # Dials that fail together are one failure.
        if self._not_before <= now:
            wait = self._backoff.next_wait(now)
            self._not_before = now + wait
            if self._wanted and (self._retry is None or not self._retry.active()):
                self._retry = self._clock.callLater(wait, self._fill)

    def ready(self, connection: _Connection) -> None:
        """Note that the TLS handshake of a connection is done."""
        connection.is_ready = True
        self._serve()

    def lost(self, connection: _Connection, *, was_answered: bool) -> None:
        """Forget a connection that has ended, and replace it."""
        if connection in self._idle:
            self._idle.remove(connection)
        self._busy.discard(connection)
        if not was_answered and connection.was_kept:
            for each in tuple(self._idle):
                if each.active_at <= connection.lent_at:
                    self.drop(each)
        if (
            not connection.is_useful
            and self._clock.seconds() < connection.opened_at + CONNECT_SECONDS
        ):
            # A new connection would end the same way.
            self._postpone()
        self._fill()

    def drop(self, connection: _Connection) -> None:
        """Close an idle connection."""
        if connection in self._idle:
            self._idle.remove(connection)
        connection.is_useful = True
        connection.close()

    # Idle connections.

    def _check(self) -> None:
        self._drop_silent()
        self._close_stuck()
        self._fill()
        self._ping_next()
        if not self._idle and not self._busy and not self._wanted:
            self._checks.stop()

    def _drop_silent(self) -> None:
        now = self._clock.seconds()
        for connection in tuple(self._idle):
            limit = IDLE_SECONDS if connection.is_ready else CONNECT_SECONDS
            if connection.active_at + limit <= now:
                self.drop(connection)

    def _close_stuck(self) -> None:
        """Close connections whose request ended long ago and that are still open."""
        lent_before = self._clock.seconds() - IDLE_SECONDS
        for connection in tuple(self._busy):
            if connection.lent_at <= lent_before:
                connection.close()

    def _ping_next(self) -> None:
        """Ping the connection that was silent for longest, of those that are wanted."""
        wanted = self._wanted
        if self._ping is None or self._is_pinging or not wanted:
            return
        silent_since = self._clock.seconds() - PING_AFTER_SECONDS
        for connection in self._idle[-wanted:]:
            if connection.is_ready and connection.active_at <= silent_since:
                if self._may_ping():
                    self._is_pinging = True
                    pinged = self._ping(self._lend(connection))
                    pinged.addErrback(_log_failure).addCallback(self._pinged)
                return

    def _pinged(self, _result: None) -> None:
        self._is_pinging = False
        self._ping_next()


def _log_failure(failure: Failure) -> None:
    _log.failure("internal error of a ping, which is over", failure)


class _Lane:
    """Lets an agent take connections of the pool, in place of Twisted's own."""

    persistent = True

    def __init__(
        self, take: Callable[[Hashable, IStreamClientEndpoint], Deferred[_Connection]]
    ) -> None:
        self.getConnection = take


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """The broker's endpoint, made once: loading certificates takes milliseconds."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._made: dict[tuple[bytes, bytes, int], IStreamClientEndpoint] = {}

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802  # Twisted's name
        """Return the endpoint of a URL."""
        key = (uri.scheme, uri.host, uri.port)
        if key not in self._made:
            self._made[key] = self._make(uri)
        return self._made[key]

    def _make(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii")
        endpoint = HostnameEndpoint(self._reactor, host, uri.port, timeout=CONNECT_SECONDS)
        if uri.scheme != b"https":
            return endpoint
        creator = BrowserLikePolicyForHTTPS().creatorForNetloc(uri.host, uri.port)
        return wrapClientTLS(creator, endpoint)


@implementer(IAgent)
class BrokerAgent:
    """Sends HTTP requests to the broker, on connections that are kept open.

    :param reactor: the reactor.
    :param random: spreads tries in time.
    :ivar urgent: an agent whose requests come first.
    """

    def __init__(self, reactor: Any, random: Random) -> None:
        self._reactor = reactor
        self._connections = Connections(reactor, random)
        self._endpoints = _Endpoints(reactor)
        self._ordinary = self._agent(partial(self._connections.take, urgent=False))
        self.urgent = self._agent(partial(self._connections.take, urgent=True))

    def _agent(
        self, take: Callable[[Hashable, IStreamClientEndpoint], Deferred[_Connection]]
    ) -> IAgent:
        lane: Any = _Lane(take)
        agent: IAgent = Agent.usingEndpointFactory(self._reactor, self._endpoints, pool=lane)
        return agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803  # Twisted's name
    ) -> Deferred[IResponse]:
        """Send a request that is not urgent."""
        return self._ordinary.request(method, uri, headers, bodyProducer)

    def keep_warm(
        self,
        ping_url: str,
        may_ping: Callable[[], bool],
        answered: Callable[[IResponse, float], None] | None = None,
    ) -> None:
        """Hold connections open from now on, once the broker has answered.

        :param ping_url: the URL of the broker's ``Status/ping``.
        :param may_ping: counts a ping, and returns whether it may be sent now.
        :param answered: receives each response to a ping, and when the ping was sent.
        """
        url = ping_url.encode("ascii")

        async def ping(connection: _Connection) -> None:
            sent_at = self._reactor.seconds()
            response = await self._ping(url, connection)
            if response is not None and answered is not None:
                answered(response, sent_at)

        self._connections.keep_warm(
            lambda connection: Deferred.fromCoroutine(ping(connection)), may_ping
        )

    def expect_commands(self, number: int) -> None:
        """Hold connections for so many commands that may have to leave at once."""
        self._connections.expect_commands(number)

    def stop(self) -> None:
        """Close the connections; those that are in use, after their requests."""
        self._connections.stop()

    async def _ping(self, url: bytes, connection: _Connection) -> IResponse | None:
        agent = self._agent(lambda _key, _endpoint: succeed(connection))
        timeout = self._reactor.callLater(PING_SECONDS, connection.close)
        try:
            response = await agent.request(b"GET", url)
            await Body().read(response)
        except Exception:  # noqa: BLE001  # the connection is lost, which the pool sees
            return None
        finally:
            if timeout.active():
                timeout.cancel()
        return response
