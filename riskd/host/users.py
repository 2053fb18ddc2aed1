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
    name = user_argument(uid)
    return f"uid {uid}" if name == str(uid) else name


def user_argument(uid: int) -> str:
    """Return the user ``uid`` as ``chown`` takes it: the name, or else the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


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
