"""A TCP transport in memory that behaves as the real one where Twisted's own does not."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure


class MemoryTransport(StringTransportWithDisconnection):
    """Loses its connection at once, and does not mind a producer that never was."""

    def unregisterProducer(self) -> None:
        self.producer = None

    def abortConnection(self) -> None:
        if self.connected:
            self.connected = False
            self.protocol.connectionLost(Failure(ConnectionAborted()))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing waits here."""
