"""Who may knock; the names and pages that there are, see the tests of the site."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.same_host import may_enter

OWN = ("localhost", "127.0.0.1", "127.0.0.2", "[::1]")


class DoorTests(SynchronousTestCase):
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
            if host != "localhost:":
                self.assertFalse(may_enter(host, None, 5000), host)
            if host is not None:
                self.assertFalse(may_enter("localhost", f"http://{host}", 5000), host)

    def test_a_page_must_name_the_port_unless_it_is_that_of_the_web(self) -> None:
        self.assertFalse(may_enter("localhost", "http://localhost", 5000))
        self.assertTrue(may_enter("localhost", "http://localhost", 80))

    @given(st.sampled_from(OWN), st.sampled_from(OWN), st.integers(1, 65535))
    def test_own_names_may_be_mixed(self, host: str, origin: str, port: int) -> None:
        self.assertTrue(may_enter(f"{host}:{port}", f"http://{origin}:{port}", port))
        self.assertTrue(may_enter(host, None, port))

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_any_text_is_looked_at_without_a_mistake(self, host: str, origin: str) -> None:
        may_enter(host, origin, 5000)
