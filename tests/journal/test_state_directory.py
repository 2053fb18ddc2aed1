"""The default state directory; creating, checking and locking a state directory."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.directories import default_directory
from riskd.journal.ownership import LOCK_NAME
from riskd.journal.schema import JOURNAL_NAME, NewerSchemaError
from riskd.journal.state_directory import StateDirectory, StateDirectoryError
from riskd.journal.store import Store
from tests.support.directories import temporary_directory
from tests.support.intruders import NOT_FILES, put_in_place
from tests.support.journal import NOON
from tests.support.state_directories import PAPER


class DefaultDirectoryTests(SynchronousTestCase):
    """The state directory of a user who names none."""

    def test_it_is_under_the_xdg_state_directory(self) -> None:
        for home, expected in (
            ("/somewhere/state", Path("/somewhere/state/riskd")),
            ("relative", Path.home() / ".local/state/riskd"),
            ("", Path.home() / ".local/state/riskd"),
        ):
            self.patch(os, "environ", {**os.environ, "XDG_STATE_HOME": home})
            self.assertEqual(default_directory(), expected)


class DirectoryTests(SynchronousTestCase):
    """A directory for one daemon at a time."""

    def setUp(self) -> None:
        self.base = temporary_directory(self)

    def hold(self, path: Path) -> StateDirectory:
        held = StateDirectory(path)
        self.addCleanup(held.release)
        return held

    def test_a_new_directory_is_readable_for_every_user(self) -> None:
        umask = os.umask(0o022)
        self.addCleanup(os.umask, umask)
        held = self.hold(self.base / "a" / "b")
        self.assertEqual(stat.S_IMODE(held.path.stat().st_mode), 0o755)

    def test_a_second_daemon_is_refused_until_the_first_releases_it(self) -> None:
        first = StateDirectory(self.base)
        error = self.assertRaises(StateDirectoryError, StateDirectory, self.base)
        self.assertIn("another riskd uses the state directory", str(error))
        first.release()
        self.hold(self.base)

    def test_a_path_that_cannot_be_a_directory_is_refused(self) -> None:
        file = self.base / "file"
        file.touch()
        for path in (file, file / "below"):
            error = self.assertRaises(StateDirectoryError, StateDirectory, path)
            self.assertIn("cannot be used: a file is in its place", str(error))

    def test_a_newer_journal_is_refused(self) -> None:
        store = Store(self.base)
        store.open([123], NOON)
        store._journal.execute("PRAGMA user_version = 99")
        store.close()
        held = self.hold(self.base)
        error = self.assertRaises(NewerSchemaError, held.claim, PAPER)
        self.assertIn("newer riskd", str(error))
        (self.base / JOURNAL_NAME).unlink()
        self.assertEqual(held.claim(PAPER), [])

    def test_a_damaged_journal_is_left_to_the_store(self) -> None:
        (self.base / JOURNAL_NAME).write_bytes(b"x" * 5000)
        self.assertEqual(self.hold(self.base).claim(PAPER), [])

    def test_a_directory_that_others_may_write_is_refused_until_that_is_mended(self) -> None:
        base = self.base / "a state's directory"
        base.mkdir()
        group = grp.getgrgid(base.stat().st_gid).gr_name
        for mode, others in (
            (0o775, f"the group {group} (mode 0775)"),
            (0o770, f"the group {group} (mode 0770)"),
            (0o777, "every user (mode 0777)"),
            (0o1777, "every user (mode 1777)"),
            (0o702, "every user (mode 0702)"),
        ):
            with self.subTest(oct(mode)):
                base.chmod(mode)
                error = self.assertRaises(StateDirectoryError, StateDirectory, base)
                self.assertIn(f"can be written by {others}", str(error))
                self.assertEqual(list(base.iterdir()), [])
                self.mend(error)
                StateDirectory(base).release()
                (base / LOCK_NAME).unlink()

    def mend(self, error: StateDirectoryError) -> None:
        """Run the command that ends the sentence."""
        command = shlex.split(str(error).rpartition(": ")[2])
        subprocess.run(command, check=True)

    def test_a_group_may_read(self) -> None:
        self.base.chmod(0o2750)
        self.hold(self.base)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
    def test_a_directory_of_another_user_is_refused_until_that_is_mended(self) -> None:
        os.chown(self.base, 54321, 54321)
        error = self.assertRaises(StateDirectoryError, StateDirectory, self.base)
        self.assertIn("belongs to uid 54321, who can replace its files", str(error))
        self.mend(error)
        self.hold(self.base)

    def test_no_removed_or_replaced_lock_file_lets_a_second_daemon_in(self) -> None:
        self.hold(self.base)
        file = self.base / LOCK_NAME
        for change in (
            file.unlink,
            lambda: file.rename(self.base / "moved"),
            lambda: (self.base / "other").touch() or (self.base / "other").rename(file),
            lambda: file.write_bytes(b""),
        ):
            change()
            file.touch()
            error = self.assertRaises(StateDirectoryError, StateDirectory, self.base)
            self.assertIn("another riskd uses the state directory", str(error))

    def test_a_daemon_of_before_locks_its_file_alone(self) -> None:
        with (self.base / LOCK_NAME).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            error = self.assertRaises(StateDirectoryError, StateDirectory, self.base)
        self.assertIn("another riskd uses the state directory", str(error))
        self.hold(self.base)

    def test_a_lock_file_that_is_none_is_refused_until_that_is_mended(self) -> None:
        for name, put in NOT_FILES.items():
            with self.subTest(name):
                put_in_place(self.base / LOCK_NAME, put)
                error = self.assertRaises(StateDirectoryError, StateDirectory, self.base)
                self.assertIn("its riskd.lock is none of riskd's, it is a ", str(error))
                self.mend(error)
                StateDirectory(self.base).release()

    def test_a_disk_that_locks_no_directory_locks_the_file(self) -> None:
        lock = fcntl.flock

        def files_only(descriptor: int, operation: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            lock(descriptor, operation)

        self.patch(fcntl, "flock", files_only)
        self.hold(self.base)
        error = self.assertRaises(StateDirectoryError, StateDirectory, self.base)
        self.assertIn("another riskd uses the state directory", str(error))
