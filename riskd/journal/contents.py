"""Find state directories by what their databases say.

Finding a running daemon needs no database (:mod:`riskd.journal.discovery`).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from riskd.host.directories import default_directory
from riskd.host.errors import UserError
from riskd.journal.discovery import (
    RunningDaemon,
    running_daemon,
    running_daemons,
    state_directories,
)
from riskd.journal.gateway_identity import GatewayIdentity
from riskd.journal.ownership import inspect
from riskd.journal.reader import Snapshot, StateFileError, read_published
from riskd.journal.schema import PUBLISHED_NAME


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A published copy, and the directory it is in."""

    directory: Path
    snapshot: Snapshot


def daemon_of(gateway: GatewayIdentity) -> RunningDaemon | None:
    """Return the daemon that runs for ``gateway``.

    It has the default state directory, or another one whose files record this gateway.
    """
    root = default_directory()
    usual = running_daemon(root / gateway.key)
    others = (each for each in running_daemons(root) if _is_of(each.directory, gateway))
    return usual or next(others, None)


def _is_of(directory: Path, gateway: GatewayIdentity) -> bool:
    with suppress(OSError, UserError):
        return inspect(directory).text("gateway_key") == gateway.key
    return False


def published_copies(root: Path, account_id: int | None = None) -> list[Copy]:
    """Return the copies under ``root`` that know an account, latest first.

    :param account_id: ``None`` for all copies that know any account.
    """
    copies = []
    for directory in state_directories(root):
        try:
            published_at = (directory / PUBLISHED_NAME).lstat().st_mtime_ns
            snapshot = read_published(directory)
        except (OSError, StateFileError):
            continue
        known = snapshot.accounts
        if known if account_id is None else account_id in known:
            copies.append((published_at, Copy(directory=directory, snapshot=snapshot)))
    return [copy for _at, copy in sorted(copies, key=lambda pair: pair[0], reverse=True)]
