"""The state directory: its default place, its creation, its lock and its gateway."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from riskd.host.errors import UserError
from riskd.journal.daemon_file import DAEMON_NAME, is_running, read_daemon
from riskd.journal.gateway_identity import GatewayIdentity
from riskd.journal.ownership import LOCK_NAME, Owner, decide, inspect, write_lock
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME

_ANYBODY_WRITES: Final = 0o002


def default_directory(program: str = "riskd") -> Path:
    """Return a program's directory under the XDG state directory.

    riskd has a state directory for each gateway in it (:func:`open_default`).

    :param program: the program's name, which the directory has too.
    Source: the XDG Base Directory Specification, ``XDG_STATE_HOME``.
    """
    home = os.environ.get("XDG_STATE_HOME", "")
    # The specification says to ignore a path that is not absolute.
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return base / program


class StateDirectoryError(UserError):
    """The state directory cannot be used; the text says why in a sentence."""


class StateDirectory:
    """A directory that only this process writes to.

    The lock ends with the process; a process that twistd forks off to detach inherits it.

    :param path: created if it does not exist, readable for every user.
    :raises StateDirectoryError: it cannot be created, is unsafe, or another riskd uses it.
    :ivar owner: the gateway that the directory belongs to; ``None`` before :meth:`claim`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.owner: Owner | None = None
        try:
            create(self.path)
            self._lock = os.open(
                self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
            )
        except OSError as error:
            why = error.strerror
            if error.errno == errno.ELOOP:
                why = f"its {LOCK_NAME} is a symbolic link"
            raise StateDirectoryError(
                f"the state directory {self.path} cannot be used: {why}"
            ) from None
        try:
            self._hold()
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
            write_lock(self._lock, self.owner)
        except OSError as error:
            # The journal, which records the same, reports a disk that cannot be written.
            notes.append(f"{self.path / LOCK_NAME} cannot be written: {error.strerror}")
        return notes

    def release(self) -> None:
        """Unlock the directory for another daemon."""
        os.close(self._lock)

    def _hold(self) -> None:
        check_safe(self.path)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateDirectoryError(
                f"another riskd uses the state directory {self.path} (--state takes another one)"
            ) from None
        # The lock does not hold if its file was removed while the other one runs.
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

    Another file could lack a lockout.

    :raises StateDirectoryError: another user can.
    """
    status = path.stat()
    if status.st_mode & _ANYBODY_WRITES or status.st_uid not in (os.geteuid(), 0):
        raise StateDirectoryError(
            f"the state directory {path} belongs to another user or can be written by everybody"
        )
