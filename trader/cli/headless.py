"""``--plain`` and ``--json``: events on standard output.

Sentences are for screen readers, JSON objects for programs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from riskd.model.safe_text import json_text
from trader.client import CONNECTION_STATUS, DaemonClient, ReadEvent
from trader.model.followed_daemon import FollowedDaemon
from trader.model.formatting import clock, terminal_text
from trader.model.session import Session
from trader.model.summary import summary
from trader.model.view import View
from trader.model.wording import FeedLine


def run_headless(account_id: int, followed: FollowedDaemon, output: str, reactor: Any) -> None:
    """Write events until a signal ends the program or the reader closes the pipe.

    :param followed: finds the daemon and its state file.
    :param output: ``plain`` or ``json``.
    """
    # Standard output has the events alone, for programs that parse it.
    only_warnings = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [only_warnings])
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)
    # A character that the terminal's encoding lacks must not end the program.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    write = partial(_write, reactor)
    if output == "json":
        client = DaemonClient(
            account_id,
            lambda event_type, data: write(json_line(account_id, event_type, data)),
            followed.url,
            reactor=reactor,
            find_url=followed.locate,
            admit=followed.admit,
        )
    else:
        session = Session(
            account_id,
            partial(datetime.now, UTC),
            lambda _important: None,
            followed.read,
            followed.version,
            handshake_origin=lambda: followed.origin,
        )
        lines = PlainLines(session, write)
        client = DaemonClient(
            account_id,
            lines.receive_status,
            followed.url,
            reactor=reactor,
            find_url=followed.locate,
            admit=followed.admit,
            take_event=lines.receive,
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
        # It may be stopping already, and still write the end of the connection.
        with suppress(ReactorNotRunning):
            reactor.stop()


def discard_output() -> None:
    """Discard what is still buffered for a standard output that is closed.

    Python flushes it at exit, and would report the failure and exit with status 120.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def json_line(account_id: int, event_type: str, data: dict[str, Any]) -> str:
    """Return an event or connection status as a JSON object, as on the wire."""
    has_account = event_type not in ("daemon_status", CONNECTION_STATUS)
    event = {"type": event_type, "account_id": account_id if has_account else None, "data": data}
    return json_text(event)


class PlainLines:
    """Writes each new line of a session's feed; the feed has no quotes.

    After each connection it writes a summary of the account.

    :param session: the session to which events and status are passed on.
    :param write: writes one line.
    """

    def __init__(self, session: Session, write: Callable[[str], object]) -> None:
        self._session = session
        self._write = write
        self._written: tuple[FeedLine, ...] = ()
        self._problem = ""

    def receive(self, event_type: str, read: ReadEvent) -> None:
        """Pass an event to the session, and write what it adds to the feed."""
        self._session.receive(event_type, read)
        self._write_new_lines(self._session.view())

    def receive_status(self, event_type: str, status: dict[str, Any]) -> None:
        """Pass the client's status to the session; write a summary or the problem."""
        self._session.receive_status(event_type, status)
        view = self._session.view()
        self._write_new_lines(view)
        if view.is_live:
            self._write(terminal_text(summary(view)))
        elif not view.connections and view.connection_problem != self._problem:
            # The feed reports a lost connection, but no attempt that failed.
            self._write(terminal_text(view.connection_problem))
        self._problem = view.connection_problem

    def _write_new_lines(self, view: View) -> None:
        # The state file's lines are inserted between others, so the index of a line does not show that it
        # is new.
        written = set(map(id, self._written))
        for line in view.feed:
            if id(line) not in written:
                self._write(f"{clock(line.at)} {terminal_text(line.text)}")
        self._written = view.feed
