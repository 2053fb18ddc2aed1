"""Imports without garbage collections."""

from __future__ import annotations

import gc
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from riskd.host.imports import without_collections

_COUNTED = """
import gc
{before}
begun = 0
def count(phase, _):
    global begun
    begun += phase == "start"
gc.callbacks.append(count)
{code}
print(begun)
"""


def collections(code: str, before: str = "") -> int:
    """Return how often Python looks for garbage while a new process runs ``code``."""
    script = _COUNTED.format(before=before, code=code)
    command = [sys.executable, "-c", script]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


class ImportTests(SynchronousTestCase):
    """What is imported at once."""

    def test_collections_are_suspended_and_go_on_even_after_an_error(self) -> None:
        with self.assertRaises(ImportError), without_collections():
            self.assertFalse(gc.isenabled())
            raise ImportError
        self.assertTrue(gc.isenabled())

    def test_what_was_suspended_before_stays_so(self) -> None:
        self.addCleanup(gc.enable)
        gc.disable()
        with without_collections():
            pass
        self.assertFalse(gc.isenabled())

    def test_the_daemon_is_imported_without_collections(self) -> None:
        before = "import twisted.internet.reactor"
        self.assertGreater(collections("import riskd.app.tap", before), 20)
        self.assertLess(collections("import riskd.app.daemon", before), 5)

    def test_riskctl_imports_its_commands_without_collections(self) -> None:
        code = "from riskd.app.riskctl.main import UTC, datetime, parse"
        run = "parse(['status'], datetime.now(UTC)).run.function"
        self.assertLess(collections(f"{code}; {run}; import twisted.internet.reactor"), 40)
