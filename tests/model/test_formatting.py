"""Amounts, numbers and contracts in sentences, and text that is safe to show."""

from __future__ import annotations

from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.formatting import contract_name, counted, dollars, printable
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

    def test_control_characters_are_replaced(self) -> None:
        self.assertEqual(printable("a\x1b[2J\n\u202eb"), "a?[2J ?b")
