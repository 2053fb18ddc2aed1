"""The user at the other end of a Unix socket, and the user's groups."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any, Final

from twisted.logger import Logger

from riskd.host.users import user_name

UNKNOWN_OPERATOR: Final = "unknown"
"""The name of an operator whom the operating system does not identify."""

_PEER_GROUPS: Final = 59
"""``SO_PEERGROUPS``, which Python does not name.  Source: Linux 4.13, ``asm-generic/socket.h``."""

_MAX_GROUPS_BYTES: Final = 1024
"""Python reads no more; a group has four bytes."""

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


def peer_groups(connection: socket.socket) -> frozenset[int]:
    """Return the group ids of the process that opened ``connection``.

    There are none where they are unknown.

    Source for Linux: unix(7), ``SO_PEERCRED``, for the process's own group, and ``SO_PEERGROUPS`` for the
    others.

    Source for macOS: sys/ucred.h; in ``struct xucred`` the number of groups and the groups follow the user id.
    """
    try:
        match sys.platform:
            case "linux":
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                others = connection.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, _MAX_GROUPS_BYTES)
                own = struct.unpack("iII", credentials)[2]
                return frozenset((own, *struct.unpack(f"{len(others) // 4}I", others)))
            case "darwin":
                credentials = connection.getsockopt(0, 1, 76)
                version, _uid, count = struct.unpack_from("IIh", credentials)
                groups = struct.unpack_from("16I", credentials, 12)
                return frozenset() if version else frozenset(groups[:count])
    except OSError as error:
        _log.warn("cannot tell an operator's groups: {error}", error=error)
    return frozenset()


def operator_of(transport: Any) -> str:
    """Return the name of the user who opened a connection."""
    uid = peer_uid(transport.getHandle())
    return UNKNOWN_OPERATOR if uid is None else user_name(uid)
