"""The WebSocket under a hub's connection.

The token travels in the URL, as browsers send it and the broker documents it.  So the URL is never logged,
neither here nor by Autobahn.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final
from urllib.parse import urlencode

from autobahn.twisted.websocket import WebSocketClientFactory
from autobahn.wamp.types import TransportDetails
from autobahn.websocket.types import ConnectingRequest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from riskd import __version__
from riskd.gateway.projectx.hub_connection import (
    TURN_SECONDS,
    HubConnection,
    HubError,
    Receive,
    TokenRejectedError,
)
from riskd.gateway.projectx.responses import reason_of
from riskd.gateway.projectx.tls_words import tls_reason_of_text
from riskd.gateway.signalr import MAX_RECORD_BYTES
from riskd.host.reads import bound_reads
from riskd.host.secrets import Secret
from riskd.host.websocket import ClientProtocol

OPEN_SECONDS: Final = 10.0
"""How long TCP, TLS and the WebSocket's handshake may take together."""

_PIECE_BYTES: Final = 512
"""How many bytes Autobahn handles at once: they may be hundreds of empty frames."""

_PONG_SECONDS: Final = 0.1
"""The least time between two answers to pings; the protocol wants only the latest answered."""

_LOST: Final = "the connection was lost"
_STATUS: Final = re.compile(r"\[(\d{3})\]")
_UNAUTHORIZED: Final = "401"


