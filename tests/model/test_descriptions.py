"""Events in words; the console's and riskctl's tests have the sentences of each kind."""

from __future__ import annotations

from datetime import datetime

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.descriptions import RiskEvent, describe
from riskd.testing import make_event


def described(event_type: str, **fields: object) -> str:
    data = make_event(event_type, fields).data
    assert isinstance(data, RiskEvent)
    return describe(data, time_since)


def time_since(moment: datetime, now: datetime) -> str:
    return f"{moment - now} later"


class DescriptionTests(SynchronousTestCase):
    def test_the_end_of_a_lock_is_written_as_seen_from_its_beginning(self) -> None:
        sentence = described(
            "lockout_set",
            reason="Daily loss",
            rule_id="RULE-003",
            locked_at="2026-11-23T18:00:00Z",
            locked_until="2026-11-23T20:30:00Z",
        )
        self.assertEqual(sentence, "LOCKED OUT until 2:30:00 later: Daily loss (RULE-003)")

    def test_a_lock_without_an_end_is_for_an_operator_to_unlock(self) -> None:
        sentence = described("lockout_set", reason="lunch", rule_id="OPERATOR", locked_until=None)
        self.assertEqual(sentence, "LOCKED OUT until an operator unlocks it: lunch (OPERATOR)")

    def test_one_trade_is_singular(self) -> None:
        sentence = described("daily_reset", previous_pnl=12, previous_trade_count=1)
        self.assertEqual(sentence, "Daily reset executed: $12.00 in 1 trade the day before")
