"""Asking the rules: the order, what the first breach ends, and verdicts that make no sense."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.events import DaemonStatus, Status
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
    Rule,
    RuleResult,
    Trigger,
    WithdrawStop,
)
from riskd.rules.settings import RuleSettings
from tests.support import practice_daemon
from tests.support.guarded_account import MAX_CONTRACTS, GuardTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, CATALOGUE, settings_of
from tests.support.rules import ACCOUNT as ACCOUNT_ID
from tests.support.rules import MNQ, at, review, timer, trade, traded, trigger, with_risk

CLOSE = Flatten(reason="Too much")
NAIVE = datetime(2025, 7, 17, 12)  # noqa: DTZ001  # what a rule must not say

NONSENSE: dict[str, Any] = {
    "no verdict": None,
    "a moment without a zone": RuleResult(wake_at=NAIVE),
    "no moment": RuleResult(wake_at="tomorrow"),  # type: ignore[arg-type]
    "memory that is no text": RuleResult(memory={"trades": 3}),  # type: ignore[arg-type]
    "a warning that is no text": RuleResult(warnings=(7,)),  # type: ignore[arg-type]
    "no intents": RuleResult(commands=None),  # type: ignore[arg-type]
    "an intent that is none": RuleResult(commands=("close",)),  # type: ignore[arg-type]
    "a reason that is no text": RuleResult(commands=(Flatten(reason=None),)),  # type: ignore[arg-type]
    "less than nothing kept": RuleResult(commands=(Flatten(reason="r", keep={MNQ: -1}),)),
    "a truth kept": RuleResult(commands=(Flatten(reason="r", keep={MNQ: True}),)),
    "a part kept": RuleResult(commands=(Flatten(reason="r", keep={MNQ: 1.5}),)),  # type: ignore[dict-item]
    "a lock without a zone": RuleResult(commands=(Flatten(reason="r", lock=Lock(until=NAIVE)),)),
    "a lock that is none": RuleResult(commands=(Flatten(reason="r", lock=NAIVE),)),  # type: ignore[arg-type]
}


class Settings(RuleSettings, frozen=True, kw_only=True):
    """Two settings of one rule differ in this."""

    limit: int = 1


class Script:
    """A rule that says what the test gave it.

    :ivar asked: the states that it was asked about.
    """

    def __init__(
        self,
        rule_id: str,
        said: Any = NOTHING,
        *,
        listens: Sequence[Kind] = (Kind.TRADE, Kind.QUOTE),
        runs_while_locked: bool = False,
    ) -> None:
        self.said = said
        self.asked: list[AccountState] = []
        self.rule = Rule(
            rule_id,
            rule_id.lower().replace("-", "_"),
            Settings,
            frozenset(listens),
            self.check,
            runs_while_locked=runs_while_locked,
        )

    def check(self, state: AccountState, _settings: Settings, _trigger: Trigger) -> RuleResult:
        self.asked.append(state)
        if isinstance(self.said, Exception):
            raise self.said
        result: RuleResult = self.said
        return result

    def in_force(self, *, is_held: bool = False) -> RuleInForce:
        return RuleInForce(self.rule, Settings(limit=2 if is_held else 1), is_held)


def wants(*commands: Command) -> RuleResult:
    return RuleResult(commands=commands)


class JudgeTestCase(SynchronousTestCase):
    state = AccountState(account_id=ACCOUNT_ID)

    def evaluate(self, *scripts: Script, on: Trigger | None = None, **more: Any) -> Evaluation:
        rules = [script.in_force() for script in scripts]
        return evaluate(self.state, rules, on or trigger(Kind.QUOTE), **more)

    def asked(self, *scripts: Script) -> list[int]:
        return [len(script.asked) for script in scripts]


class OrderTests(JudgeTestCase):
    def test_the_first_breach_is_the_last_that_is_asked_for(self) -> None:
        scripts = Script("A-1"), Script("A-2", wants(CLOSE)), Script("A-3", wants(CLOSE))
        evaluation = self.evaluate(*scripts)
        self.assertEqual(self.asked(*scripts), [1, 1, 0])
        self.assertEqual(evaluation.decisions, (("A-2", CLOSE),))

    def test_a_trade_comes_once_so_all_are_asked(self) -> None:
        scripts = Script("A-1", wants(CLOSE)), Script("A-2", wants(CLOSE))
        evaluation = self.evaluate(*scripts, on=traded(trade(1, "-5")))
        self.assertEqual(self.asked(*scripts), [1, 1])
        self.assertEqual([decision.rule_id for decision in evaluation.decisions], ["A-1", "A-2"])

    def test_all_that_one_rule_wants_is_done_in_its_order(self) -> None:
        commands = (
            WithdrawStop(reason="r", order_id=1),
            RejectOrder(reason="r", order_id=2),
            CLOSE,
        )
        evaluation = self.evaluate(Script("A-1", wants(*commands)))
        self.assertEqual(tuple(decision.command for decision in evaluation.decisions), commands)

    def test_only_who_listens_is_asked(self) -> None:
        scripts = Script("A-1", listens=[Kind.QUOTE]), Script("A-2", listens=[Kind.ORDER])
        self.evaluate(*scripts)
        self.assertEqual(self.asked(*scripts), [1, 0])

    def test_a_review_asks_all(self) -> None:
        scripts = Script("A-1", listens=[Kind.QUOTE]), Script("A-2", listens=[])
        self.evaluate(*scripts, on=review())
        self.assertEqual(self.asked(*scripts), [1, 1])

    def test_a_timer_asks_those_that_are_due(self) -> None:
        scripts = Script("A-1", listens=[Kind.TIMER]), Script("A-2", listens=[])
        self.evaluate(*scripts, on=timer(1), due=["A-2"])
        self.assertEqual(self.asked(*scripts), [0, 1])

    def test_few_are_asked_about_a_locked_account(self) -> None:
        scripts = Script("A-1"), Script("A-2", runs_while_locked=True)
        for on in (None, review(), timer(1)):
            self.evaluate(*scripts, on=on, due=["A-1", "A-2"], is_locked=True)
        self.assertEqual(self.asked(*scripts), [0, 3])


class UnderWayTests(JudgeTestCase):
    def test_what_is_being_done_is_not_decided_again_and_hides_no_other_rule(self) -> None:
        scripts = (
            Script("A-1", wants(CLOSE)),
            Script("A-2", wants(RejectOrder(reason="r", order_id=1))),
        )
        evaluation = self.evaluate(*scripts, is_under_way=is_flatten)
        self.assertEqual([decision.rule_id for decision in evaluation.decisions], ["A-2"])

    def test_of_several_commands_the_others_are_decided(self) -> None:
        change = WithdrawStop(reason="r", order_id=1)
        evaluation = self.evaluate(Script("A-1", wants(CLOSE, change)), is_under_way=is_flatten)
        self.assertEqual(evaluation.decisions, (("A-1", change),))

    def test_what_strict_mode_makes_of_it_is_what_is_compared(self) -> None:
        asked: list[Decision] = []

        def is_under_way(decision: Decision) -> bool:
            asked.append(decision)
            return True

        self.evaluate(Script("A-1", wants(CLOSE)), is_strict=True, is_under_way=is_under_way)
        self.assertEqual(asked, [("A-1", Flatten(reason="Too much", lock=Lock(until=None)))])


def is_flatten(decision: Decision) -> bool:
    return isinstance(decision.command, Flatten)


class StrictTests(JudgeTestCase):
    def strictly(self, *commands: Command) -> list[Command]:
        evaluation = self.evaluate(Script("A-1", wants(*commands)), is_strict=True)
        return [decision.command for decision in evaluation.decisions]

    def test_every_breach_closes_all_and_locks_for_good(self) -> None:
        for breach in (
            Flatten(reason="r", keep={MNQ: 1}),
            Flatten(reason="r", lock=Lock(until=at(60), cooldown_seconds=60)),
            RejectOrder(reason="r", order_id=1),
        ):
            self.assertEqual(self.strictly(breach), [Flatten(reason="r", lock=Lock(until=None))])

    def test_no_lock_is_lifted(self) -> None:
        self.assertEqual(self.strictly(LiftLock(reason="r")), [])

    def test_stops_are_looked_after_as_ever(self) -> None:
        change = ChangeStop(reason="r", order_id=1, size=1, stop_price=Decimal(20900))
        self.assertEqual(self.strictly(change), [change])


class MemoryTests(JudgeTestCase):
    def test_it_is_kept_under_the_rules_id(self) -> None:
        evaluation = self.evaluate(Script("A-1", RuleResult(memory="1")), Script("A-2", NOTHING))
        self.assertEqual(evaluation.state.risk.memory, {"A-1": "1"})

    def test_what_is_remembered_already_changes_nothing(self) -> None:
        self.state = with_risk(self.state, memory={"A-1": "1"})
        evaluation = self.evaluate(Script("A-1", RuleResult(memory="1")), Script("A-2"))
        self.assertIs(evaluation.state, self.state)

    def test_wishes_and_warnings_are_kept_for_each_that_was_asked(self) -> None:
        scripts = Script("A-1", RuleResult(wake_at=at(5), warnings=("w",))), Script("A-2")
        evaluation = self.evaluate(*scripts, Script("A-3", listens=[]))
        self.assertEqual(evaluation.wakes, {"A-1": at(5), "A-2": None})
        self.assertEqual(evaluation.warnings, {"A-1": ("w",), "A-2": ()})


class HeldTests(JudgeTestCase):
    """One rule under settings of before and under those of now."""

    def setUp(self) -> None:
        self.script = Script("A-1", RuleResult(memory="new", wake_at=at(5)))
        self.state = with_risk(self.state, memory={"A-1": "of now", "A-2": "other"})

    def ask(self, *, is_held: bool) -> Evaluation:
        rules = [self.script.in_force(is_held=is_held)]
        return evaluate(self.state, rules, trigger(Kind.QUOTE))

    def test_the_held_one_begins_with_what_the_rule_remembers(self) -> None:
        self.ask(is_held=True)
        self.assertEqual(self.script.asked[0].risk.memory["A-1"], "of now")

    def test_then_it_has_its_own(self) -> None:
        self.state = self.ask(is_held=True).state
        self.assertEqual(self.state.risk.memory["A-1"], "of now")
        self.assertEqual(self.state.risk.memory["A-1 (held)"], "new")
        self.ask(is_held=True)
        self.assertEqual(self.script.asked[1].risk.memory["A-1"], "new")
        self.ask(is_held=False)
        self.assertEqual(self.script.asked[2].risk.memory["A-1"], "of now")

    def test_so_are_its_wishes_and_its_faults(self) -> None:
        self.assertEqual(self.ask(is_held=True).wakes, {"A-1 (held)": at(5)})
        self.script.said = ZeroDivisionError()
        self.assertEqual([fault.slot for fault in self.ask(is_held=True).faults], ["A-1 (held)"])

    def test_a_timer_asks_the_one_that_is_due(self) -> None:
        rules = [self.script.in_force(), self.script.in_force(is_held=True)]
        evaluation = evaluate(self.state, rules, timer(5), due=["A-1 (held)"])
        self.assertEqual(set(evaluation.wakes), {"A-1 (held)"})

    def test_its_breach_is_the_rules(self) -> None:
        self.script.said = wants(CLOSE)
        self.assertEqual(self.ask(is_held=True).decisions, (("A-1", CLOSE),))


class FaultTests(JudgeTestCase):
    def test_a_rule_that_raises_is_passed_over(self) -> None:
        error = ZeroDivisionError()
        scripts = Script("A-1", error), Script("A-2", wants(CLOSE))
        evaluation = self.evaluate(*scripts)
        self.assertEqual(evaluation.faults, (("A-1", error),))
        self.assertEqual(evaluation.decisions, (("A-2", CLOSE),))
        self.assertEqual(set(evaluation.wakes), {"A-2"})

    def test_so_is_one_that_makes_no_sense(self) -> None:
        for name, result in NONSENSE.items():
            evaluation = self.evaluate(Script("A-1", result), Script("A-2", wants(CLOSE)))
            self.assertEqual([fault.slot for fault in evaluation.faults], ["A-1"], name)
            self.assertEqual(evaluation.decisions, (("A-2", CLOSE),), name)
            self.assertIs(evaluation.state, self.state, name)

    def test_nothing_is_taken_of_a_verdict_that_is_nonsense_in_part(self) -> None:
        result = RuleResult(
            memory="1", wake_at=at(5), commands=(CLOSE, Flatten(reason="r", keep={MNQ: -1}))
        )
        evaluation = self.evaluate(Script("A-1", result))
        self.assertEqual((evaluation.decisions, evaluation.wakes), ((), {}))
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


class RogueRuleTests(GuardTestCase):
    """A rule of a user's own that makes no sense, in a daemon."""

    config = "[rules.x_1]\n" + MAX_CONTRACTS

    def setUp(self) -> None:
        self.script = Script("X-1", listens=[Kind.POSITION])
        self.patch(practice_daemon, "CATALOGUE", {"x_1": self.script.rule, **CATALOGUE})
        super().setUp()
        self.daemon.told.clear()

    def statuses(self) -> list[DaemonStatus]:
        statuses: list[DaemonStatus] = self.daemon.news(DaemonStatus)
        return statuses

    def test_the_other_rules_guard(self) -> None:
        for name, result in NONSENSE.items():
            self.script.said = result
            self.daemon.trade(BUY, 3)
            self.assertEqual(self.daemon.held, {}, name)
            self.daemon.advance(1)
        self.assertEqual(len(self.daemon.actions), len(NONSENSE))
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_it_is_told_once_whatever_it_says_next(self) -> None:
        for result in (*NONSENSE.values(), ZeroDivisionError()):
            self.script.said = result
            self.daemon.trade(BUY, 1)
            self.daemon.advance(1)
            self.daemon.engine.accounts[ACCOUNT].flatten("enough", "trader")
            self.daemon.advance(1)
        (status,) = self.statuses()
        self.assertIs(status.status, Status.ERROR)
        self.assertEqual(
            status.message,
            f"X-1 failed and does not guard account {ACCOUNT}; the log says why",
        )
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_it_is_over_when_the_rule_makes_sense_again(self) -> None:
        self.script.said = None
        self.daemon.trade(BUY, 1)
        self.script.said = NOTHING
        self.daemon.trade(BUY, 1)
        self.assertEqual(
            [status.status for status in self.statuses()], [Status.ERROR, Status.RUNNING]
        )
        self.flushLoggedErrors()

    def test_it_is_over_when_the_rule_is_removed(self) -> None:
        self.script.said = None
        self.daemon.trade(BUY, 1)
        self.daemon.engine.reload(settings_of(MAX_CONTRACTS))
        self.assertEqual(
            [status.status for status in self.statuses()], [Status.ERROR, Status.RUNNING]
        )
        self.flushLoggedErrors()

    def test_one_that_is_never_satisfied_does_not_run_in_circles(self) -> None:
        """There is nothing to close, and it wants that again whenever it is asked."""
        self.script.said = wants(CLOSE)
        self.daemon.engine.accounts[ACCOUNT].risk_engine.review()
        self.daemon.advance(10)
        self.assertLess(len(self.script.asked), 25)
        self.script.said = NOTHING
        self.daemon.advance(2)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(1)
        self.assertEqual(len(self.daemon.held), 1)

    def test_a_wish_it_had_before_is_no_nonsense(self) -> None:
        self.script.said = RuleResult(wake_at=self.daemon.now() + timedelta(seconds=5))
        self.daemon.trade(BUY, 1)
        asked = len(self.script.asked)
        self.script.said = NOTHING
        self.daemon.advance(6)
        self.assertEqual((len(self.script.asked) - asked, self.statuses()), (1, []))
