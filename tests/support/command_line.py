"""A command line in an environment of its own."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from trader.cli.options import parse_options


class CommandLineTestCase(SynchronousTestCase):
    """A command line with its own home directory, environment and output; that of ``trader-console``."""

    program = "trader-console"
    settings_name = "console.toml"

    def parse(self, arguments: Sequence[str]) -> object:
        """Return the program's options."""
        return parse_options(arguments)

    def setUp(self) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.stdout)
        self.patch(sys, "stderr", self.stderr)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.environment = {"HOME": directory.name, "XDG_CONFIG_HOME": directory.name}
        self.patch(os, "environ", self.environment)

    def write_settings(self, text: str) -> Path:
        """Write the default settings file; return its path."""
        path = self.directory / "riskd" / self.settings_name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def usage_error(self, *arguments: str) -> str:
        """Check that ``arguments`` are a usage error; return the error output."""
        exit_error = self.assertRaises(SystemExit, self.parse, arguments)
        self.assertEqual(exit_error.code, 2)
        output = self.stderr.getvalue()
        self.assertTrue(output.startswith(f"usage: {self.program}"), output)
        return output
