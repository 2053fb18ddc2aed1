"""The broadcast: one way, to every console on this machine.

:meth:`BroadcastServerFactory.broadcast` is the only way out.  It encodes and frames an event once,
whatever the number of clients.  The door is in :class:`ConsoleProtocol`: who may come in, and that
nobody may say anything.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    IReactorSocket,
    IReactorTime,
)
from twisted.logger import Logger
from txaio.tx import make_logger

from riskd import __version__
from riskd.events import Event, encode

DEFAULT_MAX_CLIENTS: Final = 1000
KEEPALIVE_SECONDS: Final = 20
"""A ping goes out this often, and its pong must be back within as long."""

CLOSING_SECONDS: Final = 2
"""What clients are given to answer a closing handshake."""

GATEWAY_HEADER: Final = "Riskd-Gateway"
"""The header of the handshake's answer that names the kind of gateway, such as ``practice``."""

_HANDSHAKE_SECONDS: Final = 5
_MAX_HANDSHAKE_BYTES: Final = 16 * 1024
_MAX_CLIENT_MESSAGE_BYTES: Final = 4 * 1024
_REQUEST_START: Final = re.compile(rb"[A-Z]{1,16}( .*)?", re.DOTALL)
_MAX_REASON: Final = 120

_GOING_AWAY: Final = 1001
_NO_CODE: Final = 1005
_POLICY_VIOLATION: Final = 1008

_BAD_REQUEST: Final = 400
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_UPGRADE_REQUIRED: Final = 426
_UNAVAILABLE: Final = 503

_log = Logger()


@dataclass
class Statistics:
    """Counts since the start, and how it is now.

    :ivar clients: connected now.
    :ivar events: broadcast, by type.
    :ivar bytes_sent: of events, handed to the clients' connections.
    :ivar queue_bytes: of events, kept now for clients that cannot take them yet.
    :ivar conflated_quotes: that a newer one took the place of.
    :ivar cut: connections that were ended from this side, by reason.
    """

    clients: int = 0
    events: Counter[str] = field(default_factory=Counter)
    bytes_sent: int = 0
    queue_bytes: int = 0
    conflated_quotes: int = 0
    cut: Counter[str] = field(default_factory=Counter)


