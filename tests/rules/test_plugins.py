"""Finding rules: riskd's own, a user's, and those that cannot be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from riskd.config.loader import parse_settings
from riskd.model.account import AccountState, apply
from riskd.model.events import Event, GatewayUserTrade
from riskd.rules import plugins
from riskd.rules.evaluation import Evaluation, evaluate
from riskd.rules.interface import Flatten, IRule, Kind, Lock, Trigger
from riskd.rules.plugins import RuleDiscoveryError, find_rules, problems_of
from riskd.rules.registry import RULES
from riskd.testing import make_event
from tests.support.plugins import RULE, PluginFolder

DOCS = Path(__file__).parents[2] / "docs"
NOON = datetime(2025, 1, 17, 12, 0, tzinfo=UTC)


class OwnRulesTests(SynchronousTestCase):
    """The rules of riskd."""

    def test_all_are_found_in_the_order_of_the_table(self) -> None:
        self.assertEqual(list(find_rules().values()), list(RULES))
        self.assertEqual(list(find_rules()), [rule.key for rule in RULES])

    def test_one_that_the_cache_of_plugins_lacks_is_found(self) -> None:
        self.patch(plugins, "getPlugins", lambda _interface: RULES[1:])
        self.assertEqual(list(find_rules().values()), list(RULES))

    def test_all_are_plugins(self) -> None:
        for rule in find_rules().values():
            verifyObject(IRule, rule)
            verifyObject(IPlugin, rule)

    def test_none_has_a_problem(self) -> None:
        # The daemon does not ask at its start.
        self.assertEqual([problem for rule in RULES for problem in problems_of(rule)], [])

    def test_all_are_documented(self) -> None:
        text = (DOCS / "rules.md").read_text(encoding="utf-8")
        for rule in RULES:
            self.assertIn(f"| {rule.rule_id} | `{rule.key}` |", text)

    def test_the_documentation_names_the_events_that_each_listens_to(self) -> None:
        rows = (DOCS / "rules.md").read_text(encoding="utf-8").splitlines()
        for rule in RULES:
            (row,) = [row for row in rows if row.startswith(f"| {rule.rule_id} |")]
            checked_on = row.split(" | ")[3].upper().split(", ")
            self.assertEqual({*checked_on} - {"TIME"}, rule.listens, rule.key)


class UserRulesTests(SynchronousTestCase):
    """A user's own rules."""

    def setUp(self) -> None:
        self.folder = PluginFolder(self)

    def problems(self, *words: str) -> tuple[str, ...]:
        """Check that finding rules fails and its problems contain ``words``; return the problems."""
        problems = self.assertRaises(RuleDiscoveryError, find_rules).problems
        for problem in problems:
            self.assertEqual(len(problem.splitlines()), 1)
        for word in words:
            self.assertIn(word, "\n".join(problems))
        return problems

    def test_they_come_after_riskds_own_in_the_order_of_their_ids(self) -> None:
        self.folder.add("zulu", RULE + "first = rule('A-1', 'first')")
        self.folder.add("alpha", RULE + "last = rule('B-1', 'last')")
        self.assertEqual(list(find_rules())[len(RULES) :], ["first", "last"])

    def test_a_rule_under_two_names_is_found_once(self) -> None:
        self.folder.add("twice", RULE + "one = other = rule()")
        self.assertEqual(list(find_rules())[len(RULES) :], ["mine"])

    def test_a_plugin_that_cannot_be_loaded_stops_the_start(self) -> None:
        for number, (code, word) in enumerate(
            (
                ("import riskd.no_such_module", "riskd.no_such_module"),
                ("import riskd\ndef broken(:", "SyntaxError"),
                ("import riskd\nraise SystemExit('enough')", "enough"),
            )
        ):
            path = self.folder.add(f"broken{number}", code)
            self.problems(str(path), "cannot be loaded", word)
            path.unlink()

    def test_each_plugin_that_cannot_be_loaded_has_a_sentence(self) -> None:
        self.folder.add("broken_one", "import riskd\n1 / 0")
        self.folder.add("broken_two", "import riskd\n1 / 0")
        self.assertEqual(len(self.problems()), 2)

    def test_a_broken_plugin_of_another_program_is_a_warning(self) -> None:
        path = self.folder.add("others", "import a_module_that_is_not_there")
        with capturedLogs() as logged:
            self.assertEqual(list(find_rules().values()), list(RULES))
        warnings = [formatEvent(event) for event in logged if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn(str(path), warnings[0])
        self.assertIn("a_module_that_is_not_there", warnings[0])
        # The plugin system logs the error as well, at each search.
        self.flushLoggedErrors(ImportError)

    def test_plugins_of_twisted_are_not_loaded_unless_they_may_hold_a_rule(self) -> None:
        self.folder.add("twisted_broken", "import a_module_that_is_not_there")
        with capturedLogs() as logged:
            find_rules()
        self.assertEqual([event for event in logged if "problem" in event], [])
        self.flushLoggedErrors(ImportError)
        self.folder.add("twisted_rule", "import riskd\n1 / 0")
        self.assertEqual(len(self.problems()), 1)

    def test_an_incomplete_rule_is_rejected(self) -> None:
        self.folder.add(
            "unfinished",
            "from twisted.plugin import IPlugin\n"
            "from zope.interface import implementer\n"
            "from riskd.rules.interface import IRule\n"
            "@implementer(IPlugin, IRule)\n"
            "class Unfinished:\n"
            "    rule_id = 'RULE-900'\n"
            "    key = 'unfinished'\n"
            "rule = Unfinished()\n",
        )
        self.problems("rule unfinished (RULE-900)", "settings_type", "check")

    def test_ids_and_keys_of_other_rules_are_rejected(self) -> None:
        self.folder.add("same_id", RULE + "one = rule(rule_id='RULE-003')")
        self.folder.add("same_key", RULE + "one = rule(key='max_contracts')")
        problems = self.problems("daily_realized_loss", "'RULE-003'", "'max_contracts'", "already")
        self.assertEqual(len(problems), 2)

    def test_invalid_attributes_are_rejected(self) -> None:
        for number, (change, word) in enumerate(
            (
                ("rule_id='OPERATOR'", "'OPERATOR'"),
                ("rule_id=7", "got 7"),
                ("key='Not A Key'", "'Not A Key'"),
                ("settings=dict", "RuleSettings"),
                ("listens=['TRADE']", "['TRADE']"),
                ("listens=frozenset({'NEVER'})", "NEVER"),
            )
        ):
            path = self.folder.add(f"odd{number}", f"{RULE}one = rule({change})")
            self.assertEqual(len(self.problems(word)), 1)
            path.unlink()

    def test_settings_that_no_file_can_hold_are_rejected(self) -> None:
        self.folder.add(
            "odd_settings",
            RULE + "class Odd(RuleSettings, frozen=True):\n"
            "    limit: type = int\n"
            "one = rule(settings=Odd)\n",
        )
        self.problems("rule mine (RULE-900)", "Odd", "cannot be configured")


class OldNamesTests(SynchronousTestCase):
    """Rules of a user that use names from before riskd renamed them."""

    def setUp(self) -> None:
        self.folder = PluginFolder(self)

    def problems(self) -> tuple[str, ...]:
        return self.assertRaises(RuleDiscoveryError, find_rules).problems

    def test_an_import_at_module_level(self) -> None:
        path = self.folder.add("mine", "\nfrom riskd.account import AccountState\n")
        sentence = f"plugin {path}, line 2: riskd.account is now riskd.model.account"
        self.assertEqual(self.problems(), (sentence,))

    def test_a_name_that_only_a_function_uses(self) -> None:
        code = RULE.replace("return NOTHING", "return interface.Verdict()")
        path = self.folder.add("mine", f"from riskd.rules import interface\n{code}one = rule()")
        old, new = "riskd.rules.interface.Verdict", "riskd.rules.interface.RuleResult"
        (problem,) = self.problems()
        self.assertEqual(problem, f"plugin {path}, line 12: {old} is now {new}")

    def test_a_keyword_of_a_result(self) -> None:
        code = RULE.replace("return NOTHING", "return RuleResult(intents=())")
        code = code.replace("NOTHING, ", "NOTHING, RuleResult, ")
        path = self.folder.add("mine", f"{code}one = rule()")
        sentence = "RuleResult(intents=...) is now RuleResult(commands=...)"
        self.assertEqual(self.problems(), (f"plugin {path}, line 11: {sentence}",))

    def test_each_old_name_of_each_plugin_has_a_sentence(self) -> None:
        for name in ("one", "two"):
            self.folder.add(name, "import riskd.account\nimport riskd.money\nimport riskd.money")
        self.assertEqual(len(self.problems()), 4)

    def test_a_plugin_that_is_a_package(self) -> None:
        self.folder.add("mine/__init__", "")
        path = self.folder.add("mine/rules", "def check():\n  import riskd.money")
        (problem,) = self.problems()
        self.assertIn(f"plugin {path}, line 2: riskd.money", problem)

    def test_a_module_that_a_plugin_imports(self) -> None:
        self.folder.add("mine", "# riskd\nimport helper_of_mine")
        helper = self.folder.directory / "helper_of_mine.py"
        helper.write_text("from riskd.events import Event\n", encoding="utf-8")
        first, second = self.problems()
        self.assertIn(f"{helper}, line 1: riskd.events is now riskd.model.events", first)
        self.assertIn("mine.py cannot be loaded", second)

    def test_a_plugin_of_another_program_may_have_names_like_these(self) -> None:
        self.folder.add("others", "class Verdict: intents = ()\nVerdict.intents\n# not of riskd")
        self.assertEqual(list(find_rules().values()), list(RULES))


class ExampleTests(SynchronousTestCase):
    """The rule of the documentation, installed, configured and evaluated."""

    def setUp(self) -> None:
        code = (DOCS / "example_rule.py").read_text(encoding="utf-8")
        PluginFolder(self).add("example_rule", code)
        _, _, own = (DOCS / "rules.md").read_text(encoding="utf-8").partition("## Your own rules")
        _, _, rest = own.partition("```toml\n")
        rules = find_rules()
        (account,) = parse_settings(rest.partition("```")[0], "rules.md", rules).accounts
        self.in_force = account.rules
        self.state = AccountState(account_id=123)

    def evaluation(self, minute: int, result: float) -> Evaluation:
        """Apply a trade ``minute`` minutes after noon and evaluate the rule."""
        now = NOON + timedelta(minutes=minute)
        event = make_event(
            "GatewayUserTrade",
            {"id": minute, "profitAndLoss": result, "executionTime": now.isoformat()},
        )
        assert isinstance(event.data, GatewayUserTrade)
        self.state = apply(self.state, Event(123, event.data))
        reset = NOON + timedelta(hours=5)
        trigger = Trigger(kind=Kind.TRADE, now=now, next_reset=reset, subject=event.data)
        return evaluate(self.state, self.in_force, trigger)

    def test_the_documented_table_configures_it(self) -> None:
        (in_force,) = self.in_force
        rule, settings = in_force.rule, in_force.settings
        self.assertEqual((rule.rule_id, rule.key), ("RULE-101", "losing_streak"))
        self.assertEqual((settings.losses, settings.cooldown_seconds), (3, 600))

    def test_the_third_loss_in_a_row_begins_a_cooldown(self) -> None:
        results = (-1, -2, 5, -3, -4, -5, -6)
        evaluations = [self.evaluation(minute, result) for minute, result in enumerate(results)]
        for evaluation in evaluations:
            self.assertEqual(evaluation.faults, ())
        self.assertEqual(
            [len(evaluation.decisions) for evaluation in evaluations], [0, 0, 0, 0, 0, 1, 0]
        )
        ((rule_id, command),) = evaluations[5].decisions
        until = NOON + timedelta(minutes=15)
        lock = Lock(until=until, cooldown_seconds=600)
        self.assertEqual(rule_id, "RULE-101")
        self.assertEqual(command, Flatten(reason="3 losing trades in a row", lock=lock))

    def test_a_loss_that_arrives_too_late_starts_no_cooldown(self) -> None:
        for minute in range(3):
            self.evaluation(minute, -1)
        trade = self.state.trades[2]
        late = NOON + timedelta(hours=1)
        trigger = Trigger(kind=Kind.TRADE, now=late, next_reset=late, subject=trade)
        self.assertEqual(evaluate(self.state, self.in_force, trigger).decisions, ())

    def test_the_gauge_counts_losses(self) -> None:
        for minute in range(2):
            self.evaluation(minute, -1)
        (in_force,) = self.in_force
        rule, settings = in_force.rule, in_force.settings
        gauges: tuple[Any, ...] = rule.gauges(self.state, settings, NOON)
        self.assertEqual(
            [msgspec.structs.astuple(gauge)[:4] for gauge in gauges],
            [("losses in a row", 3, 2, "trades")],
        )
