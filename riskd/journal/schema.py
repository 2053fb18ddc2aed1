"""The files and tables of the journal, and the migration of older journals.

Events are stored as JSON in the wire's own format (:func:`riskd.model.wire.encode_data`), beside the keys
that they are found by.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from riskd.host.errors import UserError

JOURNAL_NAME: Final = "riskd.db"
"""The journal, which only the daemon's user may read."""

PUBLISHED_NAME: Final = "last-known.db"
"""The published copy: every user may read it, only the daemon writes it."""

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
)
"""The SQL that makes each version of the schema from the version before; the first starts from nothing.

A released migration is never edited: journals on users' disks were made by it.

``facts`` holds single values: ``as_of``, by the wall clock; ``daemon_status``; ``clock_offset``, the seconds by
which the broker's clock is ahead of the wall clock, such as ``-12.345``, absent while that is unknown;
``commits``, the number of commits so far, which shows whether the journal has lost what the published copy
has; and those of :class:`riskd.journal.ownership.Record`: the gateway that the journal belongs to.  Rows of
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

PRIVATE_TABLES: Final = ("rule_memory", "charges", "results", "flattenings", "log")
"""The tables whose rows only the daemon may read; in the published copy they are empty."""

_APPLICATION_ID: Final = 0x7269736B
"""Marks a file as riskd's: ``risk`` in ASCII."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

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
        raise ValueError(f"{stamp!r} is not a moment")  # noqa: TRY004  # the file is wrong, not the caller
    return _EPOCH + timedelta(milliseconds=stamp)


def as_text(value: object) -> str:
    """Return a value that the journal stores as text.

    :raises ValueError: it is not text; SQLite stores any type in any column.
    """
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")  # noqa: TRY004  # the file is wrong, not the caller
    return value


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

    :raises DamagedError: it is not a journal.
    :raises NewerSchemaError: its version is newer than this riskd's.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    # SQLite's values for a new file.
    if (version, application_id) == (0, 0):
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise DamagedError("it has tables but no version")
        return 0
    if version < 1 or application_id != _APPLICATION_ID:
        raise DamagedError("its header is not that of a journal")
    if version > len(MIGRATIONS):
        raise NewerSchemaError(path, version)
    return int(version)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file up to date in one transaction, after a backup of an older one.

    :raises NewerSchemaError: a newer riskd wrote the file; it stays as it was.
    """
    version = check_version(connection, path)
    if version == len(MIGRATIONS):
        return
    if version:
        backup = path.with_name(f"{path.name}.v{version}.backup")
        backup.unlink(missing_ok=True)
        # Created with its mode before SQLite fills it: other users must not read it, even for a moment.
        backup.touch(0o600)
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
