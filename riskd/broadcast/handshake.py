"""Cheap checks of a handshake whose request is not complete yet."""

from __future__ import annotations

import re
from typing import Final

_MAX_HANDSHAKE_BYTES: Final = 16 * 1024
_MAX_HANDSHAKE_LINES: Final = 200
_REQUEST_START: Final = re.compile(rb"[A-Z]{1,16}( .*)?", re.DOTALL)


def may_become_handshake(received: bytes) -> bool:
    """Return whether ``received`` may be the beginning of a handshake.

    Autobahn limits neither the size nor the lines of a handshake.
    """
    return (
        len(received) <= _MAX_HANDSHAKE_BYTES
        and received.count(b"\n") <= _MAX_HANDSHAKE_LINES
        and (not received or _REQUEST_START.fullmatch(received) is not None)
    )
