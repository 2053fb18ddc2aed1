"""The accounts of a desk: of each the published state, and the events after it.

A state has the number of the last event that it has, so events and states may come in any order: the account is the
latest state, and on top of it the events with a greater number.  An account belongs to the instance that claimed it
first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from operator import is_
from typing import Final

import msgspec

from riskd.desk.links import KnownLink
from riskd.desk.messages import MessageError
from riskd.model.account import AccountState, apply_quote, with_risk
from riskd.model.broker import BrokerTrade
from riskd.model.contracts import Contract
from riskd.model.event_number import Number
from riskd.model.events import DaemonStatus, Event, MarketQuote
from riskd.model.exact_json import NOT_JSON
from riskd.model.received import after_event, in_order_of_arrival

RECORD: Final = "desk"
"""The name, among an account's settings in the journal, of what the relay remembers of it."""

MOST_KEPT: Final = 2_000
"""So many events of an account are kept until a state has them."""

MOST_ACCOUNTS: Final = 1_000
"""So many accounts of an instance are taken."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the relay remembers of an account over a restart.

    :ivar instance: the instance that it belongs to.
    :ivar known: the number up to which the account has all of its events.
    :ivar delivered: the number of the last event of its instance that was passed on when this was written.
    :ivar link: the trouble of its instance's link; ``None`` if there was none.
    """

    instance: str
    known: Number | None = None
    delivered: Number | None = None
    link: KnownLink | None = None


class DeskAccount:
    """One account.

    :param account: as it is known.
    :ivar record: what is remembered of it.
    """

    def __init__(self, account: AccountState, record: Record) -> None:
        self.account = account
        self.record = record
        # Of the account, all events after the number that the account has.
        self._kept: deque[tuple[Number, Event]] = deque()
        self._kept_after = record.known
        # Events up to here are older than the first state.
        self._before: Number | None = None
        self._stored_of: tuple[object, ...] = ()
        self._stored = account

    @property
    def is_new(self) -> bool:
        """Whether neither a state nor an event is known."""
        return self.record.known is None

    def receive(self, number: Number, event: Event) -> bool:
        """Take an event; return whether it is to be broadcast.

        Events of one account come in order.
        """
        known = self.record.known
        self.record = msgspec.structs.replace(self.record, delivered=number)
        if known is None or number > known:
            self.account = _with_event(self.account, event)
            self._kept.append((number, event))
            if len(self._kept) > MOST_KEPT:
                self._kept_after = self._kept.popleft()[0]
            self.record = msgspec.structs.replace(self.record, known=number)
        return self._before is None or number > self._before

    def note_delivered(self, number: Number) -> None:
        """Note an event of the daemon itself."""
        self.record = msgspec.structs.replace(self.record, delivered=number)

    def note_link(self, link: KnownLink | None) -> None:
        """Note the trouble of the link; ``None`` if there is none."""
        if self.record.link != link:
            self.record = msgspec.structs.replace(self.record, link=link)

    def receive_quote(self, quote: MarketQuote) -> bool:
        """Take a quote; return whether it is news."""
        before = self.account
        self.account = apply_quote(before, quote)
        return self.account is not before

    def take_state(self, state: AccountState, number: Number) -> bool:
        """Take a published state; return whether it is used.

        It is not if it lacks events that are not kept any more.
        """
        if self._kept_after is not None and number < self._kept_after:
            return False
        if self.is_new:
            self._before = number
        while self._kept and self._kept[0][0] <= number:
            self._kept.popleft()
        account = _with_quotes(state, self.account)
        for _number, event in self._kept:
            account = _with_event(account, event)
        self.account = _with_ended_orders(account, self.account)
        self._kept_after = number
        known = self.record.known
        later = number if known is None else max(number, known)
        self.record = msgspec.structs.replace(self.record, known=later)
        return True

    def begin_anew(self) -> None:
        """Forget all numbers; the next state is used, whatever its number."""
        self.record = Record(instance=self.record.instance, link=self.record.link)
        self._kept.clear()
        self._kept_after = self._before = None

    def stored(self, status: DaemonStatus | None) -> AccountState:
        """Return the account with its record, as the journal keeps it.

        The same object as before if nothing has changed.

        :param status: what the account shows as the status of its daemon.
        """
        parts = (self.account, self.record, status)
        # By identity: what has changed is another object, and comparing hundreds of trades takes long.
        if not (self._stored_of and all(map(is_, parts, self._stored_of))):
            text = msgspec.json.encode(self.record).decode()
            account = msgspec.structs.replace(self.account, daemon=status)
            self._stored, self._stored_of = with_risk(account, settings={RECORD: text}), parts
        return self._stored


def _with_event(account: AccountState, event: Event) -> AccountState:
    return after_event(account, in_order_of_arrival(account, event))


def _with_quotes(state: AccountState, live: AccountState) -> AccountState:
    """Return ``state`` with the quotes since, which have no numbers."""
    known = state.quotes
    later = {
        contract_id: quote
        for contract_id, quote in live.quotes.items()
        if contract_id not in known or quote.timestamp >= known[contract_id].timestamp
    }
    return msgspec.structs.replace(
        state,
        quotes={**known, **later},
        outdated_quotes=live.outdated_quotes,
    )


def _with_ended_orders(account: AccountState, live: AccountState) -> AccountState:
    """Return ``account`` with the orders that have ended, which no state has."""
    ended = {key: at for key, at in live.final_orders.items() if key not in account.orders}
    return msgspec.structs.replace(account, final_orders={**ended, **account.final_orders})


