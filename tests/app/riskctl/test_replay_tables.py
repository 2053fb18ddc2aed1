"""What a replay enforces as tables."""

from __future__ import annotations

from riskd.app.riskctl.replay_tables import (
    enforcement_summary,
    enforcement_table,
)
from riskd.testing import make_event
from tests.support.riskctl import ZonedTestCase


class EnforcementTableTests(ZonedTestCase):
    """The enforcement of a replay."""

    def test_the_table_has_a_line_for_each_action(self) -> None:
        action = make_event("enforcement_action", {"timestamp": "2026-11-23T18:00:00Z"}).data
        self.assertEqual(
            enforcement_table([(123, action), (7, action)]),
            [
                "AT                   ACCOUNT  RULE      ACTION               REASON",
                f"2026-11-23 13:00:00      123  RULE-001  CLOSE_ALL_POSITIONS  {action.reason}",
                f"2026-11-23 13:00:00        7  RULE-001  CLOSE_ALL_POSITIONS  {action.reason}",
            ],
        )

    def test_the_summary_counts_the_actions_of_each_rule(self) -> None:
        one = make_event("enforcement_action", {}).data
        other = make_event("enforcement_action", {"rule_id": "RULE-003"}).data
        self.assertEqual(
            enforcement_summary([other, one, other]), "3 actions: 1 by RULE-001, 2 by RULE-003"
        )
        self.assertEqual(enforcement_summary([]), "0 actions")