class HubSocket(ClientProtocol):
    """Carries a :class:`HubConnection`."""

    factory: _HubFactory
    hub_connection: HubConnection | None = None

    def __init__(self) -> None:
        super().__init__()
        self._arrived = bytearray()
        self._later: IDelayedCall | None = None
        self._is_held = self._is_paused = False
        self._answered_ping_at = -math.inf

    def connectionMade(self) -> None:
        """Bound what one turn of the reactor reads."""
        bound_reads(self.transport)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on in pieces, as many as a turn of the reactor has time for."""
        self._arrived += data
        if self._later is None and not self._is_held:
            self._pass_on()

    def _pass_on(self) -> None:
        self._later = None
        clock = self.factory.reactor
        until = clock.seconds() + TURN_SECONDS
        while self._arrived and not self._is_held:
            piece = bytes(self._arrived[:_PIECE_BYTES])
            del self._arrived[:_PIECE_BYTES]
            super().dataReceived(piece)
            if clock.seconds() >= until and self._arrived and not self._is_held:
                self._later = clock.callLater(0, self._pass_on)
                break
        self._read_more(may_read=self._later is None and not self._is_held)

    def hold(self, is_held: bool) -> None:
        """Hold back what arrives, or let it come again."""
        self._is_held = is_held
        if is_held:
            self._read_more(may_read=False)
        elif self._later is None:
            self._pass_on()

    def _read_more(self, *, may_read: bool) -> None:
        transport: Any = self.transport
        if self._is_paused is may_read and transport is not None:
            self._is_paused = not may_read
            if may_read:
                transport.resumeProducing()
            else:
                transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget what was not passed on; the next connection begins with all of it."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._arrived.clear()
        super().connectionLost(reason)

    def onPing(self, payload: bytes) -> None:
        """Answer, but not a flood: a broker that does not read would fill the memory."""
        now = self.factory.reactor.seconds()
        if now - self._answered_ping_at >= _PONG_SECONDS:
            self._answered_ping_at = now
            super().onPing(payload)

    def onConnecting(self, details: TransportDetails) -> ConnectingRequest:
        """Return the request, and keep this protocol for a connector that gives up."""
        self.factory.reached = self
        return super().onConnecting(details)

    def onOpen(self) -> None:
        """Report that the WebSocket is open."""
        if self.factory.opened.called:
            # The connector has given up.
            self.dropConnection(abort=True)
        else:
            self.factory.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: ARG002
        """Pass bytes on; the hub may frame its records in any way."""
        if self.hub_connection is not None:
            self.hub_connection.received(payload)

    def onCloseFrame(self, code: int, reason_raw: bytes) -> None:
        """End with the broker's close frame; the end of TCP may take much longer."""
        super().onCloseFrame(code, reason_raw)
        if self.state == self.STATE_CLOSING:
            self.onClose(True, self.remoteCloseCode, self.remoteCloseReason)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Report the end."""
        if wasClean:
            given = f": {reason_of(reason)}" if reason else ""
            why = f"the broker closed the connection ({code}{given})"
        elif self.hub_connection is not None:
            # Autobahn's reasons are about TCP and closing handshakes, which say nothing to a trader.
            why = _LOST
        else:
            why = reason_of(self.wasNotCleanReason or _LOST)
        self.factory.fail(_refusal(why))
        if self.hub_connection is not None:
            self.hub_connection.end(why)

    def send(self, data: bytes) -> None:
        """Send whole records as one text message."""
        if self.state == self.STATE_OPEN:
            self.sendMessage(data)

    def drop(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.dropConnection(abort=True)


class _HubFactory(WebSocketClientFactory):
    protocol = HubSocket  # type: ignore[assignment]
    noisy = False
    opened: Deferred[HubSocket]
    reached: HubSocket | None = None

    def fail(self, error: HubError) -> None:
        """Report that the WebSocket cannot be opened, unless that is known or it is open."""
        if not self.opened.called:
            self.opened.errback(error)


class HubConnector:
    """Opens WebSockets to one hub.

    :param reactor: the reactor.
    :param url: the hub's, ``http`` or ``https``, without a query.
    :param endpoint: reaches the hub, in place of the host and port of ``url``.
    """

    def __init__(
        self, reactor: Any, url: str, endpoint: IStreamClientEndpoint | None = None
    ) -> None:
        self._reactor = reactor
        self._url = f"ws{url.removeprefix('http')}"
        self._endpoint = endpoint

    async def __call__(self, token: Secret, receive: Receive) -> HubConnection:
        """Return a conversation whose handshake was sent.

        :raises HubError: there is no WebSocket.
        """
        socket = await self._open(token)
        connection = socket.hub_connection = HubConnection(
            self._reactor, socket.send, socket.drop, receive, socket.hold
        )
        connection.begin()
        return connection

    async def _open(self, token: Secret) -> HubSocket:
        query = urlencode({"access_token": token.reveal()})
        factory = _HubFactory(
            f"{self._url}?{query}", reactor=self._reactor, useragent=f"riskd/{__version__}"
        )
        factory.setProtocolOptions(
            # A message may hold several records.
            maxFramePayloadSize=2 * MAX_RECORD_BYTES,
            maxMessagePayloadSize=2 * MAX_RECORD_BYTES,
            openHandshakeTimeout=OPEN_SECONDS,
            closeHandshakeTimeout=1,
        )
        factory.opened = Deferred()
        connecting = self._endpoint_for(factory).connect(factory)
        connecting.addErrback(_could_not_connect, factory)
        # Autobahn limits only its own handshake; TCP and TLS take time, too.
        try:
            return await factory.opened.addTimeout(OPEN_SECONDS, self._reactor)
        except (CancelledError, HubError, DeferredTimeoutError) as error:
            connecting.cancel()
            if factory.reached is not None:
                factory.reached.drop()
            if isinstance(error, DeferredTimeoutError):
                raise HubError(f"no connection in {OPEN_SECONDS:g} s") from None
            raise

    def _endpoint_for(self, factory: _HubFactory) -> IStreamClientEndpoint:
        if self._endpoint is not None:
            return self._endpoint
        endpoint: Any = HostnameEndpoint(self._reactor, factory.host, factory.port)
        if factory.isSecure:
            endpoint = wrapClientTLS(optionsForClientTLS(factory.host), endpoint)
        return IStreamClientEndpoint(endpoint)


def _refusal(why: str) -> HubError:
    """Return the error for a WebSocket that was not opened, without Autobahn's terms."""
    status = _STATUS.search(why)
    if status is not None:
        answer = f"the broker answered HTTP {status[1]}"
        return TokenRejectedError(answer) if status[1] == _UNAUTHORIZED else HubError(answer)
    # Autobahn gives its reasons as text alone.
    if "timeout" in why:
        return HubError(f"no answer in {OPEN_SECONDS:g} s")
    if tls := tls_reason_of_text(why):
        return HubError(tls)
    return HubError(_LOST if "peer dropped" in why else why)


def _could_not_connect(failure: Failure, factory: _HubFactory) -> None:
    if failure.check(DNSLookupError):
        why = f"the name {factory.host} cannot be looked up"
    elif failure.check(ConnectError, CancelledError):
        why = "no connection"
    else:
        why = failure.getErrorMessage()
    factory.fail(HubError(why))
