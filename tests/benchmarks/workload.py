"""What every server that is measured does alike: the events, how they are paced, and what it answers.

A server is asked on standard input, a JSON object a line, and answers each with one.  Events carry the
moment they were made at in ``last``, in microseconds of the clock that all processes of a machine share.
"""

from __future__ import annotations

import gc
import mmap
import os
import resource
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from riskd.model.events import Event, MarketQuote
from riskd.model.wire import encode
from tests.support.websocket_frames import TEXT, server_frame

ACCOUNT: Final = 123
CONTRACT: Final = "CON.F.US.MNQ.Z26"
BID: Final = Decimal("21000.25")
ASK: Final = Decimal("21000.50")
MOMENT: Final = datetime(2026, 3, 2, 15, 0, 0, 123000, UTC)
"""Always the same, so that all events are equally long."""

BACKLOG: Final = 512
NO_STAMP: Final = 10**12
"""The beginning of the time that events tell: all moments have the same number of digits."""

_WINDOW_BYTES: Final = 32 * 1024
"""How much may be under way to a client in a flood; more would measure buffers."""

_SETTLE_SECONDS: Final = 0.05
_WAIT_SECONDS: Final = 0.0005


def quote(stamp: int) -> MarketQuote:
    """Return the quote that is told at a moment."""
    return MarketQuote(
        contract_id=CONTRACT, bid=BID, ask=ASK, last=Decimal(stamp), timestamp=MOMENT
    )


_BEFORE, _, _AFTER = encode(Event(ACCOUNT, quote(NO_STAMP))).partition(b"%d" % NO_STAMP)


def text(stamp: int) -> bytes:
    """Return the quote as it is sent, ready made: nobody pays for its encoding but riskd."""
    return b"%s%d%s" % (_BEFORE, stamp, _AFTER)


FRAME_LENGTH: Final = len(server_frame(TEXT, text(NO_STAMP)))


class Stamps:
    """Moments that never repeat, all with the same number of digits."""

    def __init__(self) -> None:
        self._last = 0

    def take(self, count: int) -> list[int]:
        """Return ``count`` moments, all of them now."""
        first = max(NO_STAMP + time.monotonic_ns() // 1000, self._last + 1)
        self._last = first + count - 1
        return list(range(first, first + count))


def age(stamp: int, now_ns: int) -> int:
    """Return how many microseconds ago a moment was."""
    return now_ns // 1000 + NO_STAMP - stamp


class Progress:
    """How many bytes were received, told by one process and seen by another.

    :param path: a file that both can write.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)

    def tell(self, count: int) -> None:
        """Let it be known."""
        struct.pack_into("Q", self._shared, 0, count)

    @property
    def count(self) -> int:
        """What was told last."""
        return int(struct.unpack_from("Q", self._shared, 0)[0])


class Server(Protocol):
    """A server that is measured.

    :ivar codes: how many clients were closed with each code, as far as that is known.
    """

    codes: Counter[str]

    @property
    def count(self) -> int:
        """How many clients are connected."""

    async def emit(self, stamps: Sequence[int]) -> None:
        """Make an event at each moment and broadcast it."""

    def sleep(self, seconds: float) -> Awaitable[Any]:
        """Let time pass, and the event loop run."""


class Order(msgspec.Struct):
    """What a server is asked.

    :ivar do: ``load`` or ``status``.
    :ivar rate: bursts a second; 0 for as many as are received.
    :ivar burst: events a burst.
    :ivar seconds: how long.
    """

    do: str
    rate: float = 0.0
    burst: int = 1
    seconds: float = 1.0


class Measured:
    """Answers for a server.

    :param progress: what was received.
    """

    def __init__(self, server: Server, progress: Progress) -> None:
        self._server = server
        self._progress = progress
        self._stamps = Stamps()

    async def answer(self, line: bytes) -> bytes:
        """Do what a line asks; return the line that answers it."""
        order = msgspec.json.decode(line, type=Order)
        answer = status(self._server) if order.do == "status" else await self._load(order)
        return msgspec.json.encode(answer)

    async def _load(self, order: Order) -> dict[str, Any]:
        begun, used = time.monotonic(), time.process_time()
        pace = self._paced if order.rate else self._flooding
        events = await pace(order)
        seconds = time.monotonic() - begun
        await self._server.sleep(_SETTLE_SECONDS)
        return {"events": events, "seconds": seconds, "cpu": time.process_time() - used}

    async def _paced(self, order: Order) -> int:
        begun = time.monotonic()
        bursts = round(order.rate * order.seconds)
        for number in range(bursts):
            wait = begun + number / order.rate - time.monotonic()
            # A turn of the event loop belongs to each burst, also of one that is late.
            await self._server.sleep(max(0.0, wait))
            await self._server.emit(self._stamps.take(order.burst))
        return bursts * order.burst

    async def _flooding(self, order: Order) -> int:
        end = time.monotonic() + order.seconds
        received, events = self._progress.count, 0
        window = _WINDOW_BYTES * self._server.count
        while time.monotonic() < end:
            sent = events * FRAME_LENGTH * self._server.count
            if sent - (self._progress.count - received) > window:
                await self._server.sleep(_WAIT_SECONDS)
                continue
            await self._server.emit(self._stamps.take(order.burst))
            await self._server.sleep(0)
            events += order.burst
        return events


def status(server: Server) -> dict[str, Any]:
    """Return clients, codes, bytes of memory, and descriptors of this process.

    Connections that ended are in cycles, and Python leaves those lie for a minute or two: they are
    collected first, since when that happens next would decide whether memory has grown.
    """
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "clients": server.count,
        "codes": dict(server.codes),
        "memory": pages * mmap.PAGESIZE,
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208  # the one of the listing is in it either way
    }


def say(**fields: Any) -> None:
    """Print a line for whoever measures."""
    sys.stdout.buffer.write(msgspec.json.encode(fields) + b"\n")
    sys.stdout.buffer.flush()


def raise_descriptor_limit() -> None:
    """Let this process have as many connections as it may."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


Serve = Callable[[Progress], None]
"""Runs a server until standard input ends; the first line it prints has its port."""
