"""The listeners of a network face, for as long as a program runs."""

from __future__ import annotations

import socket
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from riskd.host.loopback import adopt, url_of
from riskd.practice.gateway import NoListener, PracticeGateway
from riskd.practice.server.site import HUBS, PracticeSite

_log = Logger()


class PracticeGatewayService(Service):
    """A practice gateway that has nobody to tell but those who watch its face."""

    def __init__(self, gateway: PracticeGateway) -> None:
        self._gateway = gateway

    def startService(self) -> None:
        """Open the market."""
        super().startService()
        self._gateway.start(NoListener())

    def stopService(self) -> Deferred[None]:
        """Shut it."""
        super().stopService()
        return self._gateway.stop()


class PracticeServer(Service):
    """The network face on its sockets.

    :param sockets: listening already; they are taken over.
    """

    def __init__(self, reactor: Any, site: PracticeSite, sockets: list[socket.socket]) -> None:
        self._reactor = reactor
        self._site = site
        self._sockets = sockets
        self._ports: list[IListeningPort] = []

    def startService(self) -> None:
        """Answer, and say where."""
        super().startService()
        for where in map(url_of, self._sockets):
            _log.info(
                "PRACTICE gateway at {where}: REST below {where}/api/, "
                "hubs {where}{hubs}user and {where}{hubs}market",
                where=where,
                hubs=HUBS,
            )
        self._ports = adopt(self._reactor, self._sockets, self._site)
        self._sockets = []

    def stopService(self) -> Deferred[None]:
        """Answer nobody any more, and say goodbye to the clients of the hubs."""
        super().stopService()
        stopped = gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        self._ports = []
        return stopped.addCallback(lambda _: self._site.close_hubs()).addCallback(lambda _: None)
