"""Servers on loopback addresses, which only this machine can reach.

The programs bind their sockets before anything else starts, so that a port in use is one line on the
terminal and not a traceback in a log.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack
from ipaddress import ip_address
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from riskd.host.errors import UserError
from riskd.host.same_host import url_host

BOTH: Final = ("127.0.0.1", "::1")
"""The addresses of ``localhost``; with both taken, no other program can answer in riskd's place."""

_BACKLOG: Final = 512
_NO_SUCH_ADDRESS: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_TRIES_FOR_A_SHARED_PORT: Final = 20

_log = Logger()


class ListenError(UserError):
    """An address or a port cannot be listened on."""


def check_interface(interface: str) -> str:
    """Return ``interface`` if it is a loopback address.

    :raises ListenError: it is not.
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
    :param interface: a loopback address; ``None`` means both of ``localhost``, the second one only
        where the machine has it.
    :param option: the command line's option for the port, for the error's sentence.
    :raises ListenError: the port is in use, or an address cannot be bound.
    """
    hosts = BOTH if interface is None else (check_interface(interface),)
    # A port that is free on the first address may be in use on the second.
    tries = _TRIES_FOR_A_SHARED_PORT if port == 0 and len(hosts) > 1 else 1
    while True:
        tries -= 1
        try:
            return _listen_on_all(hosts, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not tries:
                raise ListenError(_explain(error, port, option)) from None


def _listen_on_all(hosts: tuple[str, ...], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    with ExitStack() as held:
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                # It sets SO_REUSEADDR: a restart does not wait for connections of the daemon before that
                # linger in TIME_WAIT.
                bound = socket.create_server((host, port), family=family, backlog=_BACKLOG)
            except OSError as error:
                # The first address is needed; a machine without IPv6 does without the second.
                if sockets and error.errno in _NO_SUCH_ADDRESS:
                    continue
                # create_server puts the address into its own sentence, which is to have it once.
                raise OSError(error.errno, os.strerror(error.errno or 0), host) from None
            bound.setblocking(False)
            sockets.append(held.enter_context(bound))
            port = bound.getsockname()[1]
        held.pop_all()
    return sockets


def _explain(error: OSError, port: int, option: str) -> str:
    place = f"port {port} on {error.filename}"
    if error.errno == errno.EADDRINUSE:
        return f"{place} is already in use; is another riskd running? (choose another port with {option})"
    return f"cannot listen on {place}: {error.strerror}"


class LoopbackServer(Service):
    """A factory that serves on listening sockets for as long as the service runs.

    :param sockets: closed at the start, since each port has a duplicate.
    :param announcement: the log line for each socket, with ``{place}`` for its address and port.
    """

    def __init__(
        self, reactor: Any, factory: Any, sockets: list[socket.socket], announcement: str
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._sockets = sockets
        self._announcement = announcement
        self._ports: list[IListeningPort] = []

    def startService(self) -> None:
        """Accept clients and log the addresses."""
        super().startService()
        for listening in self._sockets:
            address, port = listening.getsockname()[:2]
            _log.info(self._announcement, place=f"{url_host(address)}:{port}")
            self._ports.append(self.adopt(listening))
            listening.close()
        self._sockets = []

    def stopService(self) -> Deferred[Any]:
        """Stop accepting clients; fires when the ports are closed."""
        super().stopService()
        ports, self._ports = self._ports, []
        return gatherResults([maybeDeferred(port.stopListening) for port in ports])

    def adopt(self, listening: socket.socket) -> IListeningPort:
        """Return a port that accepts clients on a duplicate of ``listening``."""
        port: IListeningPort = self._reactor.adoptStreamPort(
            listening.fileno(), listening.family, self._factory
        )
        return port
