"""A proxy between riskd and its broker that injects the faults that a test asks for."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from riskd.gateway.fields import Payload
from riskd.model.exact_json import decode_json, encode_json
from tests.integration.practice_gateway import Broker
from tests.support.websocket_frames import TEXT, server_frame

LOCALHOST = "127.0.0.1"


class FaultProxy:
    """Forward requests and hub connections to a broker, with the faults that are switched on.

    :ivar rest_port: port of the REST API.
    :ivar hub_port: port of the hubs.
    :ivar hits: how many faults were injected.
    :ivar is_cut: whether every connection is dropped and no new one accepted.
    :ivar is_mute: whether connections stay open and nothing passes.
    :ivar is_silent: whether the hubs send nothing.
    :ivar status: the HTTP status that replaces each answer of the broker; ``None``: its own.
    :ivar loses_answers: whether changes are carried out and their answers lost.
    :ivar delay: seconds by which everything from the broker is delayed.
    :ivar mangle: replaces the frames that a hub sends together.
    :ivar cuts_frames: whether a hub's connection ends inside its next message.
    :ivar expired: tokens that are no longer accepted.
    :ivar seen: tokens that clients have presented.
    :ivar on_change: called with the name and the body of each request for a change, before the broker has it.
    :ivar on_changed: called with the name of each such request that the broker has carried out.
    """

    def __init__(self, broker_port: int) -> None:
        self.broker_port = broker_port
        self.hits = 0
        self.is_cut = self.is_mute = self.is_silent = False
        self.loses_answers = self.cuts_frames = False
        self.status: int | None = None
        self.delay = 0.0
        self.mangle: Callable[[list[bytes]], list[bytes]] = list
        self.expired: set[str] = set()
        self.seen: set[str] = set()
        self.on_change: Callable[[str, Payload], object] = lambda _name, _body: None
        self.on_changed: Callable[[str], object] = lambda _name: None
        self.relays: set[_Relay] = set()
        self._site = Site(_Requests(self))
        self._rest = reactor.listenTCP(0, self._site, interface=LOCALHOST)
        hubs = Factory.forProtocol(_Relay)
        hubs.proxy = self
        self._hubs = reactor.listenTCP(0, hubs, interface=LOCALHOST)
        self.rest_port: int = self._rest.getHost().port
        self.hub_port: int = self._hubs.getHost().port

    async def stop(self) -> None:
        self.drop_hubs()
        for port in (self._rest, self._hubs):
            await port.stopListening()

    def drop_hubs(self) -> None:
        for relay in tuple(self.relays):
            relay.drop()

    def cut(self) -> None:
        self.is_cut = True
        self.drop_hubs()

    def expire_tokens(self) -> None:
        self.expired |= self.seen
        self.drop_hubs()

    def log_out(self) -> None:
        """End every login, as the broker does when another program logs in."""
        Broker(self.broker_port).ask("Practice/logout")


class _Relay(Protocol):
    """One hub connection: bytes from the client pass unchanged, the broker's frames with faults."""

    def connectionMade(self) -> None:
        self._proxy: FaultProxy = self.factory.proxy
        self._waiting = b""
        self._upstream: _Upstream | None = None
        self._is_known = False
        if self._proxy.is_cut:
            self._proxy.hits += 1
            self.transport.abortConnection()
            return
        self._proxy.relays.add(self)
        endpoint = TCP4ClientEndpoint(reactor, LOCALHOST, self._proxy.broker_port)
        connectProtocol(endpoint, _Upstream(self)).addCallbacks(
            self._connected, lambda _failure: self.drop()
        )

    def _connected(self, upstream: _Upstream) -> None:
        self._upstream = upstream
        self.dataReceived(b"")

    def dataReceived(self, data: bytes) -> None:
        self._waiting += data
        if not self._is_known and b"\r\n\r\n" in self._waiting:
            self._is_known = True
            token = self._waiting.partition(b"access_token=")[2].partition(b" ")[0].decode()
            self._proxy.seen.add(token)
            # The broker refuses a handshake with another Host.
            own, real = (
                b":%d\r\n" % port for port in (self._proxy.hub_port, self._proxy.broker_port)
            )
            self._waiting = self._waiting.replace(own, real, 1)
            if token in self._proxy.expired:
                self._proxy.hits += 1
                self.transport.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
                self.transport.loseConnection()
                return
        if self._proxy.is_mute:
            self._proxy.hits += 1
            self._waiting = b""
        elif self._upstream is not None and self._is_known:
            self._upstream.transport.write(self._waiting)
            self._waiting = b""

    def to_client(self, data: bytes) -> None:
        if self._proxy.is_mute or self._proxy.is_silent:
            self._proxy.hits += 1
        elif self._proxy.delay:
            self._proxy.hits += 1
            reactor.callLater(self._proxy.delay, self._write, data)
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self.transport.connected:
            self.transport.write(data)

    def drop(self) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._proxy.relays.discard(self)
        if self._upstream is not None:
            self._upstream.transport.abortConnection()

    @property
    def proxy(self) -> FaultProxy:
        return self._proxy


