"""``daemon.json``: how programs find a running daemon by its state directory.

A daemon writes the file when it serves, and removes it at a clean stop.  A killed daemon leaves it behind,
so a reader takes the file for true only while the process that wrote it lives.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec

from riskd.host.files import create_private, read_regular
from riskd.model.exact_json import NOT_JSON

DAEMON_NAME: Final = "daemon.json"

_MAX_BYTES: Final = 256 * 1024
_START_TIME: Final = 19
"""The index of a process's start time in what follows its name.  Source: proc(5), field 22."""

LOCALHOST: Final = "localhost"


class DaemonRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon that serves, or did when it wrote this.

    :ivar port: the TCP port of its stream.
    :ivar instance: the id of its journal.
    :ivar kind: the kind of its gateway.
    :ivar pid: its process id.
    :ivar accounts: the ids of its accounts.
    :ivar host: the host that its stream is reached at.
    :ivar process: :func:`process_mark` of its process; empty where there is none.
    :ivar directory: :func:`directory_mark` of its state directory.
    """

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    instance: str
    kind: str
    pid: Annotated[int, msgspec.Meta(ge=1)]
    accounts: tuple[int, ...] = ()
    host: str = LOCALHOST
    process: str = ""
    directory: str = ""

    @property
    def url(self) -> str:
        """The URL of the stream."""
        return f"ws://{self.host}:{self.port}"


def directory_mark(directory: Path) -> str:
    """Return a text that identifies ``directory``: a copy has another one.

    A renamed directory keeps it.

    :raises OSError: the directory cannot be examined.
    """
    return str(directory.stat().st_ino)


def process_mark(pid: int) -> str:
    """Return a text that no other process with the same id has.

    It is empty if the process has ended, or cannot be examined.
    """
    try:
        # A process's name is in parentheses and may have any characters.
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {text.split()[_START_TIME]}"
    except (OSError, IndexError):
        return ""


def is_running(record: DaemonRecord) -> bool:
    """Return whether the process that wrote ``record`` still runs."""
    try:
        os.kill(record.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It runs under another user.
        pass
    except OverflowError:
        return False
    now = process_mark(record.pid)
    return not (now and record.process) or now == record.process


def read_daemon(directory: Path) -> DaemonRecord | None:
    """Return the record in ``directory``, running or not.

    :return: ``None`` if there is none, or none that makes sense, or the record of another directory.
    """
    with suppress(OSError, *NOT_JSON):
        text = read_regular(directory / DAEMON_NAME, _MAX_BYTES)
        record = msgspec.json.decode(text, type=DaemonRecord)
        # A directory may be copied while its daemon runs.
        if record.directory in ("", directory_mark(directory)):
            return record
    return None


def write_daemon(directory: Path, record: DaemonRecord) -> None:
    """Write the record, so that a reader finds all of it or none.

    :raises OSError: it cannot be written.
    """
    new = directory / f".{DAEMON_NAME}.new"
    descriptor = create_private(new)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(record) + b"\n")
            # Whatever the umask: consoles of other users read it.
            os.fchmod(file.fileno(), 0o644)
        new.replace(directory / DAEMON_NAME)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def remove_daemon(directory: Path) -> None:
    """Remove the record.

    :raises OSError: it cannot be removed.
    """
    (directory / DAEMON_NAME).unlink(missing_ok=True)
