"""Events as lines: sentences for screen readers, JSON objects for programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from riskd.model.exact_json import encode_json
from riskd.model.formatting import counted
from trader.client import CONNECTION_STATUS, ReadEvent
from trader.model.activity import FeedLine
from trader.model.characters import terminal_text
from trader.model.formatting import clock, money
from trader.model.session import Session
from trader.model.view import View, unknown_reason


def json_line(account_id: int, event_type: str, data: dict[str, Any]) -> str:
    """Return an event or connection status as a JSON object, as on the wire."""
    has_account = event_type not in ("daemon_status", CONNECTION_STATUS)
    event = {"type": event_type, "account_id": account_id if has_account else None, "data": data}
    return encode_json(event).decode()


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


def summary(view: View) -> str:
    """Return the account's state in one line."""
    account = view.account
    parts = [
        f"account {account.account_id}",
        (view.gateway_name or "gateway unknown").upper(),
        *(["DRY RUN"] if view.is_dry_run else []),
        *_figures(view),
        f"LOCKED OUT: {account.lockout.reason}" if account.lockout else "not locked",
    ]
    problems = [] if view.events_only_since is None else [view.file_problem]
    if view.daemon is not None and view.has_daemon_error:
        problems.append(f"Daemon {view.daemon.status}: {view.daemon.message}")
    return "; ".join([", ".join(parts), *problems])


def _figures(view: View) -> list[str]:
    if reason := unknown_reason(view):
        return [f"P&L, positions and orders: {reason}"]
    account = view.account
    return [
        f"realized {money(account.realized_pnl)} in {counted(account.trade_count, 'trade')}",
        counted(len(account.open_positions), "position"),
        counted(len(account.working_orders), "working order"),
    ]
