"""Put a new journal in the place of another, which is kept by another name."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from riskd.host.files import create_private, put_away
from riskd.journal.database import SUFFIXES, check_whole, in_time
from riskd.journal.reader import DAMAGES
from riskd.journal.schema import JOURNAL_NAME

_COPY_SECONDS: Final = 10.0


def clear(path: Path) -> None:
    """Remove a journal with the files beside it.

    :raises OSError: one of them cannot be removed.
    """
    for suffix in SUFFIXES:
        put_away(path.with_name(path.name + suffix))


def set_aside(path: Path, now: datetime, why: str) -> None:
    """Give a journal a second name, and its log another.

    SQLite would apply a log that is left in place to the new journal.

    :param why: a word of the second name.
    :raises OSError: that is not possible.
    """
    aside = f"{JOURNAL_NAME}.{why}-{now:%Y%m%dT%H%M%S%fZ}"
    for suffix in SUFFIXES[1:]:
        part = path.with_name(JOURNAL_NAME + suffix)
        if os.path.lexists(part):
            part.rename(path.with_name(aside + suffix))
    # A link and not a rename: after a crash before the new journal takes its place, the damaged one is
    # still there and its locks are saved again.
    with suppress(FileNotFoundError):
        put_away(path.with_name(aside))
        if stat.S_ISREG(path.lstat().st_mode):
            os.link(path, path.with_name(aside))
        else:
            path.rename(path.with_name(aside))


def copy_whole(connection: sqlite3.Connection, new: Path) -> bool:
    """Write what a connection still reads of its files to a new file.

    :return: whether that is a whole journal; if not, there is no new file.
    :raises OSError: the disk is full.
    :raises sqlite3.OperationalError: likewise.
    """
    try:
        with in_time(connection, new, _COPY_SECONDS):
            check_whole(connection, new)
            os.close(create_private(new))
            connection.execute("VACUUM INTO ?", (str(new),))
    except (*DAMAGES, OSError) as error:
        put_away(new)
        if _is_full(error):
            raise
        return False
    return True


def _is_full(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == errno.ENOSPC
