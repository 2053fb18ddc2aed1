"""Find running daemons.

A user's daemons keep their state in directories under one (:func:`default_directory`), and the machine's own
daemon keeps it in :func:`system_directory`.  One that was started with ``--state`` elsewhere is found only by
programs that are given the same directory or its URL.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR
from typing import Final

import msgspec

from riskd.host.errors import UserError
from riskd.journal.daemon_file import DaemonRecord, is_running, read_daemon
from riskd.journal.gateway_identity import PRACTICE

USUAL_PORT: Final = 8765
"""The port of a daemon that is started without ``--port``."""

SYSTEM_VARIABLE: Final = "RISKD_SYSTEM_STATE"
"""The environment variable that may name another place than :func:`system_directory`'s own."""


class SeveralDaemonsError(UserError):
    """Several daemons run, and none of them is the obvious one; the text lists them."""


class RunningDaemon(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon that runs, and its state directory."""

    directory: Path
    record: DaemonRecord

    def serves(self, account_id: int | None) -> bool:
        """Return whether the daemon follows an account; ``None`` is any."""
        return account_id is None or account_id in self.record.accounts

    def __str__(self) -> str:
        accounts = ", ".join(map(str, self.record.accounts)) or "none"
        return (
            f"{gateway_words(self.record.kind)} on port {self.record.port} "
            f"(accounts {accounts}; {self.directory})"
        )


def gateway_words(kind: str | None) -> str:
    """Return a gateway's kind as screens show it: ``PRACTICE`` in capitals."""
    return "an unknown gateway" if not kind else kind.upper() if kind == PRACTICE else kind


def system_directory() -> Path:
    """Return the state directory of the riskd that a system unit starts."""
    return Path(os.environ.get(SYSTEM_VARIABLE) or "/var/lib/riskd")


def state_directories(root: Path) -> list[Path]:
    """Return the state directories under ``root``, and the system's.

    Each is there once despite links.

    ``root`` is one of them, because an earlier riskd kept its state there.
    """
    below: list[Path] = []
    with suppress(OSError):
        # A directory comes before the links to it.
        below = sorted(root.iterdir(), key=lambda path: (path.is_symlink(), path))
    found: dict[tuple[int, int], Path] = {}
    for path in (root, *below, system_directory()):
        # A link may lead nowhere, and a directory be removed meanwhile.
        with suppress(OSError):
            status = path.stat()
            if S_ISDIR(status.st_mode):
                found.setdefault((status.st_dev, status.st_ino), path)
    return list(found.values())


def running_daemons(root: Path) -> list[RunningDaemon]:
    """Return the daemons that run on the state directories under ``root``."""
    return [each for each in map(running_daemon, state_directories(root)) if each is not None]


def running_daemon(directory: Path) -> RunningDaemon | None:
    """Return the daemon that runs on a state directory."""
    record = read_daemon(directory)
    if record is None or not is_running(record):
        return None
    return RunningDaemon(directory=directory, record=record)


def choose_daemon(
    daemons: Collection[RunningDaemon], account_id: int | None = None
) -> RunningDaemon | None:
    """Return the daemon for an account: the one on the usual port, or the only one.

    :param account_id: ``None`` if no account is meant.
    :return: ``None`` if no daemon runs, or none of several follows the account.
    :raises SeveralDaemonsError: several would do.
    """
    serving = [each for each in daemons if each.serves(account_id)]
    for each in serving:
        if each.record.port == USUAL_PORT:
            return each
    if len(serving) > 1:
        whose = "" if account_id is None else f" that follow account {account_id}"
        raise SeveralDaemonsError(f"several riskd run{whose}: {_listed(serving)}")
    if serving:
        return serving[0]
    return next(iter(daemons)) if len(daemons) == 1 else None


def none_follows(daemons: Iterable[RunningDaemon], account_id: int | None) -> str:
    """Return a sentence: none of the daemons follows the account."""
    return f"no riskd that runs follows account {account_id}: {_listed(daemons)}"


def _listed(daemons: Iterable[RunningDaemon]) -> str:
    return "; ".join(map(str, daemons))
