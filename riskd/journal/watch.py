"""Whether the journal's files are still those that the daemon has written.

SQLite goes on with files that were renamed or deleted, and believes one that was overwritten; after a restart what it
has written to them would be gone.
"""

from __future__ import annotations

import os
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

_BY_ANOTHER: Final = "was written by another program"


class JournalWatch:
    """Notices what others do to a journal's files.

    :param path: the journal.
    """

    def __init__(self, path: Path) -> None:
        # Texts and not paths: making a text of a path costs more than the system call.
        self._files = {suffix: f"{path}{suffix}" for suffix in SUFFIXES}
        self._seen: dict[str, stat_result | None] = {}
        self._data_version = 0

    def note(self, connection: sqlite3.Connection) -> None:
        """Take the files as they are now for those that the connection has opened."""
        self._seen = {suffix: _status(file) for suffix, file in self._files.items()}
        self._data_version = _data_version(connection)

    def note_write(self) -> None:
        """Take the content of the files for what the connection has just written.

        It has replaced none of them, and SQLite counts no commit of its own connection.
        """
        for suffix, seen in self._seen.items():
            if suffix != _SHARED:
                found = _status(self._files[suffix])
                if seen is None or (found is not None and _is_same_file(seen, found)):
                    self._seen[suffix] = found

    def change(self, connection: sqlite3.Connection) -> str:
        """Return what others have done since :meth:`note`, such as ``was deleted``.

        :return: a clause whose subject is the journal; empty if nothing was done.
        """
        return self.change_of_files() or self.change_by_sqlite(connection)

    def change_of_files(self) -> str:
        """Return what others have done without SQLite; see :meth:`change`."""
        for suffix, seen in self._seen.items():
            if seen is None:
                continue
            done = _change(seen, _status(self._files[suffix]), is_shared=suffix == _SHARED)
            if done:
                name = Path(self._files[suffix]).name
                return f"has lost its {name}, which {done}" if suffix else done
        return ""

    def change_by_sqlite(self, connection: sqlite3.Connection) -> str:
        """Return what others have done with SQLite; see :meth:`change`.

        In a transaction that writes, it is what they have done before it: they cannot write until its end.
        """
        # Another connection that writes takes the same lock, and counts here.
        with suppress(sqlite3.Error):
            if _data_version(connection) == self._data_version:
                return ""
        return _BY_ANOTHER


def _change(seen: stat_result, found: stat_result | None, *, is_shared: bool) -> str:
    done = ""
    if found is None:
        done = "was deleted"
    elif not stat.S_ISREG(found.st_mode):
        done = f"was replaced by {kind_of(found.st_mode)}"
    elif not _is_same_file(seen, found):
        done = "was replaced by another file"
    elif not is_shared and found.st_size < seen.st_size:
        done = "was truncated"
    elif not is_shared and _content_mark(found) != _content_mark(seen):
        done = _BY_ANOTHER
    return done


def _is_same_file(one: stat_result, other: stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _content_mark(status: stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _status(file: str) -> stat_result | None:
    try:
        return os.lstat(file)
    except OSError:
        return None


def _data_version(connection: sqlite3.Connection) -> int:
    # Source: https://www.sqlite.org/pragma.html#pragma_data_version
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)
