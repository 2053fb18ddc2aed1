"""The practice broker: an exchange with market, traders, network and ledger.

It takes and yields the gateway's own payloads; :mod:`.gateway` makes a gateway of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Concatenate, Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from riskd.config.settings import NO_FAULTS, Faults
from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayRefusedError
from riskd.gateway.payload_listener import PayloadListener
from riskd.gateway.targets import TRADE
from riskd.host.timing import lasting_loop
from riskd.model.money import CENT, is_on_tick
from riskd.practice.account_store import AccountStore
from riskd.practice.corrections import Corrections
from riskd.practice.event_schedule import EventSchedule
from riskd.practice.exchange import Exchange
from riskd.practice.fault_injection import FaultInjector
from riskd.practice.ledger import Ledger
from riskd.practice.ledger_format import Note
from riskd.practice.market import STEP_SECONDS, Market
from riskd.practice.network import Network, notify
from riskd.practice.payload_faults import PayloadFaults
from riskd.practice.records import Message, Quote, without_nulls
from riskd.practice.traders import Trader, carry_out
from riskd.practice.trailing_store import TrailingStore

LEDGER_NAME: Final = "practice-ledger.jsonl"
"""The name of the ledger's file in its directory."""

_log = Logger()
_T = TypeVar("_T")
_P = ParamSpec("_P")


