"""``trader-console --plain`` and ``--json``: events on standard output."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from riskd.journal.reader import published_mark, read_published
from trader.cli.arguments import Options
from trader.cli.line_writers import PlainLines, json_line
from trader.client import DaemonClient
from trader.model.session import Session


def run_headless(account_id: int, options: Options, reactor: Any) -> None:
    """Write events until a signal ends the program or the reader closes the pipe."""
    # Standard output has the events alone, for programs that parse it.
    only_warnings = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [only_warnings])
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)
    # A character that the terminal's encoding lacks must not end the program.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    write = partial(_write, reactor)
    if options.output == "json":
        client = DaemonClient(
            account_id,
            lambda event_type, data: write(json_line(account_id, event_type, data)),
            options.url,
            reactor=reactor,
        )
    else:
        session = Session(
            account_id,
            partial(datetime.now, UTC),
            lambda _important: None,
            partial(read_published, options.state),
            partial(published_mark, options.state),
        )
        lines = PlainLines(session, write)
        client = DaemonClient(
            account_id,
            lines.receive_status,
            options.url,
            reactor=reactor,
            lazy_event_callback=lines.receive,
        )
    reactor.callWhenRunning(client.connect)
    reactor.addSystemEventTrigger("before", "shutdown", client.disconnect)
    reactor.run()


def _write(reactor: Any, line: str) -> None:
    try:
        sys.stdout.write(f"{line}\n")
        # Python buffers what it writes to a pipe; without a flush the reader would get events late.
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        if reactor.running:
            reactor.stop()


def discard_output() -> None:
    """Discard what is still buffered for a standard output that is closed.

    Python flushes it at exit, and would report the failure and exit with status 120.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
