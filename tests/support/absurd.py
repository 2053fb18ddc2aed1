"""Values that no riskd writes, in any place of a journal or its copy, for tests."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Final

from riskd.journal.schema import PUBLISHED_TABLES

TEXTS: Final = (
    "9e999999",
    "-9e999999",
    "1e-999999",
    "0e999999",
    "NaN",
    "sNaN",
    "Infinity",
    "9" * 5000,
    "-1",
    "",
    "\x1b[2J\x07\u202eegassem\n" * 3,
    "\ud800".encode("utf-8", "surrogatepass"),
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59+00:00",
    "1900-01-01",
    "2025-01-17T12:00:00",
    "{}",
    "[" * 5000,
    "null",
)
NUMBERS: Final = (0, -1, 2**63 - 1, -(2**63), 10**17, 1e308, -1e308, None, b"\xff\x00", True)
VALUES: Final[tuple[Any, ...]] = TEXTS + NUMBERS

LEAVES: Final = (
    '"9e999999"',
    "9e999999",
    "-9e999999",
    "1e-999999",
    "0e999999",
    "9" * 400,
    "-1",
    "0",
    "1e400",
    "null",
    "true",
    '""',
    '"NaN"',
    '"0001-01-01T00:00:00Z"',
    '"9999-12-31T23:59:59.999Z"',
    '"1900-01-01T00:00:00+00:00"',
    '"\\u001b[2J\\u202e\\ud800"',
    json.dumps("x" * 5000),
    "[" * 500 + "]" * 500,
    "{}",
)
"""JSON to stand in the place of one value in a JSON text."""

Place = tuple[str, str, tuple[str | int, ...]]
"""A table, a column, and where in the JSON of its first row; an empty path is all of it."""


def places(image: bytes, tables: Iterable[str] = PUBLISHED_TABLES) -> Iterator[Place]:
    """Yield each place of the first rows of tables."""
    with closing(_opened(image)) as copy:
        for table in tables:
            rows = copy.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  # names of ours
            columns = [row[1] for row in copy.execute(f"PRAGMA table_info({table})")]
            for row in rows[:3]:
                for column, value in zip(columns, row, strict=True):
                    yield table, column, ()
                    if isinstance(value, str) and value.startswith("{"):
                        for path in _leaves(json.loads(value)):
                            yield table, column, path


def changed(image: bytes, place: Place, value: Any) -> bytes:
    """Return a database with a value in one place, in all rows that have that place.

    :param value: for a place within JSON one of :data:`LEAVES`, otherwise one of :data:`VALUES`.
    """
    table, column, path = place
    with closing(_opened(image)) as copy:
        query = f"SELECT DISTINCT {column} FROM {table}"  # noqa: S608  # names of ours
        for (old,) in copy.execute(query).fetchall():
            new = value
            if path:
                try:
                    new = _with_leaf(json.loads(old), path, value)
                except (ValueError, LookupError, TypeError):
                    continue
            copy.execute(
                f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {column} IS ?",  # noqa: S608  # names of ours
                (new, old),
            )
        return copy.serialize()


def _opened(image: bytes) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None)
    copy.deserialize(image)
    # NOT NULL holds only those who write with SQLite: a file may have anything.
    copy.execute("PRAGMA ignore_check_constraints = ON")
    return copy


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _leaves(each, (*path, number))


_MARK: Final = "the place of the leaf"


def _with_leaf(value: Any, path: tuple[str | int, ...], leaf: str) -> str:
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    if isinstance(path[-1], str) and path[-1] not in holder:
        raise LookupError(path)
    holder[path[-1]] = _MARK
    return json.dumps(value).replace(json.dumps(_MARK), leaf)
