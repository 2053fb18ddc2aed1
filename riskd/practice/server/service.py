"""The practice gateway and its server as services of a program."""

from __future__ import annotations

import socket
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from riskd.host.loopback import LoopbackServer
from riskd.practice.gateway import PracticeGateway
from riskd.practice.server.site import HUBS, PracticeSite


class PracticeGatewayService(Service):
    """A practice gateway without a listener: only the clients of its server watch it."""

    def __init__(self, gateway: PracticeGateway) -> None:
        self._gateway = gateway

    def startService(self) -> None:
        """Open the market."""
        super().startService()
        self._gateway.start()

    def stopService(self) -> Deferred[None]:
        """Shut the market."""
        super().stopService()
        return self._gateway.stop()


class PracticeServer(LoopbackServer):
    """The practice gateway's network API on its sockets.

    :param sockets: listening; the service takes them over.
    """

    def __init__(self, reactor: Any, site: PracticeSite, sockets: list[socket.socket]) -> None:
        url = "http://{place}"
        super().__init__(
            reactor,
            site,
            sockets,
            f"PRACTICE gateway at {url}: REST below {url}/api/, "
            f"hubs {url}{HUBS}user and {url}{HUBS}market",
        )

    def stopService(self) -> Deferred[Any]:
        """Stop answering, then close the clients of the hubs."""
        return super().stopService().addCallback(lambda _: self._factory.close_hubs())
