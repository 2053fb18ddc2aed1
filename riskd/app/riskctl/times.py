"""Times on the command line of ``riskctl``.

As all of the command line, this needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

_MAX_DAYS: Final = 366
_MAX_MINUTES: Final = _MAX_DAYS * 24 * 60
_EXAMPLES: Final = "16:00, 2026-11-24T08:30 or 2026-11-24T14:30Z"
_AGO: Final = re.compile(r"(\d{1,5})([dhm])")
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}


def seconds_of_minutes(text: str) -> int:
    """Return the seconds of ``text`` minutes."""
    if not text.isdecimal() or not 0 < int(text) <= _MAX_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MAX_MINUTES}")
    return int(text) * 60


def day(text: str) -> date:
    """Return the date that ``text`` names."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date; expected one such as 2026-11-24"
        ) from None


def until(text: str, now: datetime) -> datetime:
    """Return the moment that ``text`` names; ``HH:MM`` is the next one."""
    expected = f"expected one within the next {_MAX_DAYS} days, such as {_EXAMPLES}"
    for named, at in _moments(text, now, expected):
        if at - now > timedelta(days=_MAX_DAYS):
            raise argparse.ArgumentTypeError(f"{text!r} is too far away; {expected}")
        if at > now:
            _check_exists(named, at, text)
            if named.tzinfo is None and named.replace(fold=1).astimezone(UTC) != at:
                raise argparse.ArgumentTypeError(
                    f"{text!r} comes twice on {named:%Y-%m-%d}, when the clocks are set back; "
                    f"expected it with its offset, such as {_local(at)}"
                )
            return at
    raise argparse.ArgumentTypeError(f"{text!r} is in the past; {expected}")


def since(text: str, now: datetime) -> datetime:
    """Return the moment that ``text`` names; ``HH:MM`` is the last one."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    expected = f"expected one before now, such as 2d, 3h, 30m, {_EXAMPLES}"
    for named, at in reversed(_moments(text, now, expected)):
        if at <= now:
            _check_exists(named, at, text)
            return at
    raise argparse.ArgumentTypeError(f"{text!r} is in the future; {expected}")


def _moments(text: str, now: datetime, expected: str) -> list[tuple[datetime, datetime]]:
    """Return the times that ``text`` may name, as named and in UTC, earliest first.

    ``HH:MM`` is one of yesterday, today or tomorrow.

    :param expected: what is expected in place of a wrong text.
    """
    try:
        if re.fullmatch(r"\d\d?:\d\d", text):
            wall, today = time.fromisoformat(text.zfill(5)), now.astimezone().date()
            days = [today + timedelta(days=offset) for offset in (-1, 0, 1)]
            named = [datetime.combine(day, wall) for day in days]
        else:
            named = [datetime.fromisoformat(text)]
        # A time without an offset is a local one.
        return [(each, each.astimezone(UTC)) for each in named]
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; {expected}") from None


def _check_exists(named: datetime, at: datetime, text: str) -> None:
    """Check that the clocks show a local time on its day."""
    if named.tzinfo is None and at.astimezone().replace(tzinfo=None) != named:
        after = max(named.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
        raise argparse.ArgumentTypeError(
            f"{text!r} does not exist on {named:%Y-%m-%d}, when the clocks are set forward; "
            f"expected another time, such as {_local(after)}"
        )


def _local(at: datetime) -> str:
    return at.astimezone().isoformat(timespec="minutes")
