"""The published copy: what every user may read of the journal, in another file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from riskd.host.files import create_private, put_away, sync, write_whole
from riskd.journal.differences import equity_statement
from riskd.journal.ownership import PRIVATE_FACTS
from riskd.journal.reader import mark_of, published_mark
from riskd.journal.schema import PUBLISHED_NAME, PUBLISHED_TABLES, empty_database
from riskd.model.equity import EquityMark

_TEMPORARY_NAME: Final = f".{PUBLISHED_NAME}.new"

_COPY: Final = "copy"
"""What the copy is called while it is made: another database of the journal's connection."""

_PUBLISHED_ROWS: Final = {
    # Every user of the machine may read the copy.
    "facts": f"SELECT name, value FROM main.facts WHERE name NOT IN {PRIVATE_FACTS}",  # noqa: S608  # names of ours
    # Two columns of an account's row are private, and so are the executions that a settled balance includes.
    "accounts": (
        "SELECT account_id, realized_pnl, trade_count, last_reset, day_began, NULL, NULL,"
        " json_set(balance, '$.is_settled', json('false')) FROM main.accounts"
    ),
    # The actions of the trading day.  -1e18 is BEFORE_ALL: of a day whose beginning is unknown, all are
    # published.  An OR in its place would keep SQLite from using the index, and the table only grows.
    "enforcement": (
        "SELECT action.* FROM main.accounts AS account JOIN main.enforcement AS action"
        " ON action.account_id = account.account_id"
        " AND action.at >= ifnull(account.day_began, -1e18)"
    ),
    # Those of the last write are published, and no earlier ones.
    "equity": "SELECT * FROM main.equity WHERE false",
}
"""Queries for the tables that are not published whole."""

_FILL: Final = tuple(
    f"INSERT INTO {_COPY}.{table} " + _PUBLISHED_ROWS.get(table, f"SELECT * FROM main.{table}")  # noqa: S608  # names of ours
    for table in PUBLISHED_TABLES
)


class Publication:
    """Publishes copies of an open journal in its directory.

    :ivar is_current: whether the journal has had no write since the last copy.
    """

    def __init__(self, directory: Path) -> None:
        self.is_current = False
        self._directory = directory
        self._path = directory / PUBLISHED_NAME
        self._new = directory / _TEMPORARY_NAME
        self._mark: object = None

    def prepare(self, journal: sqlite3.Connection) -> None:
        """Prepare a journal's connection for :meth:`publish`, once."""
        journal.execute(f"ATTACH ':memory:' AS {_COPY}")

    def publish(
        self, journal: sqlite3.Connection, marks: Iterable[EquityMark], at: datetime | None
    ) -> bool:
        """Publish a copy of the journal's content, unless it is published already.

        :param marks: the accounts' figures at ``at``.
        :returns: whether there was anything to publish.
        :raises sqlite3.Error: the copy could not be made; the copy before stays.
        :raises OSError: likewise.
        """
        if self.is_current and published_mark(self._directory) == self._mark:
            return False
        descriptor = create_private(self._new)
        try:
            write_whole(descriptor, _copied(journal, marks, at))
            os.fchmod(descriptor, 0o644)
            # After a power cut the new name must not stand for a file whose bytes were lost.
            os.fsync(descriptor)
            mark = mark_of(os.fstat(descriptor))
        finally:
            os.close(descriptor)
        # A reader that has the copy before open keeps it.
        try:
            self._new.replace(self._path)
        except IsADirectoryError:
            put_away(self._path)
            self._new.replace(self._path)
        sync(self._directory)
        self.is_current, self._mark = True, mark
        return True


def _copied(
    journal: sqlite3.Connection, marks: Iterable[EquityMark], at: datetime | None
) -> bytes:
    """Return a database file of the public rows.

    Private rows are never written to it, not even to be deleted again: SQLite leaves deleted rows in
    the file.
    """
    # In memory, and by the connection of the journal: opening files and creating tables would be most of
    # the work.
    journal.deserialize(empty_database(), name=_COPY)
    with journal:
        journal.execute("BEGIN")
        for sql in _FILL:
            journal.execute(sql)
        if at is not None:
            journal.executemany(*equity_statement(marks, at, _COPY))
    return journal.serialize(name=_COPY)
