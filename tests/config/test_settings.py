"""The gateway's settings: where requests and logins may be sent."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import GatewaySettings
from riskd.config.toml import ConfigError
from tests.support.configuration import ACCOUNT, parse


class GatewayTests(SynchronousTestCase):
    """Where the accounts are, and who logs in."""

    def read_gateway(self, text: str) -> GatewaySettings:
        table = f'[gateway]\nkind = "projectx"\nuser_name = "jane"\n{text}\n'
        return parse(table + ACCOUNT).gateway

    def problem(self, text: str) -> str:
        (problem,) = self.assertRaises(ConfigError, parse, text + "\n" + ACCOUNT).problems
        self.assertTrue(problem.startswith("riskd.toml, line "), problem)
        return problem

    def test_topstepx_needs_a_user_name_and_no_more(self) -> None:
        self.assertEqual(
            self.read_gateway(""),
            GatewaySettings(
                kind="projectx",
                user_name="jane",
                key_file=None,
                rest_url="https://api.topstepx.com",
                user_hub_url="https://rtc.topstepx.com/hubs/user",
                market_hub_url="https://rtc.topstepx.com/hubs/market",
            ),
        )

    def test_without_a_user_name(self) -> None:
        self.assertIn(
            "line 1: gateway.user_name: missing; expected the user name",
            self.problem('[gateway]\nkind = "projectx"'),
        )
        for name in ('""', '" jane"', '"two\\nlines"', "7"):
            self.assertIn(
                "line 3: gateway.user_name: expected the user name of the login",
                self.problem(f'[gateway]\nkind = "projectx"\nuser_name = {name}'),
            )

    def test_a_login_for_practice_is_a_mistake(self) -> None:
        """Who gave one, and forgot to say for what, believes that the account is guarded."""
        for line in ('key_file = "topstepx.key"', 'user_name = "jane"'):
            name, _, value = line.partition(" = ")
            problem = self.problem(f"[gateway]\n{line}")
            self.assertIn(f'line 2: gateway.{name}: expected only with kind "projectx"', problem)
            self.assertIn(f"got {value}", problem)

    def test_a_url_loses_its_last_slash(self) -> None:
        for text, url in (
            ("https://api.example.com/", "https://api.example.com"),
            ("https://api.example.com:8443/v1/", "https://api.example.com:8443/v1"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://localhost/", "http://localhost"),
            ("http://[::1]:8000/", "http://[::1]:8000"),
        ):
            self.assertEqual(self.read_gateway(f'rest_url = "{text}"').rest_url, url)

    def test_a_token_never_travels_in_the_clear(self) -> None:
        for name in ("rest_url", "user_hub_url", "market_hub_url"):
            for url in (
                "http://api.topstepx.com",
                "http://10.0.0.1",
                "http://localhost.example.com",
                "http://127.0.0.1.example.com",
                "ws://rtc.topstepx.com/hubs/user",
                "ftp://localhost",
            ):
                problem = self.problem(
                    f'[gateway]\nkind = "projectx"\nuser_name = "jane"\n{name} = "{url}"'
                )
                self.assertIn(f"line 4: gateway.{name}: expected https://", problem)
                self.assertIn(url, problem)

    def test_what_is_no_url(self) -> None:
        for url in (
            "",
            "api.topstepx.com",
            "https://",
            "https:///hubs",
            "https://[::1",
            "https://host:99999",
            "https://host:0",
            "https://ho st",
            "https://host\\n",
            "https://h\N{CYRILLIC SMALL LETTER O}st",
            "https://" + "a" * 200,
        ):
            problem = self.problem(f'[gateway]\nrest_url = "{url}"')
            self.assertIn("line 2: gateway.rest_url: expected a URL such as https://", problem)
            self.assertEqual(len(problem.splitlines()), 1)
            self.assertLess(len(problem), 300)

    def test_secrets_in_a_url_are_refused_and_not_repeated(self) -> None:
        for url in (
            "https://jane:hunter2@api.topstepx.com",
            "https://hunter2@api.topstepx.com",
            "http://jane:hunter2@localhost",
            "https://api.topstepx.com?access_token=hunter2",
            "https://api.topstepx.com/#hunter2",
            "https://jane:hunter2@ho st",
        ):
            problem = self.problem(f'[gateway]\nrest_url = "{url}"')
            self.assertIn("line 2: gateway.rest_url: expected a URL without", problem)
            self.assertNotIn("hunter2", problem)