class PracticeBroker:
    """A broker that trades on paper, in a market of its own.

    Each account that watches contracts has a practice trader.

    :param clock: drives the market.
    :param now: returns the time of day, aware.
    :param accounts: the tickers that each account trades, such as ``MNQ``, by account id.
    :param seed: the same seed gives the same prices and trades; ``None`` gives new ones.
    :param is_open: whether the market moves and the traders trade; a shut market only answers requests.
    :param is_quiet: whether there are no traders; the market moves all the same.
    :param ledger: the directory of the ledger, from which the start restores positions, orders and trades;
        ``None`` begins with fresh accounts and keeps nothing.  No two gateways may share a directory.
    :param faults: what goes wrong, at random.  The practice traders act on the exchange itself, so of all
        faults only those of fills meet them.
    :ivar exchange: for searches; a change made there directly is published with the next one made here.
    :ivar payload_faults: what is wrong in events and answers; knows whether a fault has stopped the quotes.
    """

    def __init__(
        self,
        clock: IReactorTime,
        now: Callable[[], datetime],
        accounts: Mapping[int, tuple[str, ...]],
        *,
        seed: int | None = None,
        is_open: bool = True,
        is_quiet: bool = False,
        ledger: Path | None = None,
        faults: Faults = NO_FAULTS,
    ) -> None:
        self._clock = clock
        self._time_of_day = now
        self._latest = now()
        self._is_open = is_open
        self._market = Market(_random(seed, "market"), self._latest.date())
        self._injector = FaultInjector(faults, _random(seed, "faults"))
        self.exchange = Exchange(
            {account_id: f"PRACTICE-{account_id}" for account_id in accounts},
            self._market.contracts,
            self._market.fees,
            self._injector,
            # Ids go on after those of an earlier run, as a broker's do.
            first_id=int(self._latest.timestamp() * 1000),
        )
        self._traders = {
            account_id: Trader(contracts, _random(seed, f"trader {account_id}"))
            for account_id, tickers in accounts.items()
            # A watched contract need not be listed here; then there is nothing to trade.
            if is_open and not is_quiet and (contracts := self._market.listed(tickers))
        }
        self._ledger = None if ledger is None else Ledger(ledger / LEDGER_NAME, _log_note)
        self._is_restored = False
        self.payload_faults = PayloadFaults(self._injector, _random(seed, "payload faults"))
        self._corrections = Corrections(
            clock, self._injector, _random(seed, "corrections"), self._correct
        )
        self._network = Network(
            clock, EventSchedule(self._injector, _random(seed, "events")), self.broker_time
        )
        self._exchange_observers: list[Callable[[Message], None]] = []
        self._trailing_store = TrailingStore(self.exchange.store, self._injector)
        self._loop = lasting_loop(clock, self._step, _log)

    @property
    def faults(self) -> Faults:
        """The faults to simulate; new ones take effect with the next request."""
        return self._injector.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._injector.faults = faults
        self._trailing_store.begin(self.broker_time())

    def open_market(self, listener: PayloadListener | None = None) -> None:
        """Open the market; report what happens from now on to ``listener``, if given."""
        self._network.start(listener)
        # A second start goes on with the exchange as it is.
        if self._ledger is not None and not self._is_restored:
            self._restore(self._ledger)
        self._is_restored = True
        self._trailing_store.begin(self.broker_time(), anew=True)
        for contract_id, quote in self._market.opening():
            self.exchange.move_market(contract_id, quote, self.broker_time())
        # A shut market has opening prices to fill orders at, but publishes no quotes of its own.
        self._publish(with_quotes=self._is_open)
        if self._is_open:
            self._loop.start(STEP_SECONDS, now=False)

    def stop(self) -> Deferred[None]:
        """Shut the market; a request that is not answered yet never will be."""
        if self._loop.running:
            self._loop.stop()
        self._corrections.stop()
        self._network.stop()
        if self._ledger is not None:
            self._ledger.close()
        return succeed(None)

    def observe(self, observer: Callable[[Message], None], *, before_faults: bool = False) -> None:
        """Call ``observer`` with each message that the listener receives, right after it.

        It may be called before the start, and holds for every start.  A failing observer is logged.

        :param before_faults: whether it receives what happens at the exchange instead, as it happens.
        """
        if before_faults:
            self._exchange_observers.append(observer)
        else:
            self._network.observe(observer)

    def broker_time(self) -> datetime:
        """Return the time on the exchange's clock, by which all of its stamps are.

        It stands still while the time of day is set back.
        """
        self._latest = max(self._latest, self._time_of_day())
        return self._latest + timedelta(seconds=self.faults.clock_offset_seconds)

    def round_trip(self) -> Deferred[None]:
        """Return a Deferred that fires after the latency of a request and an answer."""
        plan = self._injector.plan_round_trip()
        return self._network.execute("Status/ping", plan, lambda: None)

    # Searches.

    def ask(
        self,
        request: str,
        query: Callable[Concatenate[AccountStore, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> Deferred[_T]:
        """Return a Deferred of the result of ``query(store, *args, **kwargs)``.

        ``store`` is the exchange's account store.

        The answer may be late or missing, as that to any request that only reads.

        :param request: the gateway's name of the request, such as ``Account/search``.
        """

        def answer() -> _T:
            result = query(self._trailing_store.at(self._clock.seconds()), *args, **kwargs)
            return self.payload_faults.answer(request, result)

        plan = self._injector.plan_read(request, self._clock.seconds())
        return self._network.execute(request, plan, answer)

    # Changes.

    def place_order(self, account_id: int, order: Payload) -> Deferred[int]:
        """Place an order."""
        return self._change("Order/place", self.exchange.place_order, account_id, order)

    def cancel_order(self, account_id: int, order_id: int) -> Deferred[None]:
        """Cancel a working order."""
        return self._change("Order/cancel", self.exchange.cancel_order, account_id, order_id)

    def modify_order(self, account_id: int, order_id: int, changes: Payload) -> Deferred[None]:
        """Change a working order."""
        return self._change(
            "Order/modify", self.exchange.modify_order, account_id, order_id, changes
        )

    def close_contract(self, account_id: int, contract_id: str) -> Deferred[None]:
        """Close a position at the market."""
        return self._change(
            "Position/closeContract", self.exchange.close_contract, account_id, contract_id
        )

    def partial_close_contract(
        self, account_id: int, contract_id: str, size: int
    ) -> Deferred[None]:
        """Close ``size`` contracts of a position at the market."""
        return self._change(
            "Position/partialCloseContract",
            self.exchange.partial_close_contract,
            account_id,
            contract_id,
            size,
        )

    def _change(self, request: str, act: Callable[..., _T], *args: object) -> Deferred[_T]:
        """Carry out a request to change something.

        :param act: a method of the exchange; called with ``args`` and the time.
        """

        def act_and_publish() -> _T:
            try:
                return act(*args, self.broker_time())
            finally:
                # Also after a refusal, because a rejected order is reported.
                self._publish()

        plan = self._injector.plan_change(request, self._clock.seconds())
        return self._network.execute(request, plan, act_and_publish)

    # Requests that only the practice gateway has.

    def move_market(self, contract_id: str, last: Decimal) -> None:
        """Let a contract trade at ``last``, between a bid and an ask one tick away.

        A shut market publishes this quote, too; an open market goes on from there.

        :raises GatewayRefusedError: the contract is not listed.
        :raises ValueError: ``last`` is not on a tick.
        """
        contract = self.exchange.store.find_contract("Contract/searchById", contract_id)
        tick_size = contract.tick_size
        if not is_on_tick(last, tick_size):
            raise ValueError(f"{last} is not on a tick of {contract_id}, {tick_size}")
        self._market.resume({contract_id: last})
        quote = Quote(bid=last - tick_size, ask=last + tick_size, last=last)
        self.exchange.move_market(contract_id, quote, self.broker_time())
        self._publish()

    def set_can_trade(self, account_id: int, can_trade: bool) -> None:
        """Let an account trade, or restrict it, as the broker does.

        :raises GatewayRefusedError: the account is unknown.
        """
        self.exchange.set_can_trade(account_id, can_trade)
        self._publish()

    def transfer(self, account_id: int, amount: Decimal) -> None:
        """Pay out a negative amount from an account, or deposit one, as the broker does.

        :raises GatewayRefusedError: the account is unknown.
        :raises ValueError: the amount is zero or no whole number of cents.
        """
        if not amount.is_finite() or not amount or not is_on_tick(amount, CENT):
            raise ValueError(
                f"{amount} is not an amount of dollars and cents, above or below zero"
            )
        self.exchange.transfer(account_id, amount)
        self._publish()

    def void_trade(self, account_id: int, trade_id: int, *, is_reported: bool = True) -> None:
        """Take back a trade, as the broker does; see :class:`Exchange`.

        :param is_reported: whether an event reports it; otherwise only searches show it.
        :raises GatewayRefusedError: the account has no such trade, or it is voided already.
        """
        self._correct(account_id, trade_id, None, is_reported=is_reported)

    def amend_trade(
        self,
        account_id: int,
        trade_id: int,
        *,
        pnl: Decimal | None = None,
        fees: Decimal | None = None,
        commissions: Decimal | None = None,
        is_reported: bool = True,
    ) -> None:
        """Change a trade, as the broker does; an amount that is ``None`` stays as it is.

        :param is_reported: whether an event reports it; otherwise only searches show it.
        :raises GatewayRefusedError: the account has no such trade, or it is voided.
        """
        changes = {"profitAndLoss": pnl, "fees": fees, "commissions": commissions}
        self._correct(account_id, trade_id, without_nulls(changes), is_reported=is_reported)

    def _correct(
        self, account_id: int, trade_id: int, changes: Payload | None, *, is_reported: bool = True
    ) -> None:
        """Amend a trade, or void it without ``changes``."""
        # What was done on the exchange directly is reported all the same.
        self._publish()
        if changes is None:
            self.exchange.void_trade(account_id, trade_id)
        else:
            self.exchange.amend_trade(account_id, trade_id, changes)
        self._publish(is_delivered=is_reported)

    def _step(self) -> None:
        """Move the market, then let each trader act on the exchange itself."""
        now = self.broker_time()
        for contract_id, quote in self._market.step():
            self.exchange.move_market(contract_id, quote, now)
        store = self.exchange.store
        for account_id, trader in self._traders.items():
            for action in trader.step(
                store.open_positions(account_id),
                store.open_orders(account_id),
                self.exchange.quote,
                partial(store.order, account_id),
            ):
                try:
                    carry_out(self.exchange, account_id, action, now)
                except GatewayRefusedError as refusal:
                    # As at a broker: the market may fill an order while the trader decides to cancel it.
                    _log.debug(
                        "practice trader of {account}: {refusal}",
                        account=account_id,
                        refusal=refusal,
                    )
        self._publish()

    def _publish(self, *, with_quotes: bool = True, is_delivered: bool = True) -> None:
        """Write what happened to the ledger, then deliver it.

        A broker knows before it reports: a restart must not forget what a listener received.

        :param is_delivered: whether the events are sent at all.
        """
        messages = self.exchange.take_messages()
        of_accounts = [message for message in messages if message.contract_id is None]
        if self._ledger is not None and of_accounts:
            self._ledger.append(of_accounts, lambda: self.exchange.store.state(self.broker_time()))
        self._trailing_store.add(of_accounts, self._clock.seconds())
        if not (is_delivered and self._network.is_running):
            return
        sent: list[Message] = []
        for message in messages if with_quotes else of_accounts:
            if message.target == TRADE:
                self._corrections.consider(message.payload)
            notify(self._exchange_observers, message)
            sent += self.payload_faults.events(message, self._clock.seconds())
        # All at once, because a listener may act on the first, and what follows from that comes later.
        self._network.deliver(sent)

    def _restore(self, ledger: Ledger) -> None:
        state = ledger.read()
        for sentence in self.exchange.store.restore(state, self.broker_time()):
            _log.warn("practice ledger: {sentence}", sentence=sentence)
        # The market goes on where it stopped: a jump would be a loss that no trade made.
        self._market.resume(state.last_prices())
        # The new file holds only what still matters, and no unreadable line.
        ledger.rewrite(self.exchange.store.state(self.broker_time()))


def _log_note(note: Note) -> None:
    log = _log.error if note.is_error else _log.warn
    log("practice ledger: {text}", text=note.text)


def _random(seed: int | None, part: str) -> Random:
    """Return random numbers for one part.

    Each part has its own, so that a change of one does not change the sequence of another.
    """
    return Random() if seed is None else Random(f"{seed} {part}")
