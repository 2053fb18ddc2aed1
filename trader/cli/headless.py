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
from typing import Any, Final

from twisted.internet.error import ReactorNotRunning
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from riskd.model.safe_text import json_text
from trader.client import DaemonClient, ReadEvent, UnreadEvent
from trader.model.all_accounts import AllAccounts
from trader.model.followed_daemon import FollowedDaemon
from trader.model.formatting import sentence, stamp, terminal_text
from trader.model.session import Session
from trader.model.summary import summary
from trader.model.wording import FeedLine

Write = Callable[[str], object]
"""Writes one line."""


def run_headless(
    account_id: int | None, followed: FollowedDaemon, output: str, reactor: Any
) -> None:
    """Write events until a signal ends the program or the reader closes the pipe.

    :param account_id: whose events; ``None`` for those of all accounts.
    :param followed: finds the daemon and its state file.
    :param output: ``plain`` or ``json``.
    """
    # Standard output has the events alone, for programs that parse it.
    log_warnings()
    # A character that the terminal's encoding lacks must not end the program.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    lines = _lines(account_id, followed, output, partial(_write, reactor))
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


def log_warnings() -> None:
    """Log warnings and errors on standard error, and nothing else."""
    only_warnings = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [only_warnings])
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)


def _lines(
    account_id: int | None, followed: FollowedDaemon, output: str, write: Write
) -> JsonLines | PlainLines | AllPlainLines:
    now = partial(datetime.now, UTC)
    if output == "json":
        return JsonLines(write)
    if account_id is None:
        return AllPlainLines(now, followed, write)
    session = Session(
        account_id,
        now,
        lambda _important: None,
        followed.read,
        followed.version,
        handshake_origin=lambda: followed.origin,
    )
    return PlainLines(session, write)


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


class JsonLines:
    """Writes each event, and each status of the connection, as a JSON object."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def receive(self, event_type: str, read: UnreadEvent) -> None:
        """Write an event as on the wire, with all its fields."""
        data = read.fields()
        if data is not None:
            self._write(json_line(read.account_id, event_type, data))

    def receive_status(self, event_type: str, status: dict[str, Any]) -> None:
        """Write the client's status."""
        self._write(json_line(None, event_type, status))


def json_line(account_id: int | None, event_type: str, data: dict[str, Any]) -> str:
    """Return an event or connection status as a JSON object, as on the wire."""
    return json_text({"type": event_type, "account_id": account_id, "data": data})


class PlainLines:
    """Writes each new line of a session's feed; the feed has no quotes.

    After each connection it writes a summary of the account.

    :param session: the session to which events and status are passed on.
    :param write: writes one line.
    :param whose: begins each line about the account.
    :param write_common: writes a line that is the same for all accounts.
    """

    def __init__(
        self,
        session: Session,
        write: Write,
        whose: str = "",
        write_common: Write | None = None,
    ) -> None:
        self._session = session
        self._write = write
        self._whose = whose
        self._write_common = write_common or write
        self._written: tuple[FeedLine, ...] = ()
        self._problem = ""

    def receive(self, event_type: str, read: ReadEvent) -> None:
        """Pass an event to the session, and write what it adds to the feed."""
        self._session.receive(event_type, read)
        self.write_news()

    def receive_status(self, event_type: str, status: dict[str, Any]) -> None:
        """Pass the client's status to the session; write a summary or the problem."""
        self._session.receive_status(event_type, status)
        self.write_status()

    def write_status(self) -> None:
        """Write a summary of the account, or why there is no connection."""
        view = self._session.view()
        self.write_news()
        if view.is_live:
            self._write(terminal_text(summary(view, self._session.now())))
        elif not view.connections and view.connection_problem != self._problem:
            # The feed reports a lost connection, but no attempt that failed.
            self._write_common(terminal_text(view.connection_problem))
        self._problem = view.connection_problem

    def write_news(self) -> None:
        """Write the lines that are new in the feed."""
        # The state file's lines are inserted between others, so the index of a line does not show that it
        # is new.
        feed, written = self._session.view().feed, set(map(id, self._written))
        for line in feed:
            if id(line) in written:
                continue
            if line.kind in _COMMON:
                self._write_common(f"{stamp(line.at)} {terminal_text(line.text)}")
            else:
                self._write(f"{stamp(line.at)} {self._whose}{terminal_text(line.text)}")
        self._written = feed


_COMMON: Final = ("console", "daemon_status")
"""The kinds of lines that are about no account."""


class AllPlainLines:
    """Writes the lines of all accounts, and what is common to them once.

    The parameters are those of :class:`PlainLines` and of :class:`AllAccounts`.
    """

    def __init__(
        self, now: Callable[[], datetime], followed: FollowedDaemon, write: Write
    ) -> None:
        self._write = write
        self._changed: set[int] = set()
        self._common: set[str] = set()
        self._lines: dict[int, PlainLines] = {}
        self._problem = ""
        self._accounts = AllAccounts(
            now, lambda account_id, _: self._changed.add(account_id), followed, lambda _event: None
        )

    def receive(self, event_type: str, read: UnreadEvent) -> None:
        """Pass an event to its account, and write what it adds to the feed."""
        self._accounts.receive(event_type, read)
        for account_id in sorted(self._changed):
            self._of(account_id).write_news()
        self._changed.clear()
        self._common.clear()

    def receive_status(self, event_type: str, status: dict[str, Any]) -> None:
        """Pass the client's status on; write a summary of each account, or the problem."""
        self._accounts.receive_status(event_type, status)
        for account_id in self._accounts.sessions:
            self._of(account_id).write_status()
        if not self._accounts.sessions:
            listed = self._accounts.listed(0)
            problem = listed.link.connection_problem or sentence(listed.problem)
            if problem != self._problem:
                self._write(terminal_text(problem))
            self._problem = problem
        self._changed.clear()
        self._common.clear()

    def _of(self, account_id: int) -> PlainLines:
        if account_id not in self._lines:
            self._lines[account_id] = PlainLines(
                self._accounts.sessions[account_id],
                self._write,
                f"account {account_id}: ",
                self._write_once,
            )
        return self._lines[account_id]

    def _write_once(self, line: str) -> None:
        if line not in self._common:
            self._common.add(line)
            self._write(line)
