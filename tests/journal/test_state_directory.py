"""The default state directory; creating, checking and locking a state directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.schema import JOURNAL_NAME, NewerSchemaError
from riskd.journal.state_directory import StateDirectory, StateDirectoryError, default_directory
from riskd.journal.store import Store
from tests.support.directories import temporary_directory
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
            self.assertIn("cannot be used", str(error))

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

    def test_a_directory_that_every_user_may_write_is_refused(self) -> None:
        self.base.chmod(0o777)
        error = self.assertRaises(StateDirectoryError, StateDirectory, self.base)
        self.assertIn("can be written by everybody", str(error))
        self.base.chmod(0o755)
        self.hold(self.base)
