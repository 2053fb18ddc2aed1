"""When quotes can be expected, by a table, around every change of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx.market_hours import EXCHANGE_ZONE, is_market_open

MONDAYS = (
    datetime(2025, 7, 14),  # noqa: DTZ001  # summer
    datetime(2025, 1, 13),  # noqa: DTZ001  # winter
    datetime(2025, 3, 3),  # noqa: DTZ001  # the clocks go forward on the Sunday after
    datetime(2025, 3, 10),  # noqa: DTZ001  # they have just gone forward
    datetime(2025, 10, 27),  # noqa: DTZ001  # they go back on the Sunday after
    datetime(2025, 11, 3),  # noqa: DTZ001  # they have just gone back
)
"""Mondays, midnight, in Chicago."""

WEEK = (
    # day, hour, minute, open
    (0, 0, 0, True),
    (0, 15, 59, True),
    (0, 16, 0, False),
    (0, 16, 59, False),
    (0, 17, 0, True),
    (1, 12, 0, True),
    (1, 16, 30, False),
    (2, 3, 0, True),
    (2, 16, 0, False),
    (2, 17, 0, True),
    (3, 15, 59, True),
    (3, 16, 30, False),
    (3, 23, 59, True),
    (4, 0, 0, True),
    (4, 15, 59, True),
    (4, 16, 0, False),
    (4, 17, 0, False),
    (4, 23, 0, False),
    (5, 0, 0, False),
    (5, 12, 0, False),
    (5, 23, 59, False),
    (6, 0, 0, False),
    (6, 3, 0, False),
    (6, 16, 59, False),
    (6, 17, 0, True),
    (6, 23, 59, True),
)


class MarketHoursTests(SynchronousTestCase):
    def test_every_week_is_the_same_by_the_wall_clock(self) -> None:
        for monday in MONDAYS:
            for day, hour, minute, is_open in WEEK:
                wall = monday + timedelta(days=day, hours=hour, minutes=minute)
                moment = wall.replace(tzinfo=EXCHANGE_ZONE).astimezone(UTC)
                self.assertEqual(is_market_open(moment), is_open, str(wall))

    def test_the_opening_in_utc_moves_with_daylight_saving_time(self) -> None:
        for opening in (
            datetime(2025, 3, 2, 23, tzinfo=UTC),
            datetime(2025, 3, 9, 22, tzinfo=UTC),
            datetime(2025, 10, 26, 22, tzinfo=UTC),
            datetime(2025, 11, 2, 23, tzinfo=UTC),
        ):
            self.assertFalse(is_market_open(opening - timedelta(microseconds=1)))
            self.assertTrue(is_market_open(opening))

    @given(
        st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        st.integers(-14, 14),
    )
    def test_the_zone_of_the_argument_does_not_matter(self, moment: datetime, hours: int) -> None:
        elsewhere = moment.astimezone(timezone(timedelta(hours=hours)))
        self.assertEqual(is_market_open(elsewhere), is_market_open(moment))

    def test_a_week_has_115_hours(self) -> None:
        begin = datetime(2025, 7, 14, tzinfo=UTC)
        quarters = [begin + timedelta(minutes=15 * number) for number in range(4 * 24 * 7)]
        self.assertEqual(sum(map(is_market_open, quarters)), 4 * 115)
