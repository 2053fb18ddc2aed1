"""The ``Date`` header of the server's responses."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime


def http_date(moment: datetime) -> str:
    """Return an aware time as HTTP writes it, to the second (RFC 9110, 5.6.7)."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)
