"""Check the port of the stream: free, riskd's own, or taken, and by what."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from riskd.app.riskctl.doctor.findings import Finding, ok, quoted, warning, wrong
from riskd.host.loopback import BOTH
from riskd.journal.discovery import RunningDaemon, gateway_words
from riskd.journal.gateway_identity import DESK

ANSWER_SECONDS: Final = 2.0
"""How long whatever listens on the port may take to answer."""

_WHAT: Final = "port"
_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"
"""A listening socket's state.  Source: proc_net(5), and TCP_LISTEN in the kernel."""


def check_port(
    port: int,
    configuration: Path | None,
    running: RunningDaemon | None,
    others: Iterable[RunningDaemon],
) -> Iterator[Finding]:
    """Yield what is to be said of the port that riskd takes by default.

    :param running: the daemon of the configuration.
    :param others: all daemons that announce themselves.
    """
    if running is not None:
        # What else is on the usual port does not matter.
        yield ok(_WHAT, f"{running.record.port}, that of the riskd that runs")
        return
    config = "" if configuration is None else f" --config {quoted(configuration)}"
    another = f"twistd -n --pidfile= riskd --port {port + 1}{config}"
    for each in others:
        if each.record.port == port:
            kind = each.record.kind
            what = "relay of a desk" if kind == DESK else f"riskd of {gateway_words(kind)}"
            words = f"{port} is taken by the {what}, process {each.record.pid}"
            yield warning(_WHAT, words, another)
            return
    # Only now: a riskd would log the attempts to connect.
    if all(_is_free(host, port) for host in BOTH):
        yield ok(_WHAT, f"{port} is free")
        return
    by = _listener(port)
    if _server(port).startswith("riskd/"):
        yield warning(
            _WHAT, f"{port} is taken by a riskd{by} with another --state directory", another
        )
    else:
        yield wrong(_WHAT, f"{port} is taken by another program{by}, and no riskd", another)


def _is_free(host: str, port: int) -> bool:
    """Return whether riskd could listen at an address, or does without it.

    A socket that does not listen takes the port from no other program.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
            tried.settimeout(ANSWER_SECONDS)
            with suppress(OSError):
                tried.connect((host, port))
                return False
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except OSError:
        return host != BOTH[0]
    return True


def _server(port: int) -> str:
    """Return what the server on a port calls itself; empty if it does not speak HTTP."""
    connection = HTTPConnection(BOTH[0], port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/")
        return connection.getresponse().headers.get("Server", "")
    except (OSError, HTTPException):
        return ""
    finally:
        connection.close()


def _listener(port: int) -> str:
    """Return the name and id of the process that listens on a port, if readable.

    Those of another user's process cannot, except by root.  Source: proc_pid_fd(5) and proc_net(5).
    """
    inodes = set(_inodes(port))
    with suppress(OSError):
        for process in _PROC.iterdir():
            if process.name.isdecimal() and inodes & set(_sockets(process)):
                with suppress(OSError):
                    name = (process / "comm").read_text().strip()
                    return f" ({name}, process {process.name})"
    return ""


def _inodes(port: int) -> Iterator[str]:
    """Yield the sockets that listen on a port."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{words[9]}]"


def _sockets(process: Path) -> Iterator[str]:
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(descriptor.readlink())
