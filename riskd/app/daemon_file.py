"""Announces a running daemon in its state directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from twisted.application.service import Service
from twisted.logger import Logger

from riskd.host.loopback import BOTH
from riskd.host.same_host import url_host
from riskd.journal.daemon_file import (
    LOCALHOST,
    DaemonRecord,
    directory_mark,
    process_mark,
    remove_daemon,
    write_daemon,
)

_log = Logger()


def daemon_record(
    address: tuple[str, int], instance: str, kind: str, accounts: Sequence[int]
) -> DaemonRecord:
    """Return the record of a daemon that listens at ``address``, without its process."""
    host, port = address
    return DaemonRecord(
        port=port,
        instance=instance,
        kind=kind,
        pid=os.getpid(),
        accounts=tuple(accounts),
        host=LOCALHOST if host in BOTH else url_host(host),
    )


class DaemonFileService(Service):
    """Writes ``daemon.json`` when the daemon serves, and removes it at a clean stop.

    :param directory: the state directory.
    :param record: the daemon; the service adds the process, which twistd has forked by then, and the directory.
    :param report_problem: receives a problem's source and its sentence.
    """

    def __init__(
        self, directory: Path, record: DaemonRecord, report_problem: Callable[[str, str], None]
    ) -> None:
        self._directory = directory
        self._record = record
        self._report_problem = report_problem

    def startService(self) -> None:
        """Write the file; a daemon that cannot is guarding its accounts all the same."""
        super().startService()
        pid = os.getpid()
        record = msgspec.structs.replace(self._record, pid=pid, process=process_mark(pid))
        try:
            mark = directory_mark(self._directory)
            write_daemon(self._directory, msgspec.structs.replace(record, directory=mark))
        except OSError as error:
            problem = (
                "riskctl and consoles find this riskd only with --state and --url: "
                f"daemon.json cannot be written: {error.strerror}"
            )
            _log.error("{problem}", problem=problem)
            self._report_problem("daemon.json", problem)

    def stopService(self) -> None:
        """Remove the file."""
        super().stopService()
        try:
            remove_daemon(self._directory)
        except OSError as error:
            _log.warn("daemon.json cannot be removed: {error}", error=error.strerror)
