"""Where the files of a user's programs are."""

from __future__ import annotations

import os
from pathlib import Path


def configuration_directory() -> Path:
    """Return the directory of the settings files.

    Source: the XDG Base Directory Specification, ``XDG_CONFIG_HOME``.
    """
    return _base("XDG_CONFIG_HOME", ".config") / "riskd"


def default_directory(program: str = "riskd") -> Path:
    """Return a program's directory under the XDG state directory.

    In riskd's, each gateway has a state directory of its own.

    Source: the XDG Base Directory Specification, ``XDG_STATE_HOME``.

    :param program: the program's name, which the directory has too.
    """
    return _base("XDG_STATE_HOME", ".local/state") / program


def _base(variable: str, usual: str) -> Path:
    """Return the directory that a variable names, or the usual one at home."""
    named = Path(os.environ.get(variable, ""))
    # The specification says to ignore a path that is not absolute.
    return named if named.is_absolute() else Path.home() / usual
