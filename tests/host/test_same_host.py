"""The Host/Origin check; the tests of the servers have the values that each of them accepts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.same_host import SameHostCheck

OWN = ("localhost", "127.0.0.1", "127.0.0.2", "[::1]")


def is_accepted(host: str | None, origin: str | None, port: int) -> bool:
    """Return whether a server at ``127.0.0.2`` that needs no port accepts the headers."""
    check = SameHostCheck([("127.0.0.2", port)], needs_port=False)
    return check.foreign_header(host, origin) is None


class SameHostTests(SynchronousTestCase):
    """Values of ``Host`` and ``Origin``, as a server on a loopback address gets them."""

    def test_tricks_are_refused(self) -> None:
        for host in (
            None,
            "",
            ":5000",
            "localhost:",
            "localhost:5001",
            "localhost:x",
            "localhost:99999",
            "localhost.evil.example:5000",
            "localhost:5000@evil.example",
            "evil.example#localhost:5000",
            "evil.example/localhost",
            "localhost/../:5000",
            "[::1",
            "::1",
            "0.0.0.0:5000",
            "[::]:5000",
            "local\thost",
            "2130706433",
        ):
            self.assertFalse(is_accepted(host, None, 5000), host)
            if host is not None:
                self.assertFalse(is_accepted("localhost", f"http://{host}", 5000), host)

    def test_an_origin_must_name_the_port_unless_it_is_the_default_port(self) -> None:
        self.assertFalse(is_accepted("localhost", "http://localhost", 5000))
        self.assertTrue(is_accepted("localhost", "http://localhost", 80))

    @given(st.sampled_from(OWN), st.sampled_from(OWN), st.integers(1, 65535))
    def test_own_names_may_be_mixed(self, host: str, origin: str, port: int) -> None:
        self.assertTrue(is_accepted(f"{host}:{port}", f"http://{origin}:{port}", port))
        self.assertTrue(is_accepted(host, None, port))

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_no_text_raises(self, host: str, origin: str) -> None:
        is_accepted(host, origin, 5000)

    def test_the_port_may_be_needed(self) -> None:
        check = SameHostCheck([("127.0.0.1", 5000)])
        self.assertEqual(check.foreign_header("localhost", None), "Host")
        self.assertIsNone(check.foreign_header("localhost:5000", None))

    def test_the_foreign_header_is_named(self) -> None:
        check = SameHostCheck([("127.0.0.1", 5000)], ["https://desk.example"])
        self.assertEqual(check.foreign_header("localhost:5000", "http://evil.example"), "Origin")
        self.assertEqual(check.foreign_header("evil.example", "https://desk.example"), "Host")
