"""A journal whose files another program deletes or changes while the daemon runs."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from riskd.journal import store as store_module
from riskd.journal.audit_log import JOURNAL, read_log
from riskd.journal.content import Plan
from riskd.journal.database import SUFFIXES
from riskd.journal.history import read_trades
from riskd.journal.reader import read_published
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME
from riskd.journal.store import Store
from riskd.model.account import AccountState, apply, with_risk
from riskd.model.events import Event
from riskd.testing import make_event
from tests.support.intruders import DATABASES, FILES, NOT_FILES, put_in_place
from tests.support.journal import NOON, StoreTestCase, full_state, log_entry

LATER = NOON + timedelta(seconds=5)
LOCKS = {"RULE-003", "RULE-007", "RULE-009"}

Change = Callable[[Path], object]


def overwrite(path: Path) -> None:
    """Write something else to the same file."""
    path.write_bytes(b"x" * path.stat().st_size)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def by_sql(path: Path) -> None:
    """Delete the locks as a person does, with SQLite's shell."""
    program = (
        "import sqlite3, sys; file = sqlite3.connect(sys.argv[1]);"
        " file.execute('DELETE FROM lockouts'); file.execute('DELETE FROM accounts');"
        " file.commit(); file.close()"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


class WatchTestCase(StoreTestCase):
    """A journal with locks, an older copy of it, and a lock that only the newer one has."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def start(self) -> None:
        self.publish(full_state())
        self.store.close()
        self.older = self.directory / "older"
        self.older.mkdir()
        for name in (JOURNAL_NAME, PUBLISHED_NAME):
            shutil.copy(self.directory / name, self.older / name)
        self.store = self.open()
        state = apply(full_state(), make_event("lockout_set", {"rule_id": "RULE-009"}))
        self.state = with_risk(state, log=(log_entry(1), log_entry(2)))
        self.publish(self.state)

    def renew(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)
        self.directory.mkdir()
        self.store = self.open()
        self.start()

    def older_file(self, path: Path) -> None:
        shutil.copy(self.older / path.name, path.with_name("new"))
        path.with_name("new").rename(path)

    def older_content(self, path: Path) -> None:
        path.write_bytes((self.older / path.name).read_bytes())

    def assert_noticed(self, words: str = "") -> None:
        """Write once more: the change is a problem, and the journal has all locks after a kill."""
        self.assertTrue(self.store.change())
        self.write(self.state, at=LATER)
        self.store.publish()
        problem = self.store.take_problem()
        self.assertIn(f"The journal {self.journal} ", problem)
        self.assertIn(words, problem)
        self.assertIn("written it again, and no lock is lost", problem)
        self.assertEqual(self.store.take_problem(), "")
        self.assertEqual(self.store.change(), "")
        self.assertEqual(set(read_published(self.directory).accounts[123].lockouts), LOCKS)
        self.crash()
        self.store = Store(self.directory)
        self.addCleanup(self.store.close)
        recovery = self.store.open([123], LATER)
        self.assertEqual(recovery.problem, "")
        self.assertEqual(set(recovery.accounts[123].lockouts), LOCKS)
        expected = msgspec.structs.replace(self.state, enforcement=self.state.enforcement)
        self.assertEqual(recovery.accounts[123].trades, expected.trades)
        self.assertEqual(recovery.accounts[123].risk.memory, expected.risk.memory)
        self.assertEqual(stat.S_IMODE(self.journal.lstat().st_mode), 0o600)
        (line,) = [line for line in read_log(self.directory, 123) if line.kind == JOURNAL]
        self.assertIn(words, line.data["reason"])

    def history(self) -> tuple[list[object], list[object]]:
        """Return what only the journal keeps."""
        log = [line for line in read_log(self.directory, 123) if line.kind != JOURNAL]
        return log, list(read_trades(self.directory, 123))


class ReplacedTests(WatchTestCase):
    """The journal, or a file beside it, is not there any more."""

    def test_a_journal_that_is_gone_is_written_again_with_its_history(self) -> None:
        changes: dict[str, Change] = {
            "was deleted": Path.unlink,
            "was replaced by another file": self.older_file,
        }
        for words, change in changes.items():
            with self.subTest(words):
                self.renew()
                before = self.history()
                self.assertTrue(all(before))
                change(self.journal)
                self.assert_noticed(words)
                self.assertEqual(self.history(), before)

    def test_whatever_takes_its_place_is_set_aside(self) -> None:
        # What a regular file has in it is not read: another one is another inode.
        files = {"text": FILES["text"], "an endless view": DATABASES["an endless view"]}
        for name, put in {**NOT_FILES, **files}.items():
            with self.subTest(name):
                self.renew()
                before = self.history()
                put_in_place(self.journal, put)
                self.assert_noticed("was replaced by ")
                self.assertEqual(self.history(), before)
                self.assertTrue(list(self.directory.glob("riskd.db.replaced-*")))

    def test_files_beside_it_that_are_gone_are_noticed(self) -> None:
        pipe = NOT_FILES["a pipe"]
        changes: dict[str, Change] = {
            "deleted": Path.unlink,
            "a pipe": lambda path: put_in_place(path, pipe),
        }
        for suffix in SUFFIXES[1:]:
            path = self.directory / f"{JOURNAL_NAME}{suffix}"
            for name, change in changes.items():
                with self.subTest(name, suffix=suffix):
                    self.renew()
                    before = self.history()
                    change(path)
                    self.assert_noticed(f"has lost its {path.name}, which was ")
                    self.assertEqual(self.history(), before)

    def test_a_journal_and_a_copy_that_are_both_gone_are_written_again(self) -> None:
        for path in (self.journal, self.published):
            path.unlink()
        self.assert_noticed("was deleted")

    def test_a_copy_that_is_gone_is_published_again(self) -> None:
        for change in (Path.unlink, self.older_file):
            change(self.published)
            self.store.publish()
            self.assertEqual(set(read_published(self.directory).accounts[123].lockouts), LOCKS)


class ChangedTests(WatchTestCase):
    """Another program has written to the journal's files."""

    def test_no_lock_is_lost(self) -> None:
        for change in (overwrite, truncate, empty, self.older_content):
            with self.subTest(change.__name__):
                self.renew()
                with sqlite3.connect(self.journal) as other:
                    # So that there is content in the file, and not only in its log.
                    other.execute("PRAGMA wal_checkpoint(PASSIVE)")
                other.close()
                self.store.change()
                self.write(self.state, at=LATER)
                self.store.take_problem()
                self.renew_log()
                change(self.journal)
                self.assert_noticed("was ")

    def renew_log(self) -> None:
        """Forget what the checkpoint has added."""
        self.store._journal.execute("DELETE FROM log WHERE kind = 'journal'")
        self.store._watch.note(self.store._journal)

    def test_a_log_that_is_changed_is_noticed(self) -> None:
        for change in (overwrite, truncate, empty):
            with self.subTest(change.__name__):
                self.renew()
                change(self.directory / f"{JOURNAL_NAME}-wal")
                self.assert_noticed("riskd.db-wal, which was ")

    def test_a_person_with_sqlite_is_noticed(self) -> None:
        by_sql(self.journal)
        self.assert_noticed("was written by another program")


class HarmlessTests(WatchTestCase):
    """What is no change."""

    def test_own_writes_and_readers_are_none(self) -> None:
        # Now and then SQLite writes what is in its log to the journal itself.
        self.store._journal.execute("PRAGMA wal_autocheckpoint = 10")
        for number in range(30):
            state = apply(self.state, make_event("GatewayUserTrade", {"id": 100 + number}))
            self.write(state, at=NOON + timedelta(seconds=number))
            read_log(self.directory, 123)
            self.store.publish()
            self.assertEqual(self.store.take_problem(), "")
        self.assertEqual(self.store.change(), "")

    def test_a_reader_of_another_process_is_none(self) -> None:
        program = (
            "import sys; from pathlib import Path; from riskd.journal.audit_log import read_log;"
            " print(len(read_log(Path(sys.argv[1]), 123)))"
        )
        subprocess.run([sys.executable, "-c", program, str(self.directory)], check=True)
        self.assertEqual(self.store.change(), "")


class RacingTests(WatchTestCase):
    """Another program that comes between a write and the look before or after it."""

    def test_a_commit_after_the_look_at_the_files_is_noticed(self) -> None:
        look = self.store._watch.change_of_files

        def look_and_lose() -> str:
            found = look()
            by_sql(self.journal)
            return found

        changing = self.patch(self.store._watch, "change_of_files", look_and_lose)
        state = apply(self.state, make_event("GatewayUserTrade", {"id": 100}))
        self.write(state, at=LATER)
        changing.restore()
        self.assertIn("was written by another program", self.store.take_problem())
        self.publish(state, at=LATER)
        self.assertEqual(set(read_published(self.directory).accounts[123].lockouts), LOCKS)

    def test_a_file_that_is_replaced_during_a_write_is_noticed(self) -> None:
        for suffix in ("", "-wal"):
            path = self.directory / f"{JOURNAL_NAME}{suffix}"
            for change in (Path.unlink, lambda path: put_in_place(path, FILES["text"])):
                with self.subTest(suffix=suffix):
                    self.renew()
                    commit = self.store._commit

                    def commit_and_lose(
                        plan: Plan, commit: Any = commit, change: Any = change, path: Path = path
                    ) -> bool:
                        has_written = commit(plan)
                        change(path)
                        return has_written

                    changing = self.patch(self.store, "_commit", commit_and_lose)
                    self.state = apply(self.state, make_event("GatewayUserTrade", {"id": 100}))
                    self.write(self.state, at=LATER)
                    changing.restore()
                    self.assert_noticed()

    def test_a_failed_write_is_none(self) -> None:
        self.store._journal.execute(
            "CREATE TEMP TRIGGER no BEFORE INSERT ON main.trades BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        state = apply(self.state, make_event("lockout_set", {"rule_id": "X"}))
        state = apply(state, make_event("GatewayUserTrade", {"id": 100}))
        self.assertRaises(sqlite3.Error, self.write, state, at=LATER)
        self.store._journal.execute("DROP TRIGGER no")
        self.assertEqual(self.store.change(), "")
        self.write(state, at=LATER)
        self.assertEqual(self.store.take_problem(), "")

    def test_a_program_that_only_locks_the_journal_makes_a_write_fail(self) -> None:
        self.store._journal.execute("PRAGMA busy_timeout = 0")
        with closing(sqlite3.connect(self.journal, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            state = apply(self.state, make_event("GatewayUserTrade", {"id": 100}))
            self.assertRaises(sqlite3.OperationalError, self.write, state, at=LATER)
            other.execute("ROLLBACK")
        self.write(state, at=LATER)
        self.assertEqual(self.store.take_problem(), "")


class FailureTests(WatchTestCase):
    """A journal that cannot be written again at first."""

    def test_a_full_disk_is_an_error_until_there_is_room(self) -> None:
        def full(*_arguments: object) -> bool:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        for change in (Path.unlink, overwrite, by_sql):
            with self.subTest(change.__name__):
                self.renew()
                change(self.journal)
                for name in ("copy_whole", "sync"):
                    failing = self.patch(store_module, name, full)
                    self.assertRaises(OSError, self.write, self.state, at=LATER)
                    self.assertTrue(self.store.is_open)
                    failing.restore()
                self.assert_noticed()

    def test_an_account_that_is_not_written_any_more_keeps_its_lock(self) -> None:
        lockout = make_event("lockout_set", {"rule_id": "RULE-009"}).data
        other = apply(AccountState(account_id=456), Event(456, lockout))
        self.write(other)
        overwrite(self.journal)
        self.assert_noticed()
        self.assertTrue(read_published(self.directory).accounts[456].lockouts)
