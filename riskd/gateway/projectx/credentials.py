"""Who logs in, and with which key: found anew at each login, so that a mended file counts at once.

The key comes from a file, from systemd, or from the environment; never from the command line, which
everybody on the machine can read.  It is never shown: not in a log, not in an error, not by ``repr``.
"""

from __future__ import annotations

import errno
import hmac
import os
import pwd
import shlex
import stat
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final, NoReturn, Protocol

import msgspec

from riskd.host.errors import UserError

KEY_VARIABLE: Final = "RISKD_API_KEY"
"""The environment variable that may hold the key."""

CREDENTIAL: Final = "riskd-api-key"
"""What the key is called among the credentials that systemd passes to a service."""

MAX_BYTES: Final = 4096
"""A key file is smaller than this."""

_DIRECTORY_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
_ROOT: Final = 0
_RIGHTS_OF_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class LoginSettings(Protocol):
    """Where credentials are to be looked for."""

    @property
    def user_name(self) -> str:
        """Who logs in."""

    @property
    def key_file(self) -> str | None:
        """The file of the API key; ``None``: it is elsewhere."""


class CredentialsError(UserError):
    """There is no key that can be used; the text says why in a sentence, and what mends it."""


class Secret:
    """A text that shows itself to nobody but who asks for it by :meth:`reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __format__(self, format_spec: str) -> str:
        return format(repr(self), format_spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # How long it takes must not tell how much of a guess is right.
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


class Credentials(msgspec.Struct, frozen=True):
    """A login."""

    user_name: str
    api_key: Secret


_from_environment: Final[dict[str, Secret]] = {}
"""What was taken out of the process's environment, where it can be found no more."""


def find_credentials(settings: LoginSettings, environ: MutableMapping[str, str]) -> Credentials:
    """Return the login: the key is in the settings' ``key_file``, else systemd's, else the environment's.

    Files are read each time.  The variable is taken out of the environment, so that no child process
    inherits it, and its value is kept for the next time.

    :param environ: ``os.environ``.
    :raises CredentialsError: there is no key, or it is kept where others may read it.
    """
    if KEY_VARIABLE in environ:
        _from_environment[KEY_VARIABLE] = Secret(environ.pop(KEY_VARIABLE))
    return Credentials(settings.user_name, _find_key(settings.key_file, environ))


def _find_key(key_file: str | None, environ: MutableMapping[str, str]) -> Secret:
    if key_file is not None:
        return read_key_file(Path(key_file))
    directory = environ.get(_DIRECTORY_VARIABLE)
    if directory and os.path.lexists(credential := Path(directory, CREDENTIAL)):
        return _read(credential, is_of_systemd=True)
    if KEY_VARIABLE in _from_environment:
        key = _from_environment[KEY_VARIABLE].reveal()
        return _checked(key, f"the environment variable {KEY_VARIABLE}")
    raise CredentialsError(
        "there is no API key; expected it in a file that gateway.key_file names, as the systemd "
        f"credential {CREDENTIAL}, or in the environment variable {KEY_VARIABLE}"
    )


def read_key_file(path: Path) -> Secret:
    """Return the key in a file of one line that nobody but its owner may read.

    :raises CredentialsError: it is none; the text says why, and what mends it.
    """
    return _read(path, is_of_systemd=False)


def _read(path: Path, *, is_of_systemd: bool) -> Secret:
    """Return the key in a file that is a secret of this user's.

    What is checked is what was opened: nobody can put another file there in between.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise CredentialsError(f"{path}: {_why_not_opened(error)}") from None
    try:
        _check_file(path, os.fstat(descriptor), is_of_systemd=is_of_systemd)
        content = os.read(descriptor, MAX_BYTES)
    except OSError as error:
        raise CredentialsError(f"{path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return _checked(content.decode("ascii", errors="replace"), f"{path}")


def _why_not_opened(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "is a symbolic link; expected the key file itself"
    return f"cannot be read: {error.strerror}"


def _check_file(path: Path, found: os.stat_result, *, is_of_systemd: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise CredentialsError(f"{path}: is no regular file")
    if found.st_uid not in (os.geteuid(), _ROOT):
        raise CredentialsError(
            f"{path}: belongs to {_name(found.st_uid)}, who may read and change it; expected "
            f"{_name(os.geteuid())} or root: chown {_name(os.geteuid())} {shlex.quote(str(path))}"
        )
    rights = stat.S_IMODE(found.st_mode)
    if rights & _forbidden(found, is_of_systemd=is_of_systemd):
        raise CredentialsError(
            f"{path}: has mode {rights:04o}, so others than its owner may use it; expected 0600: "
            f"chmod 600 {shlex.quote(str(path))}"
        )
    if found.st_size >= MAX_BYTES:
        raise CredentialsError(
            f"{path}: has {found.st_size} bytes; expected a key, below {MAX_BYTES} bytes"
        )


def _forbidden(found: os.stat_result, *, is_of_systemd: bool) -> int:
    """Return the rights that nobody but the owner may have.

    systemd gives a service's user the right to read root's file by an access control list, which shows
    as a right of the group to read.  Source: github.com/systemd/systemd/issues/29435.
    """
    is_by_list = is_of_systemd and found.st_uid == _ROOT
    return _RIGHTS_OF_OTHERS & ~stat.S_IRGRP if is_by_list else _RIGHTS_OF_OTHERS


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _checked(content: str, place: str) -> Secret:
    """Return the key that ``content`` is, but for blanks and the end of the line around it."""
    key = content.strip()
    if not key:
        raise CredentialsError(f"{place}: is empty; expected the API key")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise CredentialsError(
            f"{place}: is no API key; expected one line of ASCII letters, digits and signs"
        )
    return Secret(key)
