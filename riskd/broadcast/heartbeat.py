"""Pings that prove which clients still read.

Clients are pinged in groups of fifty: one at a time would wake the daemon for each client, and all at
once would stall everything else (200 ms for 10,000 clients).
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

KEEPALIVE_SECONDS: Final = 20
"""The time between pings; a pong must arrive before the next ping."""

GROUP: Final = 50
"""The clients that are pinged together."""

_PING_OF_4_BYTES: Final = b"\x89\x04"
_GOLDEN_SECTION: Final = 0.618034


class IPinged(Protocol):
    """A client that is pinged."""

    def heartbeat(self, payload: bytes, frame: bytes) -> None:
        """Send a ping with ``payload``; ``frame`` is the whole frame."""


class _Group:
    """Clients that are pinged together, and the timer of their next ping."""

    def __init__(self, timer: IDelayedCall) -> None:
        self.clients: dict[IPinged, None] = {}
        self.timer = timer


class Heartbeat:
    """Pings each client every :data:`KEEPALIVE_SECONDS`.

    The first ping comes earlier.

    It has no timer while it has no clients.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._groups: list[_Group] = []
        self._group_of: dict[IPinged, _Group] = {}
        self._groups_begun = self._beats = 0

    def add(self, client: IPinged) -> None:
        """Ping ``client`` from now on."""
        group = (
            next((each for each in self._groups if len(each.clients) < GROUP), None)
            or self._begin_group()
        )
        group.clients[client] = None
        self._group_of[client] = group

    def remove(self, client: IPinged) -> None:
        """Stop pinging ``client``, if it was pinged."""
        group = self._group_of.pop(client, None)
        if group is None:
            return
        del group.clients[client]
        if not group.clients:
            group.timer.cancel()
            self._groups.remove(group)

    def _begin_group(self) -> _Group:
        # Clients that connect within one second would all be pinged within one second for ever.
        # Multiples of the golden section spread the groups evenly, whatever their number.
        wait = KEEPALIVE_SECONDS * (1 - self._groups_begun * _GOLDEN_SECTION % 1)
        self._groups_begun += 1
        group = _Group(self._clock.callLater(wait, lambda: self._beat(group)))
        self._groups.append(group)
        return group

    def _beat(self, group: _Group) -> None:
        # From now, not from when this call was due: after a stall a client still has all its seconds.
        group.timer = self._clock.callLater(KEEPALIVE_SECONDS, self._beat, group)
        self._beats += 1
        payload = struct.pack("!I", self._beats)
        for client in tuple(group.clients):
            client.heartbeat(payload, _PING_OF_4_BYTES + payload)
