"""What stands before an installation: which Python and which systems are needed."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

# setup.py is read below as if by an older Python; setuptools is not.
import setuptools
import setuptools.command.build  # noqa: F401
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]


class PlatformTests(SynchronousTestCase):
    """Systems and versions."""

    def test_an_older_python_is_refused_in_one_sentence(self) -> None:
        """With older pips this sentence is the only one that says what is needed."""
        self.patch(sys, "version_info", (3, 10, 13, "final", 0))
        refused = self.assertRaises(SystemExit, runpy.run_path, str(ROOT / "setup.py"))
        self.assertEqual(refused.code, "riskd needs Python 3.11 or newer; this is Python 3.10")

    def test_the_readme_names_the_systems_before_the_first_command(self) -> None:
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        top, _, _ = readme.partition("\n## ")
        for name in ("Python 3.11", "Linux", "macOS", "Windows", "WSL2"):
            self.assertIn(name, top)
