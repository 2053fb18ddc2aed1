"""``trader-console`` before it draws or writes anything."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.clocks import has_steady_clock, keep_clock
from tests.support.state_directories import REAL, write_record, write_state
from trader.cli import main as console_main
from trader.cli.main import main


class MainTests(SynchronousTestCase):
    """Exit status and errors."""

    def setUp(self) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        self.patch(sys, "stdin", io.StringIO())
        self.patch(sys, "stdout", self.stdout)
        self.patch(sys, "stderr", self.stderr)

    def test_without_a_terminal_the_screen_is_an_error(self) -> None:
        self.assertEqual(main(["123"]), 1)
        self.assertEqual(
            self.stderr.getvalue(),
            "trader-console: this is a screen; it needs a terminal, or --plain or --json\n",
        )
        self.assertEqual(self.stdout.getvalue(), "")

    def test_on_a_terminal_that_cannot_draw_the_screen_is_an_error(self) -> None:
        for each in (sys.stdin, sys.stdout):
            self.patch(each, "isatty", lambda: True)
        for kind in ("dumb", "unknown"):
            self.patch(os, "environ", {**os.environ, "TERM": kind})
            self.assertEqual(main(["123"]), 1)
            self.assertIn(f"TERM={kind} shows none; use --plain or --json", self.stderr.getvalue())
        self.assertEqual(self.stdout.getvalue(), "")

    def state_root(self) -> Path:
        """Return the directory of all state directories, an empty one."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.patch(os, "environ", {**os.environ, "XDG_STATE_HOME": directory.name})
        return Path(directory.name) / "riskd"

    def test_several_riskd_that_would_do_are_listed(self) -> None:
        root = self.state_root()
        write_record(root / "a", 123, port=9001)
        write_record(root / "b", 123, port=9002, kind="projectx")
        for arguments in (["123", "--plain"], ["--plain"]):
            self.assertEqual(main(arguments), 2)
        lines = self.stderr.getvalue().splitlines()
        self.assertEqual(len(lines), 2)
        for line in lines:
            self.assertIn("trader-console: several riskd run", line)
            self.assertIn("PRACTICE on port 9001", line)
            self.assertIn("projectx on port 9002", line)

    def test_a_last_known_state_is_shown_though_no_riskd_follows_the_account(self) -> None:
        keep_clock(self)
        root = self.state_root()
        write_record(root / "a", 456)
        self.patch(console_main, "run_headless", lambda *_: None)
        self.assertEqual(main(["123", "--plain"]), 2)
        self.assertIn("no riskd that runs follows account 123", self.stderr.getvalue())
        write_state(root / "b", REAL)
        self.assertEqual(main(["123", "--plain"]), 0)

    def test_it_runs_on_the_steady_clock(self) -> None:
        keep_clock(self)
        self.patch(console_main, "run_headless", lambda *_: self.assertTrue(has_steady_clock()))
        self.assertEqual(main(["123", "--plain"]), 0)

    def test_without_an_account_anywhere_it_says_so(self) -> None:
        with tempfile.TemporaryDirectory() as empty:
            self.assertEqual(main(["--plain", "--state", empty]), 2)
        self.assertIn("trader-console: no last known state: ", self.stderr.getvalue())

    def test_without_an_account_all_are_shown(self) -> None:
        keep_clock(self)
        write_state(self.state_root() / "b", REAL)
        shown: list[object] = []
        self.patch(console_main, "run_headless", lambda *given: shown.append(given[0]))
        self.assertEqual((main(["--plain"]), shown), (0, [None]))
