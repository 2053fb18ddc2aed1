"""Read the times of news from TOML, or from CSV with a line of headings.

Both name the same fields.  Mistakes are reported with the file, the line or the number of the entry, the field
and the value.
"""

from __future__ import annotations

import contextlib
import csv
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Any, Final

import msgspec

from riskd.host.errors import UserError
from riskd.rules.settings import Ticker

_MOST: Final = 2_000
"""The most entries of a file."""

_MAX_NAME: Final = 80
"""Characters."""

_UNTIL: Final = "# until:"
"""How the line of a CSV file begins that says how long its times are complete."""

_FIELDS: Final = ("at", "tickers", "importance", "name")
_MOMENT: Final = "a time with its offset from UTC, such as 2026-12-10T13:30:00Z"
_YEARS: Final = range(2, 9999)
"""Years in which a moment has a day before and a day after it, in any zone."""


class Importance(StrEnum):
    """How much news moves markets."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 for the least important."""
        return list(Importance).index(self)


class News(msgspec.Struct, frozen=True):
    """News that is published at a known time.

    :ivar tickers: what it moves, in upper case; none: everything.
    """

    at: datetime
    tickers: tuple[str, ...] = ()
    importance: Importance = Importance.HIGH
    name: str = ""


class NewsCalendar(msgspec.Struct, frozen=True):
    """The times of news.

    :ivar news: in the order of their times.
    :ivar until: from when on there may be news that is not in it.
    """

    news: tuple[News, ...]
    until: datetime


def parse_news(text: str, name: str) -> NewsCalendar:
    """Return the times that a file's text lists.

    :param name: the name of the file; what ends in ``.csv`` is CSV, anything else TOML.
    :raises UserError: there are mistakes in it, or more than 2,000 entries.
    """
    # Spreadsheets begin a file with a mark of its encoding.
    text = text.removeprefix("\ufeff")
    read = _read_csv if name.lower().endswith(".csv") else _read_toml
    until, entries = read(text, name)
    news = sorted((_news(fields, where) for fields, where in entries), key=lambda each: each.at)
    if until is None:
        if not news:
            raise UserError(f"{name}: expected at least one time of news, or until")
        until = news[-1].at
    return NewsCalendar(tuple(news), until)


_Entries = list[tuple[Mapping[str, Any], str]]
"""The fields of each entry, and where it stands."""


def _read_toml(text: str, name: str) -> tuple[datetime | None, _Entries]:
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise UserError(f"{name}: {error}") from None
    for key in tables:
        if key not in ("until", "news"):
            raise UserError(f"{name}: {key}: unknown key; known are until, news")
    entries = tables.get("news", [])
    if not (isinstance(entries, list) and all(isinstance(each, dict) for each in entries)):
        raise UserError(f"{name}: news: expected tables [[news]], got {entries!r:.60}")
    _check_number(len(entries), name)
    until = _until(tables["until"], name) if "until" in tables else None
    return until, [(each, f"{name}: news[{i}]") for i, each in enumerate(entries)]


def _read_csv(text: str, name: str) -> tuple[datetime | None, _Entries]:
    until: datetime | None = None
    entries: _Entries = []
    headings: list[str] = []
    for number, row in _rows(text, name):
        where = f"{name}, line {number}"
        if row[0].startswith("#"):
            if row[0].startswith(_UNTIL):
                until = _until(row[0].removeprefix(_UNTIL).strip(), name)
        elif not headings:
            headings = row
            if unknown := [each for each in row if each not in _FIELDS]:
                raise UserError(
                    f"{where}: expected headings of {', '.join(_FIELDS)}, got {unknown[0]!r:.60}"
                )
        elif len(row) != len(headings):
            raise UserError(f"{where}: expected {len(headings)} values, got {len(row)}")
        else:
            fields = dict(zip(headings, row, strict=True))
            entries.append(({key: each for key, each in fields.items() if each}, where))
    _check_number(len(entries), name)
    return until, entries


def _rows(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each line of a CSV text that is not empty, with its number from 1."""
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: {error}") from None


def _check_number(entries: int, name: str) -> None:
    if entries > _MOST:
        raise UserError(f"{name}: expected at most {_MOST} times of news, got {entries}")


def _news(fields: Mapping[str, Any], where: str) -> News:
    for key in fields:
        if key not in _FIELDS:
            raise UserError(f"{where}: {key}: unknown field; known are {', '.join(_FIELDS)}")
    if "at" not in fields:
        raise UserError(f"{where}: at: missing; expected {_MOMENT}")
    name = fields.get("name", "")
    if not (isinstance(name, str) and len(name) <= _MAX_NAME and name.isprintable()):
        raise UserError(
            f"{where}: name: expected a text of up to {_MAX_NAME} characters, got {name!r:.60}"
        )
    return News(
        at=_moment(fields["at"], f"{where}: at"),
        tickers=_tickers(fields.get("tickers", ()), f"{where}: tickers"),
        importance=_importance(fields.get("importance", Importance.HIGH), where),
        name=name,
    )


def _moment(value: object, where: str) -> datetime:
    """Return a moment in UTC, from TOML's own kind or from a text."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise UserError(f"{where}: expected {_MOMENT}, got {_shown(value)}")
    if moment.year not in _YEARS:
        raise UserError(
            f"{where}: expected a year from {_YEARS[0]} to {_YEARS[-1]}, got {_shown(value)}"
        )
    return moment.astimezone(UTC)


def _until(value: object, name: str) -> datetime:
    """Return the end of a day, or a moment."""
    with contextlib.suppress(ValueError):
        value = date.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time.max, tzinfo=UTC)
    return _moment(value, f"{name}: until")


def _tickers(value: object, where: str) -> tuple[str, ...]:
    """Return the tickers of a list, or of a text with blanks between them."""
    names = value.split() if isinstance(value, str) else value
    try:
        tickers = msgspec.convert(names, tuple[Ticker, ...])
    except msgspec.ValidationError:
        raise UserError(
            f'{where}: expected tickers such as "ES", without month and year, got {_shown(value)}'
        ) from None
    return tuple(ticker.upper() for ticker in tickers)


def _importance(value: object, where: str) -> Importance:
    try:
        return Importance(value)  # type: ignore[arg-type]  # anything else is a ValueError
    except ValueError:
        raise UserError(
            f"{where}: importance: expected one of {', '.join(Importance)}, got {_shown(value)}"
        ) from None


def _shown(value: object) -> str:
    return f"{value.isoformat() if isinstance(value, (date, time)) else repr(value):.60}"
