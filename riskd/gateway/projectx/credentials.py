"""The user name and the API key of a login.

They are found again at each login, so that a corrected file counts.
The key comes from a file, from systemd or from the environment; never from the command line, which every
user of the machine can read.  It is never shown: not in a log, not in an error, not by ``repr``.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

import msgspec

from riskd.host.errors import UserError
from riskd.host.private_file import PrivateFileError, read_private_file, write_again
from riskd.host.secrets import Secret

KEY_VARIABLE: Final = "RISKD_API_KEY"
"""The environment variable that may hold the key."""

CREDENTIAL: Final = "riskd-api-key"
"""The name of the key among the credentials that systemd passes to a service."""

MAX_BYTES: Final = 4096
"""A key file is smaller than this."""

_DIRECTORY_VARIABLE: Final = "CREDENTIALS_DIRECTORY"


class CredentialsError(UserError):
    """There is no key that can be used; the text says why, and what to do.

    :ivar mend: the command that mends it; empty if there is none.
    """

    def __init__(self, problem: str, mend: str = "") -> None:
        super().__init__(problem)
        self.mend = mend


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

    :param is_from_systemd: whether systemd made the file, as a credential of this service.
    :raises CredentialsError: the file cannot be used; the text says why, and what to do.
    """
    try:
        content = read_private_file(path, "a key", MAX_BYTES, is_from_systemd=is_from_systemd)
        return checked_key(content.decode("ascii", errors="replace"), f"{path}")
    except PrivateFileError as error:
        raise CredentialsError(str(error), error.mend) from None
    except CredentialsError as error:
        raise CredentialsError(str(error), write_again(path)) from None


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