class _Upstream(Protocol):
    """The broker's end; collects whole frames before it forwards them."""

    def __init__(self, relay: _Relay) -> None:
        self._relay = relay
        self._buffer = b""
        self._is_open = False

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self._is_open = True
            self._buffer = rest
            self._relay.to_client(head + end)
        frames = self._take_frames()
        if not frames:
            return
        proxy = self._relay.proxy
        mangled = proxy.mangle(frames)
        proxy.hits += mangled != frames
        if proxy.cuts_frames and frames[-1][0] & 0x0F == TEXT:
            proxy.cuts_frames = False
            proxy.hits += 1
            self._relay.to_client(b"".join(mangled)[:-7])
            # Flush what was written before the connection ends.
            self._relay.transport.loseConnection()
            return
        self._relay.to_client(b"".join(mangled))

    def _take_frames(self) -> list[bytes]:
        frames = []
        while len(self._buffer) >= 2:
            length, start = self._buffer[1] & 0x7F, 2
            if length == 126:
                length, start = int.from_bytes(self._buffer[2:4], "big"), 4
            elif length == 127:
                length, start = int.from_bytes(self._buffer[2:10], "big"), 10
            if len(self._buffer) < start + length:
                break
            frames.append(self._buffer[: start + length])
            self._buffer = self._buffer[start + length :]
        return frames

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._relay.drop()


class _Requests(Resource):
    isLeaf = True  # twisted.web's name

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__()
        self._proxy = proxy
        self._client = HTTPClient(Agent(reactor))

    def render(self, request: Request) -> Any:
        passing = Deferred.fromCoroutine(self._pass_on(request, request.content.read()))
        gone = request.notifyFinish()
        gone.addErrback(lambda _: passing.cancel())
        passing.addErrback(lambda _: request.transport and request.transport.abortConnection())
        return NOT_DONE_YET

    async def _pass_on(self, request: Request, body: bytes) -> None:
        proxy = self._proxy
        token = (request.getHeader("Authorization") or "").removeprefix("Bearer ")
        if token:
            proxy.seen.add(token)
        if proxy.is_cut:
            proxy.hits += 1
            request.transport.abortConnection()
            return
        if proxy.is_mute:
            proxy.hits += 1
            await Deferred()
        status = 401 if token in proxy.expired else proxy.status
        if status is not None:
            proxy.hits += 1
            # Twisted would date it by the real clock, and a test's broker has its own.
            request.setHeader("Date", "unknown")
            request.setResponseCode(status)
            if status == 429:
                request.setHeader("Retry-After", "1")
            request.finish()
            return
        if proxy.delay:
            proxy.hits += 1
            await deferLater(reactor, proxy.delay)
        change = _change(request.uri)
        answer, content = await self._ask_broker(request, body, change)
        if proxy.loses_answers and change:
            proxy.hits += 1
            request.transport.abortConnection()
            return
        request.setResponseCode(answer.code)
        request.setHeader("Content-Type", "application/json")
        for name in ("Date", "Retry-After"):
            for value in answer.headers.getRawHeaders(name, []):
                request.setHeader(name, value)
        request.write(content)
        request.finish()

    async def _ask_broker(self, request: Request, body: bytes, change: str) -> tuple[Any, bytes]:
        """Return the broker's answer and its content."""
        proxy = self._proxy
        if change:
            proxy.on_change(change, decode_json(body))
        url = f"http://{LOCALHOST}:{proxy.broker_port}{request.uri.decode()}"
        answer = await self._client.request(
            request.method.decode(), url, data=body, headers=_headers(request)
        )
        content = await treq.content(answer)
        if change and answer.code == HTTPStatus.OK and decode_json(content)["success"]:
            proxy.on_changed(change)
        return answer, content


