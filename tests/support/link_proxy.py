"""A proxy on the loopback that cuts and delays what passes, for programs that run beside a test."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Final

_BYTES: Final = 64 * 1024


class LinkProxy:
    """Forwards connections to a port of this machine.

    :param to: the port.
    :ivar port: where it listens.
    :ivar delay: the seconds by which it delays what is received at once, in either direction.
    """

    def __init__(self, to: int) -> None:
        self.delay = 0.0
        self._to = to
        self._is_cut = False
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections, and take none."""
        self._is_cut = True
        for each in tuple(self._open):
            _end(each)

    def mend(self) -> None:
        """Take connections again, and delay none."""
        self._is_cut, self.delay = False, 0.0

    def close(self) -> None:
        """Cut all for good."""
        self.cut()
        _end(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        # It ends with an error once the proxy is closed.
        with suppress(OSError):
            while True:
                self._connect(self._listening.accept()[0])

    def _connect(self, client: socket.socket) -> None:
        try:
            if self._is_cut:
                raise ConnectionRefusedError
            server = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            client.close()
            return
        self._open |= {client, server}
        for ends in ((client, server), (server, client)):
            threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_BYTES):
                if self.delay:
                    time.sleep(self.delay)
                target.sendall(data)
        self._open -= {source, target}
        for end in (source, target):
            _end(end)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
