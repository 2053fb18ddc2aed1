"""The hubs' WebSockets, which take the steps of their conversations.

A client that reads too slowly is cut, so that it costs at most a megabyte and delays no other client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from txaio.tx import make_logger
from zope.interface import implementer

from riskd import __version__
from riskd.gateway.signalr import Close, Ping, encode
from riskd.host.websocket import server_options
from riskd.practice.server.event_feed import EventFeed
from riskd.practice.server.http_date import http_date
from riskd.practice.server.hub_conversation import (
    Conversation,
    End,
    Send,
    Step,
    Streams,
    Subscribe,
    Unsubscribe,
    WatchSilence,
)

HANDSHAKE_SECONDS: Final = 5
"""How long a client may take for each of its two handshakes, that of HTTP and that of the hub."""

PING_SECONDS: Final = 10.0
"""A client that was sent no record for so many seconds is sent a ping of the hub protocol.

Some clients do not count a WebSocket ping as a sign of life.
"""

LOST_SECONDS: Final = 30
"""A client that has pinged once and then is silent for so many seconds is cut."""

MAX_UNSENT_BYTES: Final = 1024 * 1024
MAX_MESSAGE_BYTES: Final = 64 * 1024

_FRAME_BYTES: Final = 2
"""What the smallest frame has beside its payload."""

_CLOSING_SECONDS: Final = 2

_log = Logger()


@implementer(IPushProducer)
class HubProtocol(WebSocketServerProtocol, TimeoutMixin):  # type: ignore[misc]  # Autobahn's own attributes
    """One client of a hub."""

    # Autobahn's own log would repeat ours, and would quote secrets.
    log = make_logger(level="error")

    factory: HubFactory
    token = ""
    _conversation: Conversation
    _next_ping: IDelayedCall | None = None
    _is_congested = False
    _unsent = 0

    def onConnect(self, request: ConnectionRequest) -> tuple[None, dict[str, str]]:
        """Note the client's token, which the site has checked; date the response."""
        self.token = token_of(
            request.headers.get("authorization"), request.params.get("access_token", ())
        )
        return None, {"Date": http_date(self.factory.feed.now())}

    def onOpen(self) -> None:
        """Wait for the client's handshake on the hub."""
        transport: Any = self.transport
        # Until now the transport reported to HTTP's channel, which is done with it.
        transport.unregisterProducer()
        transport.registerProducer(self, True)
        self._conversation = Conversation(self.factory.streams, self.factory.feed.exists)
        self.setTimeout(HANDSHAKE_SECONDS)
        self.factory.clients[self] = None
        _log.info("{peer} opened the {hub} hub", peer=self.peer, hub=self.factory.name)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: ARG002
        """Take the steps that a message of the client calls for."""
        had_begun = self._conversation.has_begun
        self._carry_out(self._conversation.receive(payload))
        if not self._conversation.has_begun:
            return
        if not had_begun:
            # Some clients never ping and may be silent, so none is watched before its first ping.
            self.setTimeout(None)
        else:
            self.resetTimeout()

    def log_out(self) -> None:
        """Send the client the end of its session, and no event after that."""
        self.factory.feed.unsubscribe_all(self.send)
        self._carry_out(self._conversation.log_out())

    def send(self, record: bytes) -> None:
        """Send a record, unless the client is closing or reads too slowly."""
        if self.state != self.STATE_OPEN or not self._keeps_up(len(record)):
            return
        self.sendMessage(record)
        if self._next_ping is None:
            self._next_ping = self.factory.clock.callLater(PING_SECONDS, self._ping)
        else:
            self._next_ping.reset(PING_SECONDS)

    def onPing(self, payload: bytes) -> None:
        """Answer a WebSocket ping, whose unread answers cost as much as unread records."""
        if self._keeps_up(len(payload)):
            super().onPing(payload)

    def _keeps_up(self, size: int) -> bool:
        """Count bytes to send; cut the client and return false if too many are unread."""
        if self._is_congested:
            self._unsent += size + _FRAME_BYTES
            if self._unsent > MAX_UNSENT_BYTES:
                _log.warn("{peer} reads too slowly and is cut", peer=self.peer)
                self.dropConnection(abort=True)
                return False
        return True

    def say_goodbye(self) -> None:
        """Close the connection, and allow the client to reconnect."""
        self.send(encode(Close(allow_reconnect=True)))
        self.sendCloseFrame(self.CLOSE_STATUS_CODE_GOING_AWAY, b"the gateway is stopping")

    def _carry_out(self, steps: Iterable[Step]) -> None:
        for step in steps:
            # An earlier step may have cut a client that does not read.
            if self.state != self.STATE_OPEN:
                return
            match step:
                case Send(record):
                    self.send(record)
                case Subscribe(topic):
                    self.factory.feed.subscribe(self.send, topic)
                case Unsubscribe(topic):
                    self.factory.feed.unsubscribe(self.send, topic)
                case WatchSilence():
                    self.setTimeout(LOST_SECONDS)
                case End():
                    self.sendClose(self.CLOSE_STATUS_CODE_NORMAL)

    def _ping(self) -> None:
        self._next_ping = None
        self.send(encode(Ping()))

    # Timeouts.

    def callLater(self, period: float, func: Callable[[], None]) -> IDelayedCall:
        """Set a timeout on the factory's clock."""
        return self.factory.clock.callLater(period, func)

    def timeoutConnection(self) -> None:
        """Cut a client that has been silent for too long."""
        _log.info("{peer} is cut: silent for {seconds} s", peer=self.peer, seconds=self.timeOut)
        self.dropConnection(abort=True)

    # Reports of the transport.

    def pauseProducing(self) -> None:
        """Count from now on the bytes that wait for the client to read."""
        # A paused transport reports again at every write.
        if not self._is_congested:
            self._is_congested, self._unsent = True, 0

    def resumeProducing(self) -> None:
        """Stop counting."""
        self._is_congested = False

    def stopProducing(self) -> None:
        """Do nothing: :meth:`onClose` follows."""

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: ARG002
        """Forget the client."""
        if self not in self.factory.clients:
            return
        del self.factory.clients[self]
        self.factory.feed.unsubscribe_all(self.send)
        self.setTimeout(None)
        if self._next_ping is not None:
            self._next_ping.cancel()
            self._next_ping = None
        _log.info(
            "{peer} left the {hub} hub: code {code}",
            peer=self.peer,
            hub=self.factory.name,
            code=code,
        )


