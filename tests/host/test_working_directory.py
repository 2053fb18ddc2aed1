"""Whether files can be written, found out without leaving a trace."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.host.errors import UserError
from riskd.host.working_directory import check_writable, explain_deleted_directory
from tests.support.directories import temporary_directory


class WritableTests(SynchronousTestCase):
    """:func:`check_writable`."""

    def setUp(self) -> None:
        self.directory = temporary_directory(self)

    def test_a_missing_file_is_not_made(self) -> None:
        check_writable(self.directory / "twistd.pid")
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_a_file_keeps_its_content(self) -> None:
        file = self.directory / "twistd.log"
        file.write_text("started")
        check_writable(file)
        self.assertEqual(file.read_text(), "started")

    def test_an_error_names_the_file(self) -> None:
        file = self.directory.absolute() / "none" / "twistd.pid"
        error = self.assertRaises(UserError, check_writable, file)
        self.assertEqual(str(error), f"{file} cannot be written: No such file or directory")


class DeletedTests(SynchronousTestCase):
    """:func:`explain_deleted_directory`."""

    def test_another_missing_file_is_not_blamed_on_the_directory(self) -> None:
        with self.assertRaises(FileNotFoundError), explain_deleted_directory():
            (temporary_directory(self) / "none").read_text()
