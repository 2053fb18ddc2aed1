"""The users and groups of this machine."""

from __future__ import annotations

import functools
import grp
import os
import pwd
from pathlib import Path


@functools.cache
def user_name(uid: int) -> str:
    """Return the name of the user ``uid``; ``uid 1234`` for a user without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def group_name(gid: int) -> str:
    """Return the name of the group ``gid``; its number for a group without a name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def current_user() -> str:
    """Return the name of the user who runs this process."""
    return user_name(os.getuid())


def owner_of(path: Path) -> str:
    """Return the name of the user who owns a file; empty if that is unknown."""
    try:
        return user_name(path.stat().st_uid)
    except OSError:
        return ""
