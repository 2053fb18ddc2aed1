"""What all measured servers share: events, pacing, and answers.

A server reads orders from standard input, one JSON object a line, and answers each with one.  Events carry
the time at which they were made in ``last``, in microseconds of a clock that all processes share.
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
from riskd.practice.market import front_contract
from tests.support.websocket_frames import TEXT, server_frame

ACCOUNT: Final = 123
CONTRACT: Final = front_contract("MNQ", datetime.now(UTC).date()).id
"""One that a practice gateway lists today."""

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
    """Return a quote that carries a time stamp."""
    return MarketQuote(
        contract_id=CONTRACT, bid=BID, ask=ASK, last=Decimal(stamp), timestamp=MOMENT
    )


_BEFORE, _, _AFTER = encode(Event(ACCOUNT, quote(NO_STAMP))).partition(b"%d" % NO_STAMP)


def text(stamp: int) -> bytes:
    """Return the encoded quote: only riskd is charged for encoding."""
    return b"%s%d%s" % (_BEFORE, stamp, _AFTER)


FRAME_LENGTH: Final = len(server_frame(TEXT, text(NO_STAMP)))


class Stamps:
    """Time stamps that never repeat, all with the same number of digits."""

    def __init__(self) -> None:
        self._last = 0

    def take(self, count: int) -> list[int]:
        """Return ``count`` stamps of the present time."""
        first = max(NO_STAMP + time.monotonic_ns() // 1000, self._last + 1)
        self._last = first + count - 1
        return list(range(first, first + count))


def age(stamp: int, now_ns: int) -> int:
    """Return the age of a stamp in microseconds."""
    return now_ns // 1000 + NO_STAMP - stamp


class Progress:
    """A count of received bytes that one process writes and another reads.

    :param path: a file that both processes map.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)

    def publish(self, count: int) -> None:
        """Publish the count of bytes."""
        struct.pack_into("Q", self._shared, 0, count)

    @property
    def count(self) -> int:
        """The count that was published last."""
        return int(struct.unpack_from("Q", self._shared, 0)[0])


class Server(Protocol):
    """A measured server.

    :ivar codes: how many clients were closed with each code, as far as that is known.
    """

    codes: Counter[str]

    @property
    def count(self) -> int:
        """How many clients are connected."""

    async def emit(self, stamps: Sequence[int]) -> None:
        """Make an event at each moment and broadcast it."""

    def sleep(self, seconds: float) -> Awaitable[Any]:
        """Let the event loop run for a time."""


class Order(msgspec.Struct):
    """An order to a server.

    :ivar do: ``load`` or ``status``.
    :ivar rate: bursts a second; 0 for as fast as they are received.
    :ivar burst: events in a burst.
    :ivar seconds: the duration.
    """

    do: str
    rate: float = 0.0
    burst: int = 1
    seconds: float = 1.0


class Measured:
    """Answer orders for a server.

    :param progress: the bytes received so far.
    """

    def __init__(self, server: Server, progress: Progress) -> None:
        self._server = server
        self._progress = progress
        self._stamps = Stamps()

    async def answer(self, line: bytes) -> bytes:
        """Carry out a line's order; return the answer as a line."""
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
            # Each burst gets a turn of the event loop, also a late one.
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
    """Return the clients, codes, memory in bytes, and descriptors of this process.

    Ended connections are in reference cycles, which Python collects only every minute or two.  Collect
    them first, or the moment of the next collection would decide whether memory has grown.
    """
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "clients": server.count,
        "codes": dict(server.codes),
        "memory": pages * mmap.PAGESIZE,
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208  # either way the listing's own descriptor is counted
    }


def say(**fields: Any) -> None:
    """Print an answer for the measuring process."""
    sys.stdout.buffer.write(msgspec.json.encode(fields) + b"\n")
    sys.stdout.buffer.flush()


def raise_descriptor_limit() -> None:
    """Raise this process's limit of open files to the maximum."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


Serve = Callable[[Progress], None]
"""Runs a server until standard input ends; the first line it prints has its port."""
