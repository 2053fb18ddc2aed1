"""What an account may do and until when, as long as there is room for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from riskd.model.formatting import dollars
from trader.model.account_row import MAY_HAVE_CHANGED, AccountRow, Standing
from trader.model.formatting import countdown, until
from trader.model.reduce_only_end import StageEnd
from trader.model.view import Source

_WEEK: Final = 6
"""Within so many days, the day of the week alone names a day."""


def standing_words(row: AccountRow, now: datetime, width: int = 100) -> str:
    """Return what the account may do and until when, as long as ``width`` allows."""
    phrasings = _phrasings(row, now)
    return next((each for each in phrasings if len(each) <= width), phrasings[-1])


def _phrasings(row: AccountRow, now: datetime) -> list[str]:
    """Return what the account may do, the longest words first."""
    word = row.standing.value
    if row.lockout is None:
        if row.standing in MAY_HAVE_CHANGED and row.source is not Source.LIVE:
            return [f"was {word}"]
        if row.standing is Standing.FREE and row.why:
            return [f"{word}, part unknown", word]
        if row.closes_at is not None:
            return [f"{word} {countdown((row.closes_at - now).total_seconds())}"]
        return [*(f"{word}{each}" for each in _end_of_stage(row.stage_end, now)), word]
    end = _end_of_lock(row, row.lockout.locked_until, now)
    if row.is_guarded:
        return [f"{word}{each}" for each in end]
    return [
        f"NOT GUARDED, {word}{end[0]}",
        *(f"UNGUARDED, {word}{each}" for each in end),
        f"UNGUARDED {word}",
    ]


def _end_of_stage(end: StageEnd | None, now: datetime) -> list[str]:
    if end is None:
        return []
    if end.at is not None:
        day, time = _day_and_time(end.at, now)
        # A time alone is one of today.
        return [*_until(end.at, now), *([] if day else [f" {time}"])]
    # No time ends it, but an equity above this one.
    return [] if end.equity is None else [f" below {dollars(end.equity)}"]


def _end_of_lock(row: AccountRow, end: datetime | None, now: datetime) -> list[str]:
    if end is None:
        return [" until unlocked", ", no end", ""]
    left = (end - now).total_seconds()
    if left <= 0:
        # Only the daemon ends a lock, and it may be down when the time is up.
        return [", time is up", ""]
    if row.standing is Standing.COOLDOWN:
        return [f" {countdown(left)}", ""]
    return [*_until(end, now), ""]


def _until(end: datetime, now: datetime) -> list[str]:
    """Return until when something lasts, the longest words first."""
    day, time = _day_and_time(end, now)
    phrasings = [f" until {day} {time}".replace("  ", " ")]
    # The day of the week alone says which one is meant for some days.
    if day and (end - now).days < _WEEK:
        phrasings.append(f" until {day.split()[0]} {time}")
    elif not day and not end.microsecond and end.second:
        # A minute too long rather than one too short.
        phrasings.append(f" until {_day_and_time(end + timedelta(minutes=1), now)[1][:5]}")
    if day:
        phrasings += [f" {day} {time}", f" {day.split()[0]} {time}"]
    return phrasings


def _day_and_time(moment: datetime, now: datetime) -> tuple[str, str]:
    """Return the day, empty for today, and the time without zero seconds."""
    day, _, time = until(moment, now).rpartition(" ")
    return day, time.removesuffix(":00")
