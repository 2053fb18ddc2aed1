"""Names of the files in the state directory, and the directory's default place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

JOURNAL_NAME: Final = "riskd.db"
"""The journal, which only the daemon's user may read."""

PUBLISHED_NAME: Final = "last-known.db"
"""The published copy: every user may read it, only the daemon writes it."""


def default_directory(program: str = "riskd") -> Path:
    """Return a program's state directory under the XDG state directory.

    :param program: the program's name, which the directory has too.
    Source: the XDG Base Directory Specification, ``XDG_STATE_HOME``.
    """
    home = os.environ.get("XDG_STATE_HOME", "")
    # The specification says to ignore a path that is not absolute.
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return base / program
