"""Sockets on loopback addresses, and nowhere else."""

from __future__ import annotations

import errno
import socket
from unittest import SkipTest

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from riskd.host import loopback
from riskd.host.loopback import ListenError, LoopbackServer, check_interface, listen


class LoopbackTests(SynchronousTestCase):
    """Sockets that only this machine can reach."""

    def listen(self, port: int, interface: str | None = None) -> list[socket.socket]:
        sockets = listen(port, interface)
        for each in sockets:
            self.addCleanup(each.close)
        return sockets

    def test_both_addresses_of_localhost_share_a_port(self) -> None:
        sockets = self.listen(0)
        addresses = {each.getsockname()[0] for each in sockets}
        self.assertEqual(len({each.getsockname()[1] for each in sockets}), 1)
        self.assertIn("127.0.0.1", addresses)
        self.assertEqual("::1" in addresses, _has_ipv6_loopback())

    def test_another_loopback_address_is_the_only_one(self) -> None:
        (one,) = self.listen(0, "127.0.0.2")
        self.assertEqual(one.getsockname()[0], "127.0.0.2")

    def test_a_port_in_use_is_a_sentence(self) -> None:
        port = self.listen(0)[0].getsockname()[1]
        error = self.assertRaises(ListenError, listen, port)
        self.assertIn(f"port {port} on 127.0.0.1 is already in use", str(error))

    def test_a_port_in_use_on_the_second_address_only_is_an_error(self) -> None:
        if not _has_ipv6_loopback():
            raise SkipTest("there is no ::1 here")
        (one,) = self.listen(0, "::1")
        port = one.getsockname()[1]
        error = self.assertRaises(ListenError, listen, port)
        self.assertIn(f"port {port} on ::1", str(error))
        # The first address is free again.
        self.listen(port, "127.0.0.1")

    def test_without_ipv6_only_the_first_address_is_used(self) -> None:
        self.patch(loopback, "BOTH", ("127.0.0.1", "100::1"))
        sockets = self.listen(0)
        self.assertEqual([each.getsockname()[0] for each in sockets], ["127.0.0.1"])

    def test_other_errors_are_sentences_too(self) -> None:
        explained = loopback._explain(
            OSError(errno.EACCES, "Permission denied", "127.0.0.1"), 80, "--port"
        )
        self.assertEqual(explained, "cannot listen on port 80 on 127.0.0.1: Permission denied")

    def test_addresses_that_others_can_reach_are_refused(self) -> None:
        for interface in ("0.0.0.0", "::", "192.168.1.5", "8.8.8.8", "fe80::1"):
            error = self.assertRaises(ListenError, check_interface, interface)
            self.assertIn("not a loopback address", str(error))
            self.assertIn(interface, str(error))

    def test_text_that_is_not_an_address_is_refused(self) -> None:
        for interface in ("", "eth0", "localhost.", "127.0.0.1:80"):
            error = self.assertRaises(ListenError, check_interface, interface)
            self.assertIn("not an IP address", str(error))


class LoopbackServerTests(SynchronousTestCase):
    """A factory that serves on listening sockets."""

    def test_it_logs_its_address_hands_over_its_socket_and_stops(self) -> None:
        reactor, factory = MemoryReactorClock(), object()
        (listening,) = listen(0, "127.0.0.1")
        number, port = listening.fileno(), listening.getsockname()[1]
        server = LoopbackServer(reactor, factory, [listening], "things at http://{place}/")
        with capturedLogs() as logged:
            server.startService()
        self.assertEqual(
            [formatEvent(event) for event in logged], [f"things at http://127.0.0.1:{port}/"]
        )
        self.assertEqual(reactor.adoptedPorts, [(number, socket.AF_INET, factory)])
        # The port has a duplicate of its own.
        self.assertEqual(listening.fileno(), -1)
        self.successResultOf(server.stopService())


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
