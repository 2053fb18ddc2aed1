"""When a trading day begins and ends: a wall-clock time in a time zone.

A day is named after the date on which it ends: what begins on Monday at 17:00 is Tuesday's.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

_ONE_DAY = timedelta(days=1)


class ResetSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """The daily reset of an account.

    By default it is that of TopstepX: 17:00 in Chicago.

    :ivar reset_time: the wall-clock time at which a day ends and the next begins.
    :ivar time_zone: the IANA name of the wall clock's zone, such as ``America/Chicago``.
    """

    reset_time: time = time(17)
    time_zone: str = "America/Chicago"

    def next_reset(self, now: datetime) -> datetime:
        """Return the first reset after ``now``, in UTC."""
        day = now.astimezone(ZoneInfo(self.time_zone)).date()
        # Around a change of the clocks, a date's reset may lie on the other side of now.
        return next(
            reset
            for reset in (self._reset_on(day + _ONE_DAY * ahead) for ahead in (-1, 0, 1, 2))
            if reset > now
        )

    def began(self, now: datetime) -> datetime:
        """Return the last reset that is not after ``now``, in UTC."""
        day = now.astimezone(ZoneInfo(self.time_zone)).date()
        return next(
            reset
            for reset in (self._reset_on(day - _ONE_DAY * ago) for ago in (-1, 0, 1, 2))
            if reset <= now
        )

    def day_key(self, now: datetime) -> date:
        """Return the date that the day of ``now`` ends on."""
        return self.next_reset(now).astimezone(ZoneInfo(self.time_zone)).date()

    def _reset_on(self, day: date) -> datetime:
        # A time that the clock skips is counted as if it had not; one that it repeats, the first time.
        wall = datetime.combine(day, self.reset_time, tzinfo=ZoneInfo(self.time_zone))
        return wall.astimezone(UTC)
