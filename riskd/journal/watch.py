"""Whether the journal's files are still those that the daemon has written.

SQLite goes on with files that were renamed or deleted, and believes one that was overwritten; after a restart what it
has written to them would be gone.
"""

from __future__ import annotations

import sqlite3
import stat
from contextlib import suppress
from os import stat_result
from pathlib import Path
from typing import Final

from riskd.host.files import kind_of
from riskd.journal.database import SUFFIXES

_SHARED: Final = "-shm"
"""SQLite maps this file into the memory of all that read the journal, so its content changes at any time."""


class JournalWatch:
    """Notices what others do to a journal's files.

    :param path: the journal.
    """

    def __init__(self, path: Path) -> None:
        self._files = {suffix: path.with_name(path.name + suffix) for suffix in SUFFIXES}
        self._seen: dict[str, stat_result | None] = {}
        self._data_version = 0

    def note(self, connection: sqlite3.Connection) -> None:
        """Take the files as they are now for those that the connection has written."""
        self._seen = {suffix: _status(file) for suffix, file in self._files.items()}
        self._data_version = _data_version(connection)

    def change(self, connection: sqlite3.Connection) -> str:
        """Return what others have done since :meth:`note`, such as ``was deleted``.

        :return: a clause whose subject is the journal; empty if nothing was done.
        """
        for suffix, seen in self._seen.items():
            done = _change(seen, _status(self._files[suffix]), is_shared=suffix == _SHARED)
            if done:
                return (
                    done
                    if not suffix
                    else f"has lost its {self._files[suffix].name}, which {done}"
                )
        # Another connection that writes takes the same lock, and counts here.
        with suppress(sqlite3.Error):
            if _data_version(connection) == self._data_version:
                return ""
        return "was written by another program"


def _change(seen: stat_result | None, found: stat_result | None, *, is_shared: bool) -> str:
    done = ""
    if seen is None:
        return done
    if found is None:
        done = "was deleted"
    elif not stat.S_ISREG(found.st_mode):
        done = f"was replaced by {kind_of(found.st_mode)}"
    elif (seen.st_dev, seen.st_ino) != (found.st_dev, found.st_ino):
        done = "was replaced by another file"
    elif not is_shared and found.st_size < seen.st_size:
        done = "was truncated"
    elif not is_shared and _content_mark(found) != _content_mark(seen):
        done = "was written by another program"
    return done


def _content_mark(status: stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _status(path: Path) -> stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _data_version(connection: sqlite3.Connection) -> int:
    # Source: https://www.sqlite.org/pragma.html#pragma_data_version
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)
