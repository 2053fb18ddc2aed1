"""The gateway's settings: a login for TopstepX, and none for paper trading."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import GatewaySettings
from riskd.config.toml import ConfigError
from tests.support.configuration import ACCOUNT, parse


class GatewayTests(SynchronousTestCase):
    """``[gateway]`` in a configuration."""

    def read_gateway(self, text: str) -> GatewaySettings:
        table = f'[gateway]\nkind = "projectx"\nuser_name = "jane"\n{text}\n'
        return parse(table + ACCOUNT).gateway

    def problem(self, text: str) -> str:
        (problem,) = self.assertRaises(ConfigError, parse, text + "\n" + ACCOUNT).problems
        self.assertTrue(problem.startswith("riskd.toml, line "), problem)
        return problem

    def test_topstepx_needs_only_a_user_name(self) -> None:
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

    def test_topstepx_without_a_valid_user_name_is_refused(self) -> None:
        self.assertIn(
            "line 1: gateway.user_name: missing; expected the user name",
            self.problem('[gateway]\nkind = "projectx"'),
        )
        for name in ('""', '" jane"', '"two\\nlines"', "7"):
            self.assertIn(
                "line 3: gateway.user_name: expected the user name of the login",
                self.problem(f'[gateway]\nkind = "projectx"\nuser_name = {name}'),
            )

    def test_a_login_for_paper_trading_is_refused(self) -> None:
        """A trader who forgot the kind would believe that the real account is guarded."""
        for line in ('key_file = "topstepx.key"', 'user_name = "jane"'):
            name, _, value = line.partition(" = ")
            problem = self.problem(f"[gateway]\n{line}")
            self.assertIn(f'line 2: gateway.{name}: expected only with kind "projectx"', problem)
            self.assertIn(f"got {value}", problem)

    def test_a_url_loses_its_last_slash(self) -> None:
        gateway = self.read_gateway('rest_url = "https://api.example.com/"')
        self.assertEqual(gateway.rest_url, "https://api.example.com")

    def test_each_url_is_checked_and_its_problem_names_the_key(self) -> None:
        for name in ("rest_url", "user_hub_url", "market_hub_url"):
            for url, words in (
                ("http://api.topstepx.com", "expected https://"),
                ("https://host\\n", "expected a URL such as https://"),
                ("https://jane:hunter2@ho st", "expected a URL without"),
            ):
                problem = self.problem(
                    f'[gateway]\nkind = "projectx"\nuser_name = "jane"\n{name} = "{url}"'
                )
                self.assertIn(f"line 4: gateway.{name}: {words}", problem)
                self.assertEqual(len(problem.splitlines()), 1)
                self.assertNotIn("hunter2", problem)
