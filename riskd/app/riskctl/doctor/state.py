"""Check the state directory, in which locks survive a restart, and its disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from riskd.app.riskctl.doctor.findings import Finding, ok, quoted, warning, wrong
from riskd.control.protocol import SOCKET_NAME, check_path
from riskd.host.directories import default_directory
from riskd.host.errors import UserError
from riskd.host.users import user_argument, user_name
from riskd.journal.discovery import RunningDaemon
from riskd.journal.gateway_identity import GatewayIdentity
from riskd.journal.ownership import LOCK_NAME, decide, inspect
from riskd.journal.schema import JOURNAL_NAME

_WHAT: Final = "state directory"
_DISK: Final = "disk space"

LEAST_BYTES: Final = 100_000_000
"""With less free space riskd may soon be unable to write that an account is locked."""

FEW_BYTES: Final = 1_000_000_000
"""Less free space is worth a warning: a log or an update may take it within a day."""

_ROOT: Final = 0


def check_state(
    path: Path, gateway: GatewayIdentity, running: RunningDaemon | None, locks: Path
) -> Iterator[Finding]:
    """Yield what is to be said of a state directory, which need not be there yet.

    :param locks: the kernel's list of locks; where there is none, a foreign lock is not found.
    """
    if not os.path.lexists(path):
        above = _nearest(path)
        if not above.is_dir():
            yield _no_directory(above)
        elif os.access(above, os.W_OK | os.X_OK):
            yield ok(_WHAT, f"{path} is not there yet; riskd makes it at its first start")
        else:
            yield wrong(
                _WHAT,
                f"{path} cannot be made: {above} takes no directory of yours",
                f"sudo install -d -o {user_argument(os.geteuid())} {quoted(path)}",
            )
        return
    # The default directories have one above them, in which another user could exchange them.
    directories = [path.parent, path] if path.parent == default_directory() else [path]
    bad = [each for directory in directories for each in _unsafe(directory)]
    bad = bad or list(_unusable(path, gateway))
    yield from bad
    held = list(_lock(path, running, locks))
    yield from held
    if not bad and not held:
        by = f", in use by process {running.record.pid}" if running else ""
        yield ok(_WHAT, f"{path}, which no other user can change{by}")


def _no_directory(path: Path) -> Finding:
    """Return the finding that something else is in the place of a directory."""
    return wrong(_WHAT, f"{path} is no directory", f"mv {quoted(path)} {quoted(path)}.old")


def _unsafe(path: Path) -> Iterator[Finding]:
    """Yield why other users could replace the journal, or this one not write it."""
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        yield _no_directory(path)
        return
    me = os.geteuid()
    if found.st_uid not in (me, _ROOT):
        yield wrong(
            _WHAT,
            f"{path} belongs to {user_name(found.st_uid)}, who could replace the journal",
            f"sudo chown -R {user_argument(me)} {quoted(path)}",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield wrong(
            _WHAT,
            f"{path} has mode {stat.S_IMODE(found.st_mode):04o}, so other users could replace the journal",
            f"chmod go-w {quoted(path)}",
        )
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield wrong(
            _WHAT,
            f"{path} cannot be written by {user_name(me)}",
            f"sudo chown -R {user_argument(me)} {quoted(path)} && chmod u+rwx {quoted(path)}",
        )


def _unusable(path: Path, gateway: GatewayIdentity) -> Iterator[Finding]:
    """Yield why riskd would not start on a directory, or not be reached in it."""
    try:
        found = inspect(path)
        decide(found, gateway, path)
    except UserError as error:
        yield wrong(
            _WHAT, str(error), "riskctl --state DIR doctor   # the directory of this gateway"
        )
        return
    for name in found.unread:
        kept = f"{quoted(path / name)} {quoted(path / f'{name}.damaged')}"
        yield wrong(
            _WHAT,
            f"{path / name} is damaged; riskd saves what can be read of it at its start",
            f"cp {kept}   # then start riskd, and compare riskctl status with the platform",
        )
    try:
        check_path(path / SOCKET_NAME)
    except UserError as error:
        yield warning(_WHAT, str(error), "twistd -n riskd --state ~/.riskd --config FILE")
    journal = path / JOURNAL_NAME
    if journal.exists() and not os.access(journal, os.R_OK | os.W_OK):
        yield wrong(
            _WHAT,
            f"{journal} cannot be written by {user_name(os.geteuid())}",
            f"sudo chown -R {user_argument(os.geteuid())} {quoted(path)}",
        )


def _lock(path: Path, running: RunningDaemon | None, locks: Path) -> Iterator[Finding]:
    """Yield that a process holds the directory without announcing itself there."""
    holder = _holder(path / LOCK_NAME, locks)
    if holder is not None and (running is None or holder != running.record.pid):
        yield warning(
            _WHAT,
            f"process {holder} holds {path}, and does not announce itself as riskd; riskd would not start",
            f"ps -o pid,user,args -p {holder}",
        )


def _holder(lock: Path, locks: Path) -> int | None:
    """Return the process that has locked a file.

    It is read from the kernel's list: taking the lock, even for a moment, could keep a riskd from starting.
    Source: proc_locks(5).
    """
    with suppress(OSError, ValueError):
        found = lock.stat()
        place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for line in locks.read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and place in words:
                return int(words[4])
    return None


def check_disk(path: Path, usage: Callable[[Path], Any]) -> Iterator[Finding]:
    """Yield what is to be said of the space on the disk of the state directory."""
    above = _nearest(path)
    free = usage(above).free
    says = f"{free / 1e9:,.2f} GB are free for {path}"
    largest = (
        "du -xsh ~/* ~/.[!.]* /var/log/* 2>/dev/null | sort -h   # and remove what nobody needs"
    )
    if free < LEAST_BYTES:
        yield wrong(_DISK, f"{says}; on a full disk riskd keeps no locks", largest)
    elif free < FEW_BYTES:
        yield warning(_DISK, says, largest)
    else:
        yield ok(_DISK, says)


def _nearest(path: Path) -> Path:
    """Return what is nearest above a path, or at the path itself, and exists."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())
