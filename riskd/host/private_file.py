"""Read a file of secrets, which only its owner may read."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from pathlib import Path
from typing import Final

from riskd.host.errors import UserError
from riskd.host.users import user_argument, user_name

_ROOT: Final = 0


class PrivateFileError(UserError):
    """The file cannot be used; the text says why, and what to do.

    :ivar mend: the command that mends it; empty if there is none.
    """

    def __init__(self, problem: str, mend: str = "") -> None:
        super().__init__(problem)
        self.mend = mend


def read_private_file(
    path: Path, content: str, max_bytes: int, *, is_from_systemd: bool = False
) -> bytes:
    """Return the content of a file that only its owner may read.

    The checks are about the descriptor that was opened, so no other file can take its place in between.

    :param content: what the file is to hold, such as ``a key``.
    :param max_bytes: the file is to be smaller than this.
    :param is_from_systemd: whether systemd made the file, as a credential of this service.
    :raises PrivateFileError: the file cannot be used.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        why, mend = f"cannot be read: {error.strerror}", ""
        if error.errno == errno.ENOENT:
            mend = write_again(path)
        elif error.errno == errno.EACCES:
            mend = f"sudo chown {user_argument(os.geteuid())} {shlex.quote(str(path))}"
        elif error.errno == errno.ELOOP:
            why = "is a symbolic link; expected the file itself"
            mend = f"readlink -f {shlex.quote(str(path))}   # name this file instead"
        raise PrivateFileError(f"{path}: {why}", mend) from None
    try:
        _check(path, os.fstat(descriptor), content, max_bytes, is_from_systemd=is_from_systemd)
        return os.read(descriptor, max_bytes)
    except OSError as error:
        raise PrivateFileError(f"{path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _check(
    path: Path, found: os.stat_result, content: str, max_bytes: int, *, is_from_systemd: bool
) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise PrivateFileError(f"{path}: is not a regular file", write_again(path))
    if found.st_uid not in (os.geteuid(), _ROOT):
        mend = f"chown {user_argument(os.geteuid())} {shlex.quote(str(path))}"
        trusted = " or ".join(dict.fromkeys(map(user_name, (os.geteuid(), _ROOT))))
        raise PrivateFileError(
            f"{path}: belongs to {user_name(found.st_uid)}, who may read and change it; expected "
            f"{trusted}: {mend}",
            f"sudo {mend}",
        )
    rights = stat.S_IMODE(found.st_mode)
    forbidden = stat.S_IRWXG | stat.S_IRWXO
    if is_from_systemd and found.st_uid == _ROOT:
        # systemd lets the service's user read root's file by an access control list, which shows as a
        # right of the group to read.  Source: github.com/systemd/systemd/issues/29435.
        forbidden &= ~stat.S_IRGRP
    if rights & forbidden:
        mend = f"chmod 600 {shlex.quote(str(path))}"
        raise PrivateFileError(
            f"{path}: has mode {rights:04o}, so others than its owner may use it; expected 0600: {mend}",
            mend,
        )
    if found.st_size >= max_bytes:
        raise PrivateFileError(
            f"{path}: has {found.st_size} bytes; expected {content}, below {max_bytes} bytes",
            write_again(path),
        )


def write_again(path: Path) -> str:
    """Return the command that writes a file from what is typed.

    So a secret is in no command line, and in no shell's history.
    """
    file = shlex.quote(str(path))
    return f"install -m 600 /dev/null {file} && cat > {file}   # type or paste it, Enter, Ctrl-D"
