"""Files of secrets: who may read them, and what is no file."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from riskd.host.private_file import PrivateFileError, read_private_file
from tests.support.directories import temporary_directory


class PrivateFileTests(SynchronousTestCase):
    """What is read, and what is refused with a cure."""

    def setUp(self) -> None:
        self.path = temporary_directory(self) / "a file"
        self.path.write_bytes(b"content")
        self.path.chmod(0o600)

    def problem(self) -> str:
        error = self.assertRaises(
            PrivateFileError, read_private_file, self.path, "a list", max_bytes=10
        )
        return str(error)

    def test_a_file_of_its_owner_is_read(self) -> None:
        for mode in (0o600, 0o400):
            self.path.chmod(mode)
            self.assertEqual(read_private_file(self.path, "a list", 10), b"content")

    def test_a_file_that_others_may_use_is_refused_with_the_command_that_mends_it(self) -> None:
        for mode in (0o640, 0o604, 0o620, 0o602, 0o610, 0o601):
            self.path.chmod(mode)
            self.assertEqual(
                self.problem(),
                f"{self.path}: has mode {mode:04o}, so others than its owner may use it; "
                f"expected 0600: chmod 600 '{self.path}'",
            )

    def test_a_link_a_pipe_and_a_directory_are_refused_at_once(self) -> None:
        target = self.path.rename(self.path.with_name("other"))
        self.path.symlink_to(target)
        self.assertIn("is a symbolic link", self.problem())
        self.path.unlink()
        os.mkfifo(self.path, 0o600)
        self.assertIn("is not a regular file", self.problem())
        self.path.unlink()
        self.path.mkdir(0o700)
        self.assertIn("is not a regular file", self.problem())

    def test_what_is_missing_or_too_large_is_refused(self) -> None:
        self.path.write_bytes(b"0123456789")
        self.assertIn("has 10 bytes; expected a list, below 10 bytes", self.problem())
        self.path.unlink()
        self.assertIn("cannot be read: No such file", self.problem())
