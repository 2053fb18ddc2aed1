"""Read the frames that a daemon nearly always sends: one whole text message each.

For each frame Autobahn calls some thirty functions, which at 60 events/s is a fifth of a client's CPU time.
Source: RFC 6455, section 5.2.
"""

from __future__ import annotations

from typing import Final

_WHOLE_TEXT: Final = 0x81
"""The first byte of a final text frame without extensions."""

_TWO_BYTES: Final = 126
"""The second byte of an unmasked frame whose length is in the next two bytes."""


def whole_texts(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the whole text messages that ``data`` begins with, and the rest.

    Each message is a frame of its own.  The rest is empty, or begins with a frame that is incomplete,
    invalid or of another kind.

    :param data: bytes of an open connection, from the start of a frame.
    """
    found, begin = list[bytes](), 0
    while len(data) >= begin + 4 and data[begin] == _WHOLE_TEXT:
        length, start = data[begin + 1], begin + 2
        # A longer encoding of the length than needed is a protocol error, which Autobahn reports.
        if length == _TWO_BYTES:
            length, start = data[start] << 8 | data[start + 1], start + 2
            is_minimal = length >= _TWO_BYTES
        else:
            is_minimal = length < _TWO_BYTES
        end = start + length
        message = data[start:end]
        if not is_minimal or end > len(data) or not _is_utf8(message):
            break
        found.append(message)
        begin = end
    return found, data[begin:]


def _is_utf8(message: bytes) -> bool:
    # Nearly every message is ASCII, and to decode it would make a text that nobody reads.
    if message.isascii():
        return True
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
