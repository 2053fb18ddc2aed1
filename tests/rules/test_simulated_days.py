"""The rules, evaluated on simulated trading days."""

from __future__ import annotations

import functools

from twisted.trial.unittest import SynchronousTestCase

from riskd.rules.interface import ChangeStop, Flatten, LiftLock, PlaceStop, WithdrawStop
from tests import in_one_runner
from tests.support.simulated_days import RulesUnderTest, settings, trading_days

DAYS = 10
_COMMANDS = {Flatten, LiftLock, PlaceStop, ChangeStop, WithdrawStop}


def evaluated() -> RulesUnderTest:
    rules = RulesUnderTest(settings())
    for moments in trading_days(DAYS):
        rules.handle(moments)
    return rules


@functools.cache
def once() -> RulesUnderTest:
    """Return the evaluation that tests share."""
    return evaluated()


@in_one_runner
class SimulatedDayTests(SynchronousTestCase):
    def test_the_same_days_give_the_same_decisions(self) -> None:
        again = evaluated()
        self.assertEqual(again.decided, once().decided)
        self.assertEqual(again.state, once().state)

    def test_days_are_in_order(self) -> None:
        times = [moment.at for moments in trading_days(DAYS) for moment in moments]
        self.assertEqual(times, sorted(times))

    def test_most_rules_decide_something(self) -> None:
        decided = once().decided
        rules = {one.rule_id for one in decided}
        self.assertGreaterEqual(len(rules), 8, sorted(rules))
        kinds = {type(one.command) for one in decided}
        self.assertLessEqual(_COMMANDS, kinds)

    def test_a_position_opened_during_a_lockout_is_flattened(self) -> None:
        reasons = [
            one.command.reason for one in once().decided if isinstance(one.command, Flatten)
        ]
        self.assertTrue(any(reason.startswith("Locked: ") for reason in reasons))
