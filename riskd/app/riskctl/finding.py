"""Which riskd ``riskctl`` operates when no state directory is named."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from riskd.control.protocol import SOCKET_NAME
from riskd.host.directories import default_directory
from riskd.host.errors import UserError
from riskd.host.users import group_name
from riskd.journal.discovery import (
    RunningDaemon,
    SeveralDaemonsError,
    choose_daemon,
    none_follows,
    running_daemons,
    system_directory,
)
from riskd.model.safe_text import printable

Say = Callable[[str], object]
"""Writes a sentence to the operator."""


def say(sentence: str) -> None:
    """Write a sentence to standard error."""
    sys.stderr.write(f"riskctl: {printable(sentence)}\n")


def daemon_directory(named: Path | None, account_id: int | None, say: Say) -> Path:
    """Return the state directory of the running riskd to ask.

    :param named: the directory that the command line names; ``None`` finds it.
    :param account_id: the account that the command is about; ``None`` if it is about none.
    :param say: is given the choice, where there was one.
    :raises UserError: none runs, or several do and none is the obvious one.
    """
    if named is not None:
        return named
    root = default_directory()
    daemons = running_daemons(root)
    chosen = choose(daemons, account_id, say)
    if chosen is not None:
        return chosen.directory
    if daemons:
        raise UserError(f"{none_follows(daemons, account_id)}; --state names another one")
    # A riskd from before there was a directory for each gateway may still run.
    if (root / SOCKET_NAME).exists():
        return root
    raise UserError(
        f"riskd is not running (no state directory in {root} is in use; "
        f"--state names the directory of a riskd that was started with --state){_hint()}"
    )


def _hint() -> str:
    """Return how to reach the machine's own riskd, if its directory is shut."""
    directory = system_directory()
    try:
        found = directory.stat()
    except OSError:
        return ""
    if os.access(directory, os.X_OK):
        return ""
    return f"; members of the group {group_name(found.st_gid)} may ask the riskd in {directory}"


def choose(daemons: list[RunningDaemon], account_id: int | None, say: Say) -> RunningDaemon | None:
    """Return the riskd to use; say which if there are others."""
    try:
        chosen = choose_daemon(daemons, account_id)
    except SeveralDaemonsError as error:
        raise SeveralDaemonsError(f"{error}; choose one with --state") from None
    if chosen is not None and len(daemons) > 1:
        say(f"of {len(daemons)} riskd that run, this is {chosen}")
    return chosen
