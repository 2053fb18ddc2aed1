"""``trader-console --plain`` and ``--json``: the client alone, writing to standard output."""

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
from trader.cli.arguments import Options, Output
from trader.cli.plain import JsonLines, PlainLines
from trader.client import DaemonClient
from trader.model.session import Session


def run_lines(account_id: int, options: Options, reactor: Any) -> None:
    """Write what happens until a signal ends it, or nobody reads any more."""
    only_warnings = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [only_warnings])
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)
    # What a terminal of another encoding has no letter for must not end the program.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    write = partial(_write, reactor)
    taker: JsonLines | PlainLines = JsonLines(account_id, write)
    if options.output == Output.PLAIN:
        taker = PlainLines(_session(account_id, options), write)
    client = DaemonClient(account_id, taker.take, options.url, reactor=reactor)
    reactor.callWhenRunning(client.connect)
    reactor.addSystemEventTrigger("before", "shutdown", client.disconnect)
    reactor.run()


def _session(account_id: int, options: Options) -> Session:
    return Session(
        account_id,
        lambda: datetime.now(UTC),
        lambda _important: None,
        partial(read_published, options.state),
        partial(published_mark, options.state),
    )


def _write(reactor: Any, line: str) -> None:
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads any more; Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if reactor.running:
            reactor.stop()
