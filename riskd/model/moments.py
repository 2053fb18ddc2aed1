"""Moments that stand for "unknown".

.NET writes a date that was never set as the first moment of year 1, and other programs write the last one
of year 9999 or the beginning of 1970.  Such a moment must neither be compared with the present nor be
calculated with: a day before or after it may not exist.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

NEVER: Final = datetime.min.replace(tzinfo=UTC)
"""The moment that .NET writes for a date that was never set."""

_FIRST_YEAR: Final = 2000
_LAST_YEAR: Final = 2999


def is_placeholder(moment: datetime) -> bool:
    """Return whether ``moment`` stands for an unknown one."""
    return not _FIRST_YEAR <= moment.year <= _LAST_YEAR


def first_known(*moments: datetime) -> datetime | None:
    """Return the first of the moments that is no placeholder; ``None`` if all are."""
    for moment in moments:
        if not is_placeholder(moment):
            return moment
    return None
