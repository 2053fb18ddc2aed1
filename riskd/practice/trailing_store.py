"""What searches find at a broker whose searches trail its events.

The live gateway reports a change at once, and its searches show the change a moment later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from riskd.gateway.enums import GatewayOrderStatus
from riskd.gateway.targets import ACCOUNT, ORDER, POSITION, TRADE
from riskd.practice.account_store import AccountStore
from riskd.practice.fault_injection import FaultInjector
from riskd.practice.records import Message, Order, Position

_SOON: Final = 1e-6
"""Sums of seconds are not exact."""


class TrailingStore:
    """Chooses the store that is searched: the exchange's, or a copy that trails it.

    :param store: the exchange's own.
    :param injector: has the fault to simulate.
    """

    def __init__(self, store: AccountStore, injector: FaultInjector) -> None:
        self._store = store
        self._injector = injector
        self._copy: AccountStore | None = None
        self._changes: deque[tuple[float, Message]] = deque()

    def begin(self, now: datetime, *, anew: bool = False) -> None:
        """Begin a trailing copy if the fault is set; otherwise drop the copy.

        :param now: the time on the exchange's clock.
        :param anew: whether a copy that trails already is replaced.
        """
        is_trailing = bool(self._injector.faults.searches_trail_seconds)
        if is_trailing and self._copy is not None and not anew:
            return
        self._changes.clear()
        self._copy = _copied(self._store, now) if is_trailing else None

    def add(self, messages: Iterable[Message], seconds: float) -> None:
        """Add changes of the exchange's store.

        :param messages: of accounts.
        :param seconds: on any clock that does not go back.
        """
        if self._copy is not None:
            self._changes.extend((seconds, message) for message in messages)

    def at(self, seconds: float) -> AccountStore:
        """Return the store to search.

        :param seconds: the time on the clock of :meth:`add`.
        """
        if self._copy is None:
            return self._store
        shown_until = seconds - self._injector.faults.searches_trail_seconds + _SOON
        while self._changes and self._changes[0][0] <= shown_until:
            apply_message(self._copy, self._changes.popleft()[1])
        return self._copy


def _copied(store: AccountStore, now: datetime) -> AccountStore:
    names = {account.id: account.name for account in store.records.values()}
    copy = AccountStore(names, store.listed.values(), first_id=0)
    copy.restore(store.state(now), now)
    return copy


def apply_message(store: AccountStore, message: Message) -> None:
    """Do to a store what a message of another reports."""
    target, _contract, payload = message
    if target == ACCOUNT:
        account = store.records[payload["id"]]
        account.balance, account.can_trade = payload["balance"], payload["canTrade"]
        return
    account, contract = store.records[payload["accountId"]], store.listed[payload["contractId"]]
    if target == ORDER:
        account.orders.pop(payload["id"], None)
        if payload["status"] == GatewayOrderStatus.OPEN:
            account.orders[payload["id"]] = Order.from_payload(payload, contract)
        store.add_order(payload)
    elif target == POSITION:
        account.positions.pop(contract.id, None)
        if payload["size"]:
            account.positions[contract.id] = Position.from_payload(payload, contract)
    elif target == TRADE:
        store.add_trade(payload)
