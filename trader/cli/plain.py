"""Events without a screen: a line each for pipes and screen readers, or a JSON object each for programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from riskd.model.events import Status
from riskd.model.formatting import counted
from trader.client import CONNECTION_STATUS
from trader.model.activity import FeedLine
from trader.model.characters import printable
from trader.model.formatting import clock, money
from trader.model.session import Session
from trader.model.view import Source, View, unknown_reason

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
_OF_NO_ACCOUNT: Final = ("daemon_status", CONNECTION_STATUS)


class JsonLines:
    """Writes what the client calls back with as it is, a JSON object a line; quotes, too."""

    def __init__(self, account_id: int, write: Callable[[str], object]) -> None:
        self._account_id = account_id
        self._write = write

    def take(self, event_type: str, data: dict[str, Any]) -> None:
        """Write an event."""
        account_id = None if event_type in _OF_NO_ACCOUNT else self._account_id
        event = {"type": event_type, "account_id": account_id, "data": data}
        self._write(_ENCODER.encode(event).decode())


class PlainLines:
    """Writes a line for everything that a session tells in its feed; quotes are in no feed.

    A connection is followed by a line that says how the account is.
    """

    def __init__(self, session: Session, write: Callable[[str], object]) -> None:
        self._session = session
        self._write = write
        self._told: tuple[FeedLine, ...] = ()
        self._trouble = ""

    def take(self, event_type: str, data: dict[str, Any]) -> None:
        """Let the session take an event, and write what it says of it."""
        self._session.take(event_type, data)
        view = self._session.view()
        if view.feed is not self._told:
            self._write_new(view.feed)
        if event_type == CONNECTION_STATUS:
            self._write_connection(view)

    def _write_new(self, lines: tuple[FeedLine, ...]) -> None:
        # Lines of the file come between others, so that their place says nothing.
        told = set(map(id, self._told))
        for line in lines:
            if id(line) not in told:
                self._write(f"{clock(line.at)} {printable(line.text)}")
        self._told = lines

    def _write_connection(self, view: View) -> None:
        if view.source is Source.LIVE:
            self._write(printable(summary(view)))
        elif not view.connections and view.connection_problem != self._trouble:
            # A connection that was lost is in the feed; one that never was is not.
            self._write(printable(view.connection_problem))
        self._trouble = view.connection_problem


def summary(view: View) -> str:
    """Return how the account is, in a line."""
    account = view.account
    parts = [
        f"account {account.account_id}",
        (view.gateway_name or "gateway unknown").upper(),
        *(["DRY RUN"] if view.is_dry_run else []),
        *_figures(view),
        f"LOCKED OUT: {account.lockout.reason}" if account.lockout else "not locked",
    ]
    troubles = [] if view.events_only_since is None else [view.file_problem]
    if view.daemon is not None and view.daemon.status is Status.ERROR:
        troubles.append(f"Daemon {view.daemon.status}: {view.daemon.message}")
    return "; ".join([", ".join(parts), *troubles])


def _figures(view: View) -> list[str]:
    if reason := unknown_reason(view):
        return [f"P&L, positions and orders: {reason}"]
    account = view.account
    return [
        f"realized {money(account.realized_pnl)} in {counted(account.trade_count, 'trade')}",
        counted(len(account.open_positions), "position"),
        counted(len(account.working_orders), "working order"),
    ]
