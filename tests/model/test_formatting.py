"""Amounts, contracts and events in words, and text that is safe to show.

The console's and riskctl's tests have the sentences of each kind of event.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.formatting import RiskEvent, contract_name, counted, describe, dollars
from riskd.testing import make_event
from tests.support.rules import MNQ, UNKNOWN, state_after


class FormattingTests(SynchronousTestCase):
    def test_amounts_have_cents_and_the_sign_before_the_dollar(self) -> None:
        for amount, text in (
            ("1234.5", "$1,234.50"),
            ("-1234.5", "-$1,234.50"),
            ("-0.001", "$0.00"),
        ):
            self.assertEqual(dollars(Decimal(amount)), text)

    def test_one_thing_is_singular(self) -> None:
        self.assertEqual(
            [counted(each, "contract") for each in (0, 1, 2)],
            ["0 contracts", "1 contract", "2 contracts"],
        )

    def test_a_contract_has_its_name_or_its_id(self) -> None:
        self.assertEqual(contract_name(state_after(), MNQ), "MNQU5")
        self.assertEqual(contract_name(state_after(), UNKNOWN), UNKNOWN)


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
