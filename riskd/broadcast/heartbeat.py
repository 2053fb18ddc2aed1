"""Pings that prove who still reads: a few clients at a time, so that many stall nobody."""

from __future__ import annotations

import struct
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

KEEPALIVE_SECONDS: Final = 20
"""A ping goes out this often, and its pong must be back before the next."""

GROUP: Final = 50
"""So many clients are pinged together: a wake-up costs as much as some pings, and all of them a stall."""

_PING_OF_4_BYTES: Final = b"\x89\x04"
_GOLDEN_SECTION: Final = 0.618034


class IPinged(Protocol):
    """Who is pinged."""

    def beat(self, payload: bytes, frame: bytes) -> None:
        """Take a ping of ``payload``, ready-made as ``frame``."""


class _Group:
    """Clients that are pinged together, and when."""

    def __init__(self, timer: IDelayedCall) -> None:
        self.clients: dict[IPinged, None] = {}
        self.timer = timer


class Heartbeat:
    """Calls ``beat`` of each client every :data:`KEEPALIVE_SECONDS`, the first time within as many.

    It has no timer while it has no clients.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._groups: list[_Group] = []
        self._group_of: dict[IPinged, _Group] = {}
        self._begun = self._beats = 0

    def add(self, client: IPinged) -> None:
        """Ping ``client`` from now on."""
        group = next((each for each in self._groups if len(each.clients) < GROUP), None)
        if group is None:
            group = self._begin_group()
        group.clients[client] = None
        self._group_of[client] = group

    def remove(self, client: IPinged) -> None:
        """Ping ``client`` no more, if it was pinged."""
        group = self._group_of.pop(client, None)
        if group is None:
            return
        del group.clients[client]
        if not group.clients:
            group.timer.cancel()
            self._groups.remove(group)

    def _begin_group(self) -> _Group:
        # Those who come in one second would be pinged in one second ever after; multiples of the golden
        # section are spread evenly, however many there are.
        wait = KEEPALIVE_SECONDS * (1 - self._begun * _GOLDEN_SECTION % 1)
        self._begun += 1
        group = _Group(self._clock.callLater(wait, lambda: self._beat(group)))
        self._groups.append(group)
        return group

    def _beat(self, group: _Group) -> None:
        # From now and not from when it was due: after a stall, too, a pong has its seconds.
        group.timer = self._clock.callLater(KEEPALIVE_SECONDS, self._beat, group)
        self._beats += 1
        payload = struct.pack("!I", self._beats)
        for client in tuple(group.clients):
            client.beat(payload, _PING_OF_4_BYTES + payload)
