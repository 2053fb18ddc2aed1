"""The practice exchange as a gateway: a clock drives the market and the traders, in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred, execute, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.config.faults import NO_FAULTS, Faults
from riskd.gateway.interface import (
    GatewayRefusedError,
    GatewayUnansweredError,
    IGateway,
    IGatewayListener,
    Payload,
)
from riskd.model.contracts import Contract
from riskd.model.money import is_on_tick
from riskd.practice.exchange import Exchange, Message, Quote
from riskd.practice.fault_injection import Dice, Fate
from riskd.practice.ledger import Ledger, Note, last_prices
from riskd.practice.market import STEP_SECONDS, Market
from riskd.practice.traders import Cancel, Place, Trader, Wish

LEDGER_NAME: Final = "practice-ledger.jsonl"
"""What the ledger's file is called in its directory."""

_log = Logger()
_T = TypeVar("_T")


@implementer(IGatewayListener)
class NoListener:
    """Stands in where a gateway has nobody of its own to tell."""

    def user_event(self, target: str, payload: Payload) -> None:
        """Do nothing."""

    def market_event(self, target: str, contract_id: str, payload: Payload) -> None:
        """Do nothing."""

    def feed_lost(self, sentence: str) -> None:
        """Do nothing."""

    def feed_restored(self) -> None:
        """Do nothing."""

    def gateway_problem(self, source: str, sentence: str) -> None:
        """Do nothing."""


