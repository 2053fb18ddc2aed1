"""The values of rules' tables: bounds, tickers and repeats."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.rules.interface import Lock
from riskd.rules.settings import LockoutUntil, RuleSettings, Ticker, expect_no_repeats
from tests.support.rules import RESET, review


class Settings(RuleSettings, frozen=True, kw_only=True):
    limit: Decimal = Decimal(1)


class SettingsTests(SynchronousTestCase):
    def test_amounts_are_positive_and_finite(self) -> None:
        self.assertEqual(Settings(limit=Decimal("0.01")).limit, Decimal("0.01"))
        for amount in ("0", "-1", "NaN", "Infinity"):
            error = self.assertRaises(ValueError, Settings, limit=Decimal(amount))
            self.assertIn("limit: expected an amount above zero", str(error))

    def test_unknown_keys_are_rejected(self) -> None:
        self.assertRaises(msgspec.ValidationError, msgspec.convert, {"limt": 1}, Settings)

    def test_a_ticker_is_not_the_name_of_one_contract(self) -> None:
        for text, is_valid in (("ES", True), ("mnq", True), ("6E", True), ("ESZ6", False)):
            if is_valid:
                self.assertEqual(msgspec.convert(text, Ticker), text)
            else:
                self.assertRaises(msgspec.ValidationError, msgspec.convert, text, Ticker)

    def test_repeats_are_rejected(self) -> None:
        expect_no_repeats("sessions", "root", ["ES", "MNQ"])
        error = self.assertRaises(ValueError, expect_no_repeats, "sessions", "root", ["ES", "ES"])
        self.assertEqual(str(error), "sessions: expected each root once, got ES twice")

    def test_a_lock_ends_at_the_next_reset_or_never(self) -> None:
        self.assertEqual(LockoutUntil.DAILY_RESET.lock(review()), Lock(until=RESET))
        self.assertEqual(LockoutUntil.PERMANENT.lock(review()), Lock(until=None))
