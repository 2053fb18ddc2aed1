"""Open files that another program may have replaced.

A link may lead to any file, a pipe never answers, and a device may do anything.  So a file is opened without following
a link and without waiting, and must be a regular file of an owner whom the reader trusts.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

_ROOT: Final = 0

_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)

_NEVER_WAIT: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class UnsafeFileError(OSError):
    """What is at a path may not be opened as a file; ``strerror`` says why."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(errno.EPERM, why, os.fspath(path))


def check_regular(path: Path) -> os.stat_result:
    """Return the status of the regular file at ``path``.

    Its owner must be this process's user, root, or the owner of its directory.

    :raises UnsafeFileError: it is something else, or another user's.
    :raises OSError: there is none, or it cannot be examined.
    """
    return _checked(path, path.lstat())


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Return a descriptor of the regular file at ``path``; wait for nothing.

    :param flags: as for :func:`os.open`; with ``O_CREAT`` the file may be missing.
    :raises UnsafeFileError: see :func:`check_regular`.
    :raises OSError: it cannot be opened.
    """
    try:
        # Opening a device may act upon it.
        check_regular(path)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    try:
        descriptor = os.open(path, flags | _NEVER_WAIT, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeFileError(path, "it is a symbolic link") from None
        raise
    try:
        _checked(path, os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path, most: int) -> bytes:
    """Return the content of the regular file at ``path``, of up to ``most`` bytes.

    Not for a file that SQLite has open in this process: closing any descriptor of it drops SQLite's locks.

    :raises UnsafeFileError: it is larger, or see :func:`check_regular`.
    :raises OSError: it cannot be read.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UnsafeFileError(path, f"it has more than {most} bytes")
    return content


def create_private(path: Path) -> int:
    """Return a descriptor of a new, empty file, in place of whatever is at ``path``.

    :raises OSError: it cannot be created.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NEVER_WAIT
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        put_away(path)
        return os.open(path, flags, 0o600)


def write_whole(descriptor: int, content: bytes) -> None:
    """Write all of ``content``.

    :raises OSError: it cannot be written; part of it may be in the file.
    """
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def put_away(path: Path) -> None:
    """Remove what is at ``path``.

    A directory there is given another name, which ends in ``.aside-`` and its inode.

    :raises OSError: it cannot be removed.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        path.rename(path.with_name(f"{path.name}.aside-{found.st_ino}"))
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Write a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def kind_of(mode: int) -> str:
    """Return what has a mode and is no regular file, such as ``a pipe``."""
    return next((words for is_it, words in _KINDS if is_it(mode)), "a device")


def _checked(path: Path, found: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFileError(path, f"it is {kind_of(found.st_mode)}")
    if found.st_uid not in (os.geteuid(), _ROOT, path.parent.stat().st_uid):
        raise UnsafeFileError(path, f"it belongs to another user, with the id {found.st_uid}")
    return found
