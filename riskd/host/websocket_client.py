"""Autobahn's client protocol with a bounded handshake and a true Host header."""

from __future__ import annotations

from typing import Final

from autobahn.twisted.websocket import WebSocketClientProtocol
from autobahn.wamp.types import TransportDetails
from autobahn.websocket.types import ConnectingRequest
from txaio.tx import make_logger

MAX_HANDSHAKE_BYTES: Final = 64 * 1024
"""The longest answer to a handshake that is read; Autobahn sets no bound."""


class ClientProtocol(WebSocketClientProtocol):
    """A client's connection; it logs only errors."""

    # Autobahn logs each failed attempt; the owner of the connection reports those, and Autobahn's
    # record could show an address with a token in it.
    log = make_logger(level="error")

    def onConnecting(self, _details: TransportDetails) -> ConnectingRequest:
        """Return the request for the URL's host.

        Autobahn would leave out the brackets that an IPv6 address needs in a Host header.
        """
        host = self.factory.host
        return ConnectingRequest(
            host=f"[{host}]" if ":" in host else host,
            port=self.factory.port,
            resource=self.factory.resource,
            useragent=self.factory.useragent,
        )

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on to Autobahn; fail a handshake whose answer is too long."""
        size = len(self.data) + len(data)
        if self.state == self.STATE_CONNECTING and size > MAX_HANDSHAKE_BYTES:
            self.failHandshake("the answer to the handshake is too long")
        else:
            # Autobahn's dataReceived formats the bytes for a log that is off, then calls this.
            self._dataReceived(data)
