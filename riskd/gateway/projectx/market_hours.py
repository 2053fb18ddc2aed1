"""When futures are traded, as far as a quote can be expected."""

from __future__ import annotations

from datetime import datetime, time
from typing import Final
from zoneinfo import ZoneInfo

EXCHANGE_ZONE: Final = ZoneInfo("America/Chicago")

_BREAK_BEGINS: Final = time(16)
_BREAK_ENDS: Final = time(17)
_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6


def is_market_open(now: datetime) -> bool:
    """Tell whether CME Globex trades most futures at ``now``, holidays aside.

    It does from Sunday 17:00 to Friday 16:00, Chicago time, but for the hour from 16:00 each day.

    :param now: aware.
    """
    local = now.astimezone(EXCHANGE_ZONE)
    day, clock = local.weekday(), local.time()
    if day == _SATURDAY:
        return False
    if day == _SUNDAY:
        return clock >= _BREAK_ENDS
    if day == _FRIDAY:
        return clock < _BREAK_BEGINS
    return not _BREAK_BEGINS <= clock < _BREAK_ENDS
