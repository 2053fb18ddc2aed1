"""Programs that run to their end."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.waiting import DEADLINE_SECONDS

Completed = subprocess.CompletedProcess[str]


def run(*command: str, **options: Any) -> Completed:
    """Run a program, whatever its exit status."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False, **options
    )


def riskctl(*arguments: str) -> Completed:
    """Run the riskctl beside this Python."""
    return run(os.fspath(Path(sys.executable).with_name("riskctl")), *arguments)


def fill(disk: Path) -> Path:
    """Fill a small disk; return the file whose removal makes room again."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast
