"""Presets: what ships, what may stand beside one, and when it is old."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.loader import load_settings
from riskd.config.presets import (
    MOST_DAYS,
    load_preset,
    parse_preset,
    preset_names,
    preset_warnings,
)
from riskd.config.toml import ConfigError
from riskd.config.values import as_toml
from riskd.model.account import AccountState
from riskd.model.balance import Balance
from riskd.model.trading_day import ResetSchedule
from riskd.rules.builtin import consistency, maximum_loss
from riskd.rules.interface import NOTHING, Rule
from riskd.rules.settings import RuleSettings
from riskd.rules.tightness import loosened
from tests.support.configuration import CATALOGUE, only_account, parse, rules_of
from tests.support.directories import temporary_directory

TOPSTEP = '[[accounts]]\nid = 123\npreset = "topstep-50k"\n'

DAY = """
[day]
reset_time = "16:00"
time_zone = "America/New_York"
source = "the firm's page"
read = 2026-11-03
"""

ALL_KINDS = """
title = "A firm with limits of every kind"

[[limits]]
rule = "max_contracts"
keys = { limit = 5, weights = { MBT = 0.02 } }
source = "the firm's page"
read = 2026-11-02

[[limits]]
rule = "symbol_blocks"
keys = { blocked_symbols = ["RTY"] }
source = "the firm's page"
read = 2026-11-05

[[limits]]
rule = "session_block_outside"
keys = { allowed_hours = { start = "17:00", end = "15:10" } }
source = "the firm's page"
read = 2026-11-05
"""


def embedded(preset: str = ALL_KINDS) -> str:
    """Return the part of a recorded configuration that has the text of topstep-50k."""
    return f"[files.\"preset:topstep-50k\"]\ntext = '''{preset}'''\n"


class ShippedTests(SynchronousTestCase):
    """The presets in the package."""

    def test_they_have_the_figures_that_the_firms_publish(self) -> None:
        floors = {
            "topstep-50k": ("2000", "50000", "end_of_day", "start"),
            "topstep-100k": ("3000", "100000", "end_of_day", "start"),
            "topstep-150k": ("4500", "150000", "end_of_day", "start"),
            "tradeify-advanced-100k": ("3000", "100000", "intraday", "never"),
        }
        others = ["take-profit-trader-pro", "take-profit-trader-test"]
        self.assertEqual(preset_names(), tuple(sorted([*floors, *others])))
        for name, (drawdown, start, trailing, stops_at) in floors.items():
            (floor,) = load_preset(name, CATALOGUE).settings.values()
            wanted = maximum_loss.Settings(
                drawdown=Decimal(drawdown),
                starting_balance=Decimal(start),
                trailing=maximum_loss.Trailing(trailing),
                stops_at=stops_at,
            )
            self.assertEqual(floor, wanted, name)
        (news,) = load_preset("take-profit-trader-pro", CATALOGUE).settings.values()
        self.assertEqual((news.minutes_before, news.minutes_after, news.flatten), (1, 1, True))  # type: ignore[attr-defined]
        (days,) = load_preset("take-profit-trader-test", CATALOGUE).settings.values()
        self.assertEqual(days, consistency.Settings(share=50, strict=True))

    def test_each_limit_has_its_source_and_the_date_it_was_read(self) -> None:
        for name in preset_names():
            preset = load_preset(name, CATALOGUE)
            for part in (*preset.limits, *filter(None, [preset.day])):
                self.assertRegex(part.source, r"\w+\.(com|co|help)\b")
                self.assertGreaterEqual(part.read, date(2026, 11, 1))

    def test_the_first_floor_and_those_after_good_days(self) -> None:
        """Topstep's example: $500 on the first day of a 50K account."""
        (floor,) = load_preset("topstep-50k", CATALOGUE).settings.values()
        for balance, expected in ((50000, 48000), (50500, 48500), (52500, 50000), (60000, 50000)):
            state = AccountState(account_id=1, balance=Balance(agreed=Decimal(balance)))
            self.assertEqual(maximum_loss.floor_of(state, floor), Decimal(expected))  # type: ignore[arg-type]


class AccountTests(SynchronousTestCase):
    """An account with a preset."""

    def refused(self, text: str) -> str:
        """Return the only problem of a configuration."""
        (problem,) = self.assertRaises(ConfigError, parse, text).problems
        return problem

    def test_the_preset_alone_is_a_configuration(self) -> None:
        account = only_account(TOPSTEP)
        self.assertEqual(list(rules_of(account)), ["maximum_loss"])
        self.assertEqual((account.preset, account.preset_read), ("topstep-50k", date(2026, 11, 1)))
        self.assertEqual(account.schedule, ResetSchedule())

    def test_an_unknown_preset_is_refused(self) -> None:
        self.assertEqual(
            self.refused(TOPSTEP.replace("50k", "50")),
            "riskd.toml, line 3: accounts[0].preset: there is no such preset; did you mean topstep-50k?",
        )

    def test_a_preset_that_is_no_text_is_refused(self) -> None:
        problem = self.refused("[[accounts]]\nid = 123\npreset = 50\n")
        self.assertIn("accounts[0].preset: expected a text, got 50", problem)

    def test_a_key_may_tighten_it_in_the_account_and_for_all(self) -> None:
        own = "[accounts.rules.maximum_loss]\ndrawdown = 1500\n"
        shared = "[rules.maximum_loss]\ndrawdown = 1800\nreduce_only_at = 80\n"
        (floor,) = rules_of(only_account(f"{TOPSTEP}{own}")).values()
        self.assertEqual((floor.drawdown, floor.starting_balance), (1500, 50000))
        (floor,) = rules_of(only_account(f"{shared}{TOPSTEP}")).values()
        self.assertEqual((floor.drawdown, floor.reduce_only_at), (1800, 80))
        (floor,) = rules_of(only_account(f"{shared}{TOPSTEP}{own}")).values()
        self.assertEqual((floor.drawdown, floor.reduce_only_at), (1500, 80))

    def test_a_looser_key_is_refused_with_both_figures(self) -> None:
        own = "[accounts.rules.maximum_loss]\n"
        for line, sentence in (
            ("drawdown = 2000.01", "drawdown: expected 2000 or less # got 2000.01"),
            ("starting_balance = 49999", "starting_balance: expected 50000 or more # got 49999"),
            (
                'trailing = "static"',
                'trailing: expected "end_of_day" or what is tighter # got "static"',
            ),
            ("stops_at = 49000", 'stops_at: expected "start" or what is tighter # got 49000'),
            ("buffer = 50", "buffer: expected none # got 50"),
            ("enabled = false", "enabled: expected true # got false"),
        ):
            self.assertEqual(
                self.refused(f"{TOPSTEP}{own}{line}\n"),
                "riskd.toml, line 5: accounts[0].rules.maximum_loss."
                + sentence.replace("#", "beside preset topstep-50k,"),
            )

    def test_a_looser_key_for_all_accounts_is_refused_but_may_be_tightened_again(self) -> None:
        shared = "[rules.maximum_loss]\ndrawdown = 2500\n"
        self.assertEqual(
            self.refused(f"{shared}{TOPSTEP}"),
            "riskd.toml, line 2: rules.maximum_loss.drawdown: expected 2000 or less beside preset "
            "topstep-50k, got 2500 (preset of accounts[0])",
        )
        parse(f"{shared}{TOPSTEP}[accounts.rules.maximum_loss]\ndrawdown = 2000\n")
        off = "[rules.maximum_loss]\nenabled = false\n"
        self.assertIn("rules.maximum_loss.enabled: expected true", self.refused(f"{off}{TOPSTEP}"))

    def test_another_account_is_free(self) -> None:
        other = "[[accounts]]\nid = 456\n[accounts.rules.maximum_loss]\ndrawdown = 9000\n"
        first, second = parse(f"{TOPSTEP}{other}").accounts
        self.assertEqual(rules_of(first)["maximum_loss"].drawdown, 2000)
        self.assertEqual(rules_of(second)["maximum_loss"].drawdown, 9000)

    def test_rules_beside_those_of_the_preset_are_free(self) -> None:
        rules = "[rules.max_contracts]\nlimit = 99\n[rules.daily_net_loss]\nenabled = false\n"
        self.assertEqual(
            list(rules_of(only_account(f"{rules}{TOPSTEP}"))), ["max_contracts", "maximum_loss"]
        )

    def test_the_end_of_the_day_is_the_presets(self) -> None:
        sentence = 'reset_time: expected "17:00" beside preset topstep-50k, got "16:00"'
        self.assertIn(f"accounts[0].{sentence}", self.refused(f'{TOPSTEP}reset_time = "16:00"\n'))
        self.assertEqual(
            self.refused(f'[defaults]\nreset_time = "16:00"\n{TOPSTEP}'),
            f"riskd.toml, line 2: defaults.{sentence} (preset of accounts[0])",
        )
        zone = self.refused(f'{TOPSTEP}time_zone = "Europe/London"\n')
        self.assertIn('time_zone: expected "America/Chicago" beside preset', zone)
        parse(f'[defaults]\nreset_time = "16:00"\n{TOPSTEP}reset_time = "17:00"\n')
        account = only_account(f"{TOPSTEP}{embedded(ALL_KINDS + DAY)}")
        self.assertEqual(
            account.schedule, ResetSchedule(reset_time=time(16), time_zone="America/New_York")
        )

    def test_a_dry_run_may_have_a_preset(self) -> None:
        self.assertEqual(len(parse(f"enforce = false\n{TOPSTEP}").accounts[0].rules), 1)

    def test_tables_lists_and_hours(self) -> None:
        for key, limit, value in (
            ("max_contracts.weights", "{ MBT = 0.02 } or what is tighter", "{ MNQ = 0.05 }"),
            ("symbol_blocks.blocked_symbols", '["RTY"] or what is tighter', '["CL"]'),
            (
                "session_block_outside.allowed_hours",
                '{ start = "17:00", end = "15:10" } or what is tighter',
                '{ start = "17:00", end = "15:11" }',
            ),
            ("session_block_outside.timezone", '"America/Chicago"', '"America/New_York"'),
        ):
            text = f"{TOPSTEP}[accounts.rules]\n{key} = {value}\n{embedded()}"
            sentence = f"{key}: expected {limit} beside preset topstep-50k, got {value}"
            self.assertEqual(
                self.refused(text), f"riskd.toml, line 5: accounts[0].rules.{sentence}"
            )
        tighter = """
            max_contracts = { weights = { MBT = 0.5 } }
            symbol_blocks = { blocked_symbols = ["cl", "rty"] }
            session_block_outside = { allowed_hours = { start = "08:30", end = "15:00" } }
            """
        account = only_account(f"{TOPSTEP}[accounts.rules]\n{tighter}{embedded()}")
        self.assertEqual(len(account.rules), 3)

    def test_a_key_that_the_preset_leaves_is_the_traders(self) -> None:
        text = TOPSTEP.replace("topstep-50k", "take-profit-trader-pro")
        account = only_account(f'{text}[accounts.rules.news_blackout]\nfile = "cal.csv"\n')
        self.assertEqual(rules_of(account)["news_blackout"].file, "cal.csv")
        problem = self.refused(f"{text}[accounts.rules.news_blackout]\nminutes_before = 0\n")
        self.assertIn("expected 1 or more beside preset take-profit-trader-pro, got 0", problem)

    def test_of_a_users_own_rule_any_change_loosens(self) -> None:
        class Own(RuleSettings, frozen=True, kw_only=True):
            losses: int = 3

        own = Rule("RULE-101", "own", Own, frozenset(), lambda *_: NOTHING)
        text = 'title = ""\n[[limits]]\nrule = "own"\nkeys = {}\nsource = ""\nread = 2026-11-01\n'
        preset = parse_preset(text, "mine", {"own": own})
        ((path, sentence),) = preset.loosened_keys("own", Own(losses=2))
        self.assertEqual((path, sentence), (("losses",), "expected 3 beside preset mine, got 2"))

    def test_a_preset_whose_rule_is_missing_is_refused(self) -> None:
        error = self.assertRaises(ConfigError, load_preset, "topstep-50k", {})
        self.assertEqual(
            str(error), "preset topstep-50k needs the rule maximum_loss, which is not there"
        )

    @given(
        drawdown=st.decimals("0.01", 5000, places=2),
        starting_balance=st.none() | st.decimals(0, 60000, places=2),
        trailing=st.none() | st.sampled_from(["end_of_day", "intraday", "static"]),
        enabled=st.none() | st.booleans(),
    )
    def test_whatever_is_accepted_is_as_tight_as_the_preset(self, **keys: Any) -> None:
        lines = [f"{key} = {as_toml(value)}" for key, value in keys.items() if value is not None]
        text = "\n".join([TOPSTEP, "[accounts.rules.maximum_loss]", *lines])
        try:
            (floor,) = rules_of(only_account(text)).values()
        except ConfigError:
            return
        (preset,) = load_preset("topstep-50k", CATALOGUE).settings.values()
        self.assertEqual(list(loosened(floor, preset)), [])


