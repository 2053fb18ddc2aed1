"""Trading days begin by the wall clock, also where clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.trading_day import ResetSchedule

CHICAGO = ResetSchedule()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class ResetScheduleTests(SynchronousTestCase):
    def test_the_default_reset_is_17_00_in_chicago(self) -> None:
        self.assertEqual(CHICAGO.next_reset(utc("2026-07-01T12:00")), utc("2026-07-01T22:00"))
        self.assertEqual(CHICAGO.next_reset(utc("2026-12-01T12:00")), utc("2026-12-01T23:00"))

    def test_a_day_is_named_after_the_date_it_ends_on(self) -> None:
        monday_evening = utc("2026-11-23T23:00")
        before = monday_evening - timedelta(milliseconds=1)
        self.assertEqual(CHICAGO.day_key(before), date(2026, 11, 23))
        self.assertEqual(CHICAGO.day_key(monday_evening), date(2026, 11, 24))
        self.assertEqual(CHICAGO.day_start(monday_evening), monday_evening)

    def test_a_day_with_23_hours(self) -> None:
        # 8 March 2026, 02:00 becomes 03:00: the day from Saturday to Sunday has 23 hours.
        began = utc("2026-03-07T23:00")
        self.assertEqual(CHICAGO.next_reset(began), utc("2026-03-08T22:00"))
        self.assertEqual(CHICAGO.day_start(utc("2026-03-08T21:59")), began)
        self.assertEqual(CHICAGO.day_key(utc("2026-03-08T21:59")), date(2026, 3, 8))
        self.assertEqual(CHICAGO.day_key(utc("2026-03-08T22:00")), date(2026, 3, 9))

    def test_a_day_with_25_hours(self) -> None:
        # 1 November 2026, 02:00 becomes 01:00: the day from Saturday to Sunday has 25 hours.
        began = utc("2026-10-31T22:00")
        self.assertEqual(CHICAGO.next_reset(began), utc("2026-11-01T23:00"))
        self.assertEqual(CHICAGO.day_key(utc("2026-11-01T22:59")), date(2026, 11, 1))
        self.assertEqual(CHICAGO.day_key(utc("2026-11-01T23:00")), date(2026, 11, 2))

    def test_a_reset_at_a_skipped_time_takes_place(self) -> None:
        skipped = ResetSchedule(reset_time=time(2, 30))
        self.assertEqual(skipped.next_reset(utc("2026-03-07T12:00")), utc("2026-03-08T08:30"))
        self.assertEqual(skipped.next_reset(utc("2026-03-08T08:30")), utc("2026-03-09T07:30"))

    def test_a_reset_at_a_repeated_time_takes_place_once(self) -> None:
        repeated = ResetSchedule(reset_time=time(1, 30))
        self.assertEqual(repeated.next_reset(utc("2026-10-31T12:00")), utc("2026-11-01T06:30"))
        self.assertEqual(repeated.next_reset(utc("2026-11-01T06:30")), utc("2026-11-02T07:30"))

    def test_weekends_have_a_reset(self) -> None:
        friday = utc("2026-11-27T23:00")
        keys = [CHICAGO.day_key(friday + timedelta(days=days)) for days in range(3)]
        self.assertEqual(keys, [date(2026, 11, 28), date(2026, 11, 29), date(2026, 11, 30)])

    def test_the_zone_of_now_makes_no_difference(self) -> None:
        now = utc("2026-11-23T18:00")
        abroad = now.astimezone(timezone(timedelta(hours=9)))
        self.assertEqual(CHICAGO.next_reset(abroad), CHICAGO.next_reset(now))

    @given(
        st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        st.times(),
        st.sampled_from(
            ["America/Chicago", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]
        ),
    )
    def test_every_moment_lies_in_one_day(self, now: datetime, wall: time, zone: str) -> None:
        schedule = ResetSchedule(reset_time=wall.replace(second=0, microsecond=0), time_zone=zone)
        began, ends = schedule.day_start(now), schedule.next_reset(now)
        self.assertLessEqual(began, now)
        self.assertGreater(ends, now)
        self.assertEqual(schedule.day_start(ends), ends)
        self.assertEqual(schedule.next_reset(began), ends)
        self.assertEqual(schedule.day_key(began), schedule.day_key(now))
        self.assertGreater(schedule.day_key(ends), schedule.day_key(now))
