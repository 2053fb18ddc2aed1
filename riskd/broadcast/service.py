"""The broadcast's listening sockets, for as long as the daemon runs."""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.posixbase import PosixReactorBase

from riskd.broadcast.eager import EagerPort
from riskd.broadcast.server import BroadcastServerFactory
from riskd.host.loopback import LoopbackServer

_MAX_KERNEL_BYTES: Final = 16 * 1024


class BroadcastService(LoopbackServer):
    """The broadcast on its sockets.

    :param sockets: listening; the service takes them over.
    """

    def __init__(
        self, reactor: Any, factory: BroadcastServerFactory, sockets: list[socket.socket]
    ) -> None:
        super().__init__(reactor, factory, sockets, "listening on ws://{place}")

    def stopService(self) -> Deferred[Any]:
        """Stop accepting clients, then close all connections."""
        return super().stopService().addCallback(lambda _: self._factory.close_all())

    def adopt(self, listening: socket.socket) -> IListeningPort:
        """Return a port with eager connections, if the reactor uses Twisted's transports."""
        # A client that stops reading is noticed when the kernel takes no more bytes for it, which by
        # default is after 4 MB.  Accepted sockets inherit the option (on Linux they are copies of the
        # listener).
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MAX_KERNEL_BYTES)
        if isinstance(self._reactor, PosixReactorBase):
            return EagerPort.adopt(self._reactor, listening, self._factory)
        return super().adopt(listening)
