"""The daemon's end of a client's connection, in memory."""

from __future__ import annotations

import struct
from typing import Any

from riskd.model.wire import encode
from riskd.testing import make_event
from tests.support.memory_transport import MemoryEndpoint, MemoryTransport
from tests.support.websocket_frames import CLOSE, TEXT, handshake_answer, server_frame


class StreamServer:
    """The server of one connection; the test decides what it sends.

    :ivar request: the handshake that the client sent, once :meth:`accept_handshake` has read it.
    """

    def __init__(self, transport: MemoryTransport) -> None:
        self.protocol = transport.protocol
        self.transport = transport
        self.request = b""

    def accept_handshake(self, *headers: str) -> None:
        """Complete the handshake; ``headers`` such as ``Riskd-Gateway: practice``."""
        self.request = self.transport.value()
        self.transport.clear()
        self.send(handshake_answer(self.request, *headers))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.protocol.dataReceived(data)

    def send_event(self, event_type: str, **data: Any) -> None:
        """Send an event with these fields, and valid values for all others."""
        self.send(server_frame(TEXT, encode(make_event(event_type, data))))

    def close(self, code: int, reason: bytes = b"") -> None:
        """Send a close frame and end the connection."""
        self.send(server_frame(CLOSE, struct.pack("!H", code) + reason))
        self.transport.loseConnection()

    def drop(self) -> None:
        """End the connection without a word."""
        self.transport.loseConnection()


class StreamServerEndpoint(MemoryEndpoint):
    """Connects clients to :class:`StreamServer`."""

    def accept(self) -> StreamServer:
        """Accept the latest connection."""
        return StreamServer(super().accept())
