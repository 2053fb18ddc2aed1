"""Moments that stand for "unknown"."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.moments import first_known, is_placeholder

YEAR_ONE = datetime.min.replace(tzinfo=UTC)
YEAR_9999 = datetime.max.replace(tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TODAY = datetime(2026, 11, 23, tzinfo=UTC)


class PlaceholderTests(SynchronousTestCase):
    def test_dates_that_were_never_set_are_placeholders(self) -> None:
        for moment in (YEAR_ONE, YEAR_9999, EPOCH):
            self.assertTrue(is_placeholder(moment), moment)

    def test_moments_of_this_millennium_are_none(self) -> None:
        for moment in (datetime(2000, 1, 1, tzinfo=UTC), TODAY):
            self.assertFalse(is_placeholder(moment), moment)

    def test_the_first_known_moment(self) -> None:
        self.assertEqual(first_known(YEAR_ONE, TODAY, EPOCH), TODAY)
        self.assertIsNone(first_known(YEAR_ONE, YEAR_9999))
