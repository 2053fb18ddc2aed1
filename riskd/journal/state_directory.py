"""The state directory: made if need be, and held by one daemon at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from riskd.host.errors import UserError
from riskd.journal.paths import JOURNAL_NAME
from riskd.journal.schema import DamagedError, NewerSchemaError, check_version

_LOCK_NAME: Final = "riskd.lock"


class StateDirectoryError(UserError):
    """The state directory cannot be used; the text says why in a sentence."""


class StateDirectory:
    """A directory that this process alone writes.

    The lock ends with the process, and passes on to the process that twistd detaches.

    :param path: created if it is not there, readable for everybody.
    :raises StateDirectoryError: it cannot be made, another riskd holds it, or a newer one wrote it.
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
        status = self.path.stat()
        if status.st_mode & 0o002 or status.st_uid not in (os.geteuid(), 0):
            self.release()
            raise StateDirectoryError(
                f"the state directory {self.path} belongs to another user or can be written by everybody"
            )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._refuse_newer()
        except BlockingIOError:
            self.release()
            raise StateDirectoryError(
                f"another riskd uses the state directory {self.path} (--state takes another one)"
            ) from None
        except NewerSchemaError as error:
            self.release()
            raise StateDirectoryError(str(error)) from None

    def release(self) -> None:
        """Let another daemon have it."""
        os.close(self._lock)

    def _refuse_newer(self) -> None:
        """See at once, and not when the daemon has detached, that the journal is of a newer riskd."""
        journal = self.path / JOURNAL_NAME
        if not journal.exists():
            return
        try:
            connection = sqlite3.connect(f"file:{quote(str(journal))}?mode=ro", uri=True)
            try:
                check_version(connection, journal)
            finally:
                connection.close()
        except (sqlite3.Error, DamagedError):
            # That is for the start to mend.
            return