class RecordedTests(SynchronousTestCase):
    """A recording has the preset of its day."""

    def test_the_text_of_a_configuration_has_its_preset(self) -> None:
        text = parse(TOPSTEP).text
        self.assertEqual(only_account(text), only_account(TOPSTEP))
        # As if this riskd had another preset of this name.
        other = only_account(text.replace("2_000", "1_900"))
        self.assertEqual(rules_of(other)["maximum_loss"].drawdown, 1900)

    def test_only_a_recording_may_bring_a_preset(self) -> None:
        path = Path(temporary_directory(self), "riskd.toml")
        path.write_text(f"{TOPSTEP}{embedded()}")
        (problem,) = self.assertRaises(ConfigError, load_settings, path, CATALOGUE).problems
        self.assertEqual(
            problem,
            f'{path}, line 4: files."preset:topstep-50k": expected no preset here: riskd has its own',
        )
        path.write_text(TOPSTEP)
        self.assertEqual(load_settings(path, CATALOGUE).accounts, parse(TOPSTEP).accounts)


class AgeTests(SynchronousTestCase):
    def test_a_preset_is_as_old_as_its_oldest_part(self) -> None:
        preset = parse_preset(ALL_KINDS + DAY, "mine", CATALOGUE)
        self.assertEqual(preset.read, date(2026, 11, 2))

    def test_after_180_days_it_is_old(self) -> None:
        settings = parse(f"{TOPSTEP}[[accounts]]\nid = 456\n")
        read = date(2026, 11, 1)
        self.assertEqual(list(preset_warnings(settings, read + timedelta(MOST_DAYS))), [])
        (warning,) = preset_warnings(settings, read + timedelta(MOST_DAYS + 1))
        self.assertEqual(
            warning,
            "account 123: the limits of preset topstep-50k were read on 2026-11-01, more than "
            "180 days ago; compare them with the firm's page, and look for a newer riskd",
        )
