"""From the gateway to the consoles: each message is put into riskd's terms, applied, and told.

One :class:`AccountPipeline` an account keeps that account's state; the :class:`Pipeline` hears the
gateway and hands each message to the accounts it concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.account import AccountState, apply, is_repeat, merge
from riskd.config import AccountSettings
from riskd.contracts import Contract
from riskd.events import (
    DaemonStatus,
    DailyReset,
    EnforcementAction,
    Event,
    EventData,
    GatewayUserOrder,
    LockoutCleared,
    LockoutSet,
    MarketQuote,
    OrderState,
    Status,
)
from riskd.gateway import mapping
from riskd.gateway.interface import GatewayRefusedError, IGateway, IGatewayListener, Payload
from riskd.journal.service import JournalService
from riskd.journal.store import Recovery

_log = Logger()

_A_DAY: Final = timedelta(days=1)

_LABELS: Final[dict[str, str]] = {"practice": "PRACTICE", "projectx": "ProjectX"}


DURABLE_FIRST: Final = (LockoutSet, LockoutCleared, EnforcementAction, DailyReset)
"""What riskd alone knows: it is on the disk before it is told."""


class AccountPipeline:
    """One account: its state, and the way an event takes through it.

    :ivar state: what is known of the account, and was told.
    """

    def __init__(
        self,
        settings: AccountSettings,
        journal: JournalService,
        broadcast: Callable[[Event], None],
    ) -> None:
        self._watch = frozenset(settings.watch)
        self._journal = journal
        self._broadcast = broadcast
        self._to_be_told: list[Event] = []
        self.state = AccountState(account_id=settings.id)

    @property
    def state_to_write(self) -> AccountState:
        """What the journal is to say: the state, and what is written first and told afterwards."""
        state = self.state
        for event in self._to_be_told:
            state = apply(state, event)
        return state

    def take(self, data: EventData) -> None:
        """Apply what the gateway said, and tell it if it is news."""
        event = Event(self.state.account_id, data)
        after = apply(self.state, event)
        if after is self.state:
            return
        # A repeat is not told, but what is older than it is now known to be outdated.
        is_told = not is_repeat(self.state, event)
        self.state = after
        self._journal.changed(only_quotes=isinstance(data, MarketQuote))
        if is_told:
            self._broadcast(event)

    def announce(self, event: Event) -> Deferred[None]:
        """Apply and tell what riskd itself says; what it alone knows is written first.

        Fires when the event is told, and what was written first is published too.
        """
        if not isinstance(event.data, DURABLE_FIRST):
            self.learn(event)
            self._broadcast(event)
            return succeed(None)
        self._to_be_told.append(event)
        written = self._journal.make_durable()
        written.addCallback(lambda _: self._announce_written(event))
        return written.addErrback(
            lambda failure: _log.failure("telling {event}", failure, event=event)
        )

    def _announce_written(self, event: Event) -> Deferred[None]:
        self._to_be_told.remove(event)
        self.learn(event)
        self._broadcast(event)
        return self._journal.published()

    def learn(self, event: Event) -> None:
        """Apply ``event``, which is told elsewhere."""
        self.state = apply(self.state, event)
        self._journal.changed()

    def recover(self, known: AccountState) -> None:
        """Take over what the journal knows; all but locks will give way to the gateway's word."""
        news = [lock for rule, lock in known.lockouts.items() if rule not in self.state.lockouts]
        self.state = merge(known, self.state)
        # Nobody can have heard of these from this daemon; who was let in before could not read them.
        for lockout in news:
            self._broadcast(Event(self.state.account_id, lockout))

    def learn_contract(self, contract: Contract) -> None:
        """Keep what the gateway said of a contract."""
        contracts = {**self.state.contracts, contract.id: contract}
        self.state = msgspec.structs.replace(self.state, contracts=contracts)
        self._journal.changed()

    def is_concerned(self, contract_id: str) -> bool:
        """Tell whether the account's consoles want to see the contract's quotes."""
        contract = self.state.contract(contract_id)
        is_watched = contract is not None and contract.root in self._watch
        return is_watched or self.state.holds_or_works(contract_id)


