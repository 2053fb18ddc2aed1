"""The configuration: what it says, what it may not say, and the files that document it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.faults import Faults
from riskd.config.settings import (
    MAX_BYTES,
    PRACTICE_ACCOUNTS,
    AccountSettings,
    ConfigError,
    GatewaySettings,
    PracticeSettings,
    ServerSettings,
    Settings,
    load,
    practice_settings,
    read,
    settings_from_json,
    settings_json,
)
from riskd.config.toml import key_lines
from riskd.model.trading_day import ResetSchedule
from riskd.rules.registry import RULES

DOCS = Path(__file__).parents[2] / "docs"
BY_KEY = {rule.key: rule for rule in RULES}
ACCOUNT = "[[accounts]]\nid = 123\n"


def read_text(text: str) -> Settings:
    return read(text, "riskd.toml", BY_KEY)


def only_account(text: str) -> AccountSettings:
    (account,) = read_text(text).accounts
    return account


def rules_of(account: AccountSettings) -> dict[str, Any]:
    return {one.rule.key: one.settings for one in account.rules}


class ReadTests(SynchronousTestCase):
    """What a configuration says."""

    def test_an_account_is_enough(self) -> None:
        self.assertEqual(
            read_text(ACCOUNT), Settings(accounts=(AccountSettings(id=123),), text=ACCOUNT)
        )

    def test_everything_but_rules(self) -> None:
        settings = read_text(
            """
            strict_mode = true
            enforce = false
            [defaults]
            time_zone = "America/New_York"
            [gateway]
            kind = "practice"
            [practice]
            seed = 7
            faults = { refuse = 0.25, requests_per_minute = 60, opening_half_again = true }
            [server]
            max_clients = 5
            allowed_origins = ["http://localhost:3000"]
            [[accounts]]
            id = 123
            name = "Combine"
            watch = ["mnq", "ES", "MNQ"]
            reset_time = "16:30"
            [[accounts]]
            id = 456
            time_zone = "Europe/Berlin"
            """
        )
        first, second = settings.accounts
        self.assertEqual((settings.strict_mode, settings.enforce), (True, False))
        self.assertEqual(settings.gateway, GatewaySettings(kind="practice"))
        faults = Faults(refuse=0.25, requests_per_minute=60, opening_half_again=True)
        self.assertEqual(settings.practice, PracticeSettings(seed=7, faults=faults))
        origins = ("http://localhost:3000",)
        self.assertEqual(settings.server, ServerSettings(max_clients=5, allowed_origins=origins))
        self.assertEqual((first.name, first.watch), ("Combine", ("MNQ", "ES")))
        schedule = ResetSchedule(reset_time=time(16, 30), time_zone="America/New_York")
        self.assertEqual(first.schedule, schedule)
        self.assertEqual(second.schedule, ResetSchedule(time_zone="Europe/Berlin"))

    def test_midnight_is_a_reset_time(self) -> None:
        text = f'[defaults]\nreset_time = "17:30"\n{ACCOUNT}reset_time = "00:00"'
        self.assertEqual(only_account(text).schedule.reset_time, time(0))

    def test_rules_that_are_not_named_do_not_run(self) -> None:
        self.assertEqual(only_account(ACCOUNT).rules, ())

    def test_rules_come_in_the_order_in_which_they_are_asked(self) -> None:
        tables = "".join(f"[rules.{key}]\nenabled = true\n" for key in reversed(BY_KEY))
        account = only_account(tables + ACCOUNT)
        self.assertEqual([one.rule.key for one in account.rules], list(BY_KEY))

    def test_an_account_overrides_key_by_key(self) -> None:
        first, second = read_text(
            """
            [rules.daily_realized_loss]
            loss_limit = 400
            include_fees = true
            [[accounts]]
            id = 123
            [accounts.rules.daily_realized_loss]
            loss_limit = 250.50
            [[accounts]]
            id = 456
            [accounts.rules.max_contracts]
            """
        ).accounts
        self.assertEqual(list(rules_of(first)), ["daily_realized_loss"])
        self.assertEqual(list(rules_of(second)), ["max_contracts", "daily_realized_loss"])
        limits = [rules_of(each)["daily_realized_loss"] for each in (first, second)]
        self.assertEqual([str(each.loss_limit) for each in limits], ["250.50", "400"])
        self.assertEqual([each.include_fees for each in limits], [True, True])

    def test_rules_are_switched_off_for_all_or_for_one(self) -> None:
        first, second = read_text(
            """
            [rules.max_contracts]
            [rules.symbol_blocks]
            enabled = false
            [rules.trade_management]
            [[accounts]]
            id = 123
            [accounts.rules.max_contracts]
            enabled = false
            [[accounts]]
            id = 456
            [accounts.rules.symbol_blocks]
            enabled = true
            """
        ).accounts
        self.assertEqual(list(rules_of(first)), [])
        self.assertEqual(list(rules_of(second)), ["max_contracts", "symbol_blocks"])

    def test_amounts_are_exact(self) -> None:
        for text, exact in (("0.1", "0.1"), ("500", "500"), ("1_000.25", "1000.25")):
            table = f"[rules.daily_realized_loss]\nloss_limit = {text}\n"
            limit = rules_of(only_account(table + ACCOUNT))["daily_realized_loss"].loss_limit
            self.assertIsInstance(limit, Decimal)
            self.assertEqual(limit, Decimal(exact))

    def test_dates_are_dates_or_texts(self) -> None:
        table = '[rules.session_block_outside]\nholidays = [2026-12-25, "2027-01-01"]\n'
        settings = rules_of(only_account(table + ACCOUNT))["session_block_outside"]
        self.assertEqual(tuple(settings.holidays), (date(2026, 12, 25), date(2027, 1, 1)))

    def test_settings_of_rules_survive_as_json(self) -> None:
        for rule in RULES:
            text = f"[rules.{rule.key}]\nenabled = true\n{ACCOUNT}"
            settings = rules_of(only_account(text))[rule.key]
            as_json = settings_json(settings)
            self.assertNotIn(" ", as_json)
            self.assertEqual(settings_from_json(rule, as_json), settings)

    def test_json_of_another_rule(self) -> None:
        for text in ('{"limt": 5}', '{"limit": 0}', "nonsense"):
            self.assertRaises(ValueError, settings_from_json, BY_KEY["max_contracts"], text)


class GatewayTests(SynchronousTestCase):
    """Where the accounts are, and who logs in."""

    def read_gateway(self, text: str) -> GatewaySettings:
        table = f'[gateway]\nkind = "projectx"\nuser_name = "jane"\n{text}\n'
        return read_text(table + ACCOUNT).gateway

    def problem(self, text: str) -> str:
        (problem,) = self.assertRaises(ConfigError, read_text, text + "\n" + ACCOUNT).problems
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


class MistakeTests(SynchronousTestCase):
    """What a configuration may not say."""

    def problems(self, text: str) -> tuple[str, ...]:
        return self.assertRaises(ConfigError, read_text, text).problems

    def test_all_are_told_at_once_in_the_order_of_the_text(self) -> None:
        self.assertEqual(
            self.problems(
                """strict_mode = 1