def _headers(request: Request) -> Headers:
    """Return the headers to forward; the others belong to each connection."""
    passed = ("Authorization", "Content-Type")
    return Headers({name: request.requestHeaders.getRawHeaders(name, []) for name in passed})


def _change(path: bytes) -> str:
    """Return the name of a request for a change; "" for another request."""
    name = path.rpartition(b"/")[2].decode()
    changes = ("place", "cancel", "modify", "closeContract", "partialCloseContract")
    return name if name in changes else ""


# What a fault does to a hub's frames.


def twice(frames: list[bytes]) -> list[bytes]:
    """Send each frame twice."""
    return [frame for frame in frames for _ in range(2)]


def backwards(frames: list[bytes]) -> list[bytes]:
    """Send frames that arrive together in reverse order."""
    return frames[::-1]


def swapped() -> Callable[[list[bytes]], list[bytes]]:
    """Return a function that swaps each event with the next."""
    held: list[bytes] = []

    def swap(frames: list[bytes]) -> list[bytes]:
        sent = []
        for frame in frames:
            if b'"target"' not in frame:
                sent.append(frame)
            elif held:
                sent += [frame, held.pop()]
            else:
                held.append(frame)
        return sent

    return swap


def with_garbage(*garbage: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """Return a function that sends garbage before each frame."""
    return lambda frames: [*(server_frame(TEXT, text) for text in garbage), *frames]


GARBAGE = (b"\xff\xfe{", b'{"type":1}\x1e', b"null\x1e", encode_json({"type": 99}) + b"\x1e")


class Fault(NamedTuple):
    """A fault: how it begins, and how it ends."""

    begin: Callable[[FaultProxy], object]
    end: Callable[[FaultProxy], object] = lambda _proxy: None


def _setting(name: str, wrong: Any, right: Any) -> Fault:
    """Return a fault that sets an attribute of the proxy."""
    return Fault(
        lambda proxy: setattr(proxy, name, wrong), lambda proxy: setattr(proxy, name, right)
    )


FAULTS = {
    "cut": Fault(FaultProxy.cut, lambda proxy: setattr(proxy, "is_cut", False)),
    "cut in the middle of a record": _setting("cuts_frames", True, False),
    "half-open": _setting("is_mute", True, False),
    "silence": _setting("is_silent", True, False),
    "delay": _setting("delay", 0.4, 0.0),
    "401": _setting("status", 401, None),
    "429": _setting("status", 429, None),
    "500": _setting("status", 500, None),
    "503": _setting("status", 503, None),
    "lost answers": _setting("loses_answers", True, False),
    "garbage": _setting("mangle", with_garbage(*GARBAGE), list),
    "duplicates": _setting("mangle", twice, list),
    "reversed": _setting("mangle", backwards, list),
    "reordered": Fault(
        lambda proxy: setattr(proxy, "mangle", swapped()),
        lambda proxy: setattr(proxy, "mangle", list),
    ),
    "token expiry": Fault(FaultProxy.expire_tokens),
    "logout": Fault(FaultProxy.log_out),
}
