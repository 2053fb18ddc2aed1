"""All clients in one process, the same for every server: they count frames and note ages.

Run as ``python -m tests.benchmarks.receiver PROGRESS_FILE``.  It reads orders from standard input, one JSON
object a line, and answers each with one.  During a measurement it polls without sleeping, so that no server
pays for waking it up.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.benchmarks.outcome import percentile
from tests.benchmarks.workload import FRAME_LENGTH, Progress, age, raise_descriptor_limit, say
from tests.support.websocket_frames import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    client_frame,
    handshake,
    server_frame,
)

_CHUNK: Final = 256 * 1024
_HANDSHAKES_AT_ONCE: Final = 200
_FEW_FRAMES: Final = 20
_ENOUGH_TO_READ: Final = 16
_GATHERING_SECONDS: Final = 0.0001
_FIRST: Final = 0x80 | TEXT
_HEAD: Final = server_frame(TEXT, bytes(FRAME_LENGTH - 4))[:4]
_LONG: Final = 126
_STAMP: Final = re.compile(rb'"last":(\d+)')
_RESET: Final = struct.pack("ii", 1, 0)


class Client:
    """One connection.

    :ivar frames: events received.
    :ivar is_open: whether the handshake has completed.
    :ivar is_sampled: whether the receiver notes the ages of its events.
    :ivar is_silent: whether it reads nothing after the handshake.
    """

    __slots__ = ("frames", "is_open", "is_sampled", "is_silent", "rest", "socket")

    def __init__(self, port: int, *, is_sampled: bool, is_silent: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(handshake(f"localhost:{port}"))
        self.socket.setblocking(False)
        self.frames = 0
        self.rest = b""
        self.is_open = False
        self.is_sampled = is_sampled
        self.is_silent = is_silent


class Ages:
    """The ages of events at their arrival."""

    def __init__(self) -> None:
        self._noted: list[tuple[int, bytes]] = []

    def note(self, frames: bytes, count: int, now: int) -> None:
        """Note the ages of whole frames; of many at once, only the first and the last."""
        if count > _FEW_FRAMES:
            frames = frames[:FRAME_LENGTH] + frames[-FRAME_LENGTH:]
        # Parse them later, when there is time.
        self._noted.append((now, frames))

    def figures(self) -> dict[str, float]:
        """Return percentiles of the ages and the median spread from first to last client, in ms.

        The figures are NaN when no age was noted.
        """
        ages: list[float] = []
        received: dict[int, list[int]] = {}
        for now, frames in self._noted:
            for stamp in map(int, _STAMP.findall(frames)):
                ages.append(age(stamp, now) / 1000)
                received.setdefault(stamp, [now, now])[1] = now
        spreads = ((last - first) / 1e6 for first, last in received.values())
        return {**percentiles(ages), "spread": percentile(spreads, 0.5)}


def percentiles(values: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile; NaN for an empty list."""
    # Sorted here, the values are in order when percentile() sorts them, twice.
    ordered = sorted(values)
    return {"p50": percentile(ordered, 0.5), "p99": percentile(ordered, 0.99)}


