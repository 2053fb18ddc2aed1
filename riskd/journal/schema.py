"""The files and tables of the journal, and the migration of older journals.

Events are stored as JSON in the wire's own format (:func:`riskd.model.wire.encode_data`), beside the keys
that they are found by.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from riskd.host.errors import UserError
from riskd.host.files import create_private
from riskd.model.safe_text import printable

JOURNAL_NAME: Final = "riskd.db"
"""The journal, which only the daemon's user may read."""

PUBLISHED_NAME: Final = "last-known.db"
"""The published copy: every user may read it, only the daemon writes it."""

STATUS_OF_ACCOUNT: Final = "daemon_status."
"""Begins the name of the fact that has the daemon's status for one account, whose id follows.

Only the accounts of a desk have different daemons; all other accounts have that of the fact ``daemon_status``.
"""

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE accounts (
        account_id INTEGER PRIMARY KEY,
        realized_pnl TEXT NOT NULL,
        trade_count INTEGER NOT NULL,
        last_reset TEXT,
        day_began INTEGER
    );
    CREATE TABLE contracts (
        contract_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        tick_size TEXT NOT NULL,
        tick_value TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE positions (
        account_id INTEGER NOT NULL,
        contract_id TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (account_id, contract_id)
    ) WITHOUT ROWID;
    CREATE TABLE orders (
        account_id INTEGER NOT NULL,
        order_id INTEGER NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (account_id, order_id)
    ) WITHOUT ROWID;
    CREATE TABLE trades (
        account_id INTEGER NOT NULL,
        trade_id INTEGER NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (account_id, trade_id)
    ) WITHOUT ROWID;
    CREATE TABLE quotes (
        account_id INTEGER NOT NULL,
        contract_id TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (account_id, contract_id)
    ) WITHOUT ROWID;
    CREATE TABLE lockouts (
        account_id INTEGER NOT NULL,
        rule_id TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (account_id, rule_id)
    ) WITHOUT ROWID;
    CREATE TABLE enforcement (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        account_id INTEGER NOT NULL,
        at INTEGER NOT NULL,
        data TEXT NOT NULL
    );
    CREATE INDEX enforcement_by_account ON enforcement (account_id, at);
    """,
    """
    ALTER TABLE accounts ADD COLUMN day_key TEXT;
    ALTER TABLE accounts ADD COLUMN can_trade INTEGER;
    CREATE TABLE limits (
        account_id INTEGER NOT NULL,
        rule_id TEXT NOT NULL,
        key TEXT NOT NULL,
        settings TEXT NOT NULL,
        PRIMARY KEY (account_id, rule_id)
    ) WITHOUT ROWID;
    CREATE TABLE rule_memory (
        account_id INTEGER NOT NULL,
        rule_id TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (account_id, rule_id)
    ) WITHOUT ROWID;
    CREATE TABLE charges (
        account_id INTEGER NOT NULL,
        trade_id INTEGER NOT NULL,
        at INTEGER NOT NULL,
        amount TEXT NOT NULL,
        PRIMARY KEY (account_id, trade_id)
    ) WITHOUT ROWID;
    CREATE TABLE flattenings (account_id INTEGER PRIMARY KEY, data TEXT NOT NULL);
    CREATE TABLE log (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        account_id INTEGER NOT NULL,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL
    );
    CREATE INDEX log_by_account ON log (account_id, at);
    """,
    """
    ALTER TABLE accounts ADD COLUMN balance TEXT;
    CREATE TABLE results (
        account_id INTEGER NOT NULL,
        trade_id INTEGER NOT NULL,
        at INTEGER NOT NULL,
        amount TEXT NOT NULL,
        order_id INTEGER,
        leg TEXT,
        PRIMARY KEY (account_id, trade_id)
    ) WITHOUT ROWID;
    CREATE TABLE days (
        account_id INTEGER NOT NULL,
        day TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (account_id, day)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE results ADD COLUMN data TEXT;
    CREATE INDEX results_by_time ON results (account_id, at);
    CREATE TABLE equity (
        at INTEGER NOT NULL,
        account_id INTEGER NOT NULL,
        balance TEXT NOT NULL,
        equity TEXT NOT NULL,
        net_pnl TEXT NOT NULL,
        high_net TEXT NOT NULL,
        PRIMARY KEY (at, account_id)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE settings (
        account_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (account_id, name)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE outbox (
        epoch INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        at INTEGER NOT NULL,
        account_id INTEGER,
        type TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (epoch, seq)
    ) WITHOUT ROWID;
    """,
)
"""The SQL that makes each version of the schema from the version before; the first starts from nothing.

A released migration is never edited: journals on users' disks were made by it.

``facts`` holds single values: ``as_of``, by the wall clock; ``daemon_status``; ``clock_offset``, the seconds by
which the broker's clock is ahead of the wall clock, such as ``-12.345``, absent while that is unknown;
``commits``, the number of commits so far, which shows whether the journal has lost what the published copy
has; ``outbox`` and ``outbox_dropped``, see :mod:`riskd.journal.outbox`; and those of
:class:`riskd.journal.ownership.Record`: the gateway that the journal belongs to.  Rows of
``enforcement`` and ``log`` are never deleted, and those of ``results`` and ``equity`` are kept for two years; the
other tables hold the present state.  ``equity`` has the figures of each minute, as they were when they were first
written in it; in the copy it has those of the last write.  ``results.data`` is a
:class:`riskd.model.balance.Execution` as JSON, absent if an earlier riskd wrote the row.  ``balance``
is a :class:`riskd.model.balance.Balance` as JSON, absent while none is known; ``days`` has a
:class:`riskd.model.day_figures.DayFigures` as JSON for each date.  ``at`` and ``day_began`` are stamps (:func:`as_stamp`).
"""

FIRST_WITH_LOG: Final = 2
"""The first version of the schema that has a ``log``."""

FIRST_WITH_HISTORY: Final = 4
"""The first version of the schema that keeps executions and equity for reports."""

FIRST_WITH_OUTBOX: Final = 6
"""The first version of the schema that keeps events for a desk."""

PUBLISHED_TABLES: Final = (
    "facts",
    "accounts",
    "contracts",
    "positions",
    "orders",
    "trades",
    "quotes",
    "lockouts",
    "enforcement",
    "limits",
    "days",
    "equity",
)
"""The tables, in the newest version, whose rows are published."""

PRIVATE_TABLES: Final = (
    "rule_memory",
    "charges",
    "results",
    "flattenings",
    "log",
    "settings",
    "outbox",
)
"""The tables whose rows only the daemon may read; in the published copy they are empty."""

_APPLICATION_ID: Final = 0x7269736B
"""Marks a file as riskd's: ``risk`` in ASCII."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_MAX_SHOWN: Final = 60

BEFORE_ALL: Final = -1e18
"""Below every stamp."""


def as_stamp(moment: datetime) -> int:
    """Return an aware ``moment`` as a stamp: whole milliseconds since 1970."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def as_moment(stamp: object) -> datetime:
    """Return the moment of a stamp, in UTC.

    :raises ValueError: it is not a stamp.
    :raises OverflowError: it is beyond the calendar.
    """
    if not isinstance(stamp, int):
        raise ValueError(f"{shown(stamp)} is not a moment")  # noqa: TRY004  # the file is wrong, not the caller
    return _EPOCH + timedelta(milliseconds=stamp)


def as_number(value: object) -> int:
    """Return an id that the journal stores as a whole number.

    :raises ValueError: it is none.
    """
    if not isinstance(value, int):
        raise ValueError(f"{shown(value)} is not a whole number")  # noqa: TRY004  # as above
    return value


def as_text(value: object) -> str:
    """Return a value that the journal stores as text.

    :raises ValueError: it is not text; SQLite stores any type in any column.
    """
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not text")  # noqa: TRY004  # the file is wrong, not the caller
    return value


def shown(value: object) -> str:
    """Return a value of a file for a sentence, in one short line."""
    text = value if isinstance(value, str) else repr(value)
    text = printable(text[: _MAX_SHOWN + 1])
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


class DamagedError(Exception):
    """The file is not a sound journal."""


class NewerSchemaError(UserError):
    """The file was written by a newer riskd."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(
            f"{path} was written by a newer riskd "
            f"(schema {version}, this one knows {len(MIGRATIONS)}); "
            "upgrade riskd, or start with another --state directory"
        )


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of an open file; 0 for an empty one.

    :raises DamagedError: it is not a journal, or has tables that are not riskd's.
    :raises NewerSchemaError: its version is newer than this riskd's.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    # SQLite's values for a new file.
    if (version, application_id) == (0, 0):
        if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise DamagedError("it has tables but no version")
        return 0
    if version < 1 or application_id != _APPLICATION_ID:
        raise DamagedError("its header is not that of a journal")
    if version > len(MIGRATIONS):
        raise NewerSchemaError(path, version)
    check_schema(connection)
    return int(version)


def check_schema(connection: sqlite3.Connection, tables: Collection[str] | None = None) -> None:
    """Check that an open file has only what riskd's migrations make.

    A view in place of a table may have no end, a trigger changes what is written, a virtual table runs code of an
    extension, and a computed column or index runs functions.

    :param tables: the tables that will be read; ``None`` for all that the file has.
    :raises DamagedError: one is not.
    """
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    if tables is not None:
        rows = [row for row in rows if row[1] in tables or row[2] in tables]
    _check_objects(tuple(rows), MIGRATIONS)


# A console reads one published copy after the other, and all of them have the same tables.
@lru_cache(maxsize=2)
def _check_objects(rows: tuple[tuple[object, ...], ...], migrations: tuple[str, ...]) -> None:
    """Check rows of ``sqlite_master``.

    :raises DamagedError: one is not as it is after any of ``migrations``.
    """
    known = _known_objects(migrations)
    for row in rows:
        kind, name, *_ = row
        # ANALYZE, which only a person runs, makes these.
        is_statistics = kind == "table" and str(name).startswith("sqlite_stat")
        if _object(row) not in known and not is_statistics:
            raise DamagedError(f"its {shown(kind)} {shown(name)} is not riskd's")


def _object(row: tuple[object, ...]) -> tuple[object, ...]:
    """Return a row of ``sqlite_master``, with single blanks in its SQL."""
    return tuple(" ".join(each.split()) if isinstance(each, str) else each for each in row)


@cache
def _known_objects(migrations: tuple[str, ...]) -> frozenset[tuple[object, ...]]:
    """Return the rows that ``sqlite_master`` has after each of ``migrations``."""
    known: set[tuple[object, ...]] = set()
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        for migration in migrations:
            database.executescript(migration)
            rows = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
            known.update(map(_object, rows))
    return frozenset(known)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file up to date in one transaction, after a backup of an older one.

    :raises NewerSchemaError: a newer riskd wrote the file; it stays as it was.
    """
    version = check_version(connection, path)
    if version == len(MIGRATIONS):
        return
    if version:
        backup = path.with_name(f"{path.name}.v{version}.backup")
        # Created with its mode before SQLite fills it: other users must not read it, even for a moment.
        os.close(create_private(backup))
        connection.execute("VACUUM INTO ?", (str(backup),))
    upgrade(connection, version)


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Migrate an open file from ``version`` in one transaction, without a backup."""
    # The connection as a context commits at the end, and rolls back after an error.
    with connection:
        connection.executescript(
            f"BEGIN IMMEDIATE; {''.join(MIGRATIONS[version:])};"
            f" PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {len(MIGRATIONS)};"
        )


@cache
def empty_database() -> bytes:
    """Return a database file of the current version, without rows."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        upgrade(database, 0)
        return database.serialize()
