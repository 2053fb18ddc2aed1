"""Listening where only this machine can reach: loopback addresses, bound before anything else starts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, Final

from riskd.host.errors import UserError

BOTH: Final = ("127.0.0.1", "::1")
"""The addresses of ``localhost``; holding both keeps anybody else from answering in riskd's name."""

_BACKLOG: Final = 512
_NO_SUCH_ADDRESS: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_TRIES_FOR_A_SHARED_PORT: Final = 20


class ListenError(UserError):
    """riskd cannot listen as it was told; the text says why in a sentence."""


def check_interface(interface: str) -> str:
    """Return ``interface`` if it is a loopback address.

    :raises ListenError: it is anything else.
    """
    try:
        is_loopback = ip_address(interface).is_loopback
    except ValueError:
        raise ListenError(f"interface {interface!r} is not an IP address") from None
    if not is_loopback:
        raise ListenError(
            f"interface {interface} is not a loopback address: the stream has no password, "
            "so it must not leave this machine"
        )
    return interface


def listen(
    port: int, interface: str | None = None, *, option: str = "--port"
) -> list[socket.socket]:
    """Return listening sockets, all on the same port.

    :param port: the TCP port; 0 takes a free one.
    :param interface: a loopback address; ``None`` means both of ``localhost``, the second where the
        machine has it.
    :param option: which option takes another port.
    :raises ListenError: the port is taken, or an address is not to be had.
    """
    hosts = BOTH if interface is None else (check_interface(interface),)
    tries = _TRIES_FOR_A_SHARED_PORT if port == 0 and len(hosts) > 1 else 1
    for attempt in range(1, tries + 1):
        try:
            return _listen_on_all(hosts, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt == tries:
                raise ListenError(_explain(error, port, option)) from None
    raise AssertionError("unreachable")


def adopt(reactor: Any, sockets: Iterable[socket.socket], factory: Any) -> list[Any]:
    """Let ``reactor`` accept clients of ``factory`` on listening ``sockets``; return its ports.

    The sockets are closed here: each port has one of its own.
    """
    ports = []
    for listening in sockets:
        ports.append(reactor.adoptStreamPort(listening.fileno(), listening.family, factory))
        listening.close()
    return ports


def url_of(listening: socket.socket) -> str:
    """Return the HTTP URL of a listening socket, without a slash at its end."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _listen_on_all(hosts: tuple[str, ...], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for host in hosts:
            try:
                bound = _listen_on(host, port)
            except OSError as error:
                if sockets and error.errno in _NO_SUCH_ADDRESS:
                    continue
                raise OSError(error.errno, error.strerror, host) from None
            sockets.append(bound)
            port = bound.getsockname()[1]
    except OSError:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def _listen_on(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _explain(error: OSError, port: int, option: str) -> str:
    place = f"port {port} on {error.filename}"
    if error.errno == errno.EADDRINUSE:
        return f"{place} is already in use; is another riskd running? ({option} takes another one)"
    return f"cannot listen to {place}: {error.strerror}"
