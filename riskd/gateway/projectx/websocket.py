"""The WebSocket under a hub's connection.

The token travels in the address, as browsers do it and the broker documents it: so the address is never
logged, neither here nor by Autobahn.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from autobahn.twisted.websocket import WebSocketClientFactory
from autobahn.wamp.types import TransportDetails
from autobahn.websocket.types import ConnectingRequest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from riskd import __version__
from riskd.gateway.projectx.credentials import Secret
from riskd.gateway.projectx.hub import HubConnection, HubError, TokenRejectedError
from riskd.gateway.projectx.responses import words
from riskd.gateway.signalr import MAX_RECORD_BYTES, Invocation
from riskd.host.websocket_client import ClientProtocol

OPEN_SECONDS: Final = 10.0
"""How long TCP, TLS and the WebSocket's handshake may take together."""

_LOST: Final = "the connection was lost"
_STATUS: Final = re.compile(r"\[(\d{3})\]")
_UNAUTHORIZED: Final = "401"


class HubProtocol(ClientProtocol):
    """Carries a hub's conversation."""

    factory: _HubFactory
    conversation: HubConnection | None = None

    def onConnecting(self, details: TransportDetails) -> ConnectingRequest:
        """Keep this protocol, so that a connector that gives up can end it, and return the request."""
        self.factory.reached = self
        return super().onConnecting(details)

    def onOpen(self) -> None:
        """Say that the WebSocket is open."""
        opened, self.factory.opened = self.factory.opened, None
        if opened is None:
            # Nobody waits for it any more.
            self.dropConnection(abort=True)
        else:
            opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: ARG002
        """Hand on what the hub says, however it is framed."""
        if self.conversation is not None:
            self.conversation.received(payload)

    def onCloseFrame(self, code: int, reason_raw: bytes) -> None:
        """Take the broker's last word; that it lets go of TCP, too, is not waited for."""
        super().onCloseFrame(code, reason_raw)
        if self.state == self.STATE_CLOSING:
            self.onClose(True, self.remoteCloseCode, self.remoteCloseReason)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Say that it is over."""
        why = f"the broker closed the connection ({code}{f': {words(reason)}' if reason else ''})"
        if not wasClean:
            why = _LOST if self.conversation else words(self.wasNotCleanReason or _LOST)
        opened, self.factory.opened = self.factory.opened, None
        if opened is not None:
            opened.errback(_refusal(why))
        if self.conversation is not None:
            self.conversation.end(why)

    def say(self, data: bytes) -> None:
        """Send whole records as one text message."""
        if self.state == self.STATE_OPEN:
            self.sendMessage(data)

    def drop(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.dropConnection(abort=True)


class _HubFactory(WebSocketClientFactory):
    protocol = HubProtocol  # type: ignore[assignment]
    opened: Deferred[HubProtocol] | None = None
    reached: HubProtocol | None = None


class HubConnector:
    """Opens WebSockets to one hub.

    :param reactor: the reactor.
    :param url: the hub's, ``http`` or ``https``, without a query.
    :param endpoint: how to reach it, in place of the host and port of ``url``.
    """

    def __init__(
        self, reactor: Any, url: str, endpoint: IStreamClientEndpoint | None = None
    ) -> None:
        self._reactor = reactor
        self._url = f"ws{url.removeprefix('http')}"
        self._endpoint = endpoint

    async def __call__(self, token: Secret, heard: Callable[[Invocation], None]) -> HubConnection:
        """Return a conversation whose handshake was sent.

        :raises HubError: there is no WebSocket.
        """
        protocol = await self._open(token)
        protocol.conversation = HubConnection(self._reactor, protocol.say, protocol.drop, heard)
        protocol.conversation.begin()
        return protocol.conversation

    async def _open(self, token: Secret) -> HubProtocol:
        query = urlencode({"access_token": token.reveal()})
        factory = _HubFactory(
            f"{self._url}?{query}", reactor=self._reactor, useragent=f"riskd/{__version__}"
        )
        factory.noisy = False
        factory.setProtocolOptions(
            maxFramePayloadSize=4 * MAX_RECORD_BYTES,
            maxMessagePayloadSize=4 * MAX_RECORD_BYTES,
            openHandshakeTimeout=OPEN_SECONDS,
            closeHandshakeTimeout=1,
        )
        opened: Deferred[HubProtocol] = Deferred()
        factory.opened = opened
        connecting = self._reach(factory).connect(factory)
        connecting.addErrback(_could_not_connect, factory)
        late = self._reactor.callLater(
            OPEN_SECONDS, _fail, factory, f"no connection in {OPEN_SECONDS:g} s"
        )
        try:
            return await opened
        except (CancelledError, HubError):
            factory.opened = None
            connecting.cancel()
            if factory.reached is not None:
                factory.reached.drop()
            raise
        finally:
            if late.active():
                late.cancel()

    def _reach(self, factory: _HubFactory) -> IStreamClientEndpoint:
        if self._endpoint is not None:
            return self._endpoint
        endpoint = HostnameEndpoint(self._reactor, factory.host, factory.port)
        if not factory.isSecure:
            return endpoint
        secure: IStreamClientEndpoint = wrapClientTLS(optionsForClientTLS(factory.host), endpoint)
        return secure


def _refusal(why: str) -> HubError:
    """Return why there is no WebSocket, in words without Autobahn's terms."""
    status = _STATUS.search(why)
    if status is not None:
        told = f"the broker answered HTTP {status[1]}"
        return TokenRejectedError(told) if status[1] == _UNAUTHORIZED else HubError(told)
    if "timeout" in why:
        return HubError(f"no answer in {OPEN_SECONDS:g} s")
    return HubError(_LOST if "peer dropped" in why else why)


def _could_not_connect(failure: Failure, factory: _HubFactory) -> None:
    if failure.check(DNSLookupError):
        why = f"the name {factory.host} cannot be looked up"
    elif failure.check(ConnectError, CancelledError):
        why = "no connection"
    else:
        why = failure.getErrorMessage()
    _fail(factory, why)


def _fail(factory: _HubFactory, why: str) -> None:
    opened, factory.opened = factory.opened, None
    if opened is not None:
        opened.errback(HubError(why))
