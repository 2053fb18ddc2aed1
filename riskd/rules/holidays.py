"""The days on which an exchange closes or closes early.

``contrib/cme_holidays.py`` makes the file.
"""

from __future__ import annotations

import importlib.resources
import tomllib
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

ZONE: Final = ZoneInfo("America/Chicago")

_CLOSES: Final = time(16)
_OPENS: Final = time(17)
"""When a session ends, and when that of the next date begins."""


class Window(NamedTuple):
    """A time from ``start`` on, in UTC; at ``end`` it is over."""

    start: datetime
    end: datetime


# Calendars of trading hours have it in the key of a cache.
class ExchangeHolidays(msgspec.Struct, frozen=True, cache_hash=True):
    """The holidays of an exchange.

    :ivar known_until: the last date for which they are known.
    :ivar closed: weekdays without a session.
    :ivar early_closes: the dates of sessions that end early, with the time in Chicago.
    """

    known_until: date
    closed: tuple[date, ...]
    early_closes: tuple[tuple[date, time], ...]

    def are_known(self, now: datetime) -> bool:
        """Return whether the holidays of a moment's date are known."""
        return now.astimezone(ZONE).date() <= self.known_until

    def closures(self, during: Window) -> list[Window]:
        """Return when the exchange is closed for holidays around a time.

        The session of a date begins on the evening before.
        """
        first, last = (moment.astimezone(ZONE).date() for moment in during)
        nearby = (first - timedelta(days=1), last + timedelta(days=1))
        closed = [
            Window(_moment(day - timedelta(days=1), _CLOSES), _moment(day, _OPENS))
            for day in self.closed
            if nearby[0] <= day <= nearby[1]
        ]
        early = [
            Window(_moment(day, close), _moment(day, _OPENS))
            for day, close in self.early_closes
            if nearby[0] <= day <= nearby[1]
        ]
        return closed + early


def _moment(day: date, wall: time) -> datetime:
    return datetime.combine(day, wall, tzinfo=ZONE).astimezone(UTC)


@lru_cache(maxsize=1)
def cme_holidays() -> ExchangeHolidays:
    """Return the holidays of CME's Globex, those of equity indices."""
    file = importlib.resources.files("riskd.rules") / "cme_holidays.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return ExchangeHolidays(
        known_until=tables["known_until"],
        closed=tuple(tables["closed"]),
        early_closes=tuple(
            (date.fromisoformat(day), time.fromisoformat(close))
            for day, close in tables["early_closes"].items()
        ),
    )
