"""Stand-ins for the broker: HTTP connections, hubs and logins in memory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import jwt
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IProtocol, ISSLTransport
from twisted.internet.task import Clock, Cooperator
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from riskd.gateway.fields import Payload
from riskd.gateway.projectx.credentials import Credentials
from riskd.gateway.projectx.hub_connection import HubConnection, HubError
from riskd.gateway.signalr import (
    Completion,
    Invocation,
    Message,
    Ping,
    RecordReader,
    decode,
    encode,
    encode_handshake_response,
)
from riskd.host.secrets import Secret
from tests.support.memory_transport import MemoryTransport

THURSDAY = datetime(2025, 7, 17, 14, 0, tzinfo=UTC)
"""A time at which futures are traded."""

API_KEY = "the-API-key"
CREDENTIALS = Credentials("trader", Secret(API_KEY))


TOKEN = Secret("the-token")

PING = "GET /api/Status/ping HTTP/1.1"


class Upper(Random):
    """A generator that always returns the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return b


class TimeOfDay:
    """The time of day, which follows the clock."""

    def __init__(self, clock: Clock, begins: datetime = THURSDAY) -> None:
        self._clock = clock
        self._begins = begins

    def __call__(self) -> datetime:
        return self._begins + timedelta(seconds=self._clock.seconds())


def make_token(name: str, ends: datetime | None = THURSDAY + timedelta(hours=24)) -> str:
    """Return a token that states its end, if it has one."""
    claims: dict[str, Any] = {"name": name}
    if ends is not None:
        claims["exp"] = int(ends.timestamp())
    return jwt.encode(claims, "a key that is long enough to sign", algorithm="HS256")


class PendingRequest(NamedTuple):
    """A request that waits for its answer."""

    request: str
    body: Payload | None
    token: Secret | None
    seconds: float
    answer: Deferred[Payload]


class MemoryPost:
    """Answers requests when the test says so."""

    def __init__(self) -> None:
        self.asked: list[PendingRequest] = []
        self.count = 0
        self.given_up = 0

    async def __call__(
        self, request: str, body: Payload | None, token: Secret | None, seconds: float
    ) -> Payload:
        answer: Deferred[Payload] = Deferred(self._give_up)
        self.count += 1
        self.asked.append(PendingRequest(request, body, token, seconds, answer))
        return await answer

    def _give_up(self, answer: Deferred[Payload]) -> None:
        self.given_up += 1
        self.asked = [asked for asked in self.asked if asked.answer is not answer]

    @property
    def waiting(self) -> list[str]:
        """The requests that wait for an answer."""
        return [asked.request for asked in self.asked]

    def answer(self, **fields: Any) -> PendingRequest:
        asked = self.asked.pop(0)
        asked.answer.callback({"success": True, "errorCode": 0, **fields})
        return asked

    def fail(self, error: Exception) -> PendingRequest:
        asked = self.asked.pop(0)
        asked.answer.errback(error)
        return asked


def use_zone(test: SynchronousTestCase, zone: str) -> None:
    """Use the local time of ``zone`` until the test ends."""
    test.addCleanup(time.tzset)
    before = os.environ.get("TZ")
    if before is None:
        test.addCleanup(os.environ.pop, "TZ", None)
    else:
        test.addCleanup(os.environ.__setitem__, "TZ", before)
    os.environ["TZ"] = zone
    time.tzset()


def observed(test: SynchronousTestCase) -> list[LogEvent]:
    """Return the events that are logged from now on, at any level, until the test ends."""
    events: list[LogEvent] = []
    observe: Callable[[LogEvent], None] = events.append
    globalLogPublisher.addObserver(observe)
    test.addCleanup(globalLogPublisher.removeObserver, observe)
    return events


def logged(events: list[LogEvent]) -> str:
    """Return everything that a reader of the log can see of ``events``: texts and fields."""
    return "\n".join(f"{formatEvent(event)} {event!r}" for event in events)