@implementer(IGateway)
class PracticeGateway:
    """Trades paper: a market of its own, and a trader for every account that watches something.

    :param clock: drives the market.
    :param now: gives the time of day, aware.
    :param accounts: what each account trades, as tickers such as ``MNQ``, by account id.
    :param seed: the same one gives the same prices and trades; ``None`` gives new ones.
    :param is_open: whether the market moves and the traders trade; shut, it only answers requests.
    :param is_quiet: whether the traders stay away; the market moves all the same.
    :param ledger: the directory of the ledger, from which positions, orders and trades are restored at
        the start; ``None`` begins with fresh accounts and keeps none.  No two gateways may share one.
    :param faults: what goes wrong, at random.  The practice traders are at the exchange itself: of all
        faults, only those of fills meet them.
    """

    name = "practice"
    answer_seconds = 2.0

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
        self._time = now
        self._latest = now()
        # Ids go on from those of an earlier run, as a broker's do.
        first_id = int(self._latest.timestamp() * 1000)
        self._market = Market(_random(seed, "market"), now().date())
        self._exchange = Exchange(
            {account_id: f"PRACTICE-{account_id}" for account_id in accounts},
            self._market.contracts,
            self._market.fees,
            first_id,
        )
        self._traders = {
            account_id: Trader(contracts, _random(seed, f"trader {account_id}"))
            for account_id, tickers in accounts.items()
            # What is watched need not be listed here; then there is nothing to trade.
            if is_open and not is_quiet and (contracts := self._listed(tickers))
        }
        self._listener: IGatewayListener | None = None
        self._observers: list[Callable[[Message], None]] = []
        self._ledger = None if ledger is None else Ledger(ledger / LEDGER_NAME)
        self._is_restored = False
        self._untold: deque[Message] = deque()
        self._delivering = False
        self._is_open = is_open
        self._clock = clock
        self._loop = LoopingCall(self._try_to_step)
        self._loop.clock = clock
        self._late_answers: set[Deferred[Any]] = set()
        self._dice = Dice(faults, _random(seed, "faults"))
        self._exchange.available = self._dice.available
        self.faults = faults

    @property
    def faults(self) -> Faults:
        """Return what goes wrong; it may be set at any time, and counts from the next request on."""
        return self._dice.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._dice.faults = faults
        self._exchange.tells_opening_again = faults.opening_half_again

    @property
    def exchange(self) -> Exchange:
        """Return the exchange, to look at; what is done there directly is told with what comes next."""
        return self._exchange

    def _now(self) -> datetime:
        """Return the broker's time, which is never set back."""
        self._latest = max(self._latest, self._time())
        return self._latest

    def start(self, listener: IGatewayListener) -> Deferred[None]:
        """Open the market and tell ``listener`` what happens from now on."""
        self._listener = listener
        self._untold.clear()
        if not self._is_restored:
            self._is_restored = True
            self._restore()
        for contract_id, quote in self._market.opening():
            self._exchange.move_market(contract_id, quote, self._now())
        # A shut market has opening prices to fill orders at, and quotes nothing of its own.
        self._record(tells_quotes=self._is_open)
        self._deliver()
        if self._is_open:
            self._loop.start(STEP_SECONDS, now=False).addErrback(self._stopped_by_error)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Shut the market; whatever is not answered by now never is."""
        if self._loop.running:
            self._loop.stop()
        self._listener = None
        for answer in tuple(self._late_answers):
            answer.cancel()
        if self._ledger is not None:
            self._ledger.close()
        return succeed(None)

    def observe(self, observer: Callable[[Message], None]) -> None:
        """Tell ``observer``, too, what the listener is told, and right after it.

        It may be called before the start, and holds for every start.  What goes wrong with an observer
        is logged and disturbs nobody.
        """
        self._observers.append(observer)

    # What may be asked.

    def ask(self, request: str, look: Callable[[Exchange], _T]) -> Deferred[_T]:
        """Return a Deferred of what ``look`` sees at the exchange.

        It is answered as all that only reads: late, or not at all, where there are faults.

        :param request: what is asked, such as ``Account/search``.
        """
        return self._read(request, partial(look, self._exchange))

    def has_room(self, requests: int) -> bool:  # noqa: ARG002
        """Return true: this broker is here for nobody else."""
        return True

    def follow_account(self, account_id: int) -> None:
        """Do nothing: all accounts are told."""

    def follow_quotes(self, contract_id: str) -> None:
        """Do nothing: all quotes are told."""

    def search_account(self, account_id: int) -> Deferred[Payload]:
        """Return an account."""
        return self._read("Account/search", partial(self._exchange.account, account_id))

    def search_open_positions(
        self,
        account_id: int,
        *,
        urgent: bool = False,  # noqa: ARG002
    ) -> Deferred[list[Payload]]:
        """Return the account's open positions."""
        return self._read(
            "Position/searchOpen", partial(self._exchange.open_positions, account_id)
        )

    def search_open_orders(
        self,
        account_id: int,
        *,
        urgent: bool = False,  # noqa: ARG002
    ) -> Deferred[list[Payload]]:
        """Return the account's working orders."""
        return self._read("Order/searchOpen", partial(self._exchange.open_orders, account_id))

    def search_orders(
        self,
        account_id: int,
        since: datetime,
        *,
        urgent: bool = False,  # noqa: ARG002
    ) -> Deferred[list[Payload]]:
        """Return the account's orders placed at ``since`` or later, working or ended."""
        return self._read("Order/search", partial(self._exchange.orders, account_id, since))

    def search_order(
        self,
        account_id: int,
        order_id: int,
        *,
        urgent: bool = False,  # noqa: ARG002
    ) -> Deferred[Payload]:
        """Return an order, working or ended."""
        return self._read("Order/searchById", partial(self._exchange.order, account_id, order_id))

    def search_trades(self, account_id: int, since: datetime) -> Deferred[list[Payload]]:
        """Return the account's trades made at ``since`` or later; two days are remembered."""
        return self._read("Trade/search", partial(self._exchange.trades, account_id, since))

    def search_contract(self, contract_id: str) -> Deferred[Payload]:
        """Return a contract."""
        return self._read("Contract/searchById", partial(self._exchange.contract, contract_id))

    def place_order(self, account_id: int, order: Payload) -> Deferred[int]:
        """Place an order."""
        return self._change(
            "Order/place", lambda: self._exchange.place_order(account_id, order, self._now())
        )

    def cancel_order(self, account_id: int, order_id: int) -> Deferred[None]:
        """Cancel a working order."""
        return self._change(
            "Order/cancel", lambda: self._cancel(account_id, order_id, self._now())
        )

    def modify_order(self, account_id: int, order_id: int, changes: Payload) -> Deferred[None]:
        """Change a working order."""
        return self._change(
            "Order/modify",
            lambda: self._exchange.modify_order(account_id, order_id, changes, self._now()),
        )

    def close_contract(self, account_id: int, contract_id: str) -> Deferred[None]:
        """Close a position at the market."""
        return self._change(
            "Position/closeContract",
            lambda: self._exchange.close_contract(account_id, contract_id, self._now()),
        )

    def partial_close_contract(
        self, account_id: int, contract_id: str, size: int
    ) -> Deferred[None]:
        """Close ``size`` contracts of a position at the market."""
        return self._change(
            "Position/partialCloseContract",
            lambda: self._exchange.partial_close_contract(
                account_id, contract_id, size, self._now()
            ),
        )

    # What a test may let happen.

    def move_market(self, contract_id: str, last: Decimal) -> None:
        """Let a contract trade at ``last``, with the bid a tick below and the ask a tick above it.

        It is told also when the market is shut; an open market goes on from there.

        :raises GatewayRefusedError: the contract is not listed.
        :raises ValueError: ``last`` is not on a tick.
        """
        tick_size = self._exchange.contract(contract_id)["tickSize"]
        if not is_on_tick(last, tick_size):
            raise ValueError(f"{last} is not on a tick of {contract_id}, {tick_size}")
        self._market.resume({contract_id: last})
        quote = Quote(bid=last - tick_size, ask=last + tick_size, last=last)
        self._exchange.move_market(contract_id, quote, self._now())
        self._record()
        self._deliver()

    def set_can_trade(self, account_id: int, can_trade: bool) -> None:
        """Let an account trade, or restrict it, as the broker does; see :class:`Exchange`.

        :raises GatewayRefusedError: the account is unknown.
        """
        self._exchange.set_can_trade(account_id, can_trade)
        self._record()
        self._deliver()

    def void_trade(self, account_id: int, trade_id: int) -> None:
        """Take a trade back, as the broker does; see :class:`Exchange`.

        :raises GatewayRefusedError: there is no such trade, or it is voided already.
        """
        self._exchange.void_trade(account_id, trade_id)
        self._record()
        self._deliver()

    # How it is answered.

    def _read(self, request: str, look: Callable[[], _T]) -> Deferred[_T]:
        fate = self._dice.fate_of_read(request, self._clock.seconds())
        return self._ask(request, fate, lambda: execute(look))

    def _change(self, request: str, act: Callable[[], _T]) -> Deferred[_T]:
        fate = self._dice.fate_of_change(request, self._clock.seconds())
        return self._ask(request, fate, lambda: self._act(act))

    def _act(self, act: Callable[[], _T]) -> Deferred[_T]:
        result = execute(act)
        self._record()
        self._deliver()
        return result

    def _ask(self, request: str, fate: Fate, do: Callable[[], Deferred[_T]]) -> Deferred[_T]:
        """Let ``fate`` take its course with a request; return a Deferred of the answer."""

        def left(failure: Failure) -> Failure:
            failure.trap(CancelledError)
            return Failure(GatewayUnansweredError(request, "nobody waits for it any more"))

        def answered(outcome: _T) -> _T:
            self._late_answers.discard(answer)
            return outcome

        answer = self._after(fate.done_after, lambda: _outcome(fate, do))
        if fate.answered_after:
            answer.addBoth(
                lambda outcome: self._after(fate.answered_after, lambda: succeed(outcome))
            )
        if fate.done_after or fate.answered_after:
            self._late_answers.add(answer)
            answer.addErrback(left).addBoth(answered)
        return answer

    def _after(self, seconds: float, do: Callable[[], Deferred[_T]]) -> Deferred[_T]:
        """Call ``do`` after so many seconds; at once when the gateway is stopped."""
        if not seconds or self._listener is None:
            return do()
        return deferLater(self._clock, seconds).addCallback(lambda _: do())

    def _cancel(self, account_id: int, order_id: int, now: datetime) -> None:
        if self._dice.fills_while_cancelled():
            self._exchange.fill_order(account_id, order_id, now)
        self._exchange.cancel_order(account_id, order_id, now)

    def _restore(self) -> None:
        if self._ledger is None:
            return
        now = self._now()
        memory, notes = self._ledger.read()
        self._log_notes(notes)
        for sentence in self._exchange.restore(memory, now):
            _log.warn("practice ledger: {sentence}", sentence=sentence)
        # The market goes on where it was left: a jump of its prices would be a loss nobody traded.
        self._market.resume(last_prices(memory))
        self._log_notes(self._ledger.rewrite(self._exchange.memory(now)))

    def _log_notes(self, notes: list[Note]) -> None:
        for note in notes:
            if note.is_error:
                _log.error("practice ledger: {text}", text=note.text)
            else:
                _log.warn("practice ledger: {text}", text=note.text)

    def _listed(self, tickers: tuple[str, ...]) -> tuple[Contract, ...]:
        return tuple(known for known in self._market.contracts if known.root in tickers)

    def _try_to_step(self) -> None:
        try:
            self._step()
        except Exception:  # noqa: BLE001  # a mistake in one step must not end the market
            _log.failure("a step of the practice market failed")

    def _step(self) -> None:
        now = self._now()
        for contract_id, quote in self._market.step():
            self._exchange.move_market(contract_id, quote, now)
        for account_id, trader in self._traders.items():
            wishes = trader.step(
                self._exchange.open_positions(account_id),
                self._exchange.open_orders(account_id),
                self._exchange.quote,
                partial(self._exchange.order, account_id),
            )
            for wish in wishes:
                self._carry_out(account_id, wish, now)
        self._record()
        self._deliver()

    def _carry_out(self, account_id: int, wish: Wish, now: datetime) -> None:
        try:
            if isinstance(wish, Place):
                self._exchange.place_order(account_id, wish.order, now)
            elif isinstance(wish, Cancel):
                self._cancel(account_id, wish.order_id, now)
            else:
                self._exchange.close_contract(account_id, wish.contract_id, now)
        except GatewayRefusedError as refusal:
            # As at a broker: an order filled while the trader decided to cancel it.
            _log.debug(
                "practice trader of {account}: {refusal}", account=account_id, refusal=refusal
            )

    def _record(self, *, tells_quotes: bool = True) -> None:
        """Write down what happened; then it may be told, as a broker knows before it tells."""
        messages = self._exchange.take_messages()
        of_users = [message for message in messages if message.contract_id is None]
        if self._ledger is not None and of_users:
            now = self._now()
            self._log_notes(self._ledger.append(of_users, lambda: self._exchange.memory(now)))
        for message in messages:
            if message.contract_id is None:
                self._untold.extend([message] * self._dice.times_told())
            elif tells_quotes:
                self._untold.append(message)

    def _deliver(self) -> None:
        # A listener may act on what it is told, and so come back here.  What follows from that waits
        # its turn: told at once, it would overtake what happened before it.
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._untold:
                self._tell(self._untold.popleft())
        finally:
            self._delivering = False

    def _tell(self, message: Message) -> None:
        if self._listener is None:
            return
        if message.contract_id is None:
            self._listener.user_event(message.target, message.payload)
        else:
            self._listener.market_event(message.target, message.contract_id, message.payload)
        for observer in self._observers:
            try:
                observer(message)
            except Exception:  # noqa: BLE001  # the others are to hear of it all the same
                _log.failure("an observer of the practice gateway failed")

    def _stopped_by_error(self, failure: Failure) -> None:
        _log.failure("the practice market stopped moving", failure=failure)


def _outcome(fate: Fate, do: Callable[[], Deferred[_T]]) -> Deferred[_T]:
    """Do what was asked if that is its fate; return a Deferred of what is answered."""
    if fate.error is None:
        return do()
    if fate.is_done:
        # Also when it is refused, nobody hears of it.
        do().addErrback(lambda failure: failure.trap(GatewayRefusedError))
    return fail(fate.error)


def _random(seed: int | None, part: str) -> Random:
    """Return a generator of its own for each part, so that none disturbs another's sequence."""
    return Random() if seed is None else Random(f"{seed} {part}")
