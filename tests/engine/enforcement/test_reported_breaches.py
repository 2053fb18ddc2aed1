"""Which breaches of a dry run are reported, and when they are reported again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.engine.enforcement.reported_breaches import ReportedBreaches
from riskd.model.account import AccountState
from riskd.model.events import LockoutSet, OrderSide
from riskd.rules.evaluation import Decision, RuleInForce
from riskd.rules.interface import (
    NOTHING,
    Command,
    Flatten,
    Kind,
    LiftLock,
    Lock,
    PlaceStop,
    RejectOrder,
    Rule,
    RuleResult,
    Trigger,
)
from riskd.rules.settings import RuleSettings

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
STATE = AccountState(account_id=123)
REVIEW = Trigger(kind=Kind.REVIEW, now=NOW, next_reset=NOW + timedelta(hours=5))


def rule_that_wants(*commands: Command, warnings: tuple[str, ...] = ()) -> RuleInForce:
    result = RuleResult(commands=commands, warnings=warnings)
    return rule(lambda *_: result)


def rule(check: object, rule_id: str = "A-1") -> RuleInForce:
    made = Rule(rule_id, rule_id.lower(), RuleSettings, frozenset(Kind), check)  # type: ignore[arg-type]
    return RuleInForce(made, RuleSettings())


def flatten(reason: str = "Too much", **keep: int) -> Flatten:
    return Flatten(reason=reason, keep=keep or None)


def stop(side: OrderSide, size: int = 1, price: int = 1) -> PlaceStop:
    return PlaceStop(reason="s", contract_id="C", side=side, size=size, stop_price=Decimal(price))


def lock(rule_id: str, seconds: int | None) -> LockoutSet:
    until = None if seconds is None else NOW + timedelta(seconds=seconds)
    return LockoutSet(reason="r", locked_until=until, rule_id=rule_id, locked_at=NOW)


def locking(rule_id: str = "A-1") -> Decision:
    return Decision(rule_id, Flatten(reason="Too much", lock=Lock(until=None)))


class SameBreachTests(SynchronousTestCase):
    """Two breaches are the same whatever their wording and figures."""

    def setUp(self) -> None:
        self.told = ReportedBreaches()

    def is_known(self, told: Command, other: Command, rule_id: str = "A-1") -> bool:
        self.told.add(Decision("A-1", told))
        return self.told.has(Decision(rule_id, other), NOW)

    def test_breaches_with_other_words_and_figures_are_the_same(self) -> None:
        self.assertTrue(self.is_known(flatten("Lost $500"), flatten("Lost $600")))
        self.assertTrue(self.is_known(flatten(C=1, D=2), flatten(D=2, C=1)))
        self.assertTrue(self.is_known(stop(OrderSide.BUY), stop(OrderSide.BUY, 3, 7)))

    def test_breaches_of_another_rule_contract_order_or_side_differ(self) -> None:
        self.assertFalse(self.is_known(flatten(), flatten(), "A-2"))
        self.assertFalse(self.is_known(flatten(), flatten(C=0)))
        self.assertFalse(self.is_known(flatten(C=0), flatten(C=1)))
        self.assertFalse(self.is_known(stop(OrderSide.BUY), stop(OrderSide.SELL)))
        one, other = (RejectOrder(reason="r", order_id=number) for number in (1, 2))
        self.assertFalse(self.is_known(one, other))
        self.assertFalse(self.is_known(flatten(), LiftLock(reason="r")))

    def test_a_discarded_breach_is_not_reported(self) -> None:
        self.told.add(Decision("A-1", flatten()))
        self.told.discard(Decision("A-1", flatten("Others")))
        self.assertFalse(self.told.has(Decision("A-1", flatten()), NOW))


class EndedBreachTests(SynchronousTestCase):
    """A breach is over when its rule decides nothing about it any more."""

    def setUp(self) -> None:
        self.told = ReportedBreaches()
        self.told.add(Decision("A-1", flatten(C=0)))

    def lasts(self, *rules: RuleInForce) -> bool:
        self.told.forget_ended(STATE, rules, REVIEW, is_strict=False)
        return self.told.has(Decision("A-1", flatten(C=0)), NOW)

    def test_a_breach_lasts_as_long_as_its_rule_decides_the_same(self) -> None:
        self.assertTrue(self.lasts(rule_that_wants(flatten(C=0), flatten(D=0))))
        self.assertFalse(self.lasts(rule_that_wants(flatten(D=0))))

    def test_the_breach_of_a_rule_that_is_not_in_force_is_over(self) -> None:
        self.assertFalse(self.lasts())

    def test_another_rule_does_not_prolong_a_breach(self) -> None:
        self.assertFalse(self.lasts(rule(lambda *_: RuleResult(commands=(flatten(C=0),)), "A-2")))

    def test_either_of_two_settings_of_a_rule_prolongs_a_breach(self) -> None:
        wants = Rule("A-1", "a-1", RuleSettings, frozenset(Kind), lambda *_: NOTHING)
        held = RuleInForce(wants, RuleSettings(), is_held=True)
        self.assertTrue(self.lasts(rule_that_wants(flatten(C=0)), held))

    def test_a_rule_that_warns_ends_no_breach(self) -> None:
        self.assertTrue(self.lasts(rule_that_wants(warnings=("No quote",))))

    def test_a_rule_that_fails_ends_no_breach(self) -> None:
        self.assertTrue(self.lasts(rule(lambda *_: 1 / 0)))

    def test_a_rule_is_also_evaluated_without_its_memory(self) -> None:
        def once(state: AccountState, _settings: object, _trigger: object) -> RuleResult:
            return NOTHING if "A-1" in state.risk.memory else RuleResult(commands=(flatten(C=0),))

        risk = type(STATE.risk)(memory={"A-1": "done"})
        state = AccountState(account_id=123, risk=risk)
        self.told.forget_ended(state, [rule(once)], REVIEW, is_strict=False)
        self.assertTrue(self.told.has(Decision("A-1", flatten(C=0)), NOW))

    @given(st.lists(st.booleans()))
    def test_a_breach_is_reported_as_often_as_it_begins(self, breached: list[bool]) -> None:
        told, times = ReportedBreaches(), 0
        wanted = Decision("A-1", flatten(C=0))
        for is_breach in breached:
            one = rule_that_wants(*([wanted.command] if is_breach else []))
            told.forget_ended(STATE, [one], REVIEW, is_strict=False)
            if is_breach and not told.has(wanted, NOW):
                told.add(wanted)
                times += 1
        begins = sum(
            now and not before for before, now in zip([False, *breached], breached, strict=False)
        )
        self.assertEqual(times, begins)


class LockTests(SynchronousTestCase):
    """A rule whose lock would be in force reports nothing more."""

    def setUp(self) -> None:
        self.told = ReportedBreaches()

    def test_a_lock_is_reported_as_long_as_it_would_be_in_force(self) -> None:
        self.told.add(locking(), (lock("A-1", 60),))
        for seconds, is_known in ((59, True), (60, False)):
            moment = NOW + timedelta(seconds=seconds)
            self.assertEqual(self.told.has(locking(), moment), is_known)
        self.assertFalse(self.told.has(locking("A-2"), NOW))

    def test_a_lock_is_reported_whatever_the_rule_decides_meanwhile(self) -> None:
        self.told.add(locking(), (lock("A-1", None),))
        self.told.forget_ended(STATE, [rule_that_wants()], REVIEW, is_strict=False)
        self.assertTrue(self.told.has(locking(), NOW))

    def test_a_lock_ends_when_the_rule_would_lift_it(self) -> None:
        def check(state: AccountState, _settings: object, _trigger: object) -> RuleResult:
            """Lift a lock where there is one."""
            is_mine = "A-1" in state.lockouts
            return RuleResult(commands=(LiftLock(reason="r"),)) if is_mine else NOTHING

        for is_strict in (True, False):
            self.told.add(locking(), (lock("A-1", None),))
            self.told.forget_ended(STATE, [rule(check)], REVIEW, is_strict=is_strict)
            # In strict mode no rule lifts a lock.
            self.assertEqual(self.told.has(locking(), NOW), is_strict)

    def test_a_lock_ends_when_an_operator_would_end_it(self) -> None:
        self.told.add(locking(), (lock("A-1", None), lock("A-2", None)))
        self.told.forget_locks()
        self.assertFalse(self.told.has(locking("A-1"), NOW) or self.told.has(locking("A-2"), NOW))
