"""When futures are traded, as far as quotes can be expected."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

EXCHANGE_ZONE: Final = ZoneInfo("America/Chicago")

_SESSION_BEGINS_BEFORE_MIDNIGHT: Final = timedelta(hours=7)
_SESSION_ENDS: Final = time(23)
_SATURDAY: Final = 5


def is_market_open(now: datetime) -> bool:
    """Return whether CME Globex trades most futures at ``now``, holidays aside.

    It trades from Sunday 17:00 to Friday 16:00, Chicago time, except from 16:00 to 17:00 each day.

    :param now: aware.
    """
    # Shifted by seven hours, each session lies within one day: Monday to Friday, 00:00 to 23:00.  The
    # exchange goes by the wall clock, so the shift is naive also where daylight saving time changes.
    wall = now.astimezone(EXCHANGE_ZONE).replace(tzinfo=None)
    session = wall + _SESSION_BEGINS_BEFORE_MIDNIGHT
    return session.weekday() < _SATURDAY and session.time() < _SESSION_ENDS
