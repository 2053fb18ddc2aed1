"""The listening sockets of the broadcast."""

from __future__ import annotations

import socket
from unittest import skipUnless

from twisted.internet.testing import MemoryReactorClock

from riskd.broadcast.service import BroadcastService
from riskd.host.loopback import listen
from tests.support.broadcast import BroadcastTestCase


class ServiceTests(BroadcastTestCase):
    """Ports on listening sockets."""

    def adopt(self, reactor: MemoryReactorClock) -> socket.socket:
        (listening,) = listen(0, "127.0.0.1")
        self.addCleanup(listening.close)
        BroadcastService(reactor, self.factory, [listening]).adopt(listening)
        return listening

    def test_another_kind_of_reactor_makes_its_own_port(self) -> None:
        reactor = MemoryReactorClock()
        listening = self.adopt(reactor)
        self.assertEqual(
            reactor.adoptedPorts, [(listening.fileno(), socket.AF_INET, self.factory)]
        )

    @skipUnless(hasattr(socket, "TCP_NOTSENT_LOWAT"), "this platform does not know the option")
    def test_the_kernel_buffers_little_for_an_accepted_socket(self) -> None:
        listening = self.adopt(MemoryReactorClock())
        listening.setblocking(True)
        with (
            socket.create_connection(listening.getsockname()),
            listening.accept()[0] as accepted,
        ):
            self.assertEqual(
                accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT), 16 * 1024
            )