class MemoryLogin:
    """Has a token until it is discarded, and another one when the test says so."""

    def __init__(self) -> None:
        self.current: Secret | None = TOKEN
        self.waiting: list[Deferred[Secret]] = []
        self.discarded: list[Secret] = []
        self.logins = 0

    def token(self) -> Deferred[Secret]:
        waiter: Deferred[Secret] = Deferred()
        if self.current is None:
            self.waiting.append(waiter)
        else:
            waiter.callback(self.current)
        return waiter

    def is_current(self, token: Secret) -> bool:
        return token == self.current

    def discard(self, token: Secret) -> None:
        self.discarded.append(token)
        if token == self.current:
            self.current = None

    def log_in(self) -> None:
        self.logins += 1
        self.current = Secret(f"token {self.logins}")
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(self.current)


class HttpConnection:
    """The broker's end of an HTTP connection.

    :param has_tls: whether the client has to wait for :meth:`shake_hands`.
    """

    def __init__(self, protocol: IProtocol, *, has_tls: bool = False) -> None:
        self.protocol = protocol
        self.transport = MemoryTransport()
        if has_tls:
            directlyProvides(self.transport, ISSLTransport)
        self.transport.protocol = protocol
        self._pongs = 0
        protocol.makeConnection(self.transport)

    def shake_hands(self) -> None:
        """End the handshake of TLS."""
        # The endpoint wraps it.
        protocol: Any = self.protocol
        protocol._wrappedProtocol.handshakeCompleted()

    @property
    def requests(self) -> list[tuple[str, dict[str, str], bytes]]:
        """The first line, headers and body of each request received, pings aside."""
        return [each for each in self.received if each[0] != PING]

    def answer_pings(self, *headers: str) -> None:
        """Answer each ping received."""
        pings = sum(first == PING for first, _, _ in self.received)
        while self._pongs < pings and self.transport.connected:
            self._pongs += 1
            self.answer(b'"pong"', "200 OK", *headers)

    @property
    def received(self) -> list[tuple[str, dict[str, str], bytes]]:
        """The first line, headers and body of each request received, pings too."""
        found, data = [], self.transport.value()
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            length = int(headers.get("Content-Length", 0))
            found.append((first, headers, data[:length]))
            data = data[length:]
        return found

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def answer(self, body: bytes, status: str = "200 OK", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def succeed(self, **fields: Any) -> None:
        self.answer(json.dumps({"success": True, "errorCode": 0, **fields}).encode())


class MemoryBroker:
    """Accepts HTTP connections in memory.

    :ivar reactor: the client's reactor.
    :ivar connections: the accepted connections, in order.
    :ivar has_tls: whether new connections wait for a handshake of TLS.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.reactor = MemoryReactorClock()
        self.connections: list[HttpConnection] = []
        self.has_tls = False
        self._seen = 0
        # Twisted would produce the bodies of requests on the global reactor.
        bodies = Cooperator(scheduler=lambda call: self.reactor.callLater(0, call))
        test.patch(task, "_theCooperator", bodies)

    @property
    def tries(self) -> int:
        """How many connections were requested."""
        return len(self.reactor.tcpClients)

    def accept(self) -> HttpConnection:
        """Accept every requested connection; return the latest."""
        self.accept_all()
        return self.connections[-1]

    def refuse(self, error: Exception | None = None) -> None:
        """Refuse the latest connection."""
        _, _, factory, _, _ = self.reactor.tcpClients[-1]
        factory.clientConnectionFailed(None, Failure(error or Refused()))
        # The client waits for another address of the name; there is none.
        self.reactor.advance(0.5)

    def refuse_all(self) -> None:
        """Refuse every requested connection that was not canceled."""
        asked = zip(self.reactor.tcpClients, self.reactor.connectors, strict=True)
        for (_, _, factory, _, _), connector in list(asked)[self._seen :]:
            self._seen += 1
            if not connector.stoppedConnecting:
                factory.clientConnectionFailed(None, Failure(Refused()))
        self.reactor.advance(0.5)

    def accept_all(self) -> None:
        """Accept every requested connection that was not canceled."""
        asked = zip(self.reactor.tcpClients, self.reactor.connectors, strict=True)
        for (_, _, factory, _, _), connector in list(asked)[self._seen :]:
            self._seen += 1
            if not connector.stoppedConnecting:
                protocol = factory.buildProtocol(None)
                self.connections.append(HttpConnection(protocol, has_tls=self.has_tls))
        self.flush()

    def flush(self) -> None:
        """Let requests be sent."""
        for _ in range(4):
            self.reactor.advance(0)


class HubEnd:
    """The broker's end of a hub's connection.

    :ivar messages: what the client has sent after the handshake.
    """

    def __init__(self, clock: Clock, receive: Callable[[Invocation], None]) -> None:
        self._reader = RecordReader()
        self._handshake: bytes | None = None
        self._answered = 0
        self._has_shaken = False
        self.messages: list[Message | None] = []
        self.is_dropped = False
        self.connection = HubConnection(clock, self._take, self._drop, receive)
        self.connection.begin()

    def _take(self, data: bytes) -> None:
        for record in self._reader.feed(data):
            if self._handshake is None:
                self._handshake = record
            else:
                self.messages.append(decode(record))

    def _drop(self) -> None:
        self.is_dropped = True
        self.connection.end("the connection was lost")

    @property
    def handshake(self) -> bytes | None:
        """The first record of the client."""
        return self._handshake

    @property
    def asked(self) -> list[Invocation]:
        """The invocations of the client that are not answered."""
        invoked = [message for message in self.messages if isinstance(message, Invocation)]
        return invoked[self._answered :]

    def send(self, *records: bytes) -> None:
        self.connection.received(b"".join(records))

    def shake_hands(self) -> None:
        if not self._has_shaken:
            self._has_shaken = True
            self.send(encode_handshake_response())

    def complete(self, error: str | None = None) -> Invocation:
        """Answer the oldest invocation."""
        invocation = self.asked[0]
        self._answered += 1
        assert invocation.invocation_id is not None
        self.send(encode(Completion(invocation.invocation_id, error=error)))
        return invocation

    def complete_all(self) -> None:
        while self.asked:
            self.complete()

    def send_event(self, target: str, *arguments: Any) -> None:
        self.send(encode(Invocation(target, arguments)))

    def ping(self) -> None:
        """Ping, if the connection is open."""
        if self._has_shaken and not self.is_dropped:
            self.send(encode(Ping()))

    def open(self) -> None:
        """Shake hands, and accept all subscriptions."""
        self.shake_hands()
        self.complete_all()


class Try(NamedTuple):
    """A connection to a hub that is being made."""

    moment: float
    token: Secret
    receive: Callable[[Invocation], None]
    made: Deferred[HubConnection]


class MemoryHub:
    """Makes connections to a hub when the test says so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.tries: list[Try] = []
        self.ends: list[HubEnd] = []
        self.given_up = 0

    async def __call__(
        self, token: Secret, receive: Callable[[Invocation], None]
    ) -> HubConnection:
        made: Deferred[HubConnection] = Deferred(self._give_up)
        self.tries.append(Try(self._clock.seconds(), token, receive, made))
        return await made

    def _give_up(self, _made: Deferred[HubConnection]) -> None:
        self.given_up += 1

    @property
    def is_tried(self) -> bool:
        """Whether a connection is being made."""
        return bool(self.tries) and not self.tries[-1].made.called

    def accept(self) -> HubEnd:
        latest = self.tries[-1]
        self.ends.append(HubEnd(self._clock, latest.receive))
        latest.made.callback(self.ends[-1].connection)
        return self.ends[-1]

    def refuse(self, error: HubError | None = None) -> None:
        self.tries[-1].made.errback(error or HubError("no connection"))
