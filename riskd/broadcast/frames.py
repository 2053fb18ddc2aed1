"""Events as WebSocket frames, and batches of frames for one write."""

from __future__ import annotations

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
