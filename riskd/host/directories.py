"""Where the files of a user's programs are."""

from __future__ import annotations

import os
from pathlib import Path


def configuration_directory() -> Path:
    """Return the directory of the settings files.

    Source: the XDG Base Directory Specification, ``XDG_CONFIG_HOME``.
    """
    home = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification says to ignore a path that is not absolute.
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".config"
    return base / "riskd"


def default_directory(program: str = "riskd") -> Path:
    """Return a program's directory under the XDG state directory.

    riskd has a state directory for each gateway in it .

    :param program: the program's name, which the directory has too.
    Source: the XDG Base Directory Specification, ``XDG_STATE_HOME``.
    """
    home = os.environ.get("XDG_STATE_HOME", "")
    # The specification says to ignore a path that is not absolute.
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return base / program
