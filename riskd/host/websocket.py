"""What riskd and the console change in Autobahn, for clients and for servers."""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import Any, Final

from autobahn.twisted.websocket import WebSocketClientProtocol
from autobahn.wamp.types import TransportDetails
from autobahn.websocket.types import ConnectingRequest
from txaio.tx import make_logger

from riskd.host.same_host import url_host

MAX_HANDSHAKE_BYTES: Final = 64 * 1024
"""The longest answer to a handshake that is read; Autobahn sets no bound."""


_Decoder = getincrementaldecoder("utf-8")


class TextCheck:
    """Checks for Autobahn whether the parts of a text message are UTF-8."""

    def __init__(self) -> None:
        self._decoder = _Decoder()
        self._total = 0

    def reset(self) -> None:
        """Begin a message."""
        self._decoder.reset()
        self._total = 0

    def validate(self, data: bytes) -> tuple[bool, bool, int, int]:
        """Check the next part of the message.

        :returns: whether it is valid, whether it ends with a whole character, and for Autobahn's sentence how many
            bytes of the part and of the message were checked.
        """
        try:
            self._decoder.decode(data)
        except UnicodeDecodeError:
            return False, False, 0, self._total
        self._total += len(data)
        begun_character, _ = self._decoder.getstate()
        return True, not begun_character, len(data), self._total


class ClientProtocol(WebSocketClientProtocol):
    """A client's connection that logs only errors.

    Unlike Autobahn's, its handshake is bounded and its Host header is right for IPv6.
    """

    # Autobahn logs each failed attempt; the owner of the connection reports those, and Autobahn's
    # record could show an address with a token in it.
    log = make_logger(level="error")

    def connectionMade(self) -> None:
        """Let Python's decoder check the texts."""
        super().connectionMade()
        self.utf8validator = TextCheck()  # type: ignore[assignment]  # it has what Autobahn calls

    def onConnecting(self, _details: TransportDetails) -> ConnectingRequest:
        """Return the request for the URL's host.

        Autobahn would leave out the brackets that an IPv6 address needs in a Host header.
        """
        return ConnectingRequest(
            host=url_host(self.factory.host),
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


def server_options(
    *, max_message_bytes: int, handshake_seconds: float, closing_seconds: float
) -> dict[str, Any]:
    """Return the options for ``WebSocketServerFactory.setProtocolOptions``.

    :param max_message_bytes: the largest message that a client may send.
    :param handshake_seconds: how long an opening handshake may take.
    :param closing_seconds: how long a closing handshake may take.
    """
    return {
        # The version of RFC 6455; its drafts are long gone.
        "versions": [13],
        # Autobahn would answer a plain request with a page of its own.
        "webStatus": False,
        # A protocol error is answered with a close frame, so that the client's author learns of it.
        "failByDrop": False,
        "maxFramePayloadSize": max_message_bytes,
        "maxMessagePayloadSize": max_message_bytes,
        "openHandshakeTimeout": handshake_seconds,
        "closeHandshakeTimeout": closing_seconds,
        # Autobahn's pings cost twice as much, and all clients of one second are pinged at once.
        "autoPingInterval": 0,
        # The same-host check decides about origins; Autobahn would answer 400 instead of 403.
        "allowNullOrigin": True,
    }
