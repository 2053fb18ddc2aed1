"""Dates of HTTP headers, such as ``Date`` and ``Retry-After``.

Source: RFC 9110, 5.6.7: three formats, of which two are obsolete and must be understood.  All are in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def read_http_date(header: str | None) -> datetime | None:
    """Return the aware time that a header states; ``None`` if it states none."""
    if header is None:
        return None
    try:
        stated = parsedate_to_datetime(header)
        return stated.replace(tzinfo=UTC) if stated.tzinfo is None else stated.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        # What the standard library raises for text that is no date differs by the text.
        return None
