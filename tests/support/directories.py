"""Directories of a test's own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase


def temporary_directory(test: SynchronousTestCase) -> Path:
    """Return a directory that is removed after ``test``."""
    directory = Path(tempfile.mkdtemp(prefix="riskd-"))
    test.addCleanup(shutil.rmtree, directory, ignore_errors=True)
    return directory
