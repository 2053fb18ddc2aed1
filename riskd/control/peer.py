"""The user at the other end of a Unix socket, as the operating system names it."""

from __future__ import annotations

import functools
import pwd
import socket
import struct
import sys
from typing import Any, Final

from twisted.logger import Logger

UNKNOWN_OPERATOR: Final = "unknown"
"""The name of an operator whom the operating system does not identify."""

_log = Logger()


def peer_uid(connection: socket.socket) -> int | None:
    """Return the user id of the process that opened ``connection``.

    ``None`` where it is unknown.

    Source for Linux: unix(7), ``SO_PEERCRED``: process id, user id and group id, a 32-bit number each.

    Source for macOS: sys/un.h and sys/ucred.h, ``LOCAL_PEERCRED`` at level ``SOL_LOCAL``: a
    ``struct xucred`` begins with its version, which is 0, and the user id.
    """
    try:
        match sys.platform:
            case "linux":
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                return int(struct.unpack("iII", credentials)[1])
            case "darwin":
                # SOL_LOCAL, LOCAL_PEERCRED and the size of struct xucred, which Python does not name.
                credentials = connection.getsockopt(0, 1, 76)
                version, uid = struct.unpack_from("II", credentials)
                return None if version else int(uid)
    except OSError as error:
        _log.warn("cannot identify the operator: {error}", error=error)
    return None


@functools.cache
def user_name(uid: int) -> str:
    """Return the name of the user ``uid``; ``uid 1234`` for a user without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def operator_of(transport: Any) -> str:
    """Return the name of the user who opened a connection."""
    uid = peer_uid(transport.getHandle())
    return UNKNOWN_OPERATOR if uid is None else user_name(uid)
