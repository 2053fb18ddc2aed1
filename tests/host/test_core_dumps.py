"""Core dumps and debuggers, which would show the API key."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

PROGRAM = """
import ctypes, resource
from riskd.host.core_dumps import forbid_core_dumps
forbid_core_dumps()
PR_GET_DUMPABLE = 3
prctl = getattr(ctypes.CDLL(None), "prctl", None)
print(resource.getrlimit(resource.RLIMIT_CORE), prctl and prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
"""


class CoreDumpTests(SynchronousTestCase):
    """A process that forbids them; in one of its own, for there is no way back."""

    def test_nothing_is_dumped_and_nothing_traced(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
        )
        dumpable = "0" if sys.platform == "linux" else "None"
        self.assertEqual(done.stdout.split("\n")[0], f"(0, 0) {dumpable}")
