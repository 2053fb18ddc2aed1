"""Reading the frames that the daemon sends nearly always: a text message, whole, in a frame of its own.

For each of them Autobahn calls some thirty functions, which at 60 events a second is a fifth of what a client
costs.  Source: RFC 6455, section 5.2.
"""

from __future__ import annotations

from typing import Final

_WHOLE_TEXT: Final = 0x81
"""A first byte that says: the last frame of a message, which is text, with no extension."""

_TWO_BYTES: Final = 126
"""A second byte that says: not masked, and the length is in the two bytes that follow."""


def whole_texts(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the text messages with which ``data`` begins, each whole in a frame, and what is left.

    What is left is empty, or begins with a frame that is not finished, of another kind, or wrong.

    :param data: what came on an open connection, from the beginning of a frame.
    """
    found, begin = list[bytes](), 0
    while len(data) >= begin + 4 and data[begin] == _WHOLE_TEXT:
        length, start = data[begin + 1], begin + 2
        if length == _TWO_BYTES:
            length, start = int.from_bytes(data[start : start + 2]), start + 2
            is_fit = length >= _TWO_BYTES
        else:
            is_fit = length < _TWO_BYTES
        end = start + length
        if not is_fit or end > len(data) or not _is_text(data[start:end]):
            break
        found.append(data[start:end])
        begin = end
    return found, data[begin:]


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
