"""Events as WebSocket frames, their batches, and a slow client's backlog."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

MAX_BATCH_BYTES: Final = 64 * 1024
"""The largest write to a transport, so that the bytes in a transport's buffer are bounded."""

QuoteKey = tuple[int | None, str]
"""The account and the contract of a quote."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event as a WebSocket frame.

    :ivar data: the frame's bytes.
    :ivar quote_key: a quote replaces the older quotes of its key; ``None`` for all other events.
    """

    data: bytes
    quote_key: QuoteKey | None


def in_batches(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Return ``frames`` in order, in lists of at most :data:`MAX_BATCH_BYTES` each."""
    batches: list[list[Frame]] = []
    size = MAX_BATCH_BYTES
    for frame in frames:
        size += len(frame.data)
        if size > MAX_BATCH_BYTES:
            batches.append([])
            size = len(frame.data)
        batches[-1].append(frame)
    return batches


class Backlog:
    """Frames that a slow client has yet to receive.

    It keeps all events in order, but of the quotes only the latest.

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
