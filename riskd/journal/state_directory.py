"""The state directory: its default place, its creation, its lock and its gateway."""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path

from riskd.host.errors import UserError
from riskd.host.files import UnsafeFileError, open_regular
from riskd.host.users import group_name, user_argument, user_name
from riskd.journal.daemon_file import DAEMON_NAME, is_running, read_daemon
from riskd.journal.gateway_identity import GatewayIdentity
from riskd.journal.ownership import LOCK_NAME, Owner, decide, inspect, write_lock
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME


def reason_of(error: OSError) -> str:
    """Return why a directory cannot be made or used."""
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return "a file is in its place, or in that of a directory above it"
    return error.strerror or str(error)


class StateDirectoryError(UserError):
    """The state directory cannot be used; the text says why in a sentence."""


class StateDirectory:
    """A directory that only this process writes to.

    Two locks hold it: that of the directory itself, which no removed or replaced file ends, and that of
    ``riskd.lock``, which an earlier riskd knows.  They end with the process; a process that twistd forks off to
    detach inherits them.

    :param path: created if it does not exist, readable for every user.
    :raises StateDirectoryError: it cannot be created, is unsafe, or another riskd uses it.
    :ivar owner: the gateway that the directory belongs to; ``None`` before :meth:`claim`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.owner: Owner | None = None
        self._held: list[int] = []
        try:
            create(self.path)
            self._directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._held.append(self._directory)
            # Nothing is opened in a directory in which another user may have put it.
            _check_safe(self.path, os.fstat(self._directory))
            # Some network file systems lock no directory; then the lock of the file has to do.
            with suppress(OSError):
                self._lock(self._directory)
            self._lock_file = self._opened_lock()
            self._lock(self._lock_file)
            self._check_files()
        except OSError as error:
            self.release()
            raise StateDirectoryError(
                f"the state directory {self.path} cannot be used: {reason_of(error)}"
            ) from None
        except UserError:
            self.release()
            raise

    def claim(self, gateway: GatewayIdentity) -> list[str]:
        """Use the directory for ``gateway`` from now on; return sentences for the log.

        The lock file records it at once, and the journal when it is opened.  What is refused here is
        refused on the terminal, and not in the log of a detached daemon.  A missing or damaged journal is
        left to :meth:`riskd.journal.store.Store.open`.

        :raises OtherGatewayError: it belongs to another gateway.
        :raises NewerSchemaError: a newer riskd wrote the journal or its published copy.
        """
        self.owner, notes = decide(inspect(self.path), gateway, self.path)
        try:
            write_lock(self._lock_file, self.owner)
        except OSError as error:
            # The journal, which records the same, reports a disk that cannot be written.
            notes.append(f"{self.path / LOCK_NAME} cannot be written: {error.strerror}")
        return notes

    def release(self) -> None:
        """Unlock the directory for another daemon."""
        while self._held:
            os.close(self._held.pop())

    def _opened_lock(self) -> int:
        path = self.path / LOCK_NAME
        try:
            descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
        except UnsafeFileError as error:
            raise StateDirectoryError(
                f"the state directory {self.path} cannot be used: its {LOCK_NAME} is none of "
                f"riskd's, {error.strerror}; remove it: rm -r {shlex.quote(str(path))}"
            ) from None
        self._held.append(descriptor)
        return descriptor

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateDirectoryError(
                f"another riskd uses the state directory {self.path} (--state takes another one)"
            ) from None

    def _check_files(self) -> None:
        # An earlier riskd locks its file alone, and that may have been removed while it runs.
        other = read_daemon(self.path)
        if other and other.process and other.pid != os.getpid() and is_running(other):
            raise StateDirectoryError(
                f"another riskd, process {other.pid}, uses the state directory {self.path}, by its "
                f"{DAEMON_NAME} (--state takes another one)"
            )
        for file in (self.path / JOURNAL_NAME, self.path / PUBLISHED_NAME):
            # The lock protects the files of this directory only.
            if file.is_symlink():
                raise StateDirectoryError(
                    f"the state directory {self.path} cannot be used: its {file.name} is a symbolic link"
                )


def create(path: Path) -> None:
    """Create a directory that every user may read, unless it exists.

    :raises OSError: it cannot be created.
    """
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o755)


def check_safe(path: Path) -> None:
    """Check that no other user can replace files in ``path``.

    Another file could lack a lockout.  Others may read: a group that reads the published copy is no danger.

    :raises StateDirectoryError: another user can.
    """
    _check_safe(path, path.stat())


def _check_safe(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise StateDirectoryError(
            f"the state directory {path} belongs to {user_name(found.st_uid)}, who can replace its files; "
            f"give it to {user_name(os.geteuid())}, or name another one with --state: "
            f"chown {user_argument(os.geteuid())} {shlex.quote(str(path))}"
        )
    rights = stat.S_IMODE(found.st_mode)
    if rights & (stat.S_IWGRP | stat.S_IWOTH):
        others = "every user" if rights & stat.S_IWOTH else f"the group {group_name(found.st_gid)}"
        raise StateDirectoryError(
            f"the state directory {path} can be written by {others} (mode {rights:04o}), so that others "
            f"could replace its files; take that right away: chmod go-w {shlex.quote(str(path))}"
        )
