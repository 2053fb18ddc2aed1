"""The programs of this installation, as a shell finds them here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

_NAMES: Final = re.compile(r"(^|&& )(riskctl|twistd)(?= )")


def program(name: str) -> str:
    """Return how a shell here finds a program of this installation.

    That is its name only where the shell's path leads to it; a virtual environment need not be activated.
    """
    own = Path(sys.executable).with_name(name)
    on_path = shutil.which(name)
    if on_path is not None and Path(on_path).absolute() == own:
        return name
    try:
        return shlex.quote(os.fspath(own.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(os.fspath(own))


def runnable(command: str) -> str:
    """Return a command with the names of programs as :func:`program` has them."""
    return _NAMES.sub(lambda found: f"{found[1]}{program(found[2])}", command)
