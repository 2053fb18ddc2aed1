"""All accounts of a daemon in memory, fed as a client feeds them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.reader import Snapshot, StateFileError
from riskd.model.account import AccountState, Limit, apply
from riskd.model.balance import Balance
from riskd.model.events import Event, EventError
from riskd.model.wire import encode, open_envelope
from riskd.testing import make_event
from tests.support.console import BEGIN, NOT_THERE, at
from trader.client import UnreadEvent
from trader.model.account_row import AccountList, AccountRow
from trader.model.all_accounts import AllAccounts
from trader.model.session import Origin, Session
from trader.model.view import View

MNQ = "CON.F.US.MNQ.U25"
LIMITS = {
    "DAY": Limit("daily_reset", '{"reset_time": "17:00:00", "time_zone": "UTC"}'),
    "RULE-003": Limit("daily_realized_loss", '{"loss_limit": 500}'),
}
FLOOR = {
    **LIMITS,
    "RULE-014": Limit("maximum_loss", '{"drawdown": 2000, "starting_balance": 50000}'),
}


def unread(event: Event) -> UnreadEvent:
    """Return an event as the client passes it on: its wire form, to be decoded later."""
    return UnreadEvent(open_envelope(encode(event)), _fail)


def _fail(error: EventError) -> None:
    raise AssertionError(error)


def account(
    account_id: int,
    *events: Event,
    limits: dict[str, Limit] | None = None,
    balance: str | None = "50000",
) -> AccountState:
    """Return an account after ``events``; they may be of any account."""
    state = AccountState(account_id=account_id, limits=LIMITS if limits is None else limits)
    for event in events:
        is_own = event.account_id is not None
        state = apply(state, Event(account_id if is_own else None, event.data))
    if balance is None:
        return state
    known = msgspec.convert({"agreed": balance}, Balance, strict=False)
    return msgspec.structs.replace(state, balance=known)


def running(message: str = "In step", status: str = "RUNNING") -> Event:
    """Return a status of the daemon."""
    return make_event("daemon_status", {"status": status, "message": message, "timestamp": at(-4)})


class Copy:
    """The published copy and its daemon, in memory.

    :ivar readings: the accounts of each reading; ``None`` for all.
    """

    def __init__(self) -> None:
        self.origin: Origin = (None, "")
        self.readings: list[list[int] | None] = []
        self._versions = 0
        self._content: Snapshot | str = NOT_THERE

    def publish(self, *accounts: AccountState, seconds: float = 0, **fields: Any) -> None:
        """Publish these accounts, and no others."""
        self._versions += 1
        self._content = Snapshot(
            accounts={state.account_id: state for state in accounts},
            as_of=BEGIN + timedelta(seconds=seconds),
            commits=self._versions,
            **{"gateway_name": "practice", **fields},
        )

    def fail(self, problem: str = NOT_THERE) -> None:
        """Let it be unreadable."""
        self._versions += 1
        self._content = problem

    def read(self, only: Collection[int] | None = None) -> Snapshot:
        """Return the copy with some accounts."""
        self.readings.append(None if only is None else sorted(only))
        if isinstance(self._content, str):
            raise StateFileError(self._content)
        content = self._content
        known = content.accounts
        wanted = {key: known[key] for key in known if only is None or key in only}
        return msgspec.structs.replace(content, accounts=wanted)

    def version(self) -> object:
        """Return a value that differs after each publication."""
        return self._versions


class AllAccountsTestCase(SynchronousTestCase):
    """All accounts of a daemon that has published nothing yet."""

    only: int | None = None

    def setUp(self) -> None:
        self.now = BEGIN
        self.copy = Copy()
        self.changes: list[tuple[int, bool]] = []
        self.alarms: list[Event] = []
        self.retry_in: float | None = None
        self.accounts = AllAccounts(
            lambda: self.now,
            lambda account_id, is_important: self.changes.append((account_id, is_important)),
            self.copy,
            self.alarms.append,
            self.only,
            self.view_of,
        )

    def view_of(self, session: Session) -> View:
        """Return a session's view."""
        return session.view(self.retry_in)

    def connect(self) -> None:
        """Report a completed handshake."""
        self.accounts.receive_status(
            "connection_status", {"connected": True, "reason": "connected"}
        )

    def lose(self, reason: str = "lost connection to daemon") -> None:
        """Report a lost connection or a failed attempt."""
        self.accounts.receive_status("connection_status", {"connected": False, "reason": reason})

    def receive(self, event_type: str, account_id: int | None, **data: Any) -> None:
        """Report an event, decoded from its wire form."""
        made = make_event(event_type, data)
        self.accounts.receive(event_type, unread(Event(account_id, made.data)))

    def wait(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += timedelta(seconds=seconds)

    def listed(self, order: int = 0) -> AccountList:
        """Return all accounts, all rows made again."""
        self.accounts.catch_up()
        self.accounts.work((), most=1000)
        return self.accounts.listed(order)

    def row(self, account_id: int) -> AccountRow:
        """Return the row of an account."""
        return next(row for row in self.listed().rows if row.account_id == account_id)

    def ids(self, order: int = 0) -> list[int]:
        """Return the accounts in the order of their rows."""
        return [row.account_id for row in self.listed(order).rows]
