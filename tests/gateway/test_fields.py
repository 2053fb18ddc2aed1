"""Ids, sizes and times, in whatever form the gateway writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.fields import FieldReader, MappingError, whole
from riskd.host.secrets import Secret
from riskd.model.events import to_milliseconds
from riskd.model.moments import is_placeholder

HUGE = (2**63, -(2**63), 10**30, Decimal("1E+999999999"))


def reader(value: Any) -> FieldReader:
    return FieldReader("Thing", {"field": value})


class WholeTests(SynchronousTestCase):
    def test_zeros_after_the_point_are_ignored(self) -> None:
        for value in (7, Decimal(7), Decimal("7.000000000")):
            self.assertEqual((whole(value), type(whole(value))), (7, int))

    def test_other_values_are_not_whole_numbers(self) -> None:
        for value in (None, True, "7", 7.0, Decimal("7.5"), *HUGE):
            self.assertIsNone(whole(value), value)


class FieldReaderTests(SynchronousTestCase):
    def test_a_number_that_the_journal_cannot_hold_is_an_error(self) -> None:
        for huge in HUGE:
            self.assertRaises(MappingError, reader(huge).whole, "field")
            self.assertRaises(MappingError, reader(huge).count, "field")
        self.assertRaises(MappingError, reader(Decimal("1E+18")).count, "field")

    def test_an_error_names_payload_field_and_value(self) -> None:
        error = self.assertRaises(MappingError, reader("x").whole, "field")
        self.assertEqual((error.field, error.value), ("Thing.field", "x"))
        error = self.assertRaises(MappingError, reader("x").whole, "other")
        self.assertEqual((error.field, error.value), ("Thing.other", None))

    def test_an_error_shows_no_secret_and_nothing_of_a_list(self) -> None:
        secret = Secret("the-API-key")
        for value in (f"x {secret.reveal()}", [secret.reveal()], {"a": secret.reveal()}):
            error = self.assertRaises(MappingError, reader(value).whole, "field")
            self.assertNotIn(secret.reveal(), f"{error} {error.value}")

    def test_a_time_without_an_offset_is_utc(self) -> None:
        for text in ("2025-01-17T14:45:15", "2025-01-17T14:45:15Z", "2025-01-17T15:45:15+01:00"):
            self.assertEqual(
                reader(text).time("field"), datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)
            )

    def test_a_time_that_utc_does_not_have_can_be_calculated_with(self) -> None:
        for text in ("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-06:00"):
            self.assertTrue(is_placeholder(to_milliseconds(reader(text).time("field"))))

    def test_a_time_may_be_missing_where_it_is_optional(self) -> None:
        beyond = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-06:00")
        for missing in (None, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", *beyond):
            self.assertIsNone(reader(missing).optional_time("field"))
        self.assertRaises(MappingError, reader(None).time, "field")
