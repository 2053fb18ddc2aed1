"""The default state directory."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.paths import default_directory


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
