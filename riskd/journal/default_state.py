"""The default state directory of a gateway, and the move of earlier state to it.

Earlier, all gateways shared the directory that now has a directory for each.  Its state is moved to the
first start of the kind of gateway that it records.  A kill at any moment of the move loses nothing: a file,
written first, names the gateway that it is moved to, each file is renamed as a whole, and the journal,
renamed last, ends the move.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from riskd.host.directories import default_directory
from riskd.host.files import UnsafeFileError, create_private, read_regular, sync
from riskd.journal.database import check_files
from riskd.journal.gateway_identity import KINDS, PRACTICE, GatewayIdentity
from riskd.journal.ownership import LEDGER_NAME, OtherGatewayError, decide, inspect
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME
from riskd.journal.state_directory import (
    StateDirectory,
    StateDirectoryError,
    check_safe,
    create,
    reason_of,
)

MOVE_NAME: Final = "riskd.moving"
"""Holds the key of the gateway that the state is moved to, while it is moved."""

_MAX_KEY_BYTES: Final = 256

_DATABASES: Final = (JOURNAL_NAME, PUBLISHED_NAME)


def open_default(gateway: GatewayIdentity) -> tuple[StateDirectory, list[str]]:
    """Return the state directory of ``gateway``, claimed, and sentences for the log.

    :raises StateDirectoryError: it cannot be used.
    :raises OtherGatewayError: it belongs to another gateway, or it is unknown to which the state of an
        earlier riskd belongs.
    :raises NewerSchemaError: a newer riskd wrote the journal.
    """
    root = default_directory()
    try:
        create(root)
    except OSError as error:
        raise StateDirectoryError(
            f"the state directory {root} cannot be used: {reason_of(error)}"
        ) from None
    check_safe(root)
    state = StateDirectory(root / gateway.key)
    try:
        notes = _take_over(root, state.path, gateway)
        return state, notes + state.claim(gateway)
    except BaseException:
        state.release()
        raise


def _take_over(root: Path, target: Path, gateway: GatewayIdentity) -> list[str]:
    """Move an earlier riskd's state to ``target`` if it is of ``gateway``.

    :return: sentences for the log.
    """
    if not _is_of(root, gateway):
        return []
    held = StateDirectory(root)
    try:
        # Once more: another process may have moved it before the directory was held.
        if not _is_of(root, gateway):
            return []
        is_begun = os.path.lexists(root / MOVE_NAME)
        if not is_begun and any(os.path.lexists(target / name) for name in _DATABASES):
            note = f"the state of an earlier riskd in {root} is left alone: {target} has a state already"
            return [note]
        _move(root, target, gateway)
    except OSError as error:
        raise StateDirectoryError(
            f"the state in {root} cannot be moved to {target}: {error.strerror}"
        ) from None
    finally:
        held.release()
    return [f"the state of an earlier riskd was moved from {root} to {target}"]


def _is_of(root: Path, gateway: GatewayIdentity) -> bool:
    """Return whether ``root`` holds state that is to be moved to ``gateway``.

    :raises OtherGatewayError: it is unknown of which gateway it is.
    :raises StateDirectoryError: its :data:`MOVE_NAME` cannot be read.
    """
    try:
        return read_regular(root / MOVE_NAME, _MAX_KEY_BYTES) == gateway.key.encode()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StateDirectoryError(
            f"the state directory {root} cannot be used: its {MOVE_NAME}: {error.strerror}"
        ) from None
    if not any(os.path.lexists(root / name) for name in _DATABASES):
        return False
    found = inspect(root)
    if not found.kind and not found.unread and not found.holds_state:
        return False
    if found.kind not in KINDS:
        what = f"the unknown kind {found.kind!r}" if found.kind else "an unknown kind"
        raise OtherGatewayError(
            f"{root} holds the state of an earlier riskd, of a gateway of {what}; move its files "
            "to a directory of their own and start riskd with --state where they belong"
        )
    # A key is recorded where the directory was named with --state.
    if found.kind != gateway.kind or found.text("gateway_key") not in ("", gateway.key):
        return False
    decide(found, gateway, root)
    return True


def _move(root: Path, target: Path, gateway: GatewayIdentity) -> None:
    journal, mark = root / JOURNAL_NAME, root / MOVE_NAME
    # A journal in place ends the move: what is in the old place now was written by an earlier riskd since.
    if not os.path.lexists(target / JOURNAL_NAME):
        _write_mark(mark, gateway)
        # A damaged journal is moved with its log as it is.
        with suppress(sqlite3.Error, UnsafeFileError):
            _merge_log(journal)
        for path in sorted(root.iterdir()):
            if path.is_socket():
                # Of a daemon that has ended.
                path.unlink()
            elif path != journal and _belongs(path, gateway):
                path.rename(target / path.name)
        # Renames of different files may reach the disk in any order without this.
        sync(target)
        sync(root)
        with suppress(FileNotFoundError):
            journal.rename(target / JOURNAL_NAME)
        sync(target)
    mark.unlink(missing_ok=True)
    sync(root)


def _belongs(path: Path, gateway: GatewayIdentity) -> bool:
    """Return whether ``path`` is one of the files that are moved."""
    if not path.is_file() or path.is_symlink():
        return False
    if path.name == LEDGER_NAME:
        return gateway.kind == PRACTICE
    return path.name.startswith(JOURNAL_NAME) or path.name == PUBLISHED_NAME


def _write_mark(mark: Path, gateway: GatewayIdentity) -> None:
    new = mark.with_name(f"{mark.name}.new")
    with os.fdopen(create_private(new), "wb") as file:
        file.write(gateway.key.encode())
    sync(new)
    new.replace(mark)
    sync(mark.parent)


def _merge_log(journal: Path) -> None:
    """Write the commits in the write-ahead log into the journal itself."""
    if os.path.lexists(journal):
        check_files(journal)
        with closing(sqlite3.connect(journal)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
