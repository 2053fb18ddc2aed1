"""Read single values of a journal, and refuse those that no riskd has written.

What is read here is computed with and shown: a number of a million digits would end a console, or keep it busy for ever.
All functions raise :exc:`ValueError` or :exc:`ArithmeticError` for a value that makes no sense.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from riskd.journal.schema import as_moment, as_number, as_text, shown
from riskd.model.account import Flattening, Limit
from riskd.model.balance import Balance, Execution
from riskd.model.day_figures import DayFigures
from riskd.model.events import MAX_DIGITS_BEFORE_POINT
from riskd.model.exact_json import JsonError, decode_json

_Struct = TypeVar("_Struct", bound=msgspec.Struct)

_MAX_NAME: Final = 64
_MAX_COUNT: Final = 2**53
_MAX_DIGITS: Final = 20
"""Of a number in a rule's settings: a whole one of 64 bits has 19, and no rule of another's is refused for it."""

_CACHED: Final = 512
"""Texts that are kept decoded.  A console reads the copy each second, and most of it seldom changes."""

# No division makes more places.
_MAX_PLACES: Final = 60

_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_LAST_YEAR: Final = 9999
_MAX_OFFSET: Final = timedelta(days=100 * 366)
"""A clock that has stopped shows 1970."""


def read_offset(text: str | None) -> timedelta | None:
    """Return the fact ``clock_offset``.

    :raises ValueError: it is not a number of seconds, or one of more than a lifetime.
    """
    if text is None:
        return None
    offset = timedelta(seconds=float(read_amount(text)))
    if abs(offset) > _MAX_OFFSET:
        raise ValueError(f"{shown(text)} is not the offset of a clock")
    return offset


def recent(moment: datetime) -> datetime:
    """Return a moment that riskd may have written.

    :raises ValueError: it is of another age, which no screen is made for.
    """
    if not _FIRST <= moment <= _LAST:
        raise ValueError(f"{moment.isoformat()} is no moment of a trading day")
    return moment


def read_name(text: object) -> str:
    """Return a short name.

    :raises ValueError: it is long, or has characters that no name has.
    """
    name = as_text(text)
    if len(name) > _MAX_NAME or not name.isprintable():
        raise ValueError(f"{shown(name)} is not a name")
    return name


def read_count(value: object) -> int:
    """Return a number of things.

    :raises ValueError: it is none.
    """
    count = as_number(value)
    if not 0 <= count <= _MAX_COUNT:
        raise ValueError(f"{shown(value)} is not a number of things")
    return count


def read_positive(text: object) -> Decimal:
    """Return the size or the value of a tick.

    :raises ValueError: it is not above 0.
    """
    amount = read_amount(text)
    if amount <= 0:
        raise ValueError(f"{shown(text)} is not above 0")
    return amount


def read_execution(text: object) -> Execution | None:
    """Return the details of an execution; ``None`` if there are none.

    :raises ValueError: they make no sense.
    """
    return None if text is None else _with_amounts(as_text(text), Execution)


@lru_cache(maxsize=_CACHED)
def read_balance(text: Hashable) -> Balance:
    """Return a balance.

    :raises ValueError: it makes no sense.
    """
    return _with_amounts(as_text(text), Balance)


def _with_amounts(text: str, kind: type[_Struct]) -> _Struct:
    """Return a struct that is stored as JSON.

    :raises ValueError: it is none, or has an amount that nobody can have.
    """
    whole = msgspec.json.decode(text, type=kind)
    parts: list[object] = [whole]
    while parts:
        part = parts.pop()
        if isinstance(part, msgspec.Struct):
            parts += msgspec.structs.astuple(part)
        elif isinstance(part, Decimal):
            _check_amount(part, part)
        elif isinstance(part, int):
            _check_amount(Decimal(part), part)
        elif isinstance(part, datetime):
            _check_calendar(part)
    return whole


def read_details(text: object) -> dict[str, Any]:
    """Return the details of a line of the log.

    :raises ValueError: they are none, or have a number that cannot be shown.
    """
    details = decode_json(as_text(text))
    if not isinstance(details, dict):
        raise ValueError(f"{shown(text)} has no details")  # noqa: TRY004  # the file is wrong
    _check_numbers(details)
    return details


def shown_moment(stamp: object) -> datetime:
    """Return the moment of a stamp, which can be shown in any time zone.

    :raises ValueError: it is at an end of the calendar.
    """
    moment = as_moment(stamp)
    _check_calendar(moment)
    return moment


def _check_calendar(moment: datetime) -> None:
    """Check that a day can be added to and taken from a moment, as time zones do.

    :raises ValueError: it is at an end of the calendar, or has no time zone.
    """
    if moment.tzinfo is None or not 1 < moment.year < _LAST_YEAR:
        raise ValueError(f"{moment.isoformat()} is not a moment")


def _check_amount(
    amount: Decimal, given: object, most_digits: int = MAX_DIGITS_BEFORE_POINT
) -> None:
    """Check that an amount can be computed with and shown.

    ``9e999999`` has a million digits.

    :raises ValueError: it cannot.
    """
    if not amount.is_finite() or amount.adjusted() >= most_digits:
        raise ValueError(f"{shown(given)} is not an amount")
    if int(amount.as_tuple().exponent) < -_MAX_PLACES:
        raise ValueError(f"{shown(given)} is not an amount")


# Accounts have most of them in common.
@lru_cache(maxsize=_CACHED)
def read_limit(key: Hashable, settings: Hashable) -> Limit:
    """Return a rule in force, whose settings may be of another version of riskd.

    :raises ValueError: a number in them cannot be computed with.
    """
    text = as_text(settings)
    try:
        decoded = decode_json(text)
    except JsonError:
        decoded = None
    _check_numbers(decoded)
    return Limit(read_name(key), text)


def _check_numbers(value: Any) -> None:
    """Check all numbers in decoded JSON; amounts may be texts, too."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _check_numbers(each)
    elif isinstance(value, (int, Decimal)):
        _check_amount(Decimal(value), value, _MAX_DIGITS)
    elif isinstance(value, str):
        try:
            amount = Decimal(value)
        except InvalidOperation:
            return
        _check_amount(amount, value, _MAX_DIGITS)


def read_figures(text: object) -> DayFigures:
    """Return the figures of an ended day.

    :raises ValueError: they make no sense.
    """
    return _with_amounts(as_text(text), DayFigures)


def read_flattening(text: object) -> Flattening:
    """Return a flatten that has begun.

    :raises ValueError: it makes no sense.
    """
    return msgspec.json.decode(as_text(text), type=Flattening)


def read_amount(text: object) -> Decimal:
    """Return a number that the journal stores as text.

    :raises ValueError: it is not a finite number.
    """
    amount = msgspec.convert(text, Decimal)
    _check_amount(amount, text)
    return amount
