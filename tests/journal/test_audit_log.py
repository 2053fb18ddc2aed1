"""Reading the log: beside a running daemon, after its end, and from a damaged journal."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec

from riskd.journal.audit_log import LogLine, read_log
from riskd.journal.reader import StateFileError
from riskd.journal.schema import JOURNAL_NAME
from riskd.model.account import AccountState, LogEntry, apply, with_risk
from riskd.testing import make_event
from tests.support.journal import NOON, StoreTestCase, log_entry, write_version_1


def state_with(actions: tuple[int, ...], entries: tuple[int, ...]) -> AccountState:
    """Return a state with actions and entries at so many seconds past noon."""
    state = AccountState(account_id=123)
    for second in actions:
        stamp = (NOON + timedelta(seconds=second)).isoformat()
        state = apply(state, make_event("enforcement_action", {"timestamp": stamp}))
    return with_risk(state, log=tuple(log_entry(second) for second in entries))


def at(line: LogLine) -> tuple[int, str]:
    return (int((line.at - NOON).total_seconds()), line.kind)


class ReadLogTests(StoreTestCase):
    """The log of an account, in order of time."""

    def read(self) -> list[tuple[int, str]]:
        return [at(line) for line in read_log(self.directory, 123)]

    def read_elsewhere(self) -> int:
        """Read the log in another process, as an operator does; return how many lines there are."""
        program = (
            "import sys; from pathlib import Path; from riskd.journal.audit_log import read_log\n"
            "print(len(read_log(Path(sys.argv[1]), 123)))"
        )
        result = subprocess.run(
            [sys.executable, "-c", program, str(self.directory)],
            capture_output=True,
            text=True,
            check=True,
        )
        return int(result.stdout)

    def test_actions_and_entries_are_merged_by_time(self) -> None:
        self.write(state_with((1, 3), (0, 2, 3)))
        self.assertEqual(
            self.read(),
            [
                (0, "operator"),
                (1, "enforcement_action"),
                (2, "operator"),
                (3, "enforcement_action"),
                (3, "operator"),
            ],
        )

    def test_an_entry_that_is_written_late_is_in_order_of_time(self) -> None:
        self.write(state_with((), (2,)))
        self.write(state_with((), (2, 1)))
        self.assertEqual(self.read(), [(1, "operator"), (2, "operator")])

    def test_a_line_has_the_moment_kind_and_exact_data(self) -> None:
        moment = NOON + timedelta(milliseconds=250)
        logged = LogEntry(moment, "daily_reset", '{"previous_pnl":-45.50,"lockouts_cleared":true}')
        self.write(with_risk(state_with((), ()), log=(logged,)))
        (line,) = read_log(self.directory, 123)
        self.assertEqual((line.at, line.kind), (moment, "daily_reset"))
        self.assertEqual(line.data, {"previous_pnl": Decimal("-45.50"), "lockouts_cleared": True})
        self.assertEqual(str(line.data["previous_pnl"]), "-45.50")

    def test_other_accounts_and_earlier_lines_are_left_out(self) -> None:
        other = msgspec.structs.replace(state_with((1,), (1,)), account_id=456)
        self.write(state_with((1, 3), (2, 4)), other)
        lines = read_log(self.directory, 123, NOON + timedelta(seconds=3))
        self.assertEqual(
            [at(line) for line in lines], [(3, "enforcement_action"), (4, "operator")]
        )
        self.assertEqual(len(read_log(self.directory, 456)), 2)
        self.assertEqual(read_log(self.directory, 789), [])

    def test_the_log_is_read_while_a_daemon_uses_the_journal(self) -> None:
        self.write(state_with((), (1,)))
        self.assertEqual((self.read(), self.read_elsewhere()), ([(1, "operator")], 1))
        self.write(state_with((), (1, 2)))
        self.assertEqual((len(self.read()), self.read_elsewhere()), (2, 2))
        # The daemon can go on writing.
        self.write(state_with((), (1, 2, 3)))
        self.store.publish()
        self.store.close()
        self.store = self.open()
        self.assertEqual((self.recovery.problem, len(self.read())), ("", 3))

    def test_the_log_is_read_after_the_daemon_has_stopped(self) -> None:
        self.write(state_with((), (1,)))
        self.store.close()
        self.assertEqual([path.name for path in self.directory.glob("riskd.db*")], [JOURNAL_NAME])
        self.assertEqual((self.read(), self.read_elsewhere()), ([(1, "operator")], 1))
        # Files that SQLite needed to read it are private, and do not hinder the next daemon.
        for path in self.directory.glob(f"{JOURNAL_NAME}*"):
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)
        self.store = self.open()
        self.assertEqual((self.recovery.problem, set(self.recovery.accounts)), ("", {123}))

    def test_the_log_is_read_after_the_daemon_was_killed(self) -> None:
        self.write(state_with((), (1,)))
        self.crash()
        for has_index in (True, False):
            with self.subTest(has_index=has_index):
                if not has_index:
                    (self.directory / f"{JOURNAL_NAME}-shm").unlink(missing_ok=True)
                self.assertTrue((self.directory / f"{JOURNAL_NAME}-wal").stat().st_size)
                self.assertEqual((self.read(), self.read_elsewhere()), ([(1, "operator")], 1))
        self.store = self.open()
        self.assertEqual((self.recovery.problem, len(self.read())), ("", 1))

    def test_a_journal_of_version_1_has_only_actions(self) -> None:
        self.store.close()
        self.journal.unlink()
        write_version_1(self.journal)
        self.assertEqual(
            {line.kind for line in read_log(self.directory, 123)}, {"enforcement_action"}
        )


class ProblemTests(StoreTestCase):
    """Every problem with the journal is a sentence."""

    def setUp(self) -> None:
        super().setUp()
        self.write(state_with((1,), (1,)))
        self.store.close()

    def sentence(self) -> str:
        return str(self.assertRaises(StateFileError, read_log, self.directory, 123))

    def change(self, sql: str) -> None:
        with closing(sqlite3.connect(self.journal, isolation_level=None)) as journal:
            journal.execute(sql)

    def test_a_missing_journal_is_reported(self) -> None:
        self.journal.unlink()
        self.assertEqual(self.sentence(), f"no log: {self.journal} is not there")
        shutil.rmtree(self.directory)
        self.assertEqual(self.sentence(), f"no log: {self.journal} is not there")

    def test_a_journal_without_read_permission_is_reported(self) -> None:
        self.patch(os, "access", lambda _path, _mode: False)
        self.assertEqual(
            self.sentence(), f"cannot read the log: {self.journal}: Permission denied"
        )

    def test_a_state_directory_that_is_a_file_is_reported(self) -> None:
        shutil.rmtree(self.directory)
        self.directory.touch()
        self.addCleanup(Path.unlink, self.directory)
        self.assertEqual(self.sentence(), f"cannot read the log: {self.journal}: Not a directory")

    def test_a_directory_in_place_of_the_journal_is_reported(self) -> None:
        self.journal.unlink()
        self.journal.mkdir()
        self.assertIn(f"cannot read the log: {self.journal}: ", self.sentence())

    def test_a_journal_of_a_newer_riskd_is_reported(self) -> None:
        self.change("PRAGMA user_version = 99")
        self.assertIn("cannot read the log", self.sentence())
        self.assertIn("newer riskd (schema 99", self.sentence())

    def test_a_damaged_journal_is_reported(self) -> None:
        whole = self.journal.read_bytes()
        for damaged in (b"", b"not a database at all" * 100, whole[: len(whole) // 2]):
            self.journal.write_bytes(damaged)
            self.assertIn("is damaged", self.sentence())

    def test_a_row_that_makes_no_sense_is_damage(self) -> None:
        for column, value in (
            ("data", "'[1]'"),
            ("data", "'{'"),
            ("data", "x'00'"),
            ("kind", "x'00'"),
            ("at", "'noon'"),
            ("at", str(2**62)),
        ):
            with self.subTest(column=column, value=value):
                self.change("UPDATE log SET kind = 'operator', data = '{}', at = 0")
                self.change(f"UPDATE log SET {column} = {value}")  # noqa: S608
                self.assertIn("is damaged", self.sentence())
