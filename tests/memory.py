"""What stands in for the network and the disk: in memory, and at the test's pace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, execute
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


class SlowDisk:
    """Stands in for the journal's thread: what it is asked for is done when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.is_slow = False
        self.runs = 0

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def run(self, act: Callable[[], Any]) -> Deferred[Any]:
        if not self.is_slow:
            self.runs += 1
            return execute(act)
        done: Deferred[Any] = Deferred()
        self.waiting.append((act, done))
        return done

    def catch_up(self, count: int = 1) -> None:
        for _ in range(count):
            act, done = self.waiting.pop(0)
            self.runs += 1
            execute(act).chainDeferred(done)
