"""The state directory: its default place, its creation, and its lock."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from riskd.host.errors import UserError
from riskd.journal.reader import uri_to_read
from riskd.journal.schema import JOURNAL_NAME, DamagedError, check_version

_LOCK_NAME: Final = "riskd.lock"


def default_directory(program: str = "riskd") -> Path:
    """Return a program's state directory under the XDG state directory.

    :param program: the program's name, which the directory has too.
    Source: the XDG Base Directory Specification, ``XDG_STATE_HOME``.
    """
    home = os.environ.get("XDG_STATE_HOME", "")
    # The specification says to ignore a path that is not absolute.
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return base / program


class StateDirectoryError(UserError):
    """The state directory cannot be used; the text says why in a sentence."""


class StateDirectory:
    """A directory that only this process writes to.

    The lock ends with the process; a process that twistd forks off to detach inherits it.

    :param path: created if it does not exist, readable for every user.
    :raises StateDirectoryError: it cannot be created, is unsafe, or another riskd uses it.
    :raises NewerSchemaError: a newer riskd wrote the journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            if not self.path.is_dir():
                self.path.mkdir(parents=True)
                self.path.chmod(0o755)
            self._lock = os.open(self.path / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateDirectoryError(
                f"the state directory {self.path} cannot be used: {error.strerror}"
            ) from None
        try:
            self._claim()
        except UserError:
            self.release()
            raise

    def release(self) -> None:
        """Unlock the directory for another daemon."""
        os.close(self._lock)

    def _claim(self) -> None:
        status = self.path.stat()
        # Another user who can replace files here could remove a lockout.
        if status.st_mode & 0o002 or status.st_uid not in (os.geteuid(), 0):
            raise StateDirectoryError(
                f"the state directory {self.path} belongs to another user or can be written by everybody"
            )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateDirectoryError(
                f"another riskd uses the state directory {self.path} (--state takes another one)"
            ) from None
        # Checked now, so that the person who starts riskd reads about a newer journal on the terminal and
        # not in the log of a detached daemon.  A missing or damaged journal is left to Store.open.
        journal = self.path / JOURNAL_NAME
        with (
            suppress(sqlite3.Error, DamagedError),
            closing(sqlite3.connect(uri_to_read(journal), uri=True)) as connection,
        ):
            check_version(connection, journal)