class Receiver:
    """All clients and what they received.

    :param progress: publishes how many bytes were received.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._epoll = select.epoll()
        self._epoll.register(0, select.EPOLLIN)
        self._clients: dict[int, Client] = {}
        self._order: deque[Client] = deque()
        self._waiting = 0
        self._bytes = 0
        self._frames = 0
        self._lost = 0
        self._codes: Counter[str] = Counter()
        self._ages = Ages()
        self._buffer = memoryview(bytearray(_CHUNK))
        self._is_hot = False
        self._is_noting = True
        self._is_ended = False

    def run(self) -> None:
        """Answer orders until standard input ends."""
        while not self._is_ended:
            self._turn(0 if self._is_hot else -1)

    def _turn(self, seconds: float) -> None:
        ready = self._epoll.poll(seconds, 512)
        if self._is_hot and not self._is_noting and len(ready) < _ENOUGH_TO_READ:
            # In a flood, busy polling would hold a kernel lock that each send of the server needs.
            time.sleep(_GATHERING_SECONDS)
        for number, _mask in ready:
            if number == 0:
                self._asked()
            else:
                client = self._clients.get(number)
                if client is not None:
                    self._read(client)
        self._progress.publish(self._bytes)

    # Receiving.

    def _read(self, client: Client) -> None:
        try:
            length = client.socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except ConnectionError:
            length = 0
        if (
            length
            and not (client.is_sampled and self._is_noting)
            and not client.rest
            and length % FRAME_LENGTH == 0
            and self._buffer[:4] == _HEAD
            and client.is_open
        ):
            # Whole events, as nearly always in a flood: a receiver that does anything else
            # would limit a server that joins events.
            self._bytes += length
            count = length // FRAME_LENGTH
            client.frames += count
            self._frames += count
            return
        now = time.monotonic_ns()
        # Read into the same buffer each time: allocating one costs more than reading.
        data = bytes(self._buffer[:length])
        if not data:
            self._lost += 1
            self._drop(client)
            return
        if not client.is_open:
            self._take_handshake(client, data)
            return
        self._bytes += len(data)
        if client.rest:
            data = client.rest + data
        count = len(data) // FRAME_LENGTH
        length = count * FRAME_LENGTH
        if (
            count
            and data[0:length:FRAME_LENGTH].count(_FIRST) == count
            and data[2:length:FRAME_LENGTH].count(0) == count
            and data[3:length:FRAME_LENGTH].count(FRAME_LENGTH - 4) == count
        ):
            client.rest = data[length:]
            if client.is_sampled and self._is_noting:
                self._ages.note(data[:length], count, now)
        else:
            count = self._read_frames(client, data)
        client.frames += count
        self._frames += count

    def _read_frames(self, client: Client, data: bytes) -> int:
        """Read frames of mixed lengths; return the number of events."""
        start, count, end = 0, 0, len(data)
        while end - start >= 2:
            length, head = data[start + 1], 2
            if length == _LONG:
                if end - start < 4:
                    break
                length, head = data[start + 2] << 8 | data[start + 3], 4
            if end - start < head + length:
                break
            if data[start] == _FIRST:
                count += 1
            else:
                self._control(client, data[start] & 0x0F, data[start + head :][:length])
            start += head + length
        client.rest = data[start:]
        return count

    def _control(self, client: Client, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            client.socket.send(client_frame(PONG, payload))
        elif opcode == CLOSE:
            self._codes[str(int.from_bytes(payload[:2], "big"))] += 1

    def _take_handshake(self, client: Client, data: bytes) -> None:
        head, found, client.rest = (client.rest + data).partition(b"\r\n\r\n")
        if not found:
            client.rest = head
            return
        if not head.startswith(b"HTTP/1.1 101 "):
            raise RuntimeError(f"a client was refused: {head!r}")
        client.is_open = True
        self._waiting -= 1
        # Events in the same read belong to no measurement.
        client.frames += self._read_frames(client, client.rest)
        if client.is_silent:
            self._epoll.unregister(client.socket)

    # Orders.

    def _asked(self) -> None:
        line = sys.stdin.buffer.readline()
        if not line:
            self._is_ended = True
            return
        order = msgspec.json.decode(line)
        answer = getattr(self, f"_do_{order.pop('do')}")(**order)
        say(**(answer or {}))

    def _do_connect(
        self, port: int, clients: int, sampled: int, silent: int = 0
    ) -> dict[str, float]:
        """Connect clients; ``sampled`` of them note ages, the first ``silent`` read nothing."""
        begun = time.monotonic()
        every = max(1, clients // sampled) if sampled else clients + 1
        for number in range(clients):
            while self._waiting >= _HANDSHAKES_AT_ONCE:
                self._turn_without_orders()
            is_silent = number < silent
            client = Client(port, is_sampled=number % every == 0, is_silent=is_silent)
            self._waiting += 1
            self._clients[client.socket.fileno()] = client
            self._order.append(client)
            self._epoll.register(client.socket, select.EPOLLIN)
        while self._waiting:
            self._turn_without_orders()
        return {"seconds": time.monotonic() - begun}

    def _turn_without_orders(self) -> None:
        self._epoll.modify(0, 0)
        self._turn(0.001)
        self._epoll.modify(0, select.EPOLLIN)

    def _do_begin(self, *, hot: bool = True, noting: bool = True) -> None:
        """Start counting; ``hot``: poll without sleeping; ``noting``: note the ages of events."""
        for client in self._order:
            client.frames = 0
        self._frames = self._lost = 0
        self._codes.clear()
        self._ages = Ages()
        self._is_hot = hot
        self._is_noting = noting

    def _do_count(self) -> dict[str, int]:
        """Return the number of events received since the start."""
        return {"frames": self._frames}

    def _do_end(self) -> dict[str, Any]:
        """Return the figures since the start."""
        self._is_hot = False
        reading = [client.frames for client in self._order if not client.is_silent]
        return {
            "frames": self._frames,
            "least": min(reading, default=0),
            "most": max(reading, default=0),
            "lost": self._lost,
            "codes": dict(self._codes),
            "open": len(self._clients),
            **self._ages.figures(),
        }

    def _do_leave(self, clients: int) -> None:
        """Disconnect the oldest clients, every other one with a closing handshake."""
        for number in range(min(clients, len(self._order))):
            client = self._order[0]
            if number % 2 and not client.is_silent:
                client.socket.send(client_frame(CLOSE, struct.pack("!H", 1000)))
            self._drop(client)

    def _drop(self, client: Client) -> None:
        # A reset connection leaves no port in TIME_WAIT.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        del self._clients[client.socket.fileno()]
        self._order.remove(client)
        client.socket.close()


if __name__ == "__main__":
    raise_descriptor_limit()
    Receiver(Progress(Path(sys.argv[1]))).run()
