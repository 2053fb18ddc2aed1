"""The door: what must be true of a handshake before anything is done for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from autobahn.websocket.types import ConnectionDeny

BAD_REQUEST: Final = 400
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
UPGRADE_REQUIRED: Final = 426
UNAVAILABLE: Final = 503

STOPPING: Final = "the daemon is stopping"
"""What those are told who come when it is too late, or are still there."""

_MAX_HANDSHAKE_BYTES: Final = 16 * 1024
_MAX_HANDSHAKE_LINES: Final = 200
_REQUEST_START: Final = re.compile(rb"[A-Z]{1,16}( .*)?", re.DOTALL)


class Door:
    """Who may come in.

    :param allowed_origins: web origins that may connect besides the daemon's own.
    """

    def __init__(self, allowed_origins: Iterable[str] = ()) -> None:
        self._allowed_origins = frozenset(allowed_origins)
        self._own_hosts: frozenset[str] = frozenset()

    def serve_at(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Learn under which hosts and ports clients may ask for this server."""
        self._own_hosts = frozenset(
            f"{host}:{port}"
            for address, port in addresses
            for host in ("localhost", "127.0.0.1", "[::1]", in_url(address))
        )

    def is_own_origin(self, origin: str | None) -> bool:
        """Tell whether a page of ``origin`` may connect; ``None`` is no page at all."""
        return (
            origin is None
            or origin in self._allowed_origins
            or (origin.startswith("http://") and origin.removeprefix("http://") in self._own_hosts)
        )

    def is_own_host(self, host: str) -> bool:
        """Tell whether ``host`` is one under which this server may be asked for."""
        return host.strip().lower() in self._own_hosts

    def check(self, uri: str, headers: Mapping[str, str]) -> None:
        """Let a well-formed handshake pass.

        :param uri: what is asked for, as it came.
        :raises ConnectionDeny: with 403 or 404.
        """
        if not self.is_own_origin(headers.get("origin")):
            raise ConnectionDeny(FORBIDDEN, "foreign Origin")
        # A page of a name that was made to resolve to this machine still sends its own name.
        if not self.is_own_host(headers.get("host", "")):
            raise ConnectionDeny(FORBIDDEN, "foreign Host")
        if uri.partition("?")[0] != "/":
            raise ConnectionDeny(NOT_FOUND, "there is nothing but /")


def may_become_handshake(received: bytes) -> bool:
    """Tell whether ``received`` may be the beginning of a handshake."""
    return (
        len(received) <= _MAX_HANDSHAKE_BYTES
        and received.count(b"\n") <= _MAX_HANDSHAKE_LINES
        and (not received or _REQUEST_START.fullmatch(received) is not None)
    )


def in_url(host: str) -> str:
    """Return ``host`` as it is written in a URL."""
    return f"[{host}]" if ":" in host else host
