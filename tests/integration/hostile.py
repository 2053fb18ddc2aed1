"""Hostile clients: ``python -m tests.integration.hostile KIND PORT`` attacks until it is ended.

The process has the lowest priority: the test is about the daemon's time, not the machine's.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from tests.support.websocket_frames import PING, TEXT, client_frame, handshake

_PATIENCE_SECONDS = 0.5
_CROWD = 300


def flood_headers(port: int) -> None:
    """Send endless headers."""
    with _connect(port) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n" + f"Host: localhost:{port}\r\n".encode())
        for _ in range(50):
            peer.sendall(b"X-Padding: " + b"x" * 1000 + b"\r\n")


def flood_lines(port: int) -> None:
    """Send a handshake with very many lines."""
    with _connect(port) as peer:
        peer.sendall(handshake(f"localhost:{port}")[:-2] + b"a:b\r\n" * 3000 + b"\r\n")
        peer.recv(4096)


def flood_connections(port: int) -> None:
    """Connect and disconnect at once, with or without a handshake."""
    with _connect(port):
        pass
    with _shake_hands(port):
        pass


def flood_pings(port: int) -> None:
    """Send endless pings and read nothing."""
    with _shake_hands(port) as peer:
        while True:
            peer.sendall(client_frame(PING, b"x") * 1000)


def flood_fragments(port: int) -> None:
    """Send an endless message of empty fragments."""
    with _shake_hands(port) as peer:
        peer.sendall(client_frame(TEXT, final=False))
        while True:
            peer.sendall(client_frame(0, final=False) * 1000)


def flood_garbage(port: int) -> None:
    """Send random bytes, in masked frames or bare."""
    with _shake_hands(port) as peer:
        for _ in range(50):
            peer.sendall(client_frame(random.randrange(16), random.randbytes(4000)))
            peer.sendall(random.randbytes(4000))


def crawl(port: int) -> None:
    """Hold many connections and send each handshake byte by byte."""
    crowd = [_connect(port) for _ in range(_CROWD)]
    for byte in handshake(f"localhost:{port}"):
        for peer in crowd:
            with suppress(OSError):
                peer.send(bytes([byte]))
        time.sleep(0.01)
    for peer in crowd:
        peer.close()


KINDS: dict[str, Callable[[int], None]] = {
    "headers": flood_headers,
    "lines": flood_lines,
    "connections": flood_connections,
    "pings": flood_pings,
    "fragments": flood_fragments,
    "garbage": flood_garbage,
    "slow-loris": crawl,
}


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), _PATIENCE_SECONDS)


def _shake_hands(port: int) -> socket.socket:
    peer = _connect(port)
    peer.sendall(handshake(f"localhost:{port}"))
    peer.recv(4096)
    return peer


def main(kind: str, port: int) -> None:
    """Repeat the attack."""
    os.nice(19)
    while True:
        with suppress(OSError):
            KINDS[kind](port)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
