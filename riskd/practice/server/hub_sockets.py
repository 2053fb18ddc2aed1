"""The hubs' WebSockets: what a conversation decided, done on a connection.

A client that falls behind is cut, so that it costs no more than a megabyte and delays nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from txaio.tx import make_logger
from zope.interface import implementer

from riskd import __version__
from riskd.gateway.signalr import Close, Ping, encode
from riskd.practice.server.event_feed import Feed
from riskd.practice.server.hub_conversation import (
    Conversation,
    End,
    Join,
    Leave,
    Pinged,
    Send,
    Step,
    Streams,
)

HANDSHAKE_SECONDS: Final = 5
"""A client is cut that has not shaken hands, on HTTP or on the hub, by then."""

PING_SECONDS: Final = 10.0
"""After so long without a word to a client it gets a ping; WebSocket pings, some never answer."""

LOST_SECONDS: Final = 30.0
"""A client that has pinged once and then says nothing for so long is gone."""

MAX_UNSENT_BYTES: Final = 1024 * 1024
MAX_MESSAGE_BYTES: Final = 64 * 1024

_FRAME_BYTES: Final = 2
"""What the smallest frame has beside its payload."""

_CLOSING_SECONDS: Final = 2
_NORMAL: Final = 1000
_GOING_AWAY: Final = 1001

_log = Logger()


@implementer(IPushProducer)
class HubProtocol(WebSocketServerProtocol):
    """One client of a hub."""

    # Autobahn's own account would double ours, and would quote what is secret.
    log = make_logger(level="error")

    factory: HubFactory
    token = ""
    _conversation: Conversation | None = None
    _pinging: IDelayedCall | None = None
    _missing: IDelayedCall | None = None
    _is_congested = False
    _unsent = 0

    def onConnect(self, request: ConnectionRequest) -> None:
        """Note with which token the client came; the door has looked at it already."""
        self.token = token_of(
            request.headers.get("authorization"), request.params.get("access_token", ())
        )

    def onOpen(self) -> None:
        """Wait for the client's handshake on the hub."""
        transport: Any = self.transport
        # Until now it reported to HTTP's channel, which is through with it.
        transport.unregisterProducer()
        transport.registerProducer(self, True)
        self._conversation = Conversation(self.factory.streams, self.factory.feed.exists)
        self._missing = self.factory.clock.callLater(HANDSHAKE_SECONDS, self._miss, "no handshake")
        self.factory.clients[self] = None
        _log.info("{peer} opened the {hub} hub", peer=self.peer, hub=self.factory.name)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: ARG002
        """Do what a message of the client calls for."""
        if self._conversation is None:
            return
        had_begun = self._conversation.has_begun
        self._carry_out(self._conversation.receive(payload))
        if not had_begun and self._conversation.has_begun:
            # Some clients never ping, and have the right to be silent.
            self._miss_no_more()
        elif self._missing is not None and self._conversation.has_begun:
            self._missing.reset(LOST_SECONDS)

    def log_out(self) -> None:
        """Tell the client that its session has ended, and nothing more."""
        self.factory.feed.leave_all(self)
        if self._conversation is not None:
            self._carry_out(self._conversation.log_out())

    def send(self, record: bytes) -> None:
        """Send a record of the hub protocol, if the client is still to be sent anything."""
        if self.state != self.STATE_OPEN or not self._keeps_up_with(len(record)):
            return
        self.sendMessage(record)
        if self._pinging is None:
            self._pinging = self.factory.clock.callLater(PING_SECONDS, self._ping)
        else:
            self._pinging.reset(PING_SECONDS)

    def onPing(self, payload: bytes) -> None:
        """Answer a WebSocket ping, which costs as much as a record if nobody reads the answer."""
        if self._keeps_up_with(len(payload)):
            super().onPing(payload)

    def _keeps_up_with(self, size: int) -> bool:
        """Count what is to be sent, and cut a client that has left too much of it; tell whether it stays."""
        if self._is_congested:
            self._unsent += size + _FRAME_BYTES
            if self._unsent > MAX_UNSENT_BYTES:
                _log.warn("{peer} reads too slowly and is cut", peer=self.peer)
                self.dropConnection(abort=True)
                return False
        return True

    def say_goodbye(self) -> None:
        """Close the connection for now; the client is welcome back."""
        self.send(encode(Close(allow_reconnect=True)))
        self.sendCloseFrame(_GOING_AWAY, b"the gateway is stopping")

    def _carry_out(self, steps: Iterable[Step]) -> None:
        for step in steps:
            # It may have been cut for an answer that it did not read.
            if self.state != self.STATE_OPEN:
                return
            match step:
                case Send(record):
                    self.send(record)
                case Join(topic):
                    self.factory.feed.join(self, topic)
                case Leave(topic):
                    self.factory.feed.leave(self, topic)
                case Pinged():
                    self._be_missed()
                case End():
                    self.sendClose(_NORMAL)

    def _ping(self) -> None:
        self._pinging = None
        self.send(encode(Ping()))

    # Silence.

    def _be_missed(self) -> None:
        if self._missing is None:
            self._missing = self.factory.clock.callLater(
                LOST_SECONDS, self._miss, f"nothing for {LOST_SECONDS:g} s"
            )

    def _miss(self, why: str) -> None:
        self._missing = None
        _log.info("{peer} is cut: {why}", peer=self.peer, why=why)
        self.dropConnection(abort=True)

    def _miss_no_more(self) -> None:
        if self._missing is not None:
            self._missing.cancel()
            self._missing = None

    # The transport reports.

    def pauseProducing(self) -> None:
        """Count from now on what is not yet on its way."""
        # A transport says so again with every write until it is through.
        if not self._is_congested:
            self._is_congested, self._unsent = True, 0

    def resumeProducing(self) -> None:
        """Count no more."""
        self._is_congested = False

    def stopProducing(self) -> None:
        """Do nothing: the loss of the connection is reported, too."""

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: ARG002
        """Forget the client."""
        if self.factory.clients.pop(self, _UNKNOWN) is _UNKNOWN:
            return
        self.factory.feed.leave_all(self)
        self._miss_no_more()
        if self._pinging is not None:
            self._pinging.cancel()
            self._pinging = None
        _log.info(
            "{peer} left the {hub} hub: code {code}",
            peer=self.peer,
            hub=self.factory.name,
            code=code,
        )


