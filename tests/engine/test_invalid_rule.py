"""A user's rule that raises or returns an invalid result, in a daemon."""

from __future__ import annotations

from datetime import timedelta

from riskd.model.events import DaemonStatus, Status
from riskd.rules.interface import NOTHING, Flatten, Kind, RuleResult
from tests.support import practice_daemon
from tests.support.guarded_account import MAX_CONTRACTS, GuardTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, CATALOGUE, settings_of
from tests.support.rules import INVALID_RESULTS, Script


class InvalidRuleTests(GuardTestCase):
    config = "[rules.x_1]\n" + MAX_CONTRACTS

    def setUp(self) -> None:
        self.script = Script("X-1", listens=[Kind.POSITION])
        self.patch(practice_daemon, "CATALOGUE", {"x_1": self.script.rule, **CATALOGUE})
        super().setUp()
        self.daemon.told.clear()

    def statuses(self) -> list[DaemonStatus]:
        statuses: list[DaemonStatus] = self.daemon.news(DaemonStatus)
        return statuses

    def test_the_other_rules_go_on(self) -> None:
        for name, result in INVALID_RESULTS.items():
            self.script.result = result
            self.daemon.trade(BUY, 3)
            self.assertEqual(self.daemon.held, {}, name)
            self.daemon.advance(1)
        self.assertEqual(len(self.daemon.actions), len(INVALID_RESULTS))
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_an_error_is_broadcast_once_whatever_the_rule_returns_next(self) -> None:
        for result in (*INVALID_RESULTS.values(), ZeroDivisionError()):
            self.script.result = result
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

    def test_the_error_ends_when_the_rule_returns_a_valid_result(self) -> None:
        self.script.result = None
        self.daemon.trade(BUY, 1)
        self.script.result = NOTHING
        self.daemon.trade(BUY, 1)
        self.assertEqual(
            [status.status for status in self.statuses()], [Status.ERROR, Status.RUNNING]
        )
        self.flushLoggedErrors()

    def test_the_error_ends_when_the_rule_is_removed(self) -> None:
        self.script.result = None
        self.daemon.trade(BUY, 1)
        self.daemon.engine.reload(settings_of(MAX_CONTRACTS))
        statuses = [each for each in self.statuses() if not each.message.startswith("Settings")]
        self.assertIs(statuses[0].status, Status.ERROR)
        self.assertIs(statuses[-1].status, Status.RUNNING)
        self.flushLoggedErrors()

    def test_a_rule_that_always_flattens_does_not_loop(self) -> None:
        """There is nothing to close, and the rule flattens at each evaluation."""
        self.script.result = RuleResult(commands=(Flatten(reason="Too much"),))
        self.daemon.engine.accounts[ACCOUNT].risk_engine.review()
        self.daemon.advance(10)
        self.assertLess(len(self.script.states), 25)
        self.script.result = NOTHING
        self.daemon.advance(2)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(1)
        self.assertEqual(len(self.daemon.held), 1)

    def test_a_timer_from_before_evaluates_the_rule_once(self) -> None:
        self.script.result = RuleResult(wake_at=self.daemon.now() + timedelta(seconds=5))
        self.daemon.trade(BUY, 1)
        asked = len(self.script.states)
        self.script.result = NOTHING
        self.daemon.advance(6)
        self.assertEqual((len(self.script.states) - asked, self.statuses()), (1, []))
