"""A socket that takes as many bytes as a test allows, and a reactor whose turns a test makes."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.posixbase import _DisconnectSelectableMixin
from twisted.internet.task import Clock


class ScriptedSocket:
    """One end of a TCP connection.

    :ivar takes: the results of the next sends: a number of bytes taken, or an error that is raised.
    :ivar room: bytes that it takes once ``takes`` is empty; ``None`` is no limit.
    :ivar received: the bytes that the peer has received.
    :ivar incoming: the results of the next receives; an empty one is the end of the stream.
    :ivar sends: how often ``send`` was called.
    """

    def __init__(self) -> None:
        self.takes: deque[int | OSError] = deque()
        self.room: int | None = None
        self.received = bytearray()
        self.incoming: deque[bytes | OSError] = deque()
        self.sends = 0
        self.shutdowns: list[int] = []
        self.is_closed = False

    def send(self, data: Any) -> int:
        self.sends += 1
        take = self.takes.popleft() if self.takes else self._room_for(len(data))
        if isinstance(take, OSError):
            raise take
        self.received += bytes(data[:take])
        return min(take, len(data))

    def _room_for(self, size: int) -> int:
        if self.room is None:
            return size
        if not self.room:
            raise BlockingIOError(11, "full")
        taken = min(size, self.room)
        self.room -= taken
        return taken

    def recv(self, _size: int) -> bytes:
        if not self.incoming:
            raise BlockingIOError(11, "empty")
        came = self.incoming.popleft()
        if isinstance(came, OSError):
            raise came
        return came

    def shutdown(self, how: int) -> None:
        self.shutdowns.append(how)

    def close(self) -> None:
        self.is_closed = True

    def fileno(self) -> int:
        return 7

    def setblocking(self, _blocking: bool) -> None:
        """It never blocks."""

    def setsockopt(self, *_arguments: Any) -> None:
        """It has no options."""

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 8765


class TurnReactor(Clock, _DisconnectSelectableMixin):
    """A reactor that calls readers and writers one turn at a time.

    :ivar changes: how often a writer was added or removed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()
        self.changes = 0

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: Any) -> None:
        self.changes += writer not in self.writers
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.changes += writer in self.writers
        self.writers.discard(writer)

    def turn(self) -> None:
        """Make one turn of the reactor."""
        self.advance(0)
        for reader in tuple(self.readers):
            if reader in self.readers:
                self._do(reader, reader.doRead, True)
        for writer in tuple(self.writers):
            if writer in self.writers:
                self._do(writer, writer.doWrite, False)

    def _do(self, selectable: Any, method: Any, is_read: bool) -> None:
        why = method()
        if why:
            self._disconnectSelectable(selectable, why, is_read)

    def settle(self) -> None:
        """Make turns until there are no writers, a hundred at most."""
        for _ in range(100):
            self.turn()
            if not self.writers:
                return