class HubFactory(WebSocketServerFactory):
    """One hub.

    :param reactor: times the connections.
    :param name: its name in its path and in the log.
    :param streams: its subscriptions.
    :param feed: the source of its events.
    :ivar clients: those that are connected.
    """

    protocol = HubProtocol  # type: ignore[assignment]

    def __init__(
        self, reactor: IReactorTime, name: str, streams: Streams, feed: EventFeed
    ) -> None:
        super().__init__(reactor=reactor, server=f"riskd/{__version__}")
        self.clock = reactor
        self.name = name
        self.streams = streams
        self.feed = feed
        self.noisy = False
        self.clients: dict[HubProtocol, None] = {}
        self.setProtocolOptions(
            **server_options(
                max_message_bytes=MAX_MESSAGE_BYTES,
                handshake_seconds=HANDSHAKE_SECONDS,
                closing_seconds=_CLOSING_SECONDS,
            )
        )

    def close_all(self) -> Deferred[Any]:
        """Say goodbye to every client; fires when all are gone.

        Autobahn cuts a client that does not answer within :data:`_CLOSING_SECONDS`.
        """
        leaving = tuple(self.clients)
        for client in leaving:
            client.say_goodbye()
        return DeferredList([client.is_closed for client in leaving])


def token_of(authorization: str | None, queried: Iterable[str]) -> str:
    """Return the token of a request; an empty string if there is none.

    :param authorization: the ``Authorization`` header.
    :param queried: the values of ``access_token`` in the query, where browsers have to put it.
    """
    scheme, _space, token = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return next(iter(queried), "")
