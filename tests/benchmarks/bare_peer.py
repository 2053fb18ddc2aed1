"""No library at all: the least work that Python can do."""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from tests.benchmarks.workload import BACKLOG, Measured, Progress, say, text
from tests.support.websocket_frames import TEXT, handshake_answer, server_frame


class Bare:
    """One ``send`` for each client and event, on blocking sockets."""

    def __init__(self) -> None:
        self._clients: list[socket.socket] = []
        self.codes: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return len(self._clients)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def emit(self, stamps: Sequence[int]) -> None:
        for stamp in stamps:
            self._send(server_frame(TEXT, text(stamp)))

    def _send(self, data: bytes) -> None:
        for client in self._clients:
            client.sendall(data)

    def accept(self, listening: socket.socket) -> None:
        """Accept a client."""
        client, _address = listening.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += client.recv(4096)
        client.sendall(handshake_answer(request))
        self._clients.append(client)

    def forget_lost(self) -> None:
        """Drop clients that left; clients send nothing here, so a readable socket has ended."""
        poll = select.poll()
        for client in self._clients:
            poll.register(client, select.POLLIN)
        lost = {number for number, _mask in poll.poll(0)}
        self._clients = [client for client in self._clients if client.fileno() not in lost]


class Joined(Bare):
    """The events of a burst joined into one ``send`` for each client."""

    async def emit(self, stamps: Sequence[int]) -> None:
        self._send(b"".join(server_frame(TEXT, text(stamp)) for stamp in stamps))


def serve(make: Callable[[], Bare], progress: Progress) -> None:
    """Serve until standard input ends."""
    peer = make()
    measured = Measured(peer, progress)
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listening:
        say(port=listening.getsockname()[1])
        while True:
            ready, _, _ = select.select([listening, 0], [], [])
            if listening in ready:
                peer.accept(listening)
                continue
            line = sys.stdin.buffer.readline()
            if not line:
                return
            peer.forget_lost()
            sys.stdout.buffer.write(_run(measured.answer(line)) + b"\n")
            sys.stdout.buffer.flush()


def _run(coroutine: Coroutine[Any, Any, bytes]) -> bytes:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return bytes(done.value)
    raise RuntimeError("a bare server waited")
