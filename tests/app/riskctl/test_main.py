"""The program ``riskctl``: what its terminal can show."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.main import main
from tests.support.riskctl import temporary_directory


class TerminalTests(SynchronousTestCase):
    def test_characters_that_the_terminal_cannot_show_are_replaced(self) -> None:
        path = Path(
            temporary_directory(self), "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{SNOWMAN}.toml"
        )
        path.write_text("[[accounts]]\nid = 1\n")
        shown = io.BytesIO()
        terminal = io.TextIOWrapper(shown, encoding="latin-1")
        with redirect_stdout(terminal):
            self.assertEqual(main(["check-config", str(path)]), 0)
        self.assertIn(b"caf\xe9 ?.toml is correct", shown.getvalue())
