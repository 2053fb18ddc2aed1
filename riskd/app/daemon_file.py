"""Announces a running daemon in its state directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.application.service import Service
from twisted.logger import Logger

from riskd.host.loopback import BOTH
from riskd.host.same_host import url_host
from riskd.journal.daemon_file import (
    LOCALHOST,
    DaemonRecord,
    process_mark,
    remove_daemon,
    write_daemon,
)
from riskd.journal.ownership import Owner

_log = Logger()


def daemon_record(address: tuple[str, int], owner: Owner, accounts: Sequence[int]) -> DaemonRecord:
    """Return the record of this process as the daemon that listens at ``address``.

    :param owner: that of its state directory.
    """
    host, port = address
    pid = os.getpid()
    return DaemonRecord(
        port=port,
        instance=owner.instance,
        kind=owner.gateway.kind,
        pid=pid,
        accounts=tuple(accounts),
        host=LOCALHOST if host in BOTH else url_host(host),
        process=process_mark(pid),
        directory=owner.directory,
    )


class DaemonFileService(Service):
    """Writes ``daemon.json`` when the daemon serves, and removes it at a clean stop.

    :param directory: the state directory.
    :param record: returns the record; called when the daemon serves, because twistd forks before that.
    :param report_problem: receives a problem's source and its sentence.
    """

    def __init__(
        self,
        directory: Path,
        record: Callable[[], DaemonRecord],
        report_problem: Callable[[str, str], None],
    ) -> None:
        self._directory = directory
        self._record = record
        self._report_problem = report_problem

    def startService(self) -> None:
        """Write the file; a daemon that cannot is guarding its accounts all the same."""
        super().startService()
        try:
            write_daemon(self._directory, self._record())
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