colour = "green"
[gateway]
kind = "projectxx"
[rules.max_contract]
[rules.max_contracts]
limit = 0
count_type = "nett"
[rules.daily_realized_loss]
loss_limit = "500"
[[accounts]]
id = 123
reset_time = "25:00"
[accounts.rules.max_contracts]
limt = 3
[[accounts]]
watch = ["M NQ"]
time_zone = "Amrica/Chicago"
[accounts.rules.daily_unrealized_loss]
lockout = true
[accounts.rules.daily_realized_loss]
loss_limit = -5
"""
            ),
            (
                "riskd.toml, line 1: strict_mode: expected true or false, got 1",
                "riskd.toml, line 2: colour: unknown key; known are accounts, defaults, gateway, practice, server, strict_mode, enforce, rules",
                'riskd.toml, line 4: gateway.kind: expected one of "practice", "projectx", got "projectxx"; did you mean projectx?',
                "riskd.toml, line 5: rules.max_contract: there is no such rule; did you mean max_contracts?",
                "riskd.toml, line 7: rules.max_contracts.limit: expected a whole number above 0 up to 10000, got 0",
                'riskd.toml, line 8: rules.max_contracts.count_type: expected one of "net", "gross", got "nett"; did you mean net?',
                'riskd.toml, line 10: rules.daily_realized_loss.loss_limit: expected an amount above 0, such as 500 or 0.50, without quotes, got "500"',
                'riskd.toml, line 13: accounts[0].reset_time: expected a time of day such as "17:00", got "25:00"',
                "riskd.toml, line 15: accounts[0].rules.max_contracts.limt: unknown key; did you mean limit?",
                "riskd.toml, line 16: accounts[1].id: missing; expected the gateway's number of the account, above 0",
                'riskd.toml, line 17: accounts[1].watch[0]: expected a ticker such as "MNQ", without month and year, got "M NQ"',
                'riskd.toml, line 18: accounts[1].time_zone: expected the name of a time zone, such as "America/Chicago", got "Amrica/Chicago"; did you mean America/Chicago?',
                "riskd.toml, line 20: accounts[1].rules.daily_unrealized_loss.lockout: expected false with scope per_position, got true",
                "riskd.toml, line 22: accounts[1].rules.daily_realized_loss.loss_limit: expected an amount above 0, such as 500 or 0.50, without quotes, got -5",
            ),
        )

    def test_each_single_value(self) -> None:
        for text, words in (
            (ACCOUNT + "[accounts.rules.max_contracts]\nlimit = true", "got true"),
            (ACCOUNT + "[accounts.rules.max_contracts]\nlimit = 5.0", "got 5.0"),
            # Copied from a screen, it is a contract's name, and the rule would never act.
            (
                ACCOUNT + '[accounts.rules.symbol_blocks]\nblocked_symbols = ["MNQ", "MNQZ6"]',
                'expected a ticker such as "MNQ", without month and year, got "MNQZ6"',
            ),
            (
                ACCOUNT + "[accounts.rules.max_contracts_per_instrument]\nlimits = { mesh27 = 1 }",
                'expected a ticker such as "MNQ", without month and year',
            ),
            (ACCOUNT + "[accounts.rules.daily_realized_loss]\nloss_limit = true", "got true"),
            (ACCOUNT + "[accounts.rules.daily_realized_loss]\nloss_limit = 0", "got 0"),
            (ACCOUNT + "[accounts.rules.daily_realized_loss]\nloss_limit = nan", "got NaN"),
            (ACCOUNT + "[accounts.rules.daily_realized_loss]\nloss_limit = inf", "got Infinity"),
            (ACCOUNT + "[accounts.rules.daily_realized_loss]\nloss_limit = 1e99", "got 1E+99"),
            (ACCOUNT + "[accounts.rules.daily_realized_loss]\nloss_limit = 1e-99", "got 1E-99"),
            (ACCOUNT + f"[accounts.rules.max_contracts]\nlimit = 0x{'f' * 9999}", "got 0xffff"),
            (ACCOUNT + "[accounts.rules]\nmax_contracts = 5", "expected a table, got 5"),
            (ACCOUNT + "rules = []", "expected a table, got an empty list"),
            (ACCOUNT + 'name = "two\\nlines"', '"two\\nlines"'),
            (ACCOUNT + 'watch = "MNQ"', "expected a list"),
            (ACCOUNT + 'time_zone = "../etc/passwd"', "time zone"),
            (ACCOUNT + 'time_zone = "America"', "time zone"),
            (ACCOUNT + "time_zone = 1", "time zone"),
            (ACCOUNT + "reset_time = 17", "time of day"),
            (ACCOUNT + 'reset_time = "7:00"', "time of day"),
            ("accounts = 5", "accounts: expected a list, got 5"),
            ("accounts = [5]", "accounts[0]: expected a table, got 5"),
            ("accounts = []", "at least one account"),
            ("", "at least one account"),
            ("[[accounts]]\nid = true", "got true"),
            ("[[accounts]]\nid = 0", "got 0"),
            (ACCOUNT + ACCOUNT, "accounts[1].id: expected an id of its own"),
            (ACCOUNT + '[server]\nallowed_origins = ["null"]', "an origin such as"),
            (ACCOUNT + "[server]\nmax_clients = 0", "from 1 up to 100000"),
            (ACCOUNT + "[practice.faults]\nrefuse = 1.5", "from 0 up to 1, got 1.5"),
            (ACCOUNT + "[practice.faults]\nlost_event = 0", "did you mean lost_events?"),
            ("rules = 5\n" + ACCOUNT, "rules: expected a table, got 5"),
            ('"odd\\nkey" = 1\n' + ACCOUNT, '"odd\\nkey": unknown key'),
        ):
            problems = self.problems(text)
            self.assertEqual(len(problems), 1, problems)
            self.assertIn(words, problems[0])
            self.assertEqual(len(problems[0].splitlines()), 1)
            self.assertLess(len(problems[0]), 300)

    def test_nested_tables_and_lists(self) -> None:
        problems = self.problems(
            "[rules.cooldown_after_loss]\n"
            "loss_thresholds = [\n"
            "    { loss_amount = 100, cooldown_duration = 300 },\n"
            "    { loss_amount = -1, cooldown_duration = 0, colour = 1 },\n"
            "]\n"
            "[rules.trade_frequency_limit]\n"
            "limits = {}\n" + ACCOUNT
        )
        self.assertEqual(len(problems), 4)
        for problem in problems[:3]:
            self.assertIn("line 2: rules.cooldown_after_loss.loss_thresholds[1].", problem)
        self.assertIn("rules.trade_frequency_limit.limits: expected per_minute", problems[3])

    def test_usual_settings_are_blamed_once(self) -> None:
        text = '[rules.daily_unrealized_loss]\nscope = "per_position"\nlockout = true\n'
        problems = self.problems(f"{text}{ACCOUNT}[[accounts]]\nid = 456")
        self.assertEqual(len(problems), 1)
        self.assertIn("line 3: rules.daily_unrealized_loss.lockout", problems[0])

    def test_what_is_no_toml(self) -> None:
        for text, words in (
            ("a = = 1", "(at line 1, column 5)"),
            ("x = 1\nreset_time = 17:00", "(at line 2,"),
            ("a = 1\na = 2", "Cannot overwrite a value"),
            ("a = " + "[" * 100_000, "nested too deeply"),
            ("a = " + "9" * 5000, "too long"),
            ("a = 1e" + "9" * 50, "too long"),
        ):
            (problem,) = self.problems(text)
            self.assertTrue(problem.startswith("riskd.toml: "), problem)
            self.assertIn(words, problem)

    def test_values_of_unknown_keys_are_not_repeated(self) -> None:
        (problem,) = self.problems('[gateway]\napi_ky = "hunter2"\n' + ACCOUNT)
        self.assertIn("gateway.api_ky: unknown key", problem)
        self.assertNotIn("hunter2", problem)

    def test_a_secret_is_told_where_it_belongs_and_is_not_repeated(self) -> None:
        for key in ("api_key", "API-KEY", "apikey", "key", "password", "secret", "token"):
            for text in (
                f'{key} = "hunter2"\n{ACCOUNT}',
                f'[gateway]\n{key} = "hunter2"\n{ACCOUNT}',
                f'gateway = {{ kind = "practice", {key} = "hunter2" }}\n{ACCOUNT}',
                f'{ACCOUNT}{key} = "hunter2"',
                f'{ACCOUNT}[accounts.rules.max_contracts]\n{key} = "hunter2"',
            ):
                (problem,) = self.problems(text)
                self.assertIn(f"{key}: a secret does not belong in this file", problem)
                for place in ("gateway.key_file", "riskd-api-key", "RISKD_API_KEY"):
                    self.assertIn(place, problem)
                self.assertNotIn("hunter2", problem)

    def test_an_error_is_a_line_for_each_problem(self) -> None:
        error = self.assertRaises(ConfigError, read_text, "strict_mode = 1")
        self.assertEqual(str(error).splitlines(), list(error.problems))


class LineTests(SynchronousTestCase):
    """Where keys stand."""

    def test_tables_keys_and_lists_of_tables(self) -> None:
        text = (
            'a = 1\n[b.c] # here\n"d e".f = 2\n[[g]]\nh=3\n[ g . i ]\nj=4\n[[g]]\n[[g.k]]\nl=5\n'
        )
        self.assertEqual(
            key_lines(text),
            {
                ("a",): 1,
                ("b", "c"): 2,
                ("b", "c", "d e", "f"): 3,
                ("g", 0): 4,
                ("g", 0, "h"): 5,
                ("g", 0, "i"): 6,
                ("g", 0, "i", "j"): 7,
                ("g", 1): 8,
                ("g", 1, "k", 0): 9,
                ("g", 1, "k", 0, "l"): 10,
            },
        )


class LoadTests(SynchronousTestCase):
    """Files."""

    def setUp(self) -> None:
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        self.path = Path(directory, "riskd.toml")

    def problem(self, content: bytes | None = None) -> str:
        if content is not None:
            self.path.write_bytes(content)
        (problem,) = self.assertRaises(ConfigError, load, self.path, BY_KEY).problems
        self.assertIn(str(self.path), problem)
        return problem

    def test_a_file(self) -> None:
        self.path.write_text(ACCOUNT.replace("\n", "\r\n"), encoding="utf-8")
        settings = load(self.path, BY_KEY)
        self.assertEqual(in_effect(settings), in_effect(read_text(ACCOUNT)))
        self.assertEqual(settings.text, ACCOUNT.replace("\n", "\r\n"))

    def test_a_key_file_is_beside_the_configuration(self) -> None:
        table = '[gateway]\nkind = "projectx"\nuser_name = "jane"\nkey_file = "{}"\n'
        for text, found in (
            ("topstepx.key", str(self.path.parent / "topstepx.key")),
            ("/etc/riskd/topstepx.key", "/etc/riskd/topstepx.key"),
        ):
            self.path.write_text(table.format(text) + ACCOUNT, encoding="utf-8")
            self.assertEqual(load(self.path, BY_KEY).gateway.key_file, found)

    def test_of_a_relative_path_too(self) -> None:
        """The daemon may be elsewhere when it looks for the key again."""
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.path.parent)
        table = '[gateway]\nkind = "projectx"\nuser_name = "jane"\nkey_file = "topstepx.key"\n'
        self.path.write_text(table + ACCOUNT, encoding="utf-8")
        self.assertEqual(
            load(Path("riskd.toml"), BY_KEY).gateway.key_file, str(Path.cwd() / "topstepx.key")
        )

    def test_no_file(self) -> None:
        self.assertIn("cannot be read: No such file", self.problem())

    def test_a_directory(self) -> None:
        self.path.mkdir()
        self.assertIn("is no file", self.problem())

    def test_a_pipe_that_nobody_writes_into(self) -> None:
        os.mkfifo(self.path)
        self.assertIn("is no file", self.problem())

    def test_not_text(self) -> None:
        self.assertIn(", line 2: is not text in UTF-8", self.problem(b"a = 1\nb = '\xff'"))

    def test_too_large(self) -> None:
        self.assertIn(f"larger than {MAX_BYTES} bytes", self.problem(b"#" * (MAX_BYTES + 1)))

    def test_a_mistake_names_the_file(self) -> None:
        self.assertIn(
            f"{self.path}, line 1: strict", self.problem(b"strict_mode=1\n[[accounts]]\nid=1")
        )


class GuideTests(SynchronousTestCase):
    """``docs/topstepx.md`` begins with a configuration that can be used."""

    def test_it_is_a_dry_run_on_topstepx(self) -> None:
        guide = (DOCS / "topstepx.md").read_text(encoding="utf-8")
        (text,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
        settings = read_text(text)
        self.assertEqual((settings.gateway.kind, settings.enforce), ("projectx", False))
        (account,) = settings.accounts
        self.assertEqual(len(account.rules), 3)


class PracticeTests(SynchronousTestCase):
    """What runs without a configuration."""

    def test_the_accounts_are_those_of_the_practice_gateway(self) -> None:
        accounts = practice_settings(BY_KEY).accounts
        known = [(account.id, account.watch) for account in PRACTICE_ACCOUNTS]
        self.assertEqual([(account.id, account.watch) for account in accounts], known)

    def test_the_accounts_are_guarded_at_any_hour(self) -> None:
        for account in practice_settings(BY_KEY).accounts:
            self.assertIn("cooldown_after_loss", rules_of(account))
            self.assertNotIn("session_block_outside", rules_of(account))


class PurityTests(SynchronousTestCase):
    """The settings know no reactor."""

    def test_twisted_is_not_imported(self) -> None:
        code = "import sys, riskd.config.settings; print([name for name in sys.modules if 'twisted' in name])"
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        self.assertEqual(result.stdout, "[]\n")


EXAMPLE = (DOCS / "riskd.example.toml").read_text(encoding="utf-8")
DEFAULT_LINE = re.compile(r"^#(?=\w+ = )", re.MULTILINE)
EXAMPLE_LINE = re.compile(r"^#\? (?=\w+ = )", re.MULTILINE)


def uncommented(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Yield each line of the example that fits, and the example without the mark of that line."""
    for match in pattern.finditer(EXAMPLE):
        text = EXAMPLE[: match.start()] + EXAMPLE[match.end() :]
        yield text[match.start() :].partition("\n")[0], text


