"""Events as they go over the wire, and how many of them go at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

MAX_BATCH_BYTES: Final = 64 * 1024
"""More than this is never handed to a transport at once, so that what it may hold is known."""

QuoteKey = tuple[int | None, str]
"""What a quote is of: the account and the contract."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event, as a WebSocket frame.

    :ivar data: the frame.
    :ivar quote: what it is a quote of, of which only the latest counts; ``None`` for all other events.
    """

    data: bytes
    quote: QuoteKey | None


def in_batches(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Return ``frames`` in their order, at most :data:`MAX_BATCH_BYTES` together."""
    batches: list[list[Frame]] = []
    size = MAX_BATCH_BYTES
    for frame in frames:
        size += len(frame.data)
        if size > MAX_BATCH_BYTES:
            batches.append([])
            size = len(frame.data)
        batches[-1].append(frame)
    return batches
