"""The state directory of a gateway when none is named, and the state of an earlier riskd."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from riskd.journal import default_state
from riskd.journal.default_state import MOVE_NAME, open_default
from riskd.journal.gateway_identity import GatewayIdentity
from riskd.journal.ownership import LEDGER_NAME, OtherGatewayError
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME
from riskd.journal.state_directory import StateDirectoryError
from tests.support.state_directories import (
    OTHER_LOGIN,
    PAPER,
    REAL,
    StateHomeTestCase,
    locked,
    locks_in,
    write_earlier_state,
    write_state,
)

OF_EARLIER = {(123, "EARLIER")}


class KilledError(BaseException):
    """Stands in for a kill."""


class DefaultStateTestCase(StateHomeTestCase):
    """The default directories of this user."""

    def open(self, gateway: GatewayIdentity) -> tuple[Path, list[str]]:
        state, notes = open_default(gateway)
        state.release()
        return state.path, notes

    def write_earlier(self, kind: str) -> None:
        write_earlier_state(self.root, kind, locked(123, "EARLIER"))
        (self.root / LEDGER_NAME).write_text("ledger")
        (self.root / f"{JOURNAL_NAME}.v1.backup").write_text("backup")


class DirectoryTests(DefaultStateTestCase):
    """A directory for each gateway."""

    def test_each_gateway_has_its_own(self) -> None:
        for gateway, name in (
            (PAPER, "practice"),
            (REAL, REAL.key),
            (OTHER_LOGIN, OTHER_LOGIN.key),
        ):
            self.assertEqual(self.open(gateway), (self.root / name, []))

    def test_directories_are_readable_and_not_writable_for_others(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        path, _notes = self.open(PAPER)
        for each in (path, self.root):
            self.assertEqual(stat.S_IMODE(each.stat().st_mode), 0o755)

    def test_a_root_that_others_may_write_is_refused(self) -> None:
        self.root.mkdir()
        self.root.chmod(0o777)
        error = self.assertRaises(StateDirectoryError, self.open, PAPER)
        self.assertIn(f"{self.root} can be written by every user", str(error))

    def test_a_root_that_cannot_be_a_directory_is_refused(self) -> None:
        self.root.touch()
        error = self.assertRaises(StateDirectoryError, self.open, PAPER)
        self.assertIn("cannot be used: a file is in its place", str(error))

    def test_a_directory_that_was_exchanged_is_refused_and_released(self) -> None:
        self.open(PAPER)
        (self.root / "practice").rename(self.root / REAL.key)
        self.assertRaises(OtherGatewayError, self.open, REAL)
        self.assertRaises(OtherGatewayError, self.open, REAL)


class EarlierStateTests(DefaultStateTestCase):
    """The state of an earlier riskd, which all gateways shared."""

    def test_it_goes_to_the_first_start_of_its_kind(self) -> None:
        for kind, own, other in (("practice", PAPER, REAL), ("projectx", REAL, PAPER)):
            shutil.rmtree(self.root, ignore_errors=True)
            self.write_earlier(kind)
            path, notes = self.open(other)
            self.assertEqual((list(path.iterdir()), notes), ([path / "riskd.lock"], []))
            self.assertEqual(locks_in(self.root), OF_EARLIER)
            path, notes = self.open(own)
            self.assertIn(f"was moved from {self.root} to {path}", notes[0])
            self.assertEqual(locks_in(path), OF_EARLIER)
            self.assertFalse((self.root / JOURNAL_NAME).exists())
            self.assertTrue((path / f"{JOURNAL_NAME}.v1.backup").exists())
            self.assertTrue((path / PUBLISHED_NAME).exists())
            self.assertEqual((path / LEDGER_NAME).exists(), own is PAPER)
            self.assertEqual(self.open(own), (path, []))

    def test_a_second_login_does_not_get_it(self) -> None:
        self.write_earlier("projectx")
        self.open(REAL)
        path, notes = self.open(OTHER_LOGIN)
        self.assertEqual((list(path.iterdir()), notes), ([path / "riskd.lock"], []))

    def test_a_start_of_its_kind_that_has_a_state_leaves_it_alone(self) -> None:
        own = self.root / "practice"
        write_state(own, PAPER)
        self.write_earlier("practice")
        path, (note,) = self.open(PAPER)
        self.assertIn("is left alone", note)
        self.assertEqual(locks_in(path), {(123, "RULE-003")})
        self.assertEqual(locks_in(self.root), OF_EARLIER)

    def test_an_unknown_kind_is_refused_for_every_gateway(self) -> None:
        for kind, words in (("fxchange", "kind 'fxchange'"), ("", "an unknown kind")):
            shutil.rmtree(self.root, ignore_errors=True)
            write_earlier_state(self.root, kind)
            for gateway in (PAPER, REAL):
                error = self.assertRaises(OtherGatewayError, self.open, gateway)
                self.assertIn(words, str(error))
                self.assertIn("start riskd with --state", str(error))
            self.assertTrue(locks_in(self.root))

    def test_a_damaged_journal_goes_where_its_copy_says(self) -> None:
        self.write_earlier("projectx")
        (self.root / LEDGER_NAME).unlink()
        (self.root / JOURNAL_NAME).write_bytes(b"x" * 5000)
        self.assertEqual(self.open(PAPER)[1], [])
        path, _notes = self.open(REAL)
        self.assertEqual((path / JOURNAL_NAME).read_bytes(), b"x" * 5000)

    def test_a_damaged_journal_without_a_copy_is_refused(self) -> None:
        """Otherwise a trader would be rid of a lock by damaging files."""
        self.write_earlier("projectx")
        (self.root / LEDGER_NAME).unlink()
        for name in (JOURNAL_NAME, PUBLISHED_NAME):
            (self.root / name).write_bytes(b"x" * 5000)
        self.assertRaises(OtherGatewayError, self.open, REAL)

    def test_journal_and_copy_of_two_gateways_are_refused(self) -> None:
        self.write_earlier("projectx")
        aside = self.home / "aside"
        write_earlier_state(aside, "practice")
        shutil.copy(aside / PUBLISHED_NAME, self.root / PUBLISHED_NAME)
        self.assertRaises(OtherGatewayError, self.open, REAL)

    def test_a_state_that_was_named_by_state_is_only_for_its_login(self) -> None:
        write_state(self.root, REAL, locked(123, "EARLIER"))
        self.assertEqual(self.open(OTHER_LOGIN)[1], [])
        path, _notes = self.open(REAL)
        self.assertEqual(locks_in(path), OF_EARLIER)

    def test_while_an_earlier_riskd_runs_its_kind_is_refused_and_others_start(self) -> None:
        self.write_earlier("practice")
        self.hold(self.root)
        error = self.assertRaises(StateDirectoryError, self.open, PAPER)
        self.assertIn(f"another riskd uses the state directory {self.root}", str(error))
        self.open(REAL)

    def test_an_empty_journal_of_an_earlier_riskd_does_not_matter(self) -> None:
        self.root.mkdir()
        (self.root / JOURNAL_NAME).touch()
        self.assertEqual(self.open(REAL)[1], [])

    def test_a_socket_of_an_earlier_riskd_is_removed(self) -> None:
        self.write_earlier("practice")
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.root / "riskd.sock"))
        self.open(PAPER)
        self.assertFalse((self.root / "riskd.sock").exists())


class KillTests(DefaultStateTestCase):
    """A kill during the move."""

    def kill_at(self, step: int) -> bool:
        """Move, and be killed before the change of the disk number ``step``; return whether it was."""
        count = 0

        def killed(change: object) -> object:
            def or_killed(path: Path, *arguments: object, **options: object) -> object:
                nonlocal count
                if not str(path).startswith(str(self.root)):
                    return change(path, *arguments, **options)  # type: ignore[operator]
                count += 1
                if count > step:
                    raise KilledError
                return change(path, *arguments, **options)  # type: ignore[operator]

            return or_killed

        patches = [
            self.patch(Path, name, killed(getattr(Path, name)))
            for name in ("rename", "replace", "unlink", "write_text")
        ]
        patches.append(self.patch(default_state, "_merge_log", killed(default_state._merge_log)))
        try:
            self.open(REAL)
        except KilledError:
            return True
        finally:
            for patch in patches:
                patch.restore()
        return False

    def test_it_loses_nothing_and_the_next_start_ends_it(self) -> None:
        step = 0
        while True:
            shutil.rmtree(self.root, ignore_errors=True)
            self.write_earlier("projectx")
            was_killed = self.kill_at(step)
            # A start of another kind takes nothing of it.
            path, notes = self.open(PAPER)
            self.assertEqual((list(path.iterdir()), notes), ([path / "riskd.lock"], []))
            path, _notes = self.open(REAL)
            self.assertEqual(locks_in(path), OF_EARLIER, step)
            left = {each.name for each in self.root.iterdir()}
            expected = {"riskd.lock", "practice", REAL.key, LEDGER_NAME}
            self.assertLessEqual(left - expected, {f"{MOVE_NAME}.new"}, step)
            if not was_killed:
                break
            step += 1
        self.assertGreater(step, 5)

    def test_a_log_that_is_not_merged_is_moved_with_its_journal(self) -> None:
        """The last commits of a killed riskd are in it."""
        self.write_earlier("projectx")
        held = self.home / "running"
        shutil.copytree(self.root, held)
        with closing(sqlite3.connect(held / JOURNAL_NAME)) as connection:
            connection.execute("UPDATE lockouts SET rule_id = 'LATER'")
            connection.commit()
            # Closing would merge the log.
            for name in (JOURNAL_NAME, f"{JOURNAL_NAME}-wal"):
                shutil.copy(held / name, self.root / name)
        path, _notes = self.open(REAL)
        self.assertEqual(locks_in(path), {(123, "LATER")})
        self.assertFalse((self.root / f"{JOURNAL_NAME}-wal").exists())

    def test_a_riskd_of_before_that_ran_in_between_does_not_replace_what_was_moved(self) -> None:
        self.write_earlier("projectx")
        path, _notes = self.open(REAL)
        (self.root / MOVE_NAME).write_text(REAL.key)
        write_earlier_state(self.root, "projectx", locked(123, "DOWNGRADE"))
        self.open(REAL)
        self.assertEqual(locks_in(path), OF_EARLIER)
        self.assertIn("is left alone", self.open(REAL)[1][0])

    def test_a_disk_that_cannot_be_written_is_a_sentence(self) -> None:
        self.write_earlier("practice")

        def full(*_arguments: object) -> None:
            raise OSError(28, os.strerror(28))

        self.patch(Path, "rename", full)
        error = self.assertRaises(StateDirectoryError, self.open, PAPER)
        self.assertIn("cannot be moved", str(error))
        self.assertIn("No space left", str(error))
