"""Read an account's published state, which another machine has sent.

Its rows go into a database in memory, with the tables of the published copy, and are read there: so the code that
checks files of others checks them as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from functools import cache
from hashlib import blake2b
from typing import Final

import msgspec

from riskd.desk.incoming import checked
from riskd.desk.messages import MessageError, PublishedState
from riskd.journal.database import restrict
from riskd.journal.reader import DAMAGES, Snapshot, read_snapshot, words_of
from riskd.journal.schema import MIGRATIONS, PUBLISHED_TABLES, empty_database

_TABLES: Final = frozenset(PUBLISHED_TABLES) - {"facts"}

_FACTS: Final = ("as_of", "gateway", "commits", "instance", "clock_offset")

_MAX_VALUE: Final = 1024 * 1024
"""The longest text of a row, in bytes."""


def digest(state: PublishedState) -> bytes:
    """Return a value that two states share if they say the same of the account."""
    content = msgspec.json.encode((state.schema, state.number, state.tables))
    return blake2b(content, digest_size=16).digest()


def read_state(state: PublishedState, instance: str, account_id: int) -> Snapshot:
    """Return a state with its one account.

    :param instance: the name of the instance that has sent it.
    :param account_id: the account in the message's subject.
    :raises MessageError: it cannot be used; the text is a sentence for a person.
    """
    _check_schema(state.schema, instance)
    checked(state.number)
    try:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
            database.deserialize(empty_database())
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
            restrict(database)
            _fill(database, state, account_id)
            snapshot = read_snapshot(database)
    except DAMAGES as error:
        raise MessageError(
            f"the state of account {account_id} of {instance} is left out: {words_of(error)}"
        ) from None
    if account_id not in snapshot.accounts:
        raise MessageError(
            f"the state of account {account_id} of {instance} is left out: it has no such account"
        )
    return snapshot


def _check_schema(schema: int, instance: str) -> None:
    known = len(MIGRATIONS)
    if schema == known:
        return
    newer, machine = (
        ("newer", "the desk's machine")
        if schema > known
        else ("older", f"the machine of {instance}")
    )
    raise MessageError(
        f"riskd of {instance} is {newer} than the relay (schema {schema}, here {known}), so that no state of "
        f"it is read: upgrade riskd on {machine}"
    )


def _fill(database: sqlite3.Connection, state: PublishedState, account_id: int) -> None:
    facts = [(name, state.facts[name]) for name in _FACTS if name in state.facts]
    database.execute("BEGIN")
    database.executemany("INSERT INTO facts (name, value) VALUES (?, ?)", facts)
    for table, rows in state.tables.items():
        if table not in _TABLES:
            raise ValueError(f"it has a table {table[:60]!r}")
        columns = _columns(table)
        _check_rows(table, rows, columns, account_id)
        places = ", ".join("?" * len(columns))
        database.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608  # checked above
    database.execute("COMMIT")


def _check_rows(
    table: str,
    rows: Iterable[list[int | float | str | None]],
    columns: tuple[str, ...],
    account_id: int,
) -> None:
    place = columns.index("account_id") if "account_id" in columns else None
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row of {table} has {len(row)} values, and not {len(columns)}")
        if place is not None and (type(row[place]), row[place]) != (int, account_id):
            raise ValueError(f"a row of {table} is of account {str(row[place])[:60]}")


@cache
def _columns(table: str) -> tuple[str, ...]:
    """Return the columns of a table of riskd's, in their order."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.deserialize(empty_database())
        return tuple(row[1] for row in database.execute(f"PRAGMA table_info({table})"))
