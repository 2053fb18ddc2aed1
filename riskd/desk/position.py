"""How far the server's stream of events was read, in a file.

It is a bound: whether an event was passed on is in the journal, by its number, so reading some again does no harm.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from riskd.host.files import create_private, read_regular, write_whole
from riskd.model.exact_json import NOT_JSON

_NAME: Final = "relay-position.json"
_MAX_BYTES: Final = 4096

READ_AGAIN: Final = 10_000
"""So many messages before the position are read again: a server that lost its power gives their places to others."""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a stream.

    :ivar stream: identifies the stream; one that is made anew has another text.
    :ivar sequence: the place of the last message that need not be read again.
    """

    stream: str
    sequence: int


def first_to_read(known: Position | None, stream: str, last: int) -> int:
    """Return the place of the first message to read.

    :param stream: identifies the stream that the server has.
    :param last: the place of its last message.
    """
    # A first start takes what is older from the states.  Of another stream, no place is known.
    begin = last if known is None else 0
    if known is not None and known.stream == stream:
        begin = min(known.sequence, last)
    return max(1, begin + 1 - READ_AGAIN)


def read_position(directory: Path) -> Position | None:
    """Return the position in a file; ``None`` if there is none that makes sense."""
    with suppress(OSError, *NOT_JSON):
        return msgspec.json.decode(read_regular(directory / _NAME, _MAX_BYTES), type=Position)
    return None


def write_position(directory: Path, position: Position) -> None:
    """Write the position, so that a reader finds all of it or none.

    :raises OSError: it cannot be written.
    """
    new = directory / f".{_NAME}.new"
    descriptor = create_private(new)
    try:
        write_whole(descriptor, msgspec.json.encode(position) + b"\n")
    finally:
        os.close(descriptor)
    new.replace(directory / _NAME)
