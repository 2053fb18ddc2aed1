"""Schema versions: migrations, backups and refusals."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing

import msgspec

from riskd.journal import schema
from riskd.journal.reader import read_published
from riskd.journal.schema import JOURNAL_NAME, MIGRATIONS, NewerSchemaError, migrate
from riskd.journal.store import Store
from riskd.model.account import AccountState, RiskState
from tests.support.journal import (
    MNQ,
    NOON,
    StoreTestCase,
    as_published,
    as_recovered,
    full_state,
    write_version_1,
)


class SchemaTests(StoreTestCase):
    """Journals of older and newer versions of riskd."""

    def assert_is_of_version_1(self, account: AccountState) -> None:
        """Assert that ``account`` has all that :func:`write_version_1` wrote."""
        self.assertEqual(str(account.realized_pnl), "-45.50")
        self.assertEqual(account.trade_count, 1)
        assert account.last_reset is not None
        self.assertEqual(account.last_reset.previous_trade_count, 3)
        self.assertEqual(account.day_began, account.last_reset.reset_time)
        self.assertEqual(account.contracts[MNQ].name, "MNQU5")
        self.assertEqual(account.positions[MNQ].size, 2)
        self.assertEqual(account.orders[7].stop_price, 20990)
        self.assertEqual(account.trades[1].quantity, 1)
        self.assertEqual(account.quotes[MNQ].last, 21000)
        self.assertEqual(account.lockouts["RULE-003"].reason, "Daily loss")
        self.assertEqual([done.timestamp.day for done in account.enforcement], [17])
        self.assertEqual((account.limits, account.risk), ({}, RiskState()))
        assert account.daemon is not None
        self.assertEqual(account.daemon.message, "Daemon started")

    def test_a_journal_of_version_1_is_migrated_after_a_backup(self) -> None:
        self.store.close()
        self.journal.unlink()
        write_version_1(self.journal)
        self.store = self.open()
        self.assertEqual(self.recovery.problem, "")
        self.assert_is_of_version_1(self.recovery.accounts[123])
        self.assertEqual(self.recovery.accounts[456].day_began, None)
        with closing(sqlite3.connect(self.directory / f"{JOURNAL_NAME}.v1.backup")) as backup:
            self.assertEqual(backup.execute("PRAGMA user_version").fetchone(), (1,))
            self.assertEqual(backup.execute("SELECT count(*) FROM trades").fetchone(), (1,))
        # The new tables can be written.
        state = msgspec.structs.replace(
            self.recovery.accounts[123], limits=full_state().limits, risk=full_state().risk
        )
        snapshot = self.publish(state)
        self.assertEqual((snapshot.accounts[123], snapshot.commits), (as_published(state), 42))
        self.store.close()
        self.open()
        self.assertEqual(self.recovery.accounts[123], as_recovered(state))

    def test_a_copy_of_version_1_is_read_and_not_changed(self) -> None:
        write_version_1(self.published)
        before = self.published.read_bytes()
        snapshot = read_published(self.directory)
        self.assert_is_of_version_1(snapshot.accounts[123])
        self.assertEqual((snapshot.as_of, snapshot.commits), (NOON, 41))
        self.assertEqual(self.published.read_bytes(), before)

    def test_a_journal_of_version_1_that_has_lost_published_commits_is_damaged(self) -> None:
        self.store.close()
        write_version_1(self.published)
        self.journal.unlink()
        write_version_1(self.journal)
        with closing(sqlite3.connect(self.journal, isolation_level=None)) as journal:
            journal.execute("UPDATE facts SET value = '40' WHERE name = 'commits'")
        self.store = self.open()
        self.assertIn("has lost what was published", self.recovery.problem)

    def connect(self) -> sqlite3.Connection:
        self.store.close()
        connection = sqlite3.connect(self.journal, isolation_level=None)
        self.addCleanup(connection.close)
        return connection

    def test_an_older_journal_is_migrated_after_a_backup(self) -> None:
        self.write(full_state())
        connection = self.connect()
        newer = (*MIGRATIONS, "CREATE TABLE later (x);")
        self.patch(schema, "MIGRATIONS", newer)
        migrate(connection, self.journal)
        self.assertEqual(connection.execute("PRAGMA user_version").fetchone(), (len(newer),))
        backup = sqlite3.connect(self.directory / f"{JOURNAL_NAME}.v{len(MIGRATIONS)}.backup")
        self.addCleanup(backup.close)
        self.assertEqual(backup.execute("PRAGMA user_version").fetchone(), (len(MIGRATIONS),))
        self.assertEqual(backup.execute("SELECT count(*) FROM trades").fetchone(), (2,))

    def test_the_backup_is_private_before_anything_is_written_to_it(self) -> None:
        backup = self.directory / f"{JOURNAL_NAME}.v{len(MIGRATIONS)}.backup"
        modes: list[int] = []

        def note_mode(sql: str) -> None:
            if sql.startswith("VACUUM INTO"):
                modes.append(stat.S_IMODE(backup.stat().st_mode))

        self.addCleanup(os.umask, os.umask(0))
        self.write(full_state())
        connection = self.connect()
        # A backup that every user may read was left there.
        backup.touch(0o644)
        connection.set_trace_callback(note_mode)
        self.patch(schema, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE later (x);"))
        migrate(connection, self.journal)
        self.assertEqual(modes, [0o600])
        self.assertEqual(stat.S_IMODE(backup.stat().st_mode), 0o600)

    def test_a_failed_migration_leaves_the_journal_as_it_was(self) -> None:
        connection = self.connect()
        broken = (*MIGRATIONS, "CREATE TABLE later (x); CREATE TABLE facts (x);")
        self.patch(schema, "MIGRATIONS", broken)
        self.assertRaises(sqlite3.Error, migrate, connection, self.journal)
        self.assertEqual(connection.execute("PRAGMA user_version").fetchone(), (len(MIGRATIONS),))
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        self.assertNotIn("later", names)

    def test_a_newer_journal_is_refused_and_not_set_aside(self) -> None:
        self.connect().execute("PRAGMA user_version = 99")
        error = self.assertRaises(NewerSchemaError, Store(self.directory).open, [123], NOON)
        self.assertIn("newer riskd (schema 99", str(error))
        self.assertFalse(any(".damaged-" in path.name for path in self.directory.iterdir()))

    def test_every_table_is_listed_as_published_or_private(self) -> None:
        connection = self.connect()
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        self.assertEqual(
            {name for (name,) in connection.execute(query)},
            set(schema.PUBLISHED_TABLES + schema.PRIVATE_TABLES),
        )