class ConsoleProtocol(WebSocketServerProtocol):
    """One client, from the first byte of its handshake to its last."""

    # Autobahn's own account of refusals and cuts would double ours.
    log = make_logger(level="error")

    factory: BroadcastServerFactory
    messages_sent = 0
    _opened_at: float | None = None
    _reaper: IDelayedCall | None = None

    def dataReceived(self, data: bytes) -> None:
        """Take bytes; before the handshake, only such as can become one."""
        if self.state == self.STATE_CONNECTING and not self._may_become_handshake(data):
            self.failHandshake("this is not a WebSocket handshake", _BAD_REQUEST)
        else:
            super().dataReceived(data)

    def _may_become_handshake(self, data: bytes) -> bool:
        received = self.data + data
        return len(received) <= _MAX_HANDSHAKE_BYTES and (
            not received or _REQUEST_START.fullmatch(received) is not None
        )

    def onConnect(self, request: ConnectionRequest) -> Deferred[None]:  # type: ignore[override]
        """Let a client in once the state file is up to date, or refuse it with an HTTP status.

        :raises ConnectionDeny: it is refused.
        """
        self.factory.check(request)
        # Autobahn's path is what is left of //evil/ and of http://evil/ too.
        if self.http_request_uri.partition("?")[0] != "/":
            raise ConnectionDeny(_NOT_FOUND, "there is nothing but /")
        return self.factory.join(self).addCallback(self._still_here)

    def _still_here(self, _result: object) -> None:
        # Autobahn would complete the handshake of a client that has left meanwhile.
        if self.state != self.STATE_CONNECTING:
            raise ConnectionDeny(_UNAVAILABLE, "the client left")

    def failHandshake(
        self, reason: str, code: int = _BAD_REQUEST, responseHeaders: Any = None
    ) -> None:
        """Refuse a handshake; whatever else is wrong with a stranger's page, it is a stranger's."""
        headers = getattr(self, "http_headers", {})
        answer = [*(responseHeaders or ()), ("Connection", "close"), ("Content-Length", "0")]
        if not self.factory.is_own_origin(headers.get("origin")):
            code, reason = _FORBIDDEN, "foreign Origin"
        elif "host" in headers and not self.factory.is_own_host(headers["host"]):
            code, reason = _FORBIDDEN, "foreign Host"
        elif headers and "upgrade" not in headers:
            code, reason = _UPGRADE_REQUIRED, "this is a WebSocket and no page"
            answer.append(("Upgrade", "websocket"))
        # Autobahn quotes what was sent; nobody may write into the log or the answer that way.
        super().failHandshake(ascii(reason)[1:-1][:_MAX_REASON], code, answer)

    def onOpen(self) -> None:
        """Count the client in."""
        self._opened_at = self.factory.clock.seconds()
        self.factory.add(self)
        _log.info(
            "client {peer} connected, {count} in all", peer=self.peer, count=self.factory.count
        )

    def send_frames(self, frames: bytes, count: int) -> None:
        """Send ``count`` whole frames, if the client is still to be sent anything."""
        # Autobahn itself would write them even after a close frame.
        if self.state == self.STATE_OPEN and self.transport is not None:
            self.transport.write(frames)
            self.messages_sent += count
            self.factory.statistics.bytes_sent += len(frames)

    def onMessageFrameBegin(self, length: int) -> None:
        """Close on a client that talks; what it says is not read."""
        super().onMessageFrameBegin(length)
        if self.state == self.STATE_OPEN:
            _log.warn("client {peer} sent a message; this stream is one-way", peer=self.peer)
            self.factory.statistics.cut["sent_a_message"] += 1
            self.sendCloseFrame(_POLICY_VIOLATION, b"this stream is one-way")

    def dropConnection(self, abort: bool = False) -> None:
        """Let go of the client, and of its connection even if it reads nothing any more."""
        super().dropConnection(abort)
        self.factory.remove(self)
        if not abort and self._reaper is None:
            self._reaper = self.factory.clock.callLater(
                CLOSING_SECONDS, self._closeConnection, True
            )

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Count the client out and write down how it went."""
        self.factory.remove(self)
        if self._reaper is not None and self._reaper.active():
            self._reaper.cancel()
        if self._opened_at is None:
            _log.warn(
                "refused {peer}: {reason}", peer=self.peer, reason=self.wasNotCleanReason or reason
            )
            return
        _log.info(
            "client {peer} disconnected: code {code}{why}, {seconds:.1f} s connected, {sent} messages sent",
            peer=self.peer,
            code=(self.localCloseCode if self.closedByMe else code) or _NO_CODE,
            why="" if wasClean else f" ({self.wasNotCleanReason})",
            seconds=self.factory.clock.seconds() - self._opened_at,
            sent=self.messages_sent,
        )


class BroadcastServerFactory(WebSocketServerFactory):
    """The clients, and the one way to reach them.

    :param reactor: clock of the connection log.
    :param gateway_name: what clients are told of the gateway in the handshake.
    :param prepare: called for every client that asks to be let in; its handshake is completed when
        the Deferred fires.
    :param max_clients: more than these are refused with 503.
    :param allowed_origins: web origins that may connect besides the daemon's own.
    :ivar statistics: what is counted.
    """

    protocol = ConsoleProtocol  # type: ignore[assignment]

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        gateway_name: str,
        prepare: Callable[[], Deferred[None]],
        max_clients: int = DEFAULT_MAX_CLIENTS,
        allowed_origins: Iterable[str] = (),
    ) -> None:
        super().__init__(
            reactor=reactor,
            server=f"riskd/{__version__}",
            headers={GATEWAY_HEADER: gateway_name},
        )
        self.clock = reactor
        self.statistics = Statistics()
        self.noisy = False
        self._max_clients = max_clients
        self._allowed_origins = frozenset(allowed_origins)
        self._own_hosts: frozenset[str] = frozenset()
        self._clients: set[ConsoleProtocol] = set()
        self._prepare = prepare
        self._joining: dict[ConsoleProtocol, list[bytes]] = {}
        self._unsent: list[bytes] = []
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            failByDrop=False,
            maxFramePayloadSize=_MAX_CLIENT_MESSAGE_BYTES,
            maxMessagePayloadSize=_MAX_CLIENT_MESSAGE_BYTES,
            openHandshakeTimeout=_HANDSHAKE_SECONDS,
            closeHandshakeTimeout=CLOSING_SECONDS,
            autoPingInterval=KEEPALIVE_SECONDS,
            autoPingTimeout=KEEPALIVE_SECONDS,
            # Only a pong proves that the peer still reads.
            autoPingRestartOnAnyTraffic=False,
            # Origins are checked here and not by Autobahn, which would answer 400.
            allowNullOrigin=True,
        )

    @property
    def count(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    def serve_at(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Learn under which hosts and ports clients may ask for this server."""
        self._own_hosts = frozenset(
            f"{host}:{port}"
            for address, port in addresses
            for host in ("localhost", "127.0.0.1", "[::1]", _in_url(address))
        )

    def is_own_origin(self, origin: str | None) -> bool:
        """Tell whether a page of ``origin`` may connect; ``None`` is no page at all."""
        return (
            origin is None
            or origin in self._allowed_origins
            or (origin.startswith("http://") and origin.removeprefix("http://") in self._own_hosts)
        )

    def is_own_host(self, host: str) -> bool:
        """Tell whether ``host`` is one under which this server may be asked for."""
        return host.strip().lower() in self._own_hosts

    def check(self, request: ConnectionRequest) -> None:
        """Let a well-formed handshake pass.

        :raises ConnectionDeny: with 403 or 503.
        """
        if not self.is_own_origin(request.headers.get("origin")):
            raise ConnectionDeny(_FORBIDDEN, "foreign Origin")
        # A page of a name that was made to resolve to this machine still sends its own name.
        if not self.is_own_host(request.headers.get("host", "")):
            raise ConnectionDeny(_FORBIDDEN, "foreign Host")
        if len(self._clients) + len(self._joining) >= self._max_clients:
            raise ConnectionDeny(_UNAVAILABLE, "too many clients")

    def join(self, client: ConsoleProtocol) -> Deferred[None]:
        """Fire when ``client`` may be let in; what is told until then is kept for it.

        So it misses nothing: what was told before is in the state file, what is told from now on it
        gets as soon as it is in.
        """
        self._joining[client] = []
        return self._prepare()

    def add(self, client: ConsoleProtocol) -> None:
        """Send events to ``client`` from now on."""
        # What the others are still to be sent is among what was kept for it.
        self.flush()
        kept = self._joining.pop(client, [])
        if kept:
            client.send_frames(b"".join(kept), len(kept))
        self._clients.add(client)
        self.statistics.clients = len(self._clients)

    def remove(self, client: ConsoleProtocol) -> None:
        """Send ``client`` nothing any more."""
        self._joining.pop(client, None)
        self._clients.discard(client)
        self.statistics.clients = len(self._clients)

    def broadcast(self, event: Event) -> None:
        """Send ``event`` to every client: encoded once, framed once.

        What is told in one turn of the reactor is one write to each client, at the turn's end.  So a
        burst keeps nobody waiting: neither the clients nor whatever is to be done about the burst.
        """
        frame: bytes = self.prepareMessage(encode(event), doNotCompress=True).payloadHybi
        self.statistics.events[event.type] += 1
        if not self._unsent:
            self.clock.callLater(0, self.flush)
        self._unsent.append(frame)
        for kept in self._joining.values():
            kept.append(frame)

    def flush(self) -> None:
        """Send what was broadcast in this turn."""
        if self._unsent:
            frames, count = b"".join(self._unsent), len(self._unsent)
            self._unsent.clear()
            for client in tuple(self._clients):
                client.send_frames(frames, count)

    def close_all(self) -> Deferred[None]:
        """Say 1001 to every client; fire when all are gone, after two seconds at the latest."""
        self.flush()
        leaving = tuple(self._clients)
        for client in leaving:
            client.sendCloseFrame(_GOING_AWAY, b"the daemon is stopping")
        gone = DeferredList([client.is_closed for client in leaving])
        late = self.clock.callLater(CLOSING_SECONDS, _abort, leaving)

        def all_gone(_results: object) -> None:
            if late.active():
                late.cancel()

        return gone.addCallback(all_gone)


class BroadcastService(Service):
    """The listeners of a broadcast, for as long as the daemon runs.

    :param sockets: listening already; they are taken over.
    """

    def __init__(
        self,
        reactor: IReactorSocket,
        factory: BroadcastServerFactory,
        sockets: list[socket.socket],
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._sockets = sockets
        self._ports: list[IListeningPort] = []
        factory.serve_at(listening.getsockname()[:2] for listening in sockets)

    def startService(self) -> None:
        """Accept clients."""
        super().startService()
        for listening in self._sockets:
            host, port = listening.getsockname()[:2]
            self._ports.append(
                self._reactor.adoptStreamPort(listening.fileno(), listening.family, self._factory)
            )
            listening.close()
            _log.info("listening on ws://{host}:{port}", host=_in_url(host), port=port)
        self._sockets = []

    def stopService(self) -> Deferred[None]:
        """Accept nobody any more and see every client out."""
        super().stopService()
        stopped = gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        self._ports = []
        return stopped.addCallback(lambda _: self._factory.close_all())


def _abort(clients: Iterable[ConsoleProtocol]) -> None:
    for client in clients:
        client.dropConnection(abort=True)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
