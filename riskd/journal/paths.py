"""Where the journal and its published copy lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

JOURNAL_NAME: Final = "riskd.db"
"""The daemon's own file; nobody else may read it."""

PUBLISHED_NAME: Final = "last-known.db"
"""The copy for consoles; everybody may read it and only the daemon may write it."""


def default_directory(program: str = "riskd") -> Path:
    """Return the state directory of a user who named none, under the XDG state directory.

    :param program: whose state it is, and the directory's name.
    Source: the XDG Base Directory Specification, ``XDG_STATE_HOME``.
    """
    home = os.environ.get("XDG_STATE_HOME", "")
    # The specification says to ignore a path that is not absolute.
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return base / program
