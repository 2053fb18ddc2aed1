"""The gateway's settings, the URLs that a token may be sent to, and the practice gateway's faults."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import MAX_URL, NO_FAULTS, Faults, GatewaySettings, checked_url
from riskd.config.toml import ConfigError
from tests.support.configuration import ACCOUNT, parse

CHANCES = (
    "refuse",
    "pending",
    "unanswered",
    "lost_requests",
    "failed_reads",
    "partial_fills",
    "fill_while_cancelled",
    "lost_events",
    "doubled_events",
    "swapped_events",
    "late_events",
    "events_without_stamp",
    "searches_without_stamp",
    "ends_stamped_early",
    "positions_dated_ahead",
    "positions_without_date",
    "repeated_quotes",
    "old_quote_stamps",
    "zero_last_prices",
    "wild_last_prices",
    "quote_freezes",
    "split_fills",
    "amended_trades",
    "voided_trades",
    "binary_noise",
)
DURATIONS = {
    "slow_seconds": 600,
    "latency_seconds": 5,
    "jitter_seconds": 5,
    "position_delay_seconds": 5,
    "searches_trail_seconds": 5,
    "late_seconds": 600,
    "freeze_seconds": 600,
    "correction_seconds": 600,
}
"""The longest of each."""


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


class CheckedUrlTests(SynchronousTestCase):
    """Which URLs are accepted, and what is said of the others."""

    def problem(self, url: str) -> str:
        return str(self.assertRaises(ValueError, checked_url, url))

    def test_an_accepted_url_loses_its_last_slash(self) -> None:
        for url, accepted in (
            ("https://api.example.com/", "https://api.example.com"),
            ("https://api.example.com:8443/v1/", "https://api.example.com:8443/v1"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://localhost/", "http://localhost"),
            ("http://[::1]:8000/", "http://[::1]:8000"),
        ):
            self.assertEqual(checked_url(url), accepted)

    def test_a_token_does_not_travel_in_the_clear(self) -> None:
        for url in (
            "http://api.topstepx.com",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "ws://rtc.topstepx.com/hubs/user",
            "ftp://localhost",
        ):
            self.assertIn("expected https://", self.problem(url))
            self.assertIn(url, self.problem(url))

    def test_a_text_that_is_no_url_is_refused_in_one_short_line(self) -> None:
        for url in (
            "",
            "api.topstepx.com",
            "https://",
            "https:///hubs",
            "https://[::1",
            "https://host:99999",
            "https://host:0",
            "https://ho st",
            "https://host\n",
            "https://h\N{CYRILLIC SMALL LETTER O}st",
            "https://" + "a" * MAX_URL,
        ):
            problem = self.problem(url)
            self.assertIn("expected a URL such as https://", problem)
            self.assertEqual(len(problem.splitlines()), 1)
            self.assertLess(len(problem), 250)

    def test_a_secret_in_a_url_is_refused_and_not_repeated(self) -> None:
        for url in (
            "https://jane:hunter2@api.topstepx.com",
            "https://hunter2@api.topstepx.com",
            "http://jane:hunter2@localhost",
            "https://api.topstepx.com?access_token=hunter2",
            "https://api.topstepx.com/#hunter2",
            "https://jane:hunter2@ho st",
        ):
            problem = self.problem(url)
            self.assertIn("expected a URL without", problem)
            self.assertNotIn("hunter2", problem)


def faults_of(table: dict[str, Any]) -> Faults:
    """Return the faults that a table of a settings file sets."""
    return msgspec.convert(table, Faults)


class FaultTests(SynchronousTestCase):
    """The table of faults in a settings file."""

    def test_by_default_there_are_no_faults(self) -> None:
        self.assertEqual(faults_of({}), NO_FAULTS)
        # How long a fault lasts if it happens says nothing about whether it does.
        lasting = {"late_seconds", "freeze_seconds", "correction_seconds"}
        values = msgspec.to_builtins(NO_FAULTS)
        self.assertEqual({values[name] for name in set(values) - lasting}, {0})

    def test_every_field_is_read(self) -> None:
        table = {
            **dict.fromkeys(CHANCES, 0.25),
            **dict.fromkeys(DURATIONS, 2.5),
            "clock_offset_seconds": -0.75,
            "requests_per_minute": 200,
            "opening_half_again": True,
            "commissions": True,
        }
        self.assertEqual(msgspec.to_builtins(faults_of(table)), table)

    def test_a_chance_is_from_0_to_1(self) -> None:
        for name in CHANCES:
            for value in (0, 1, 0.5):
                faults_of({name: value})
            for value in (-0.1, 1.1, "often", True):
                error = self.assertRaises(msgspec.ValidationError, faults_of, {name: value})
                self.assertIn(name, str(error))

    def test_a_duration_is_from_0_to_its_longest(self) -> None:
        for name, longest in DURATIONS.items():
            for value in (0, 0.25, longest):
                faults_of({name: value})
            for value in (-0.1, longest + 0.1, "1 s"):
                error = self.assertRaises(msgspec.ValidationError, faults_of, {name: value})
                self.assertIn(name, str(error))

    def test_the_clock_is_at_most_a_day_off(self) -> None:
        for value in (-86_400, 0.25, 86_400):
            faults_of({"clock_offset_seconds": value})
        for value in (-86_401, 86_401):
            self.assertRaises(msgspec.ValidationError, faults_of, {"clock_offset_seconds": value})

    def test_other_values_and_names_are_checked(self) -> None:
        for table in (
            {"requests_per_minute": -1},
            {"requests_per_minute": 0.5},
            {"opening_half_again": 1},
            {"refused": 0.5},
        ):
            self.assertRaises(msgspec.ValidationError, faults_of, table)
