"""Reading files in whose place another program has put something else."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskd.journal import database
from riskd.journal.audit_log import read_log
from riskd.journal.contents import published_copies
from riskd.journal.database import SUFFIXES, open_copy
from riskd.journal.history import read_equity, read_trades
from riskd.journal.reader import StateFileError, read_published
from riskd.journal.schema import JOURNAL_NAME, empty_database
from riskd.journal.state_directory import StateDirectory, StateDirectoryError
from riskd.journal.store import Store
from tests import examples
from tests.support.directories import temporary_directory
from tests.support.intruders import DATABASES, FILES, NOT_FILES, put_in_place
from tests.support.journal import NOON, StoreTestCase, full_state
from tests.support.state_directories import PAPER

LOCKS = {"RULE-003", "RULE-007"}
IN_TIME = 5.0
"""Seconds; whatever waits or has no end takes longer."""


class IntruderTestCase(StoreTestCase):
    """A state directory with locks, whose daemon has ended."""

    def setUp(self) -> None:
        super().setUp()
        self.publish(full_state())
        self.store.close()
        self.sound = self.directory
        self.renew()

    def renew(self) -> None:
        """Go on with another directory that has the same files."""
        self.store.close()
        self.directory = temporary_directory(self) / "state"
        shutil.copytree(self.sound, self.directory)
        self.begun = time.monotonic()

    def recover(self) -> str:
        """Start as a daemon does, which must have the locks in time; return its problem."""
        held = StateDirectory(self.directory)
        try:
            held.claim(PAPER)
            self.store = Store(self.directory, held.owner)
            recovery = self.store.open([123], NOON)
            self.assertEqual(set(recovery.accounts[123].lockouts), LOCKS)
            self.assertLess(time.monotonic() - self.begun, IN_TIME)
            # The copy that a console reads then is riskd's own.
            self.store.write(list(recovery.accounts.values()), "practice", NOON)
            self.store.publish()
            self.assertEqual(set(read_published(self.directory).accounts[123].lockouts), LOCKS)
            self.store.close()
        finally:
            held.release()
        return recovery.problem


class CopyTests(IntruderTestCase):
    """Something in the place of the published copy."""

    def test_the_reader_says_one_sentence_in_time(self) -> None:
        for name, put in {**NOT_FILES, **DATABASES, **FILES}.items():
            with self.subTest(name):
                self.renew()
                put_in_place(self.published, put)
                error = self.assertRaises(StateFileError, read_published, self.directory)
                self.assertLess(time.monotonic() - self.begun, IN_TIME)
                (sentence,) = error.problems
                self.assertIn("cannot read the last known state", sentence)
                self.assertNotIn("\n", sentence)
                self.assertLess(len(sentence), 500)
                self.assertEqual(published_copies(self.directory), [])

    def test_the_daemon_has_the_locks_of_its_journal(self) -> None:
        for name, put in {**NOT_FILES, **DATABASES, **FILES}.items():
            if "link" not in name:
                with self.subTest(name):
                    self.renew()
                    put_in_place(self.published, put)
                    self.assertEqual(self.recover(), "")

    def test_a_copy_of_the_journal_is_a_copy(self) -> None:
        with closing(sqlite3.connect(self.journal)) as journal:
            journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.published.write_bytes(self.journal.read_bytes())
        self.assertEqual(set(read_published(self.directory).accounts[123].lockouts), LOCKS)

    def test_what_takes_too_long_is_interrupted(self) -> None:
        self.patch(database, "COPY_SECONDS", 0.05)
        self.patch(database, "_CHECKED_EVERY", 10)
        error = self.assertRaises(database.SlowFileError, self._read_for_ever)
        self.assertEqual(error.strerror, "it takes more than 0.05 seconds to read")

    def _read_for_ever(self) -> None:
        with open_copy(self.published) as copy:
            while True:
                copy.execute("SELECT * FROM facts").fetchall()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_another_user_is_refused(self) -> None:
        os.chown(self.published, 54321, 54321)
        error = self.assertRaises(StateFileError, read_published, self.directory)
        self.assertIn("it belongs to another user, with the id 54321", str(error))
        # That of the directory's owner is the daemon's own.
        os.chown(self.directory, 54321, 54321)
        self.assertEqual(set(read_published(self.directory).accounts[123].lockouts), LOCKS)


class JournalTests(IntruderTestCase):
    """Something in the place of the journal, or of one of the files beside it."""

    def test_the_daemon_has_the_locks_of_its_copy(self) -> None:
        for name, put in {**NOT_FILES, **DATABASES, **FILES}.items():
            if "link" in name or name == "a huge text":
                continue
            with self.subTest(name):
                self.renew()
                put_in_place(self.journal, put)
                self.assertIn("was set aside; its lockouts were saved", self.recover())

    def test_a_link_is_refused_with_a_sentence(self) -> None:
        for name, put in NOT_FILES.items():
            for path in (self.journal, self.published):
                if "link" in name:
                    with self.subTest(name):
                        self.renew()
                        put_in_place(self.directory / path.name, put)
                        error = self.assertRaises(
                            StateDirectoryError, StateDirectory, self.directory
                        )
                        self.assertIn(f"its {path.name} is a symbolic link", str(error))

    def test_the_daemon_opens_nothing_beside_the_journal(self) -> None:
        for suffix in SUFFIXES[1:]:
            for name, put in NOT_FILES.items():
                with self.subTest(name, suffix=suffix):
                    self.renew()
                    put_in_place(self.directory / f"{JOURNAL_NAME}{suffix}", put)
                    self.assertIn("was set aside; its lockouts were saved", self.recover())

    def test_reports_are_a_sentence_in_time(self) -> None:
        for name, put in {**NOT_FILES, **DATABASES, **FILES}.items():
            with self.subTest(name):
                self.renew()
                put_in_place(self.journal, put)
                for read in (read_log, read_trades, read_equity):
                    try:
                        self.assertEqual(read(self.directory, 123), [])
                        self.assertNotIn(name, NOT_FILES)
                    except StateFileError as error:
                        self.assertIn("cannot read the", str(error))
                    self.assertLess(time.monotonic() - self.begun, IN_TIME)

    def test_statistics_of_a_persons_analysis_are_no_damage(self) -> None:
        with closing(sqlite3.connect(self.journal, isolation_level=None)) as journal:
            journal.execute("ANALYZE")
        self.assertEqual(self.recover(), "")


class AnyBytesTests(IntruderTestCase):
    """Any bytes and any changes in the place of the copy."""

    def setUp(self) -> None:
        super().setUp()
        self.content = self.published.read_bytes()

    def read(self, content: bytes) -> None:
        self.published.write_bytes(content)
        begun = time.monotonic()
        try:
            read_published(self.directory)
        except StateFileError as error:
            self.assertLess(len(str(error)), 500)
        self.assertLess(time.monotonic() - begun, IN_TIME)

    @settings(max_examples=examples(60), deadline=None)
    @given(st.binary(max_size=5000))
    def test_any_bytes(self, content: bytes) -> None:
        self.read(content)
        self.read(empty_database()[:100] + content)

    @settings(max_examples=examples(100), deadline=None)
    @given(st.data())
    def test_any_changed_bytes_of_a_copy(self, data: st.DataObject) -> None:
        content = bytearray(self.content)
        places = st.integers(0, len(content) - 1)
        for at, value in data.draw(
            st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=20)
        ):
            content[at] = value
        self.read(bytes(content))

    @settings(max_examples=examples(60), deadline=None)
    @given(st.data())
    def test_any_schema(self, data: st.DataObject) -> None:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
            copy.deserialize(self.content)
            tables = [
                row[0]
                for row in copy.execute(
                    "SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE TABLE%'"
                )
            ]
            copy.execute("PRAGMA writable_schema = ON")
            name = data.draw(st.sampled_from(tables))
            column = data.draw(st.sampled_from(("type", "name", "tbl_name", "rootpage", "sql")))
            texts = st.sampled_from(
                ("table", "view", "index", "trigger", "facts", "CREATE VIEW facts AS SELECT 1")
            )
            value = data.draw(st.none() | st.integers(-5, 40) | texts | st.text() | st.binary())
            copy.execute(
                f"UPDATE sqlite_master SET {column} = ? WHERE name = ?",  # noqa: S608  # names of ours
                (value, name),
            )
            content = copy.serialize()
        self.read(content)
