"""Events as they go over the wire, and how many of them go at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_BATCH_BYTES: Final = 64 * 1024
"""More than this is never handed to a transport at once, so that what it may hold is known."""

QuoteKey = tuple[int | None, str]
"""What a quote is of: the account and the contract."""


class Frame(NamedTuple):
    """One event, as a WebSocket frame.

    :ivar data: the frame.
    :ivar quote: what it is a quote of, of which only the latest counts; ``None`` for all other events.
    """

    data: bytes
    quote: QuoteKey | None


class Batch(NamedTuple):
    """Frames that are one write to each client.

    :ivar data: the frames, joined.
    """

    data: bytes
    frames: list[Frame]


def in_batches(frames: list[Frame]) -> Iterator[Batch]:
    """Yield ``frames`` in their order, at most :data:`MAX_BATCH_BYTES` at a time."""
    start = size = 0
    for position, frame in enumerate(frames):
        if size and size + len(frame.data) > MAX_BATCH_BYTES:
            yield _join(frames[start:position])
            start, size = position, 0
        size += len(frame.data)
    if size:
        yield _join(frames[start:])


def _join(frames: list[Frame]) -> Batch:
    return Batch(b"".join([frame.data for frame in frames]), frames)
