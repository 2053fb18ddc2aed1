"""The moments of a desk's two clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from riskd.desk.links import Now

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def moment(seconds: float) -> Now:
    """Return a moment after noon; the steady clock has another beginning."""
    return Now(1000 + seconds, NOON + timedelta(seconds=seconds))
