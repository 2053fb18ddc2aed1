"""Evaluation: its order, where it stops, strict mode, memories and rules that fail."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.lockouts import Lock
from riskd.rules.evaluation import Decision, Evaluation, RuleInForce, evaluate
from riskd.rules.interface import (
    NOTHING,
    ChangeStop,
    Command,
    Flatten,
    Kind,
    LiftLock,
    RejectOrder,
    RuleResult,
    Trigger,
    WithdrawStop,
)
from tests.support.practice_daemon import CATALOGUE
from tests.support.rules import ACCOUNT as ACCOUNT_ID
from tests.support.rules import (
    INVALID_RESULTS,
    MNQ,
    Script,
    at,
    review,
    timer,
    trade,
    trade_trigger,
    trigger,
    with_risk,
)

CLOSE = Flatten(reason="Too much")


def wants(*commands: Command) -> RuleResult:
    return RuleResult(commands=commands)


class EvaluationTestCase(SynchronousTestCase):
    state = AccountState(account_id=ACCOUNT_ID)

    def evaluate(self, *scripts: Script, on: Trigger | None = None, **more: Any) -> Evaluation:
        rules = [script.in_force() for script in scripts]
        return evaluate(self.state, rules, on or trigger(Kind.QUOTE), **more)

    def asked(self, *scripts: Script) -> list[int]:
        return [len(script.states) for script in scripts]


class OrderTests(EvaluationTestCase):
    def test_evaluation_stops_at_the_first_rule_that_acts(self) -> None:
        scripts = Script("A-1"), Script("A-2", wants(CLOSE)), Script("A-3", wants(CLOSE))
        evaluation = self.evaluate(*scripts)
        self.assertEqual(self.asked(*scripts), [1, 1, 0])
        self.assertEqual(evaluation.decisions, (("A-2", CLOSE),))

    def test_every_rule_checks_a_trade(self) -> None:
        scripts = Script("A-1", wants(CLOSE)), Script("A-2", wants(CLOSE))
        evaluation = self.evaluate(*scripts, on=trade_trigger(trade(1, "-5")))
        self.assertEqual(self.asked(*scripts), [1, 1])
        self.assertEqual([decision.rule_id for decision in evaluation.decisions], ["A-1", "A-2"])

    def test_the_commands_of_a_rule_keep_their_order(self) -> None:
        commands = (
            WithdrawStop(reason="r", order_id=1),
            RejectOrder(reason="r", order_id=2),
            CLOSE,
        )
        evaluation = self.evaluate(Script("A-1", wants(*commands)))
        self.assertEqual(tuple(decision.command for decision in evaluation.decisions), commands)

    def test_only_rules_that_listen_are_evaluated(self) -> None:
        scripts = Script("A-1", listens=[Kind.QUOTE]), Script("A-2", listens=[Kind.ORDER])
        self.evaluate(*scripts)
        self.assertEqual(self.asked(*scripts), [1, 0])

    def test_a_review_evaluates_every_rule(self) -> None:
        scripts = Script("A-1", listens=[Kind.QUOTE]), Script("A-2", listens=[])
        self.evaluate(*scripts, on=review())
        self.assertEqual(self.asked(*scripts), [1, 1])

    def test_a_timer_evaluates_the_rules_that_are_due(self) -> None:
        scripts = Script("A-1", listens=[Kind.TIMER]), Script("A-2", listens=[])
        self.evaluate(*scripts, on=timer(1), due=["A-2"])
        self.assertEqual(self.asked(*scripts), [0, 1])

    def test_a_locked_account_has_only_rules_that_run_while_locked(self) -> None:
        scripts = Script("A-1"), Script("A-2", runs_while_locked=True)
        for on in (None, review(), timer(1)):
            self.evaluate(*scripts, on=on, due=["A-1", "A-2"], is_locked=True)
        self.assertEqual(self.asked(*scripts), [0, 3])


class UnderWayTests(EvaluationTestCase):
    def test_a_decision_under_way_is_left_out_and_does_not_stop_evaluation(self) -> None:
        scripts = (
            Script("A-1", wants(CLOSE)),
            Script("A-2", wants(RejectOrder(reason="r", order_id=1))),
        )
        evaluation = self.evaluate(*scripts, is_under_way=is_flatten)
        self.assertEqual([decision.rule_id for decision in evaluation.decisions], ["A-2"])

    def test_other_commands_of_the_same_rule_are_decided(self) -> None:
        change = WithdrawStop(reason="r", order_id=1)
        evaluation = self.evaluate(Script("A-1", wants(CLOSE, change)), is_under_way=is_flatten)
        self.assertEqual(evaluation.decisions, (("A-1", change),))

    def test_the_strict_command_is_the_one_compared(self) -> None:
        asked: list[Decision] = []

        def is_under_way(decision: Decision) -> bool:
            asked.append(decision)
            return True

        self.evaluate(Script("A-1", wants(CLOSE)), is_strict=True, is_under_way=is_under_way)
        self.assertEqual(asked, [("A-1", Flatten(reason="Too much", lock=Lock(until=None)))])


def is_flatten(decision: Decision) -> bool:
    return isinstance(decision.command, Flatten)


class StrictTests(EvaluationTestCase):
    def strictly(self, *commands: Command) -> list[Command]:
        evaluation = self.evaluate(Script("A-1", wants(*commands)), is_strict=True)
        return [decision.command for decision in evaluation.decisions]

    def test_every_breach_closes_everything_and_locks_for_good(self) -> None:
        for breach in (
            Flatten(reason="r", keep={MNQ: 1}),
            Flatten(reason="r", lock=Lock(until=at(60), cooldown_seconds=60)),
            RejectOrder(reason="r", order_id=1),
        ):
            self.assertEqual(self.strictly(breach), [Flatten(reason="r", lock=Lock(until=None))])

    def test_strict_mode_lifts_no_lock(self) -> None:
        self.assertEqual(self.strictly(LiftLock(reason="r")), [])

    def test_strict_mode_changes_no_command_for_stops(self) -> None:
        change = ChangeStop(reason="r", order_id=1, size=1, stop_price=Decimal(20900))
        self.assertEqual(self.strictly(change), [change])


class MemoryTests(EvaluationTestCase):
    def test_a_memory_is_kept_under_the_rules_id(self) -> None:
        evaluation = self.evaluate(Script("A-1", RuleResult(memory="1")), Script("A-2", NOTHING))
        self.assertEqual(evaluation.state.risk.memory, {"A-1": "1"})

    def test_a_known_memory_changes_nothing(self) -> None:
        self.state = with_risk(self.state, memory={"A-1": "1"})
        evaluation = self.evaluate(Script("A-1", RuleResult(memory="1")), Script("A-2"))
        self.assertIs(evaluation.state, self.state)

    def test_each_evaluated_rule_has_its_timer_and_warnings(self) -> None:
        scripts = Script("A-1", RuleResult(wake_at=at(5), warnings=("w",))), Script("A-2")
        evaluation = self.evaluate(*scripts, Script("A-3", listens=[]))
        results = evaluation.results
        self.assertEqual(
            {slot: each.wake_at for slot, each in results.items()}, {"A-1": at(5), "A-2": None}
        )
        self.assertEqual(
            {slot: each.warnings for slot, each in results.items()}, {"A-1": ("w",), "A-2": ()}
        )

    def test_rules_that_are_replaced_are_looked_at_anew(self) -> None:
        quotes, orders = Script("A-1", listens=[Kind.QUOTE]), Script("A-2", listens=[Kind.ORDER])
        for scripts in ((quotes, orders), (orders, quotes), (quotes, quotes)):
            rules = tuple(script.in_force() for script in scripts)
            for is_locked in (True, False):
                evaluate(self.state, rules, trigger(Kind.QUOTE), is_locked=is_locked)
        self.assertEqual(self.asked(quotes, orders), [4, 0])

    def test_the_settings_that_need_no_quotes_are_found_once(self) -> None:
        """Most events are quotes, and the rules of an account seldom change."""
        script = Script("A-1")
        asked: list[object] = []

        class Listens(frozenset[Kind]):
            def __contains__(self, kind: object) -> bool:
                asked.append(kind)
                return True

        script.rule.listens = Listens()
        rules = (script.in_force(), Script("A-2").in_force())
        for _ in range(10):
            evaluate(self.state, rules, trigger(Kind.QUOTE))
        self.assertEqual((asked, self.asked(script)), ([Kind.QUOTE], [10]))


class HeldTests(EvaluationTestCase):
    """One rule with earlier settings and with the present ones."""

    def setUp(self) -> None:
        self.script = Script("A-1", RuleResult(memory="new", wake_at=at(5)))
        self.state = with_risk(self.state, memory={"A-1": "of now", "A-2": "other"})

    def ask(self, *, is_held: bool) -> Evaluation:
        rules = [self.script.in_force(is_held=is_held)]
        return evaluate(self.state, rules, trigger(Kind.QUOTE))

    def test_earlier_settings_begin_with_the_memory_of_the_present_ones(self) -> None:
        self.ask(is_held=True)
        self.assertEqual(self.script.states[0].risk.memory["A-1"], "of now")

    def test_earlier_settings_then_have_a_memory_of_their_own(self) -> None:
        self.state = self.ask(is_held=True).state
        self.assertEqual(self.state.risk.memory["A-1"], "of now")
        self.assertEqual(self.state.risk.memory["A-1 (held)"], "new")
        self.ask(is_held=True)
        self.assertEqual(self.script.states[1].risk.memory["A-1"], "new")
        self.ask(is_held=False)
        self.assertEqual(self.script.states[2].risk.memory["A-1"], "of now")

    def test_earlier_settings_have_timers_and_faults_of_their_own(self) -> None:
        self.assertEqual(self.ask(is_held=True).results["A-1 (held)"].wake_at, at(5))
        self.script.result = ZeroDivisionError()
        self.assertEqual([fault.slot for fault in self.ask(is_held=True).faults], ["A-1 (held)"])

    def test_a_timer_evaluates_the_settings_that_are_due(self) -> None:
        rules = [self.script.in_force(), self.script.in_force(is_held=True)]
        evaluation = evaluate(self.state, rules, timer(5), due=["A-1 (held)"])
        self.assertEqual(set(evaluation.results), {"A-1 (held)"})

    def test_a_breach_of_earlier_settings_has_the_rules_id(self) -> None:
        self.script.result = wants(CLOSE)
        self.assertEqual(self.ask(is_held=True).decisions, (("A-1", CLOSE),))


class FaultTests(EvaluationTestCase):
    def test_a_rule_that_raises_is_skipped(self) -> None:
        error = ZeroDivisionError()
        scripts = Script("A-1", error), Script("A-2", wants(CLOSE))
        evaluation = self.evaluate(*scripts)
        self.assertEqual(evaluation.faults, (("A-1", error),))
        self.assertEqual(evaluation.decisions, (("A-2", CLOSE),))
        self.assertEqual(set(evaluation.results), {"A-2"})

    def test_a_rule_with_an_invalid_result_is_skipped(self) -> None:
        for name, result in INVALID_RESULTS.items():
            evaluation = self.evaluate(Script("A-1", result), Script("A-2", wants(CLOSE)))
            self.assertEqual([fault.slot for fault in evaluation.faults], ["A-1"], name)
            self.assertEqual(evaluation.decisions, (("A-2", CLOSE),), name)
            self.assertIs(evaluation.state, self.state, name)

    def test_a_result_that_is_invalid_in_part_has_no_effect(self) -> None:
        result = RuleResult(
            memory="1", wake_at=at(5), commands=(CLOSE, Flatten(reason="r", keep={MNQ: -1}))
        )
        evaluation = self.evaluate(Script("A-1", result))
        self.assertEqual((evaluation.decisions, evaluation.results), ((), {}))
        self.assertIs(evaluation.state, self.state)


class LimitTests(SynchronousTestCase):
    """A rule in force as the journal keeps it."""

    def test_the_settings_can_be_read_back_from_the_journal(self) -> None:
        for rule in CATALOGUE.values():
            settings = rule.settings_type()
            limit = RuleInForce(rule, settings).limit
            self.assertEqual(limit.key, rule.key)
            self.assertNotIn(" ", limit.settings)
            decoded = msgspec.json.decode(limit.settings, type=rule.settings_type)
            self.assertEqual(decoded, settings)

    def test_other_settings_are_refused(self) -> None:
        settings_type = CATALOGUE["max_contracts"].settings_type
        for text in ('{"limt": 5}', '{"limit": 0}', "nonsense"):
            self.assertRaises(ValueError, msgspec.json.decode, text, type=settings_type)