def in_effect(settings: Settings) -> Any:
    """Return ``settings`` so that two that mean the same are equal."""
    accounts = [
        msgspec.structs.replace(
            account,
            # Its settings say as little as the file does; the windows are what they mean.
            rules=[
                (one.rule.key, getattr(one.settings, "windows", one.settings))
                for one in account.rules
            ],
        )
        for account in settings.accounts
    ]
    return msgspec.structs.replace(settings, accounts=tuple(accounts), text="")


def fields_of(kind: type[msgspec.Struct]) -> Iterator[str]:
    """Yield the keys of a table and of the tables in it."""
    for field in msgspec.structs.fields(kind):
        yield field.encode_name
        for inner in structs_in(field.type):
            yield from fields_of(inner)


def structs_in(kind: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, msgspec.Struct):
        yield kind
    for part in get_args(kind):
        yield from structs_in(part)


class ExampleTests(SynchronousTestCase):
    """``docs/riskd.example.toml`` says what the code says."""

    def test_it_is_a_configuration(self) -> None:
        settings = read_text(EXAMPLE)
        self.assertEqual([account.id for account in settings.accounts], [123, 456])

    def test_what_it_calls_defaults_are_the_defaults(self) -> None:
        as_it_is = in_effect(read_text(EXAMPLE))
        for line, text in uncommented(DEFAULT_LINE):
            self.assertEqual(in_effect(read_text(text)), as_it_is, line)

    def test_its_examples_can_be_used(self) -> None:
        lines = []
        for line, text in uncommented(EXAMPLE_LINE):
            lines.append(line)
            if line.startswith("cooldown_on_breach"):
                # It makes sense together with the line before it.
                read_text(text.replace("#? limits = { per", "limits = { per"))
            elif line.startswith(("user_name", "key_file")):
                # So do these, and with another gateway.
                of_broker = text.replace('#kind = "practice"', 'kind = "projectx"')
                read_text(of_broker.replace("#? user_name", "user_name"))
            else:
                read_text(text)
        self.assertGreater(len(lines), 4)

    def test_every_key_of_every_rule_is_in_it(self) -> None:
        for rule in RULES:
            _, header, rest = EXAMPLE.partition(f"\n[rules.{rule.key}]\n")
            self.assertTrue(header, rule.key)
            self.check(rest.partition("\n[")[0], rule.settings_type, rule.key)

    def test_every_other_key_is_in_it(self) -> None:
        for kind in (GatewaySettings, ServerSettings, PracticeSettings, Settings):
            self.check(EXAMPLE, kind, kind.__name__, "schedule", "text")

    def check(self, text: str, kind: type[msgspec.Struct], name: str, *but: str) -> None:
        for key in fields_of(kind):
            if key not in but:
                self.assertRegex(text, rf"\b{key}( =|\]|\.)", f"{name}.{key}")
