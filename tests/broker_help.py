"""What the tests of the broker's client are built of."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import jwt
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock, Cooperator
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.credentials import Credentials, Secret
from riskd.gateway.interface import Payload
from tests.memory import MemoryTransport

THURSDAY = datetime(2025, 7, 17, 14, 0, tzinfo=UTC)
"""A moment at which futures are traded."""

API_KEY = "the-API-key"
CREDENTIALS = Credentials("trader", Secret(API_KEY))


class Upper(Random):
    """Luck that always picks the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


class TimeOfDay:
    """The time of day, which goes as the clock does."""

    def __init__(self, clock: Clock, begins: datetime = THURSDAY) -> None:
        self._clock = clock
        self._begins = begins

    def __call__(self) -> datetime:
        return self._begins + timedelta(seconds=self._clock.seconds())


def make_token(name: str, ends: datetime | None = THURSDAY + timedelta(hours=24)) -> str:
    """Return a token that says when it ends, if it does."""
    claims: dict[str, Any] = {"name": name}
    if ends is not None:
        claims["exp"] = int(ends.timestamp())
    return jwt.encode(claims, "a key that is long enough for nobody", algorithm="HS256")


class Asked(NamedTuple):
    """A request that waits for its answer."""

    request: str
    body: Payload | None
    token: Secret | None
    seconds: float
    answer: Deferred[Payload]


class MemoryPost:
    """Sends requests nowhere, and answers them when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.count = 0
        self.given_up = 0

    async def __call__(
        self, request: str, body: Payload | None, token: Secret | None, seconds: float
    ) -> Payload:
        answer: Deferred[Payload] = Deferred(self._give_up)
        self.count += 1
        self.asked.append(Asked(request, body, token, seconds, answer))
        return await answer

    def _give_up(self, answer: Deferred[Payload]) -> None:
        self.given_up += 1
        self.asked = [asked for asked in self.asked if asked.answer is not answer]

    @property
    def waiting(self) -> list[str]:
        """What waits for an answer."""
        return [asked.request for asked in self.asked]

    def answer(self, **fields: Any) -> Asked:
        asked = self.asked.pop(0)
        asked.answer.callback({"success": True, "errorCode": 0, **fields})
        return asked

    def fail(self, error: Exception) -> Asked:
        asked = self.asked.pop(0)
        asked.answer.errback(error)
        return asked


def observed(test: SynchronousTestCase) -> list[LogEvent]:
    """Return the events that are logged from now on, at any level, until the test ends."""
    events: list[LogEvent] = []
    observe: Callable[[LogEvent], None] = events.append
    globalLogPublisher.addObserver(observe)
    test.addCleanup(globalLogPublisher.removeObserver, observe)
    return events


def logged(events: list[LogEvent]) -> str:
    """Return all that a reader of the log could see of ``events``: their words, and their fields."""
    return "\n".join(f"{formatEvent(event)} {event!r}" for event in events)


class HttpConnection:
    """The broker's end of an HTTP connection."""

    def __init__(self, protocol: IProtocol) -> None:
        self.protocol = protocol
        self.transport = MemoryTransport()
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)

    @property
    def requests(self) -> list[tuple[str, dict[str, str], bytes]]:
        """The first line, headers and body of each request that came."""
        found, data = [], self.transport.value()
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            length = int(headers["Content-Length"])
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
    """Where HTTP connections go that go nowhere.

    :ivar reactor: what the client runs on.
    :ivar connections: those that were taken, in their order.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.reactor = MemoryReactorClock()
        self.connections: list[HttpConnection] = []
        # The bodies of requests are produced on a reactor of Twisted's choosing.
        bodies = Cooperator(scheduler=lambda call: self.reactor.callLater(0, call))
        test.patch(task, "_theCooperator", bodies)

    @property
    def tries(self) -> int:
        """How many connections were asked for."""
        return len(self.reactor.tcpClients)

    def accept(self) -> HttpConnection:
        """Take the latest connection."""
        factory = self.reactor.tcpClients[-1][2]
        self.connections.append(HttpConnection(factory.buildProtocol(None)))
        self.flush()
        return self.connections[-1]

    def refuse(self) -> None:
        """Refuse the latest connection."""
        _, _, factory, _, _ = self.reactor.tcpClients[-1]
        factory.clientConnectionFailed(None, Failure(Refused()))
        # The name may have another address; then there is none.
        self.reactor.advance(0.5)

    def flush(self) -> None:
        """Let what was asked be sent."""
        for _ in range(4):
            self.reactor.advance(0)
