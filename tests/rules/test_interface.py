"""What a rule remembers comes back as it was."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import with_risk
from riskd.rules.interface import recall, remember
from tests.support.rules import state_after


class MemoryTests(SynchronousTestCase):
    def test_a_value_is_recalled_as_it_was(self) -> None:
        state = with_risk(state_after(), memory={"A-1": remember({"MNQ": 2})})
        self.assertEqual(recall(state, "A-1", dict[str, int]), {"MNQ": 2})

    def test_each_rule_has_its_own(self) -> None:
        state = with_risk(state_after(), memory={"A-1": remember([1])})
        self.assertEqual(recall(state, "A-2", list[int]), [])

    def test_a_known_value_needs_no_new_memory(self) -> None:
        self.assertIsNone(remember([1], [1]))
        self.assertEqual(remember([1], [2]), "[1]")
