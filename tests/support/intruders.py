"""What another program may put in the place of a file of riskd's, for tests."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from riskd.journal.schema import empty_database
from tests.support.journal import PRIVATE

_NUMBERS: Final = "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n)"
_PAIRS: Final = f"{_NUMBERS} SELECT x, x FROM n"  # noqa: S608  # names of ours
_TRIPLES: Final = f"{_NUMBERS} SELECT x, x, x FROM n"  # noqa: S608  # names of ours
_STATISTICS: Final = (
    "PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES"  # noqa: S608  # names of ours
    f" ('view', 'sqlite_stat1', 'sqlite_stat1', 0, 'CREATE VIEW sqlite_stat1(tbl, idx) AS {_PAIRS}');"
)

_FACTS: Final = "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"

Put = Callable[[Path], object]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as made:
        # The path of a socket must be short.
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            made.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "file").touch()


def _link(path: Path) -> None:
    """A link to a sound database."""
    target = path.with_name("elsewhere")
    target.write_bytes(empty_database())
    path.symlink_to(target)


def _link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def _endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _huge(path: Path) -> None:
    """A file of a terabyte, which takes no room on the disk."""
    path.touch()
    os.truncate(path, 2**40)


NOT_FILES: Final[dict[str, Put]] = {
    "a pipe": _pipe,
    "a socket": _socket,
    "a directory": _directory,
    "a link": _link,
    "a link to nothing": _link_to_nothing,
    "a link to a device": _endless_device,
}
"""No regular files; opening some of them waits for ever."""


def _database(change: str) -> Put:
    """Return what writes a database of riskd's in which one statement has changed something."""

    def put(path: Path) -> None:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
            database.deserialize(empty_database())
            version = database.execute("PRAGMA user_version").fetchone()[0]
            database.executescript(change)
            # Another schema may have reset it.
            database.execute(f"PRAGMA user_version = {version}")
            path.write_bytes(database.serialize())

    return put


def _circle(path: Path) -> None:
    """A database in whose tables pages refer to themselves, so that reading has no end."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.deserialize(empty_database())
        (size,) = database.execute("PRAGMA page_size").fetchone()
        rows = [(123, f"RULE-{number}", PRIVATE * 20) for number in range(2000)]
        database.executemany("INSERT INTO lockouts VALUES (?, ?, ?)", rows)
        database.executemany(
            "INSERT INTO facts VALUES (?, ?)", [(f"{number}", "x" * 500) for number in range(2000)]
        )
        image = bytearray(database.serialize())
    for page in range(1, len(image) // size):
        # An interior page of an index or a table; its last child is at offset 8.
        if image[page * size] in (2, 5):
            image[page * size + 8 : page * size + 12] = (page + 1).to_bytes(4, "big")
    path.write_bytes(image)


DATABASES: Final[dict[str, Put]] = {
    "an endless view": _database(f"DROP TABLE facts; CREATE VIEW facts(name, value) AS {_PAIRS};"),
    "endless locks": _database(
        f"DROP TABLE lockouts; CREATE VIEW lockouts(account_id, rule_id, data) AS {_TRIPLES};"
    ),
    "a trigger": _database(
        "CREATE TRIGGER no AFTER INSERT ON lockouts BEGIN DELETE FROM lockouts; END;"
    ),
    "a virtual table": _database(
        "DROP TABLE lockouts; CREATE VIRTUAL TABLE lockouts USING fts5(account_id, rule_id, data);"
    ),
    "a computed column": _database(
        "DROP TABLE facts; CREATE TABLE facts (name TEXT PRIMARY KEY,"
        " value TEXT GENERATED ALWAYS AS (hex(zeroblob(500000000))));"
    ),
    "a computed index": _database("CREATE INDEX mine ON lockouts (upper(data));"),
    "a table of another type": _database(
        f"DROP TABLE facts; {_FACTS.replace('TEXT NOT NULL', 'BLOB')}"
    ),
    "a check": _database(
        "DROP TABLE facts; "
        f"{_FACTS.replace('NOT NULL', 'NOT NULL CHECK (length(hex(zeroblob(400000000))) > 0)')}"
    ),
    "an endless view of statistics": _database(_STATISTICS),
    "a circle of pages": _circle,
    "a huge text": _database(
        "INSERT INTO facts VALUES ('gateway', hex(zeroblob(5000000)))",
    ),
}
"""Databases that have the version of riskd's newest, and are none."""

FILES: Final[dict[str, Put]] = {
    "an empty file": Path.touch,
    "text": lambda path: path.write_text("not a database\n" * 500),
    "a header alone": lambda path: path.write_bytes(empty_database()[:100]),
    "half of it": lambda path: path.write_bytes(empty_database()[: len(empty_database()) // 2]),
    "a huge file": _huge,
}
"""Regular files that are no databases."""


def put_in_place(path: Path, put: Put) -> None:
    """Put something in the place of a file, which gets another name."""
    if os.path.lexists(path):
        path.rename(path.with_name(f"{path.name}.moved"))
    put(path)
