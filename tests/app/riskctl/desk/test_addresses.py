"""The servers that the command line names."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.desk.addresses import Server, parse_servers
from riskd.host.errors import UserError


def server(text: str, *listen: str) -> Server:
    (only,) = parse_servers([text], listen)
    return only


class AddressTests(SynchronousTestCase):
    """What is taken, and what it means."""

    def test_a_name_or_an_address_with_and_without_ports(self) -> None:
        for text, host, port, cluster_port in (
            ("desk.example", "desk.example", 4222, 6222),
            ("desk.example:5000", "desk.example", 5000, 6222),
            ("desk.example:5000:6000", "desk.example", 5000, 6000),
            ("localhost", "localhost", 4222, 6222),
            ("10.0.0.5:65535", "10.0.0.5", 65535, 6222),
            ("[fd00::5]", "fd00::5", 4222, 6222),
            ("[fd00:0::5]:1:2", "fd00::5", 1, 2),
        ):
            expected = Server(host=host, port=port, cluster_port=cluster_port, listen=host)
            self.assertEqual(server(text), expected)

    def test_a_server_listens_where_it_is_reached_or_as_told(self) -> None:
        self.assertEqual(server("desk.example").listen, "desk.example")
        # Behind an address that is translated; all addresses only where they are named.
        self.assertEqual(server("desk.example", "192.168.1.7").listen, "192.168.1.7")
        self.assertEqual(server("desk.example", "0.0.0.0").listen, "0.0.0.0")
        self.assertEqual(server("desk.example", "0.0.0.0").host, "desk.example")

    def test_the_url_is_that_of_tls(self) -> None:
        self.assertEqual(server("desk.example").url, "tls://desk.example:4222")
        self.assertEqual(server("[::1]:4").url, "tls://[::1]:4")

    @given(st.ip_addresses())
    def test_each_address_of_a_machine_is_taken_and_no_other(
        self, address: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> None:
        text = f"[{address}]" if address.version == 6 else str(address)
        if address.is_multicast or address.is_unspecified:
            self.assertRaises(UserError, server, text)
        elif "%" not in text:
            self.assertEqual(server(text).host, str(address))


class RefusalTests(SynchronousTestCase):
    """Each sentence has the value and what was expected."""

    def refusal(self, *addresses: str, listen: tuple[str, ...] = ()) -> str:
        return str(self.assertRaises(UserError, parse_servers, addresses, listen))

    def test_what_is_no_address(self) -> None:
        for text in (
            *("", ":4222", "desk example", "desk.example/path", "tls://desk.example", "-desk"),
            *("desk..example", "desk_1.example", "*", "a" * 64, f"{'a.' * 126}aa", "desk\n"),
            *(
                "10.0.0",
                "10.0.0.256",
                "1.2.3.4.5",
                "fd00::5",
                "[fd00::5",
                "[desk]x",
                "caf\u00e9.example",
            ),
        ):
            said = self.refusal(text)
            self.assertIn("expected", said, text)
            self.assertTrue(text in said or repr(text) in said, (text, said))

    def test_what_is_no_port(self) -> None:
        for text in ("0", "65536", "99999"):
            said = self.refusal(f"desk.example:{text}")
            self.assertIn(f"expected a port from 1 to 65535, got {text}", said)
        for text in (
            "desk.example:x",
            "desk.example:-1",
            "desk.example:1:2:3",
            "desk.example:123456",
        ):
            self.assertIn("expected HOST, HOST:PORT or HOST:PORT:CLUSTER_PORT", self.refusal(text))

    def test_all_addresses_are_no_place_to_be_reached_at(self) -> None:
        for text in ("0.0.0.0", "[::]:4222"):
            self.assertIn("expected the address at which traders reach it", self.refusal(text))

    def test_one_server_or_three(self) -> None:
        for number in (0, 2, 4):
            said = self.refusal(*(f"desk-{each}.example" for each in range(number)))
            self.assertIn(f"--server is given {number} times; expected one server, or 3", said)

    def test_servers_on_one_machine_have_ports_of_their_own(self) -> None:
        self.assertIn(
            "desk.example:4222 is used twice",
            self.refusal("desk.example", "desk.example", "other.example"),
        )
        self.assertIn("127.0.0.1:5 is used twice", self.refusal("127.0.0.1:5:5"))

    def test_each_server_listens_somewhere_or_none_is_told_to(self) -> None:
        said = self.refusal("a.example", "b.example", "c.example", listen=("10.0.0.1",))
        self.assertIn("--listen is given 1 times; expected it for each --server", said)
        self.assertIn("--listen x y: expected", self.refusal("a.example", listen=("x y",)))
