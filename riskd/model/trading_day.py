"""When a trading day begins and ends: at a wall-clock time in a time zone.

A day is named after the date on which it ends: the day that begins on Monday at 17:00 is Tuesday's.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

DAY_LIMIT: Final = "DAY"
"""The name of the daily reset among the limits in force, in the place of a rule's id."""


ZONES_MEANT: Final = {
    name: zone
    for zone, names in {
        "America/Chicago": ("cst", "cdt", "ct", "chicago", "central"),
        "America/New_York": ("edt", "et", "new york", "eastern"),
        "America/Denver": ("mdt", "mt", "denver", "mountain"),
        "America/Los_Angeles": ("pst", "pdt", "pt", "los angeles", "pacific"),
        "Europe/London": ("bst", "london"),
        "Europe/Berlin": ("cest", "berlin"),
    }.items()
    for name in names
}
"""The IANA names of time zones by what people call them, in small letters."""


class ResetSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """The daily reset of an account; by default that of TopstepX, 17:00 in Chicago.

    :ivar reset_time: the wall-clock time at which a day ends and the next begins.
    :ivar time_zone: the IANA name of the wall clock's zone, such as ``America/Chicago``.
    """

    reset_time: time = time(17)
    time_zone: str = "America/Chicago"

    def next_reset(self, now: datetime) -> datetime:
        """Return the first reset after ``now``, in UTC."""
        return min(reset for reset in self._resets_around(now) if reset > now)

    def day_start(self, now: datetime) -> datetime:
        """Return the last reset that is not after ``now``, in UTC."""
        return max(reset for reset in self._resets_around(now) if reset <= now)

    def day_key(self, now: datetime) -> date:
        """Return the date on which the trading day of ``now`` ends."""
        return self.next_reset(now).astimezone(ZoneInfo(self.time_zone)).date()

    def week_start(self, now: datetime) -> datetime:
        """Return the last reset on a Sunday that is not after ``now``, in UTC."""
        return self._sunday_reset(now, 0)

    def week_end(self, now: datetime) -> datetime:
        """Return the first reset on a Sunday after ``now``, in UTC."""
        return self._sunday_reset(now, 7)

    def _sunday_reset(self, now: datetime, later: int) -> datetime:
        # The week's first day is named after its Monday and begins with the reset on the date before.
        key = self.day_key(now)
        sunday = key + timedelta(days=later - key.weekday() - 1)
        return datetime.combine(
            sunday, self.reset_time, tzinfo=ZoneInfo(self.time_zone)
        ).astimezone(UTC)

    def _resets_around(self, now: datetime) -> tuple[datetime, ...]:
        zone = ZoneInfo(self.time_zone)
        return _resets_around(self.reset_time, zone, now.astimezone(zone).date())


# Every account asks each second.
@lru_cache
def _resets_around(reset_time: time, zone: ZoneInfo, today: date) -> tuple[datetime, ...]:
    # Two days either way: where clocks are set, a date's reset may lie on the other side of now.
    # A wall-clock time that a change skips counts as if the clock had not been set yet, and one
    # that it repeats counts the first time.
    days = [today + timedelta(days=number) for number in (-2, -1, 0, 1, 2)]
    return tuple([datetime.combine(day, reset_time, tzinfo=zone).astimezone(UTC) for day in days])
