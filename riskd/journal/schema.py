"""The tables of the journal, and how an older journal becomes a newer one.

Events are kept in the wire's own words (:func:`riskd.model.wire.encode_data`), beside the keys they are
found by.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

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
)
"""What makes each version of the schema out of the one before; the first makes it out of nothing.

``facts`` holds what is true once: ``as_of``, ``gateway``, ``daemon_status``, and ``commits``, how often
the journal was written, which shows whether it has lost what the copy has.  Of ``enforcement`` and
``log`` nothing is ever deleted; the other tables hold what is so now.  ``at`` and ``day_began`` are
stamps (:func:`as_stamp`).
"""

FIRST_WITH_LOG: Final = 2
"""The first version of the schema that has a ``log``."""


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
)
"""The tables of the newest version that consoles may see."""

PRIVATE_TABLES: Final = ("rule_memory", "charges", "flattenings", "log")
"""The tables that are the daemon's own; the published copy has them too, and nothing in them."""

TABLES: Final = PUBLISHED_TABLES + PRIVATE_TABLES
"""The tables of the newest version."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_APPLICATION_ID: Final = 0x7269736B
"""Marks a file as riskd's own; the letters are ``risk``."""


def as_stamp(moment: datetime) -> int:
    """Return an aware ``moment`` as the journal keeps it: whole milliseconds since 1970."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def as_moment(stamp: object) -> datetime:
    """Return the moment, in UTC, of a stamp.

    :raises ValueError: it is not a stamp.
    :raises OverflowError: it is not in the calendar.
    """
    if not isinstance(stamp, int):
        raise ValueError(f"{stamp!r} is not a moment")  # noqa: TRY004  # the file's mistake, not ours
    return _EPOCH + timedelta(milliseconds=stamp)


class DamagedError(Exception):
    """The journal is no longer a journal."""


class NewerSchemaError(Exception):
    """The file was written by a newer riskd."""

    def __init__(self, path: Path, version: int, known: int) -> None:
        super().__init__(
            f"{path} was written by a newer riskd (schema {version}, this one knows {known}); "
            "upgrade riskd, or start with another --state directory"
        )


def check_version(connection: sqlite3.Connection, path: Path, known: int = len(MIGRATIONS)) -> int:
    """Return the schema version of an open file; 0 is an empty one.

    :raises DamagedError: it is not a journal.
    :raises NewerSchemaError: this riskd does not know it.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if (version, application_id) == (0, 0):
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise DamagedError("it has tables but no version")
        return 0
    if version < 1 or application_id != _APPLICATION_ID:
        raise DamagedError("its header is not that of a journal")
    if version > known:
        raise NewerSchemaError(path, version, known)
    return int(version)


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS
) -> None:
    """Bring the file up to date, in one transaction; an older file is copied first.

    :raises NewerSchemaError: the file is newer than ``migrations``; then nothing is changed.
    """
    version = check_version(connection, path, len(migrations))
    if version == len(migrations):
        return
    if version:
        backup = path.with_name(f"{path.name}.v{version}.backup")
        backup.unlink(missing_ok=True)
        # Made before it is filled: nobody else may read it, not even for a moment.
        backup.touch(0o600)
        connection.execute("VACUUM INTO ?", (str(backup),))
    upgrade(connection, version, migrations)


def upgrade(
    connection: sqlite3.Connection, version: int, migrations: Sequence[str] = MIGRATIONS
) -> None:
    """Make the newest version out of ``version``, in one transaction and without a backup."""
    script = "".join(migrations[version:])
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {_APPLICATION_ID};"
            f" PRAGMA user_version = {len(migrations)}; COMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise
