"""On random days riskd, its dry run and a replay name the same first enforcement."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests import in_one_runner
from tests.first_enforcements import differences, plan_of


@in_one_runner
class FirstEnforcementTests(SynchronousTestCase):
    """A handful of the days that ``python -m tests.first_enforcements`` plays."""

    def check(self, seed: int) -> None:
        found = differences(plan_of(seed))
        self.assertEqual(found, "", found)

    def test_a_position_that_only_events_have_closed_is_not_there_any_more(self) -> None:
        self.check(70)

    def test_answers_that_come_late_come_late_again(self) -> None:
        self.check(65)

    def test_a_limit_on_orders(self) -> None:
        self.check(26)