@implementer(IGatewayListener)
class Pipeline(Service):
    """All accounts of a daemon, fed by one gateway.

    :param gateway: where messages come from.
    :param accounts: the accounts to follow; messages of others are passed over.
    :param journal: what survives the daemon.
    :param broadcast: the one way out.
    :param now: gives the time of day, aware.
    :ivar in_step: fires when the gateway is followed for the first time, and RUNNING was said.
    """

    def __init__(
        self,
        gateway: IGateway,
        accounts: Iterable[AccountSettings],
        journal: JournalService,
        broadcast: Callable[[Event], None],
        now: Callable[[], datetime],
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._broadcast = broadcast
        self._now = now
        self._accounts = {
            settings.id: AccountPipeline(settings, journal, broadcast) for settings in accounts
        }
        self._quotes = mapping.QuoteBook()
        self._contracts_asked: set[str] = set()
        self._starting: Deferred[None] | None = None
        self.in_step: Deferred[None] = Deferred()
        self._is_in_step = False
        self._trouble = ""
        self._begun = "Daemon started successfully"

    def startService(self) -> None:
        """Get in step with the gateway, then say RUNNING."""
        super().startService()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._could_not_start)

    def stopService(self) -> Deferred[None]:
        """Say STOPPING and leave the gateway."""
        super().stopService()
        if self._starting is not None:
            self._starting.cancel()
        self.announce_status(Status.STOPPING, "The daemon is stopping")
        return self._gateway.stop()

    def announce_status(self, status: Status, message: str) -> None:
        """Tell every console how the daemon is; ``message`` is for a trader to read."""
        self.announce(
            Event(None, DaemonStatus(status=status, message=message, timestamp=self._now()))
        )
        _log.info("status {status}: {message}", status=status.value, message=message)

    def announce(self, event: Event) -> Deferred[None]:
        """Apply ``event`` to the account it is about, or to all if it is about the daemon; tell it.

        Fires when it is told, and published if it is what riskd alone knows.
        """
        account = None if event.account_id is None else self._accounts.get(event.account_id)
        if account is not None:
            return account.announce(event)
        if event.account_id is None:
            for each in self._accounts.values():
                each.learn(event)
        self._broadcast(event)
        return succeed(None)

    def user_event(self, target: str, payload: Payload) -> None:
        """Take what happened to an account; see :class:`IGatewayListener`."""
        with self._fenced(target):
            self._take_user_event(target, payload)

    def market_event(self, target: str, contract_id: str, payload: Payload) -> None:
        """Take what happened in a market; see :class:`IGatewayListener`."""
        if target == "GatewayQuote":
            with self._fenced(target):
                self._take_quote(contract_id, payload)

    @contextmanager
    def _fenced(self, target: str) -> Iterator[None]:
        """Let no message stop the ones that follow it."""
        try:
            yield
        except mapping.MappingError as error:
            _log.error(
                "dropped a {target} that cannot be read: {error}", target=target, error=error
            )
        except Exception:  # noqa: BLE001  # a mistake of ours must not cut the gateway off
            _log.failure("dropped a {target}: a mistake in riskd", target=target)

    def _take_user_event(self, target: str, payload: Payload) -> None:
        # GatewayUserAccount alone has its account under another name.
        account_id = payload.get("id" if target == "GatewayUserAccount" else "accountId")
        account = None if account_id is None else self._accounts.get(account_id)
        if account is None:
            return
        received = self._now()
        if target == "GatewayUserTrade":
            trade = mapping.trade(payload, received)
            if trade is not None:
                account.take(trade)
        elif target == "GatewayUserPosition":
            last = account.state.positions.get(payload.get("contractId", ""))
            account.take(mapping.position(payload, last, received))
        elif target == "GatewayUserOrder":
            if not mapping.has_known_type(payload):
                _log.warn(
                    "order {id} is of unknown type {type}",
                    id=payload.get("id"),
                    type=payload.get("type"),
                )
            known = account.state.orders.get(payload.get("id", 0))
            account.take(mapping.order(payload, known, received))
        contract_id = payload.get("contractId")
        if contract_id is not None:
            self._ask_for_contract(contract_id)

    def _take_quote(self, contract_id: str, payload: Payload) -> None:
        quote = self._quotes.merge(contract_id, payload, self._now())
        if quote is None:
            return
        for account in self._accounts.values():
            if account.is_concerned(contract_id):
                account.take(quote)
                self._ask_for_contract(contract_id)

    async def _start(self) -> None:
        await self._journal.recover(
            self._accounts, self._states, self._recovered, self._journal_trouble
        )
        await self._gateway.start(self)
        for account in self._accounts.values():
            await self._get_in_step(account)
        self._is_in_step = True
        self._say_how_it_is()
        self.in_step.callback(None)

    async def _get_in_step(self, account: AccountPipeline) -> None:
        """Let the gateway's word replace what differs."""
        account_id = account.state.account_id
        held = await self._gateway.search_open_positions(account_id)
        working = await self._gateway.search_open_orders(account_id)
        since = account.state.last_reset.reset_time if account.state.last_reset else None
        trades = await self._gateway.search_trades(account_id, since or self._now() - _A_DAY)
        for payload in trades:
            self.user_event("GatewayUserTrade", payload)
        for position in account.state.open_positions:
            if all(payload.get("contractId") != position.contract_id for payload in held):
                account.take(
                    msgspec.structs.replace(
                        position, size=0, updated_at=max(self._now(), position.updated_at)
                    )
                )
        for payload in held:
            self.user_event("GatewayUserPosition", payload)
        for order in account.state.working_orders:
            if all(payload.get("id") != order.id for payload in working):
                await self._find_end_of(account, order)
        for payload in working:
            self.user_event("GatewayUserOrder", payload)

    async def _find_end_of(self, account: AccountPipeline, order: GatewayUserOrder) -> None:
        """Tell what became of an order that does not work any more."""
        try:
            payload = await self._gateway.search_order(account.state.account_id, order.id)
        except GatewayRefusedError as refusal:
            _log.warn(
                "order {id} is unknown to the gateway and counts as canceled: {refusal}",
                id=order.id,
                refusal=refusal,
            )
            account.take(
                msgspec.structs.replace(
                    order,
                    state=OrderState.CANCELED,
                    updated_at=max(self._now(), order.updated_at),
                )
            )
            return
        self.user_event("GatewayUserOrder", payload)

    def _states(self) -> list[AccountState]:
        return [account.state_to_write for account in self._accounts.values()]

    def _recovered(self, recovery: Recovery) -> None:
        for account_id, known in recovery.accounts.items():
            if account_id in self._accounts:
                self._accounts[account_id].recover(known)
        if self._is_in_step:
            # The journal could only be opened now; what it knows of positions and orders is old.
            again = gatherResults(
                [
                    Deferred.fromCoroutine(self._get_in_step(each))
                    for each in self._accounts.values()
                ]
            )
            again.addErrback(lambda failure: _log.failure("getting in step again", failure))
        if recovery.problem:
            _log.error("{problem}", problem=recovery.problem)
            self.announce_status(Status.ERROR, recovery.problem)

    def _journal_trouble(self, trouble: str) -> None:
        self._trouble = trouble
        if trouble:
            self.announce_status(Status.ERROR, trouble)
        else:
            self._say_how_it_is()

    def _say_how_it_is(self) -> None:
        if self._is_in_step and not self._trouble and self.running:
            begun, self._begun = self._begun, "Running again"
            self.announce_status(Status.RUNNING, f"{begun} on the {_label(self._gateway)} gateway")

    def _could_not_start(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            _log.failure("cannot get in step with the gateway", failure=failure)
            self.announce_status(
                Status.ERROR, f"The gateway cannot be followed: {failure.getErrorMessage()}"
            )

    def _ask_for_contract(self, contract_id: str) -> None:
        """Ask the gateway once for tick size and tick value, and let every account know."""
        if contract_id in self._contracts_asked:
            return
        self._contracts_asked.add(contract_id)
        asked = Deferred.fromCoroutine(self._learn_contract(contract_id))
        asked.addErrback(
            lambda failure: _log.failure("asking for contract {id}", failure, id=contract_id)
        )

    async def _learn_contract(self, contract_id: str) -> None:
        try:
            contract = mapping.contract(await self._gateway.search_contract(contract_id))
        except (GatewayRefusedError, mapping.MappingError) as error:
            _log.error(
                "no tick size for {contract}, its P&L stays unknown: {error}",
                contract=contract_id,
                error=error,
            )
            return
        for account in self._accounts.values():
            account.learn_contract(contract)


def _label(gateway: IGateway) -> str:
    name: str = gateway.name
    return _LABELS.get(name, name)
