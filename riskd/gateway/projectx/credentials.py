"""The user name and the API key of a login.

They are found again at each login, so that a corrected file counts.
The key comes from a file, from systemd or from the environment; never from the command line, which every
user of the machine can read.  It is never shown: not in a log, not in an error, not by ``repr``.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

import msgspec

from riskd.host.errors import UserError
from riskd.host.secrets import Secret

KEY_VARIABLE: Final = "RISKD_API_KEY"
"""The environment variable that may hold the key."""

CREDENTIAL: Final = "riskd-api-key"
"""The name of the key among the credentials that systemd passes to a service."""

MAX_BYTES: Final = 4096
"""A key file is smaller than this."""

_DIRECTORY_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
_ROOT: Final = 0


class CredentialsError(UserError):
    """There is no key that can be used; the text says why, and what to do."""


class Credentials(msgspec.Struct, frozen=True):
    """User name and API key."""

    user_name: str
    api_key: Secret


_from_environment: Final[dict[str, Secret]] = {}
"""The key that was taken out of the process's environment."""


def find_credentials(
    user_name: str, key_file: str | None, environ: MutableMapping[str, str]
) -> Credentials:
    """Return the user name and the key for a login.

    The key is that of ``key_file``, else systemd's, else the environment's.

    Files are read each time.  The variable is taken out of the environment, so that no child process
    inherits it, and its value is kept for later logins.

    :param environ: ``os.environ``.
    :raises CredentialsError: there is no key, or other users may read it.
    """
    if KEY_VARIABLE in environ:
        _from_environment[KEY_VARIABLE] = Secret(environ.pop(KEY_VARIABLE))
    return Credentials(user_name, _find_key(key_file, environ))


def _find_key(key_file: str | None, environ: MutableMapping[str, str]) -> Secret:
    if key_file is not None:
        return read_key_file(Path(key_file))
    directory = environ.get(_DIRECTORY_VARIABLE)
    if directory and os.path.lexists(credential := Path(directory, CREDENTIAL)):
        return read_key_file(credential, is_from_systemd=True)
    if KEY_VARIABLE in _from_environment:
        return checked_key(
            _from_environment[KEY_VARIABLE].reveal(), f"the environment variable {KEY_VARIABLE}"
        )
    raise CredentialsError(
        "there is no API key; expected it in a file that gateway.key_file names, as the systemd "
        f"credential {CREDENTIAL}, or in the environment variable {KEY_VARIABLE}"
    )


def read_key_file(path: Path, *, is_from_systemd: bool = False) -> Secret:
    """Return the key in a file of one line that only its owner may read.

    The checks are about the descriptor that was opened, so no other file can take its place in between.

    :param is_from_systemd: whether systemd made the file, as a credential of this service.
    :raises CredentialsError: the file cannot be used; the text says why, and what to do.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
        if error.errno == errno.ELOOP:
            why = "is a symbolic link; expected the key file itself"
        raise CredentialsError(f"{path}: {why}") from None
    try:
        _check_file(path, os.fstat(descriptor), is_from_systemd=is_from_systemd)
        content = os.read(descriptor, MAX_BYTES)
    except OSError as error:
        raise CredentialsError(f"{path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return checked_key(content.decode("ascii", errors="replace"), f"{path}")


def _check_file(path: Path, found: os.stat_result, *, is_from_systemd: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise CredentialsError(f"{path}: is not a regular file")
    if found.st_uid not in (os.geteuid(), _ROOT):
        raise CredentialsError(
            f"{path}: belongs to {_name(found.st_uid)}, who may read and change it; expected "
            f"{_name(os.geteuid())} or root: chown {_name(os.geteuid())} {shlex.quote(str(path))}"
        )
    rights = stat.S_IMODE(found.st_mode)
    forbidden = stat.S_IRWXG | stat.S_IRWXO
    if is_from_systemd and found.st_uid == _ROOT:
        # systemd lets the service's user read root's file by an access control list, which shows as a
        # right of the group to read.  Source: github.com/systemd/systemd/issues/29435.
        forbidden &= ~stat.S_IRGRP
    if rights & forbidden:
        raise CredentialsError(
            f"{path}: has mode {rights:04o}, so others than its owner may use it; expected 0600: "
            f"chmod 600 {shlex.quote(str(path))}"
        )
    if found.st_size >= MAX_BYTES:
        raise CredentialsError(
            f"{path}: has {found.st_size} bytes; expected a key, below {MAX_BYTES} bytes"
        )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def checked_key(content: str, place: str) -> Secret:
    """Return a key without the blanks and the end of line around it.

    :param place: where it comes from, for the error.
    :raises CredentialsError: it is no key.
    """
    key = content.strip()
    if not key:
        raise CredentialsError(f"{place}: is empty; expected the API key")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise CredentialsError(
            f"{place}: is no API key; expected one line of ASCII letters, digits and signs"
        )
    return Secret(key)
