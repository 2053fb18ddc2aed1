"""The backlog of a slow client: all events in order, but only the latest quotes."""

from __future__ import annotations

from collections import deque

from riskd.broadcast.frames import Frame, QuoteKey


class Backlog:
    """Frames that one client has yet to receive.

    :ivar size: bytes of all frames.
    """

    def __init__(self) -> None:
        self.size = 0
        self._frames: deque[bytes] = deque()
        self._quotes: dict[QuoteKey, bytes] = {}

    def add(self, frame: Frame) -> bool:
        """Add ``frame``; return whether it replaced an older quote."""
        self.size += len(frame.data)
        if frame.quote_key is None:
            self._frames.append(frame.data)
            return False
        # Popped first, so that the newest quote comes last: a dict keeps the place of a replaced key.
        older = self._quotes.pop(frame.quote_key, b"")
        self._quotes[frame.quote_key] = frame.data
        self.size -= len(older)
        return bool(older)

    def take(self, limit: int) -> list[bytes]:
        """Remove and return the next frames, at most ``limit`` bytes.

        The quotes come last.

        If ``limit`` has room for the largest frame, an empty list means an empty backlog.
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
