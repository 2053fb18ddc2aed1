"""Loading ``riskd.toml``: valid configurations, and a message for every mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.loader import load_settings, practice_settings
from riskd.config.settings import (
    AccountSettings,
    Faults,
    GatewaySettings,
    PracticeSettings,
    ServerSettings,
    Settings,
)
from riskd.config.toml import ConfigError
from riskd.host.users import current_user
from riskd.model.trading_day import ResetSchedule
from tests.support.configuration import ACCOUNT, CATALOGUE, only_account, parse, rules_of
from tests.support.directories import temporary_directory


class ValidTests(SynchronousTestCase):
    """Settings of valid configurations."""

    def test_an_account_is_a_whole_configuration(self) -> None:
        self.assertEqual(
            parse(ACCOUNT), Settings(accounts=(AccountSettings(id=123),), text=ACCOUNT)
        )

    def test_every_table_but_rules_is_read(self) -> None:
        settings = parse(
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

    def test_midnight_overrides_the_default_reset_time(self) -> None:
        text = f'[defaults]\nreset_time = "17:30"\n{ACCOUNT}reset_time = "00:00"'
        self.assertEqual(only_account(text).schedule.reset_time, time(0))

    def test_rules_that_are_not_named_are_not_in_force(self) -> None:
        self.assertEqual(only_account(ACCOUNT).rules, ())

    def test_rules_are_in_order_of_evaluation_whatever_the_order_of_the_file(self) -> None:
        tables = "".join(f"[rules.{key}]\nenabled = true\n" for key in reversed(CATALOGUE))
        account = only_account(tables + ACCOUNT)
        self.assertEqual([one.rule.key for one in account.rules], list(CATALOGUE))

    def test_an_account_overrides_shared_settings_key_by_key(self) -> None:
        first, second = parse(
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

    def test_a_rule_is_switched_off_for_all_accounts_or_for_one(self) -> None:
        first, second = parse(
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

    def test_amounts_are_exact_decimals(self) -> None:
        for text, exact in (("0.1", "0.1"), ("500", "500"), ("1_000.25", "1000.25")):
            table = f"[rules.daily_realized_loss]\nloss_limit = {text}\n"
            limit = rules_of(only_account(table + ACCOUNT))["daily_realized_loss"].loss_limit
            self.assertIsInstance(limit, Decimal)
            self.assertEqual(limit, Decimal(exact))

    def test_a_date_may_be_quoted(self) -> None:
        table = '[rules.session_block_outside]\nholidays = [2026-12-25, "2027-01-01"]\n'
        settings = rules_of(only_account(table + ACCOUNT))["session_block_outside"]
        self.assertEqual(tuple(settings.holidays), (date(2026, 12, 25), date(2027, 1, 1)))


class MistakeTests(SynchronousTestCase):
    """Invalid configurations, and what their messages say."""

    def problems(self, text: str) -> tuple[str, ...]:
        return self.assertRaises(ConfigError, parse, text).problems

    def test_all_mistakes_are_reported_at_once_in_the_order_of_the_text(self) -> None:
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
                "riskd.toml, line 2: colour: unknown key; known are gateway, practice, server, strict_mode, enforce, commitment, desk, accounts, defaults, rules, files",
                'riskd.toml, line 4: gateway.kind: expected one of "practice", "projectx", got "projectxx"; did you mean projectx?',
                "riskd.toml, line 5: rules.max_contract: there is no such rule; did you mean max_contracts?",
                "riskd.toml, line 7: rules.max_contracts.limit: expected a whole number above 0 up to 10000, got 0",
                'riskd.toml, line 8: rules.max_contracts.count_type: expected one of "net", "gross", got "nett"; did you mean net?',
                'riskd.toml, line 10: rules.daily_realized_loss.loss_limit: expected an amount above 0, such as 500 or 0.50, without quotes, got "500"',
                'riskd.toml, line 13: accounts[0].reset_time: expected a time of day such as "17:00", got "25:00"',
                "riskd.toml, line 15: accounts[0].rules.max_contracts.limt: unknown key; did you mean limit?",
                "riskd.toml, line 16: accounts[1].id: missing; expected the gateway's account id, a number above 0",
                'riskd.toml, line 17: accounts[1].watch[0]: expected a ticker such as "MNQ", without month and year, got "M NQ"',
                'riskd.toml, line 18: accounts[1].time_zone: expected the name of a time zone, such as "America/Chicago", got "Amrica/Chicago"; did you mean America/Chicago?',
                "riskd.toml, line 20: accounts[1].rules.daily_unrealized_loss.lockout: expected false with scope per_position, got true",
                "riskd.toml, line 22: accounts[1].rules.daily_realized_loss.loss_limit: expected an amount above 0, such as 500 or 0.50, without quotes, got -5",
            ),
        )

    def test_names_that_people_use_are_answered_with_the_right_ones(self) -> None:
        for name, zone in (
            *(
                ("CST", "America/Chicago"),
                ("CT", "America/Chicago"),
                ("central", "America/Chicago"),
            ),
            *(
                ("ET", "America/New_York"),
                ("PST", "America/Los_Angeles"),
                ("BST", "Europe/London"),
            ),
        ):
            rule = f'[rules.session_block_outside]\ntimezone = "{name}"\n{ACCOUNT}'
            for text in (f'{ACCOUNT}time_zone = "{name}"', rule):
                self.assertIn(f"did you mean {zone}?", " ".join(self.problems(text)))
        (problem,) = self.problems(f'[gateway]\nkind = "topstepx"\n{ACCOUNT}')
        self.assertIn("did you mean projectx?", problem)

    def test_each_mistake_is_one_short_line_that_says_what_was_expected(self) -> None:
        for text, words in (
            (ACCOUNT + "[accounts.rules.max_contracts]\nlimit = true", "got true"),
            (ACCOUNT + "[accounts.rules.max_contracts]\nlimit = 5.0", "got 5.0"),
            # A contract's name, copied from a screen: a rule that named it would never act.
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

    def test_mistakes_in_nested_tables_and_lists_name_the_item(self) -> None:
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

    def test_a_mistake_in_shared_settings_is_reported_once_for_all_accounts(self) -> None:
        text = '[rules.daily_unrealized_loss]\nscope = "per_position"\nlockout = true\n'
        problems = self.problems(f"{text}{ACCOUNT}[[accounts]]\nid = 456")
        self.assertEqual(len(problems), 1)
        self.assertIn("line 3: rules.daily_unrealized_loss.lockout", problems[0])

    def test_a_text_that_is_no_toml_is_refused(self) -> None:
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

    def test_the_value_of_an_unknown_key_is_not_repeated(self) -> None:
        (problem,) = self.problems('[gateway]\napi_ky = "hunter2"\n' + ACCOUNT)
        self.assertIn("gateway.api_ky: unknown key", problem)
        self.assertNotIn("hunter2", problem)

    def test_a_secret_is_not_repeated_and_the_message_says_where_it_belongs(self) -> None:
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

    def test_the_text_of_the_error_has_a_line_for_each_mistake(self) -> None:
        error = self.assertRaises(ConfigError, parse, "strict_mode = 1")
        self.assertEqual(str(error).splitlines(), list(error.problems))


class LoadTests(SynchronousTestCase):
    """Loading a file."""

    def setUp(self) -> None:
        self.path = temporary_directory(self) / "riskd.toml"

    def test_a_file_gives_the_settings_of_its_text(self) -> None:
        self.path.write_text(ACCOUNT.replace("\n", "\r\n"), encoding="utf-8")
        settings = load_settings(self.path, CATALOGUE)
        self.assertEqual(settings.operator, current_user())
        of_text = parse(ACCOUNT.replace("\n", "\r\n"))
        self.assertEqual(msgspec.structs.replace(settings, operator=""), of_text)

    def test_a_key_file_is_relative_to_the_configuration(self) -> None:
        table = '[gateway]\nkind = "projectx"\nuser_name = "jane"\nkey_file = "{}"\n'
        for text, found in (
            ("topstepx.key", str(self.path.parent / "topstepx.key")),
            ("/etc/riskd/topstepx.key", "/etc/riskd/topstepx.key"),
        ):
            self.path.write_text(table.format(text) + ACCOUNT, encoding="utf-8")
            self.assertEqual(load_settings(self.path, CATALOGUE).gateway.key_file, found)

    def test_a_key_file_beside_a_relative_path_becomes_absolute(self) -> None:
        """The key is read again at each login, when the daemon may have another working directory."""
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.path.parent)
        table = '[gateway]\nkind = "projectx"\nuser_name = "jane"\nkey_file = "topstepx.key"\n'
        self.path.write_text(table + ACCOUNT, encoding="utf-8")
        self.assertEqual(
            load_settings(Path("riskd.toml"), CATALOGUE).gateway.key_file,
            str(Path.cwd() / "topstepx.key"),
        )

    def test_a_mistake_in_a_file_names_the_file_and_line(self) -> None:
        self.path.write_text("strict_mode=1\n[[accounts]]\nid=1")
        error = self.assertRaises(ConfigError, load_settings, self.path, CATALOGUE)
        self.assertTrue(str(error).startswith(f"{self.path}, line 1: strict_mode: "), error)

    def test_a_file_that_cannot_be_read_is_refused(self) -> None:
        self.assertRaises(ConfigError, load_settings, self.path, CATALOGUE)

    def test_a_pipe_without_a_writer_is_refused_and_not_waited_for(self) -> None:
        os.mkfifo(self.path)
        error = self.assertRaises(ConfigError, load_settings, self.path, CATALOGUE)
        self.assertEqual(error.problems, (f"{self.path}: not a regular file",))

    def test_a_directory_is_refused(self) -> None:
        self.path.mkdir()
        error = self.assertRaises(ConfigError, load_settings, self.path, CATALOGUE)
        self.assertEqual(error.problems, (f"{self.path}: not a regular file",))


class PracticeTests(SynchronousTestCase):
    """Settings of a daemon without a configuration."""

    def test_the_accounts_are_those_of_the_practice_gateway(self) -> None:
        accounts = practice_settings(CATALOGUE).accounts
        self.assertEqual(
            [(account.id, account.watch) for account in accounts],
            [(123, ("MNQ", "MES", "MCL")), (456, ("NQ", "ES", "M2K", "MGC"))],
        )

    def test_rules_guard_the_accounts_at_any_hour(self) -> None:
        for account in practice_settings(CATALOGUE).accounts:
            self.assertIn("cooldown_after_loss", rules_of(account))
            self.assertNotIn("session_block_outside", rules_of(account))


class PurityTests(SynchronousTestCase):
    """Settings are read without a reactor."""

    def test_the_loader_does_not_import_twisted(self) -> None:
        code = "import sys, riskd.config.loader; print([name for name in sys.modules if 'twisted' in name])"
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        self.assertEqual(result.stdout, "[]\n")


class FileTests(SynchronousTestCase):
    """The files that rules name."""

    RULE = f'[rules.news_blackout]\nfile = "news.csv"\n{ACCOUNT}'
    TEXT = '# until: 2026-12-31 "\x7f\\ü\nat,name\n2026-12-10T13:30:00Z,"C, P"\n'

    def load(self, text: str | None) -> Any:
        """Return the rule's settings, and check that they can be made of the settings' text alone."""
        path = temporary_directory(self) / "riskd.toml"
        path.write_text(self.RULE)
        if text is not None:
            path.with_name("news.csv").write_text(text)
        settings = load_settings(path, CATALOGUE)
        of_text = msgspec.structs.replace(parse(settings.text), operator=settings.operator)
        self.assertEqual(of_text, settings)
        (account,) = settings.accounts
        return rules_of(account)["news_blackout"]

    def test_a_file_is_read_beside_the_configuration_and_kept_in_its_text(self) -> None:
        rule = self.load(self.TEXT.replace(' "\x7f\\ü', ""))
        self.assertEqual([news.name for news in rule.calendar.news], ["C, P"])

    def test_a_file_that_cannot_be_used_says_why(self) -> None:
        self.assertIn("news.csv: cannot be read: No such file", self.load(None).problem)
        self.assertIn("until: expected a time", self.load(self.TEXT).problem)

    def test_a_pipe_is_not_waited_for(self) -> None:
        path = temporary_directory(self) / "riskd.toml"
        path.write_text(self.RULE)
        os.mkfifo(path.with_name("news.csv"))
        (account,) = load_settings(path, CATALOGUE).accounts
        problem = rules_of(account)["news_blackout"].problem
        self.assertEqual(problem, f"{path.with_name('news.csv')}: not a regular file")

    def test_what_a_file_says_is_no_key(self) -> None:
        text = f'[rules.news_blackout]\nfile = "n"\nproblem = "none"\n{ACCOUNT}'
        error = self.assertRaises(ConfigError, parse, text)
        self.assertIn("rules.news_blackout.problem: unknown key", str(error))
