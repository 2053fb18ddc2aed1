"""A proxy on the loopback that pulls, cuts and delays what passes, for programs that run beside a test."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_BYTES: Final = 64 * 1024

_RETRY_SECONDS: Final = (1, 1, 1, 1, 1, 2, 4, 8, 16, 32)
"""How long TCP waits for an answer to the first packet of a connection, again and again.

Source: Linux 6.5 and newer, Documentation/networking/ip-sysctl.rst, ``tcp_syn_linear_timeouts``.
"""


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
        self._passes = threading.Event()
        self._passes.set()
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections, and take none."""
        self._is_cut = True
        for each in tuple(self._open):
            _end(each)

    def pull(self) -> None:
        """Let nothing pass, not even the end of a connection.

        Connections stay open, and new ones get no answer, as if all packets were lost.
        """
        self._passes.clear()

    def mend(self) -> None:
        """Take connections again, and delay none; what was held passes now, as if it were sent again."""
        self._is_cut, self.delay = False, 0.0
        self._passes.set()

    def close(self) -> None:
        """Cut all for good."""
        self.cut()
        self._passes.set()
        _end(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        # It ends with an error once the proxy is closed.
        with suppress(OSError):
            while True:
                client = self._listening.accept()[0]
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        for seconds in _RETRY_SECONDS:
            if self._passes.is_set():
                break
            time.sleep(seconds)
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
                self._passes.wait()
                target.sendall(data)
        self._passes.wait()
        self._open -= {source, target}
        for end in (source, target):
            _end(end)


def put_proxies_into(config: Path, servers: Sequence[str]) -> list[LinkProxy]:
    """Lead the links of a ``desk.toml`` through proxies, one for each server; return them.

    :param servers: the URLs of the servers.
    """
    text, proxies = config.read_text(), []
    for server in servers:
        port = server.rpartition(":")[2]
        proxies.append(LinkProxy(int(port)))
        text = text.replace(f":{port}", f":{proxies[-1].port}")
    config.write_text(text)
    return proxies


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
