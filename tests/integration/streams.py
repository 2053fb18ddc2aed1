"""Many plain sockets that receive a daemon's stream, and the daemon that feeds them."""

from __future__ import annotations

import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.waiting import DEADLINE_SECONDS
from tests.support.websocket_frames import PONG, client_frame, handshake, read_frames

_TRADE = re.compile(
    rb'"id":(\d+),"contractId":"CON\.TRADE","profitAndLoss":-45\.50,"quantity":(\d+)'
)
_QUOTE = re.compile(rb'"contractId":"(CON\.\d+)","bid":(\d+)')
_PING = re.compile(rb"\x89\x04(.{4})", re.DOTALL)


class Source:
    """The process of :mod:`tests.integration.event_source`.

    :param max_files: its limit of open files; ``None`` leaves the user's limit.
    """

    def __init__(self, directory: Path, max_files: int | str = "hard") -> None:
        self._log_path = directory / "log"
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "/bin/sh",
                    "-c",
                    f'ulimit -n {max_files}; exec "$@"',
                    "sh",
                    sys.executable,
                    "-m",
                    "tests.integration.event_source",
                    directory / "state",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin, self.process.stdout
        self.port = int(self._out.readline())

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    @property
    def memory(self) -> int:
        """Resident memory of the process, in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    def emit(self, rate: int, count: int, every: int = 2) -> None:
        """Make the daemon broadcast ``count`` events at ``rate`` a second, each ``every``-th a trade."""
        self._in.write(b"%d %d %d\n" % (rate, count, every))
        self._in.flush()

    def end(self) -> None:
        self._in.close()
        assert self.process.wait(DEADLINE_SECONDS) == 0
        self._out.close()


class Stream:
    """A client whose handshake has completed.

    :ivar trades: the numbers of the trades received.
    :ivar delays: seconds from the moment at which each trade was due to its arrival.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS)
        self.socket.sendall(handshake(f"localhost:{port}"))
        self.trades: list[int] = []
        self.delays: list[float] = []
        self._data = bytearray()
        self._read_to = 0
        while b"\r\n\r\n" not in self._data:
            self._data += self.socket.recv(4096)
        assert self._data.startswith(b"HTTP/1.1 101 "), self._data
        del self._data[: self._data.index(b"\r\n\r\n") + 4]

    def receive(self) -> bool:
        """Read what has arrived; return whether there may be more."""
        data = self.socket.recv(256 * 1024)
        now = time.monotonic_ns()
        self._data += data
        for trade in _TRADE.finditer(self._data, self._read_to):
            self.trades.append(int(trade[2]))
            self.delays.append((now - int(trade[1])) / 1e9)
            self._read_to = trade.end()
        for ping in _PING.finditer(data):
            self.socket.sendall(client_frame(PONG, ping[1]))
        return bool(data)

    def newest_quotes(self) -> dict[bytes, int]:
        """Return the latest price of each contract."""
        return {contract: int(bid) for contract, bid in _QUOTE.findall(self._data)}

    def has_received(self, data: bytes) -> bool:
        """Return whether the stream ends with ``data``."""
        return self._data.endswith(data)

    def has_received_words(self, words: bytes) -> bool:
        """Return whether ``words`` were received."""
        return words in self._data

    def last_frame(self) -> tuple[int, bytes]:
        """Return the opcode and payload of the last frame."""
        return read_frames(bytes(self._data))[-1]

    def close(self) -> None:
        self.socket.close()


def receive_until(streams: list[Stream], condition: Callable[[], object]) -> None:
    """Receive on all ``streams`` until ``condition`` holds; fail after the deadline."""
    deadline = time.monotonic() + 2 * DEADLINE_SECONDS
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.socket, selectors.EVENT_READ, stream)
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            for key, _ in selector.select(0.05):
                assert key.data.receive(), "a client was cut"


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    """Run a daemon that broadcasts on demand."""
    started = Source(tmp_path)
    yield started
    started.end()
