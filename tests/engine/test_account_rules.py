"""An account's rules: their failures, warnings and timers, and the limits that a lock holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from twisted.internet.defer import succeed
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from riskd.engine.account_rules import AccountRules
from riskd.engine.limits_in_force import LimitsInForce
from riskd.engine.tracked_account import TrackedAccount
from riskd.model.account import AccountState
from riskd.model.trading_day import ResetSchedule
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import NOTHING, Kind, Rule, RuleResult, Trigger
from riskd.rules.settings import RuleSettings
from tests.support.broker_values import broker_order

NOON = datetime(2026, 11, 23, 18, tzinfo=UTC)
FAILED = "A-1 failed and does not guard account 123; the log says why"
NO_LIMITS = LimitsInForce((), False, ResetSchedule())

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)


class StubJournal:
    """A journal that writes nothing."""

    def changed(self, *, only_quotes: bool = False) -> None:
        """Write nothing."""

    def note_event(self, event: object) -> None:
        """Keep nothing."""

    def make_durable(self) -> object:
        return succeed(None)


class AccountRulesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.result = NOTHING
        self.problems: list[tuple[str, str]] = []
        self.notices: list[str] = []
        rule = Rule("A-1", "a_1", RuleSettings, frozenset(Kind), self.check)
        limits = LimitsInForce((RuleInForce(rule, RuleSettings()),), False, ResetSchedule())
        account = TrackedAccount(
            123,
            (),
            StubJournal(),
            lambda _event: None,
            lambda: NOW,
            lambda: 0.0,
        )
        self.rules = AccountRules(
            account,
            limits,
            {},
            lambda source, sentence: self.problems.append((source, sentence)),
            self.notices.append,
        )

    def check(self, _state: AccountState, _settings: object, _trigger: Trigger) -> RuleResult:
        if self.result is None:
            raise ZeroDivisionError
        return self.result

    def evaluate(self) -> None:
        self.rules.evaluate(AccountState(account_id=123), Kind.REVIEW, NOON, lambda _: False)

    def fail_twice(self) -> None:
        self.result = None
        for _ in range(2):
            self.evaluate()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.problems, [("A-1 123", FAILED)])

    def test_a_failure_is_reported_once_and_ends_with_a_success(self) -> None:
        self.fail_twice()
        self.result = NOTHING
        self.evaluate()
        self.assertEqual(self.problems[1:], [("A-1 123", "")])

    def test_the_failure_of_a_rule_ends_when_it_is_not_in_force_any_more(self) -> None:
        self.fail_twice()
        self.rules.reload(NO_LIMITS, is_locked=False)
        self.assertEqual(self.problems[1:], [("A-1 123", "")])

    def test_a_warning_is_logged_once(self) -> None:
        self.result = RuleResult(warnings=("no tick size",))
        with capturedLogs() as captured:
            self.evaluate()
            self.evaluate()
        self.assertEqual([each["doubt"] for each in captured], ["no tick size"])

    def test_a_rule_is_due_once_when_it_wants_to_be_woken(self) -> None:
        self.result = RuleResult(wake_at=NOON + timedelta(seconds=5))
        self.evaluate()
        self.assertEqual(self.rules.pop_due(NOON), [])
        self.assertEqual(self.rules.pop_due(NOON + timedelta(seconds=5)), ["A-1"])
        self.assertEqual(self.rules.wakes, {})

    def test_a_rule_that_wants_no_waking_is_not_woken(self) -> None:
        self.result = RuleResult(wake_at=NOON)
        self.evaluate()
        self.result = NOTHING
        self.evaluate()
        self.assertEqual(self.rules.wakes, {})

    def test_the_reduce_only_stage_is_reported_once_and_a_lock_takes_its_place(self) -> None:
        state = AccountState(account_id=123, orders={7: broker_order(id=7)})
        self.result = RuleResult(reduce_only="enough")

        def decided(*, kind: Kind = Kind.QUOTE, is_locked: bool = False) -> list[str]:
            decisions = self.rules.evaluate(
                state, kind, NOON, lambda _: False, is_locked=is_locked
            )
            return [decision.command.reason for decision in decisions]

        self.assertEqual(decided(is_locked=True), [])
        self.assertEqual(self.notices, [])
        forbidden = "Only exits are allowed: order to sell 1 MNQZ6; enough"
        self.assertEqual(decided(), [forbidden])
        begun = "Account 123 may only reduce its positions: enough (A-1)"
        self.assertEqual(self.notices, [begun])
        # The next quote says nothing new of orders.
        self.assertEqual(decided(), [])
        self.assertEqual(decided(kind=Kind.REVIEW), [forbidden])
        self.assertEqual(decided(kind=Kind.REVIEW, is_locked=True), [])
        self.result = NOTHING
        self.assertEqual(decided(), [])
        self.assertEqual(self.notices, [begun, "Account 123 may open positions again"])

    def test_journaled_limits_are_held_until_the_lock_ends(self) -> None:
        self.rules.reload(NO_LIMITS, is_locked=True)
        self.assertEqual([one.slot for one in self.rules.limits.rules], ["A-1 (held)"])
        self.rules.release()
        self.assertEqual(self.rules.limits.rules, ())
