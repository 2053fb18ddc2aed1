"""The identity of a gateway: its spelling, its short name and its words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.gateway_identity import gateway_identity
from tests.support.state_directories import OTHER_LOGIN, OTHER_URL, PAPER, REAL, URL


class IdentityTests(SynchronousTestCase):
    """Which gateways are the same."""

    def test_practice_has_neither_url_nor_login(self) -> None:
        self.assertEqual(gateway_identity("practice", URL, "jane"), PAPER)
        self.assertEqual((PAPER.key, str(PAPER)), ("practice", "the practice gateway"))

    def test_kind_url_and_login_distinguish_gateways(self) -> None:
        keys = {each.key for each in (PAPER, REAL, OTHER_LOGIN, OTHER_URL)}
        self.assertEqual(len(keys), 4)
        for key in keys - {"practice"}:
            self.assertRegex(key, r"^projectx-[0-9a-f]{8}$")

    def test_the_key_stays_the_same_from_version_to_version(self) -> None:
        """A directory that is not found any more would be a lock that is forgotten."""
        self.assertEqual(REAL.key, "projectx-6b0fe147")

    def test_the_same_url_in_another_spelling_is_the_same_gateway(self) -> None:
        for url in (
            "https://API.topstepx.com",
            "https://api.topstepx.com:443",
            "https://api.topstepx.com/",
            "HTTPS://api.topstepx.com",
        ):
            self.assertEqual(gateway_identity("projectx", url, "jane"), REAL, url)
        self.assertEqual(gateway_identity("projectx", URL, "Jane").key, REAL.key)
        self.assertEqual(
            gateway_identity("projectx", "http://[::1]:5000", "x").url, "http://[::1]:5000"
        )

    def test_another_port_or_path_is_another_gateway(self) -> None:
        for url in (f"{URL}:8443", f"{URL}/demo", "http://localhost:80", "http://localhost:81"):
            self.assertNotEqual(gateway_identity("projectx", url, "jane").key, REAL.key)

    def test_its_words_name_all_of_it(self) -> None:
        self.assertEqual(
            str(REAL),
            "the projectx gateway at https://api.topstepx.com with the login 'jane'",
        )
