"""``trader-console`` before it draws or writes anything."""

from __future__ import annotations

import io
import sys
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from tests.support.clocks import has_steady_clock, keep_clock
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

    def test_it_runs_on_the_steady_clock(self) -> None:
        keep_clock(self)
        self.patch(console_main, "run_headless", lambda *_: self.assertTrue(has_steady_clock()))
        self.assertEqual(main(["123", "--plain"]), 0)

    def test_without_an_account_anywhere_it_asks_for_one(self) -> None:
        with tempfile.TemporaryDirectory() as empty:
            self.assertEqual(main(["--plain", "--state", empty]), 2)
        self.assertIn("name an account, such as 123; no last known", self.stderr.getvalue())