class DeskAccounts:
    """All accounts of a desk."""

    def __init__(self) -> None:
        self._accounts: dict[int, DeskAccount] = {}
        self._of_instance: dict[str, list[int]] = {}
        # The first description of a contract counts, because all accounts of a copy share it.
        self._contracts: dict[str, tuple[str, Contract]] = {}

    def recover(self, states: Iterable[AccountState]) -> None:
        """Take over what the journal has; an account without a record is left out."""
        for state in states:
            with suppress(KeyError, *NOT_JSON):
                record = msgspec.json.decode(state.risk.settings[RECORD], type=Record)
                account = with_risk(state, settings={})
                self._add(DeskAccount(msgspec.structs.replace(account, daemon=None), record))
                self._with_shared_contracts(record.instance, account)

    def of_instance(self, instance: str) -> list[int]:
        """Return the ids of an instance's accounts, lowest first."""
        return sorted(self._of_instance.get(instance, ()))

    @property
    def instances(self) -> tuple[str, ...]:
        """The instances that have an account."""
        return tuple(self._of_instance)

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of all accounts."""
        return tuple(self._accounts)

    def trades(self, account_id: int) -> Mapping[int, BrokerTrade] | None:
        """Return the trades of an account; ``None`` if it is not known."""
        account = self._accounts.get(account_id)
        return None if account is None else account.account.trades

    def delivered(self, instance: str) -> Number | None:
        """Return the number of the last event of an instance that was passed on."""
        return self._highest(instance, lambda record: record.delivered)

    def known(self, instance: str) -> Number | None:
        """Return the highest number that an account of an instance has."""
        return self._highest(instance, lambda record: record.known)

    def _highest(self, instance: str, number: Callable[[Record], Number | None]) -> Number | None:
        found = [number(self._accounts[key].record) for key in self.of_instance(instance)]
        return max((each for each in found if each is not None), default=None)

    def receive(self, instance: str, number: Number, event: Event) -> bool:
        """Take an event of an account; return whether it is to be broadcast.

        :raises MessageError: the account is of another instance, or one too many.
        """
        assert event.account_id is not None  # noqa: S101  # events of the daemon have no account
        return self._claimed(instance, event.account_id).receive(number, event)

    def note_delivered(self, instance: str, number: Number) -> None:
        """Note an event of the daemon of an instance itself."""
        for account_id in self._of_instance.get(instance, ()):
            self._accounts[account_id].note_delivered(number)

    def note_link(self, instance: str, link: KnownLink | None) -> None:
        """Note the trouble of the link of an instance; ``None`` if there is none."""
        for account_id in self._of_instance.get(instance, ()):
            self._accounts[account_id].note_link(link)

    def link(self, instance: str) -> KnownLink | None:
        """Return the trouble of the link of an instance when it was last noted."""
        known = (self._accounts[key].record.link for key in self._of_instance.get(instance, ()))
        return next(filter(None, known), None)

    def remove(self, instance: str) -> None:
        """Forget all accounts of an instance."""
        for account_id in self._of_instance.pop(instance, ()):
            del self._accounts[account_id]
        owned = self._contracts.items()
        self._contracts = {key: pair for key, pair in owned if pair[0] != instance}

    def receive_quote(self, instance: str, account_id: int, quote: MarketQuote) -> bool:
        """Take a quote; return whether it is news of an account of the instance."""
        account = self._accounts.get(account_id)
        if account is None or account.record.instance != instance:
            return False
        return account.receive_quote(quote)

    def take_state(self, instance: str, state: AccountState, number: Number) -> bool:
        """Take a published state; return whether it is used.

        :raises MessageError: the account is of another instance, or one too many.
        """
        account = self._claimed(instance, state.account_id)
        return account.take_state(self._with_shared_contracts(instance, state), number)

    def begin_anew(self, instance: str) -> None:
        """Forget all numbers of an instance."""
        for account_id in self._of_instance.get(instance, ()):
            self._accounts[account_id].begin_anew()

    def stored(self, status_of: Callable[[str], DaemonStatus | None]) -> tuple[AccountState, ...]:
        """Return all accounts, as the journal keeps them.

        :param status_of: returns the status that the accounts of an instance show.
        """
        statuses = {instance: status_of(instance) for instance in self._of_instance}
        return tuple(
            [each.stored(statuses[each.record.instance]) for each in self._accounts.values()]
        )

    def _claimed(self, instance: str, account_id: int) -> DeskAccount:
        account = self._accounts.get(account_id)
        if account is None:
            if len(self._of_instance.get(instance, ())) >= MOST_ACCOUNTS:
                raise MessageError(
                    f"account {account_id} of {instance} is left out: it has {MOST_ACCOUNTS} others"
                )
            account = DeskAccount(AccountState(account_id=account_id), Record(instance=instance))
            self._add(account)
        owner = account.record.instance
        if owner != instance:
            raise MessageError(
                f"account {account_id} of {instance} is left out: {owner} has an account of this number, "
                "and was first"
            )
        return account

    def _add(self, account: DeskAccount) -> None:
        account_id = account.account.account_id
        self._accounts[account_id] = account
        self._of_instance.setdefault(account.record.instance, []).append(account_id)

    def _with_shared_contracts(self, instance: str, state: AccountState) -> AccountState:
        contracts = {}
        for key, contract in state.contracts.items():
            owner, known = self._contracts.setdefault(key, (instance, contract))
            if owner == instance and known != contract:
                self._contracts[key] = (instance, known := contract)
            contracts[key] = known
        if contracts == state.contracts:
            return state
        return msgspec.structs.replace(state, contracts=contracts)
