"""The figures of ended days and of the week."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, Limit, with_risk
from riskd.model.balance import Balance, Leg, Result
from riskd.model.day_figures import DayFigures, count_entries_and_exits
from riskd.model.ended_days import (
    end_of_day_balance,
    schedule_of,
    week_entries_and_exits,
    week_net,
    with_day_again,
    with_ended_days,
)
from riskd.model.trading_day import DAY_LIMIT, ResetSchedule

CHICAGO = ResetSchedule()
MONDAY = datetime(2026, 11, 23, 23, 0, tzinfo=UTC)
"""The reset on a Monday, at which the day of Tuesday begins."""

BUY, SELL = Leg.BUY_TO_OPEN, Leg.SELL_TO_OPEN
BUY_EXIT, SELL_EXIT = Leg.BUY_TO_CLOSE, Leg.SELL_TO_CLOSE


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def executed(*legs: tuple[int | None, Leg | None]) -> dict[int, Result]:
    """Return executions of orders."""
    return {
        number: Result(MONDAY, Decimal(1), order_id, leg)
        for number, (order_id, leg) in enumerate(legs)
    }


class CountTests(SynchronousTestCase):
    """Each entry and each exit counts once."""

    def test_parts_of_an_order_are_one(self) -> None:
        self.assertEqual(count_entries_and_exits({}), 0)
        self.assertEqual(count_entries_and_exits(executed((7, BUY), (7, BUY), (8, SELL_EXIT))), 2)
        self.assertEqual(count_entries_and_exits(executed((None, BUY), (None, BUY))), 2)

    def test_an_order_that_reverses_a_position_is_both(self) -> None:
        self.assertEqual(count_entries_and_exits(executed((7, SELL_EXIT), (7, SELL))), 2)

    def test_the_opening_half_that_an_exit_reports_again_is_no_entry(self) -> None:
        self.assertEqual(count_entries_and_exits(executed((7, BUY), (7, SELL_EXIT))), 1)
        self.assertEqual(count_entries_and_exits(executed((7, SELL), (7, BUY_EXIT))), 1)

    def test_a_void_does_not_count(self) -> None:
        self.assertEqual(count_entries_and_exits(executed((7, BUY), (8, None))), 1)


class WeekTests(SynchronousTestCase):
    """A week begins with the reset on Sunday."""

    def test_it_begins_and_ends_at_the_wall_clocks_time(self) -> None:
        for now, began, ended in (
            # Friday after Thanksgiving; the last moment of a week; its first.
            ("2026-11-27 20:00", "2026-11-22 23:00", "2026-11-29 23:00"),
            ("2026-11-29 22:59", "2026-11-22 23:00", "2026-11-29 23:00"),
            ("2026-11-29 23:00", "2026-11-29 23:00", "2026-12-06 23:00"),
            # Clocks are set on Sunday, 2026-11-01 and 2026-03-08, at 2:00.
            ("2026-10-30 15:00", "2026-10-25 22:00", "2026-11-01 23:00"),
            ("2026-03-06 15:00", "2026-03-01 23:00", "2026-03-08 22:00"),
        ):
            self.assertEqual(CHICAGO.week_start(utc(now)), utc(began), now)
            self.assertEqual(CHICAGO.week_end(utc(now)), utc(ended), now)

    @given(
        st.integers(0, 5 * 365 * 86400).map(lambda seconds: MONDAY + timedelta(seconds=seconds)),
        st.sampled_from(["America/Chicago", "Asia/Tokyo", "Europe/London"]),
        st.times(),
    )
    def test_weeks_follow_each_other(self, now: datetime, zone: str, at: object) -> None:
        schedule = ResetSchedule(time_zone=zone, reset_time=at)  # type: ignore[arg-type]
        began, ended = schedule.week_start(now), schedule.week_end(now)
        self.assertLessEqual(began, now)
        self.assertLess(now, ended)
        self.assertEqual(schedule.week_start(ended), ended)
        self.assertEqual(schedule.week_end(began), ended)
        self.assertLessEqual(abs(ended - began - timedelta(days=7)), timedelta(hours=1))


class DayTests(SynchronousTestCase):
    """What is kept of ended days."""

    def state(self, **fields: object) -> AccountState:
        """Return an account in the day of Tuesday, with executions of $10 each since Friday."""
        results = {
            number: Result(MONDAY + timedelta(hours=hours), Decimal(10), number, BUY)
            for number, hours in enumerate((-80, -20, -1, 1))
        }
        state = AccountState(
            account_id=1,
            day_began=MONDAY,
            balance=Balance(agreed=Decimal(1000), entries_and_exits=1),
            realized_pnl=Decimal(10),
        )
        state = with_risk(state, results=results)
        return msgspec.structs.replace(state, **fields)

    def test_the_days_of_a_time_without_a_daemon(self) -> None:
        friday = MONDAY - timedelta(days=4)
        days = with_ended_days(
            self.state(day_began=friday),
            [friday + timedelta(days=number) for number in (1, 2, 3, 4)],
            CHICAGO,
        )
        self.assertEqual(
            {
                key.day: (each.net, each.entries_and_exits, each.close)
                for key, each in days.items()
            },
            {
                20: (10, 1, 970),
                21: (0, 0, 970),
                22: (0, 0, 970),
                23: (20, 2, 990),
            },
        )
        after = self.state(days=days)
        self.assertEqual(end_of_day_balance(after), 990)
        # The week has Monday, and today.
        self.assertEqual((week_net(after), week_entries_and_exits(after)), (30, 3))

    def test_what_comes_late_moves_its_day(self) -> None:
        monday = date(2026, 11, 23)
        late = MONDAY - timedelta(seconds=1)
        state = self.state(days={monday: DayFigures(net=Decimal(10), close=Decimal(980))})
        days = with_day_again(state, late, Decimal(10))
        self.assertEqual(
            days[monday], DayFigures(net=Decimal(20), entries_and_exits=2, close=Decimal(990))
        )
        # An amendment or a void does not move the balance at which the day ended.
        self.assertEqual(with_day_again(state, late)[monday].close, 980)
        # A day that riskd did not see end.
        self.assertEqual(
            with_day_again(self.state(), late)[monday],
            DayFigures(net=Decimal(20), entries_and_exits=2),
        )

    def test_neither_today_nor_what_is_too_old_is_an_ended_day(self) -> None:
        state = self.state()
        for at in (MONDAY, MONDAY - timedelta(days=7)):
            self.assertIs(with_day_again(state, at), state.days)

    def test_days_are_kept_for_two_years(self) -> None:
        old = {date(2024, 11, 22): DayFigures(), date(2024, 11, 24): DayFigures()}
        days = with_ended_days(self.state(days=old), [MONDAY + timedelta(days=1)], CHICAGO)
        self.assertEqual(sorted(days), [date(2024, 11, 24), date(2026, 11, 24)])

    def test_on_monday_the_week_is_new(self) -> None:
        sunday = MONDAY - timedelta(days=1)
        days = {date(2026, 11, 20): DayFigures(net=Decimal(-500), entries_and_exits=9)}
        state = self.state(day_began=sunday, days=days)
        self.assertEqual((week_net(state), week_entries_and_exits(state)), (10, 1))
        still = self.state(day_began=sunday - timedelta(days=1), days=days)
        self.assertEqual((week_net(still), week_entries_and_exits(still)), (-490, 10))

    def test_the_daily_reset_is_that_in_force(self) -> None:
        own = ResetSchedule(time_zone="Asia/Tokyo")
        limit = Limit("daily_reset", msgspec.json.encode(own).decode())
        self.assertEqual(schedule_of(self.state(limits={DAY_LIMIT: limit})), own)
        for limits in ({}, {DAY_LIMIT: Limit("daily_reset", "?")}):
            self.assertEqual(schedule_of(self.state(limits=limits)), CHICAGO)
