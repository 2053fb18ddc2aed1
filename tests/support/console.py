"""A console's session with its clock and file in memory, and a day's events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.reader import Snapshot, StateFileError
from riskd.model.account import AccountState, Limit, apply
from riskd.model.balance import Balance
from riskd.model.contracts import Contract
from riskd.model.events import Event
from riskd.model.wire import decode, encode
from riskd.testing import make_event
from tests.support.rules import state_after
from trader.model.session import Origin, Session
from trader.model.view import View

BEGIN = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)
MNQ = "CON.F.US.MNQ.U25"
NOT_THERE = "no last known state: /state/last-known.db is not there"
FILE_PROBLEMS = (
    NOT_THERE,
    "no last known state: /state/last-known.db: Permission denied",
    "no last known state: /state/last-known.db is damaged (file is not a database)",
    (
        "no last known state: /state/last-known.db was written by a newer riskd "
        "(schema 9, this one knows 1); upgrade riskd, or start with another --state directory"
    ),
)


def at(seconds: float) -> str:
    """Return the wire timestamp of a moment ``seconds`` after :data:`BEGIN`."""
    return (BEGIN + timedelta(seconds=seconds)).isoformat()


def account_after(*events: tuple[str, dict[str, Any]]) -> AccountState:
    """Return the account after ``events``, each a type and its data."""
    return state_after(*(make_event(event_type, data) for event_type, data in events))


DAY = (
    make_event("MarketQuote", {"last": 21000, "timestamp": at(-9.5)}),
    make_event("GatewayUserPosition", {"id": 1, "size": 3, "updatedAt": at(-8)}),
    make_event("GatewayUserOrder", {"id": 2, "state": 1, "updatedAt": at(-7)}),
    make_event("GatewayUserTrade", {"id": 3, "profitAndLoss": -45.50, "executionTime": at(-6)}),
    make_event("enforcement_action", {"reason": "6 > 5", "timestamp": at(-5)}),
    make_event("lockout_set", {"reason": "Daily loss", "locked_until": at(600)}),
    make_event("daemon_status", {"status": "RUNNING", "message": "In step", "timestamp": at(-4)}),
    # The first quote is older than the position, and no mark of it.
    make_event("MarketQuote", {"last": 21001, "timestamp": at(-9)}),
)
"""The events of a day before the console connects, for the state file."""


class StateFile:
    """The published copy, in memory; counts how often it was read."""

    def __init__(self) -> None:
        self.reads = 0
        self._version: int | None = None
        self._content: Snapshot | str = NOT_THERE

    def publish(
        self,
        *events: Event,
        seconds: float | None = 0,
        gateway_name: str | None = "practice",
        account_id: int = 123,
        contracts: dict[str, Contract] | None = None,
        limits: dict[str, Limit] | None = None,
        clock_offset: timedelta | None = None,
        instance: str = "",
        balance: Balance | None = None,
    ) -> AccountState:
        """Publish the state after ``events``, and return it.

        :param seconds: how long after :data:`BEGIN` the file is dated; ``None`` for no date.
        :param clock_offset: how far the broker's clock is ahead of the console's.
        """
        state = AccountState(account_id=account_id, contracts=contracts or {}, limits=limits or {})
        for event in events:
            state = apply(state, event)
        # The daemon publishes no final orders.
        state = msgspec.structs.replace(state, final_orders={}, balance=balance or Balance())
        as_of = None if seconds is None else BEGIN + timedelta(seconds=seconds)
        self._replace(
            Snapshot(
                accounts={account_id: state},
                as_of=as_of,
                gateway_name=gateway_name,
                instance=instance,
                clock_offset=clock_offset,
            )
        )
        return state

    def publish_accounts(self, *account_ids: int) -> None:
        """Publish these accounts, each of them empty."""
        accounts = {number: AccountState(account_id=number) for number in account_ids}
        self._replace(Snapshot(accounts=accounts, as_of=BEGIN))

    def fail(self, problem: str = NOT_THERE) -> None:
        """Make each later read raise :exc:`StateFileError` with ``problem``."""
        self._replace(problem)

    def read(self, _only: object = None) -> Snapshot:
        """Return the snapshot, or raise; the session calls this."""
        self.reads += 1
        if isinstance(self._content, str):
            raise StateFileError(self._content)
        return self._content

    def version(self) -> int | None:
        """Return a value that differs after each change; ``None`` until the first one."""
        return self._version

    def _replace(self, content: Snapshot | str) -> None:
        self._content = content
        self._version = (self._version or 0) + 1


class SessionTestCase(SynchronousTestCase):
    """A session of account 123, fed as a client feeds it."""

    def setUp(self) -> None:
        self.now = BEGIN
        self.changes: list[bool] = []
        self.file = StateFile()
        self.origin: Origin = (None, "")
        self.session = Session(
            123,
            lambda: self.now,
            self.changes.append,
            self.file.read,
            self.file.version,
            handshake_origin=lambda: self.origin,
        )

    @property
    def view(self) -> View:
        """The view now."""
        return self.session.view()

    @property
    def feed(self) -> list[str]:
        """The texts of the activity feed, oldest first."""
        return [line.text for line in self.view.feed]

    def connect(self) -> None:
        """Report a completed handshake."""
        self.session.receive_status(
            "connection_status", {"connected": True, "reason": "connected"}
        )

    def lose(self, reason: str = "lost connection to daemon") -> None:
        """Report a lost connection or a failed attempt."""
        self.session.receive_status("connection_status", {"connected": False, "reason": reason})

    def receive(self, event_type: str, **data: Any) -> None:
        """Report an event, decoded from its wire form."""
        self.receive_event(make_event(event_type, data))

    def receive_event(self, event: Event) -> None:
        """Report ``event``, decoded from its wire form."""
        event = decode(encode(event))
        self.session.receive(event.type, lambda: event)

    def wait(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += timedelta(seconds=seconds)