class HubFactory(WebSocketServerFactory):
    """One hub.

    :param reactor: clock of the connections.
    :param name: what it is called in its path and in the log.
    :param streams: what can be subscribed.
    :param feed: what tells it.
    :ivar clients: those that are connected.
    """

    protocol = HubProtocol  # type: ignore[assignment]

    def __init__(self, reactor: IReactorTime, name: str, streams: Streams, feed: Feed) -> None:
        super().__init__(reactor=reactor, server=f"riskd/{__version__}")
        self.clock = reactor
        self.name = name
        self.streams = streams
        self.feed = feed
        self.noisy = False
        self.clients: dict[HubProtocol, None] = {}
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            failByDrop=False,
            maxFramePayloadSize=MAX_MESSAGE_BYTES,
            maxMessagePayloadSize=MAX_MESSAGE_BYTES,
            openHandshakeTimeout=HANDSHAKE_SECONDS,
            closeHandshakeTimeout=_CLOSING_SECONDS,
            # Origins are looked at before a request comes here.
            allowNullOrigin=True,
        )

    def close_all(self) -> Deferred[None]:
        """Say goodbye to every client; fire when all are gone, after two seconds at the latest."""
        leaving = tuple(self.clients)
        for client in leaving:
            client.say_goodbye()
        late = self.clock.callLater(_CLOSING_SECONDS, _abort, leaving)

        def all_gone(_results: object) -> None:
            if late.active():
                late.cancel()

        return DeferredList([client.is_closed for client in leaving]).addCallback(all_gone)


def token_of(authorization: str | None, queried: Iterable[str]) -> str:
    """Return the token that came with a request; empty if there is none.

    :param authorization: the ``Authorization`` header.
    :param queried: the values of ``access_token`` in the query, where browsers must put it.
    """
    scheme, _space, token = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return next(iter(queried), "")


def _abort(clients: Iterable[HubProtocol]) -> None:
    for client in clients:
        client.dropConnection(abort=True)


_UNKNOWN: Final = object()
