"""Pings that prove who still reads: a slice of the clients at a time, so that many stall nobody."""

from __future__ import annotations

import struct
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

KEEPALIVE_SECONDS: Final = 20
"""A ping goes out this often, and its pong must be back before the next."""

_SLICES: Final = 200
_MAX_SLICES_AT_ONCE: Final = 10
_PING_OF_4_BYTES: Final = b"\x89\x04"

_log = Logger()


class IPinged(Protocol):
    """Who is pinged."""

    def beat(self, payload: bytes, frame: bytes) -> None:
        """Take a ping of ``payload``, ready-made as ``frame``."""


class Heartbeat:
    """Calls ``beat`` of each client every :data:`KEEPALIVE_SECONDS`, the first time within as many.

    It has no timer while it has no clients.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._slices: list[dict[IPinged, None]] = [{} for _ in range(_SLICES)]
        self._slice_of: dict[IPinged, int] = {}
        self._joined = self._beats = 0
        self._loop = LoopingCall.withCount(self._beat)
        self._loop.clock = clock

    def add(self, client: IPinged) -> None:
        """Ping ``client`` from now on."""
        # By turns, or all that come in one second would be pinged in one second ever after.
        place = self._slice_of[client] = -self._joined % _SLICES
        self._joined += 1
        self._slices[place][client] = None
        if not self._loop.running:
            self._loop.start(KEEPALIVE_SECONDS / _SLICES, now=False).addErrback(_report)

    def remove(self, client: IPinged) -> None:
        """Ping ``client`` no more, if it was pinged."""
        place = self._slice_of.pop(client, None)
        if place is not None:
            del self._slices[place][client]
            if not self._slice_of:
                self._loop.stop()

    def _beat(self, due: int) -> None:
        # After a long stall pings come late: whose turn it is has the right to its seconds.
        for _ in range(min(due, _MAX_SLICES_AT_ONCE)):
            self._beats += 1
            payload = struct.pack("!I", self._beats)
            for client in tuple(self._slices[self._beats % _SLICES]):
                client.beat(payload, _PING_OF_4_BYTES + payload)


def _report(failure: Failure) -> None:
    _log.failure("a mistake in riskd, in the heartbeat", failure)
