"""Trading hours as the oracle counts them: by Chicago's wall clock, second by second."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

CHICAGO: Final = ZoneInfo("America/Chicago")
HOLIDAYS: Final = (date(2026, 11, 26),)
"""On which no trading hours begin."""

_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6
_WEEKEND_BEGINS, _WEEKEND_ENDS = time(16), time(17)


class Hours(NamedTuple):
    """From when to when trading is allowed, perhaps over midnight."""

    start: time
    end: time

    def as_toml(self) -> str:
        return f'{{ start = "{self.start:%H:%M}", end = "{self.end:%H:%M}" }}'

    def are_open(self, now: datetime) -> bool:
        return _are_open(self, now.replace(microsecond=0))

    def start_at(self, now: datetime) -> bool:
        """Return whether trading begins at this moment."""
        return self.are_open(now) and not self.are_open(now - timedelta(seconds=1))


# The oracle asks many times in each second.
@lru_cache(maxsize=64)
def _are_open(hours: Hours, now: datetime) -> bool:
    local = now.astimezone(CHICAGO)
    wall, weekday = local.time(), local.weekday()
    if (
        weekday == _SATURDAY
        or (weekday == _FRIDAY and wall >= _WEEKEND_BEGINS)
        or (weekday == _SUNDAY and wall < _WEEKEND_ENDS)
    ):
        return False
    is_of_yesterday = hours.end < hours.start and wall < hours.end
    began = local.date() - timedelta(days=is_of_yesterday)
    if began in HOLIDAYS:
        return False
    return is_of_yesterday or (
        hours.start <= wall and (hours.end < hours.start or wall < hours.end)
    )
