"""Open a journal or a published copy that another program may have replaced.

Whatever is in its place, reading ends in time and runs nothing that the file brings along: its tables and indexes
must be those that riskd's own migrations make, so there is no view, trigger or virtual table in it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from riskd.host.files import UnsafeFileError, check_regular, read_regular
from riskd.journal.schema import DamagedError, check_version

SUFFIXES: Final = ("", "-wal", "-shm")
"""What the names of a journal's files end in; SQLite opens all of them."""

COPY_SECONDS: Final = 2.0
JOURNAL_SECONDS: Final = 60.0
"""How long reading a file may take; a sound copy takes some milliseconds."""

_MAX_COPY_BYTES: Final = 64 * 1024 * 1024
_MAX_COPY_VALUE: Final = 1024 * 1024
_MAX_JOURNAL_VALUE: Final = 64 * 1024 * 1024
"""The longest text that is read from a file, in bytes."""

_CHECKED_EVERY: Final = 10_000
"""How many instructions of SQLite pass between two looks at the time."""

# Of the file format: where a file in WAL mode has a 2, and others have a 1.
# Source: https://www.sqlite.org/fileformat2.html#the_database_header
_WRITE_VERSION, _READ_VERSION = 18, 19
_HEADER_BYTES: Final = 100


class SlowFileError(UnsafeFileError):
    """Reading a file took too long; a sound one takes a fraction of that."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__(path, f"it takes more than {seconds:g} seconds to read")


@contextmanager
def open_copy(path: Path, *, is_whole: bool = True) -> Iterator[sqlite3.Connection]:
    """Open a published copy; the connection has its content in memory, and no file.

    :param is_whole: whether damage of any part is an error now; otherwise it is one when that part is read.
    :raises UnsafeFileError: what is there may not be opened.
    :raises OSError: it cannot be read.
    :raises DamagedError: it is empty, or has tables that are not riskd's.
    :raises NewerSchemaError: a newer riskd wrote it.
    :raises sqlite3.Error: it is damaged in another way.
    """
    image = bytearray(read_regular(path, _MAX_COPY_BYTES))
    if len(image) < _HEADER_BYTES:
        raise DamagedError("it is empty" if not image else "it is too short")
    # A journal may have been copied there.  What is in memory has no log beside it.
    image[_WRITE_VERSION] = image[_READ_VERSION] = 1
    with (
        closing(sqlite3.connect(":memory:", isolation_level=None)) as connection,
        in_time(connection, path, COPY_SECONDS),
    ):
        connection.deserialize(bytes(image))
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_COPY_VALUE)
        restrict(connection)
        if is_whole:
            check_whole(connection, path)
        yield connection


@contextmanager
def open_journal(path: Path, *, with_log: bool = True) -> Iterator[sqlite3.Connection]:
    """Open a journal to read it, while its daemon may be writing it.

    :param with_log: ``False`` reads the file alone, as it was before the commits in SQLite's log beside it.
    :raises UnsafeFileError: one of its files may not be opened.
    :raises OSError: it cannot be read.
    :raises sqlite3.Error: it is damaged.
    """
    # Not by opening it: closing any descriptor of the file would drop SQLite's POSIX locks on it in this
    # process.
    found = check_files(path, SUFFIXES if with_log else SUFFIXES[:1])
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    options = "mode=ro" if with_log else "mode=ro&immutable=1"
    uri = f"file:{quote(str(path))}?{options}"
    with (
        closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection,
        in_time(connection, path, JOURNAL_SECONDS),
    ):
        check_opened(path, found)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_JOURNAL_VALUE)
        restrict(connection)
        yield connection


def check_files(path: Path, suffixes: Collection[str] = SUFFIXES) -> os.stat_result:
    """Return the status of a journal's file; check it and those beside it that exist.

    :raises UnsafeFileError: one of them may not be opened.
    :raises OSError: there is no journal, or one of them cannot be examined.
    """
    for suffix in suffixes:
        if suffix:
            with suppress(FileNotFoundError):
                check_regular(path.with_name(path.name + suffix))
    return check_regular(path)


def check_opened(path: Path, before: os.stat_result) -> None:
    """Check that the file that SQLite has opened by its name is the one before.

    :raises UnsafeFileError: it is another one.
    """
    now = path.lstat()
    if not stat.S_ISREG(now.st_mode) or (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
        raise UnsafeFileError(path, "it was replaced while it was opened")


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Check the tables and all pages of an open file.

    Pages that refer to each other in a circle are found here; reading them would have no end.

    :raises DamagedError: it is damaged.
    :raises sqlite3.Error: likewise.
    :raises NewerSchemaError: a newer riskd wrote it.
    """
    check_version(connection, path)
    (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if result != "ok":
        raise DamagedError(str(result))


def restrict(connection: sqlite3.Connection) -> None:
    """Let the file call no SQL function with effects, and check its pages."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


@contextmanager
def in_time(connection: sqlite3.Connection, path: Path, seconds: float) -> Iterator[None]:
    """Interrupt the connection's statements after so many seconds.

    :raises SlowFileError: they were interrupted.
    """
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _CHECKED_EVERY)
    try:
        yield
    except sqlite3.OperationalError as error:
        # Errors of the sqlite3 module itself have no code.
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise SlowFileError(path, seconds) from None
        raise
    finally:
        connection.set_progress_handler(None, 0)
