"""The broadcast's listeners, for as long as the daemon runs."""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger

from riskd.broadcast.eager import EagerPort
from riskd.broadcast.handshake import in_url
from riskd.broadcast.server import BroadcastServerFactory

_MAX_KERNEL_BYTES: Final = 16 * 1024
_log = Logger()


class BroadcastService(Service):
    """The listeners of a broadcast, for as long as the daemon runs.

    :param sockets: listening already; they are taken over.
    """

    def __init__(
        self, reactor: Any, factory: BroadcastServerFactory, sockets: list[socket.socket]
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._sockets = sockets
        self._ports: list[IListeningPort] = []
        factory.serve_at(listening.getsockname()[:2] for listening in sockets)

    def startService(self) -> None:
        """Accept clients."""
        super().startService()
        for listening in self._sockets:
            host, port = listening.getsockname()[:2]
            self._ports.append(adopt(self._reactor, listening, self._factory))
            listening.close()
            _log.info("listening on ws://{host}:{port}", host=in_url(host), port=port)
        self._sockets = []

    def stopService(self) -> Deferred[None]:
        """Accept nobody any more and see every client out."""
        super().stopService()
        stopped = gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        self._ports = []
        return stopped.addCallback(lambda _: self._factory.close_all())


def adopt(
    reactor: Any, listening: socket.socket, factory: BroadcastServerFactory
) -> IListeningPort:
    """Return a port that accepts clients on a duplicate of ``listening``.

    Its connections send eagerly where the reactor's own would be Twisted's; other reactors bring
    theirs.
    """
    # A client that stops reading shows when the kernel takes no more, and by itself that takes 4 MB.
    # Accepted sockets inherit the option (Linux: the child is a copy of the listener).
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MAX_KERNEL_BYTES)
    if isinstance(reactor, PosixReactorBase):
        return EagerPort.adopt(reactor, listening, factory)
    port: IListeningPort = reactor.adoptStreamPort(listening.fileno(), listening.family, factory)
    return port
