"""A client of riskd's stream that records it, and checks it by the contract."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from riskd.journal.reader import read_published
from riskd.model.account import AccountState, apply
from riskd.model.events import (
    DaemonStatus,
    EnforcementAction,
    EventError,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    LockoutSet,
    MarketQuote,
    OrderState,
    Status,
)
from riskd.model.received import in_order_of_arrival
from riskd.model.wire import MAX_MESSAGE_BYTES, decode, encode
from tests.support.invariants import LOCKING, Invariants
from tests.support.practice_daemon import ACCOUNT
from trader.client import CONNECTION_STATUS, DaemonClient


class StreamRecorder(DaemonClient):
    """A client of the stream that records each message and checks it by the contract.

    :param directory: has riskd's state directory, and gets the record.
    :param look: has the oracle look at the exchange, before it judges an event.
    :param on_connected: called with the published copy after each handshake.
    :ivar account: what the stream has said since the published copy that was found after the handshake.
    :ivar status: the daemon's status, as it said last.
    """

    def __init__(
        self,
        port: int,
        directory: Path,
        invariants: Invariants,
        trace: Callable[[str], object],
        look: Callable[[], object],
        on_connected: Callable[[AccountState], object],
    ) -> None:
        super().__init__(ACCOUNT, self._status, f"ws://127.0.0.1:{port}")
        self._state = directory / "state"
        self._file = (directory / "stream.jsonl").open("ab")
        self._invariants = invariants
        self._trace = trace
        self._look = look
        self._on_connected = on_connected
        self.account = AccountState(account_id=ACCOUNT)
        self.status: Status | None = None
        self._has_just_locked = False
        self._locked: set[str] = set()
        self._stamps: dict[tuple[str, int], datetime] = {}
        self._ended: set[int] = set()
        self._trades: set[int] = set()

    def _check(self, holds: bool, *what: object) -> None:
        self._invariants.check(holds, *what)

    def _status(self, event_type: str, status: dict[str, Any]) -> None:
        if event_type != CONNECTION_STATUS:
            return
        self._trace(f"client: {status}")
        if status["connected"]:
            # A new daemon may send again what the last one sent.
            self._trades = set()
            self._invariants.restarted()
            self.account = copy = read_published(self._state).accounts[ACCOUNT]
            self._locked |= copy.lockouts.keys() | {each.rule_id for each in copy.enforcement}
            self.status = None if copy.daemon is None else copy.daemon.status
            self._on_connected(copy)

    def message_received(self, message: bytes) -> None:
        self._file.write(message + b"\n")
        self._check(len(message) < MAX_MESSAGE_BYTES, "too long", message)
        try:
            event = decode(message)
        except EventError as error:
            self._check(False, "no event", message, error)
        else:
            self._check(encode(event) == message, "not as documented", message, encode(event))
            self._check(event.account_id in (None, ACCOUNT), "of another account", message)
            if not isinstance(event.data, MarketQuote):
                self._trace(f"stream: {message.decode()}")
                self._look()
                self._check_lock(event.data)
            self._check_order(event.data)
            self.account = apply(self.account, in_order_of_arrival(self.account, event))
            self._invariants.receive(event)
        super().message_received(message)

    def _check_order(self, data: Any) -> None:
        """Check what the contract says of the order of events."""
        if isinstance(data, GatewayUserPosition):
            self._check_stamp("position", data.id, data.updated_at)
        elif isinstance(data, GatewayUserOrder):
            self._check_stamp("order", data.id, data.updated_at)
            is_active = data.state is OrderState.ACTIVE
            self._check(not (is_active and data.id in self._ended), "works again", data)
            if not is_active:
                self._ended.add(data.id)
        elif isinstance(data, GatewayUserTrade):
            self._check(data.id not in self._trades, "traded again", data)
            self._trades.add(data.id)
        elif isinstance(data, DaemonStatus):
            self.status = data.status

    def _check_lock(self, data: Any) -> None:
        """Check that each lock follows an action; breaches that come together are one."""
        if isinstance(data, LockoutSet):
            is_known = self._has_just_locked or data.rule_id in self._locked
            self._check(is_known, "locked without an action", data)
            self._locked.add(data.rule_id)
        else:
            self._has_just_locked = isinstance(data, EnforcementAction) and data.action in LOCKING

    def _check_stamp(self, kind: str, number: int, stamp: datetime) -> None:
        last = self._stamps.get((kind, number), stamp)
        self._check(stamp >= last, "goes back", kind, number, last, stamp)
        self._stamps[kind, number] = stamp

    async def close(self) -> None:
        await self.disconnect()
        self._file.close()
