"""What is kept for a client that cannot take it yet: everything in order, but of quotes the latest."""

from __future__ import annotations

from collections import deque

from riskd.broadcast.frames import Frame, QuoteKey


class Backlog:
    """The frames that one client is still to be sent.

    :ivar size: their bytes.
    """

    def __init__(self) -> None:
        self.size = 0
        self._frames: deque[bytes] = deque()
        self._quotes: dict[QuoteKey, bytes] = {}

    def keep(self, frame: Frame) -> bool:
        """Keep ``frame``; tell whether it took the place of an older quote."""
        self.size += len(frame.data)
        if frame.quote is None:
            self._frames.append(frame.data)
            return False
        older = self._quotes.pop(frame.quote, None)
        self._quotes[frame.quote] = frame.data
        if older is None:
            return False
        self.size -= len(older)
        return True

    def take(self, limit: int) -> list[bytes]:
        """Remove and return what is next, at most ``limit`` bytes: first all else, then the quotes.

        Nothing is left when nothing is returned, if ``limit`` has room for the largest frame.
        """
        taken: list[bytes] = []
        room = limit
        while self._frames and len(self._frames[0]) <= room:
            taken.append(self._frames.popleft())
            room -= len(taken[-1])
        while self._quotes and not self._frames:
            key = next(iter(self._quotes))
            if len(self._quotes[key]) > room:
                break
            taken.append(self._quotes.pop(key))
            room -= len(taken[-1])
        self.size -= limit - room
        return taken
