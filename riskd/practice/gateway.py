"""The practice exchange as a gateway: a clock drives the market and the traders, in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Final, TypeVar

from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.contracts import Contract
from riskd.gateway.interface import GatewayRefusedError, IGateway, IGatewayListener, Payload
from riskd.practice.exchange import Exchange, Message
from riskd.practice.ledger import Ledger, Note, last_prices
from riskd.practice.market import STEP_SECONDS, Market
from riskd.practice.traders import Cancel, Place, Trader, Wish

LEDGER_NAME: Final = "practice-ledger.jsonl"
"""What the ledger's file is called in its directory."""

_log = Logger()
_T = TypeVar("_T")


@implementer(IGateway)
class PracticeGateway:
    """Trades paper: a market of its own, and a trader for every account that watches something.

    :param clock: drives the market.
    :param now: gives the time of day, aware.
    :param accounts: what each account trades, as tickers such as ``MNQ``, by account id.
    :param seed: the same one gives the same prices and trades; ``None`` gives new ones.
    :param is_open: whether the market moves and the traders trade; shut, it only answers requests.
    :param ledger: the directory of the ledger, from which positions, orders and trades are restored at
        the start; ``None`` begins with fresh accounts and keeps none.  No two gateways may share one.
    """

    name = "practice"

    def __init__(
        self,
        clock: IReactorTime,
        now: Callable[[], datetime],
        accounts: Mapping[int, tuple[str, ...]],
        *,
        seed: int | None = None,
        is_open: bool = True,
        ledger: Path | None = None,
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
            if is_open and (contracts := self._listed(tickers))
        }
        self._listener: IGatewayListener | None = None
        self._ledger = None if ledger is None else Ledger(ledger / LEDGER_NAME)
        self._is_restored = False
        self._untold: deque[Message] = deque()
        self._delivering = False
        self._is_open = is_open
        self._loop = LoopingCall(self._try_to_step)
        self._loop.clock = clock

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
        self._record()
        self._deliver()
        if self._is_open:
            self._loop.start(STEP_SECONDS, now=False).addErrback(self._stopped_by_error)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Shut the market."""
        if self._loop.running:
            self._loop.stop()
        self._listener = None
        if self._ledger is not None:
            self._ledger.close()
        return succeed(None)

    def search_open_positions(self, account_id: int) -> Deferred[list[Payload]]:
        """Return the account's open positions."""
        return execute(self._exchange.open_positions, account_id)

    def search_open_orders(self, account_id: int) -> Deferred[list[Payload]]:
        """Return the account's working orders."""
        return execute(self._exchange.open_orders, account_id)

    def search_order(self, account_id: int, order_id: int) -> Deferred[Payload]:
        """Return an order, working or ended."""
        return execute(self._exchange.order, account_id, order_id)

    def search_trades(self, account_id: int, since: datetime) -> Deferred[list[Payload]]:
        """Return the account's trades made at ``since`` or later; two days are remembered."""
        return execute(self._exchange.trades, account_id, since)

    def search_contract(self, contract_id: str) -> Deferred[Payload]:
        """Return a contract."""
        return execute(self._exchange.contract, contract_id)

    def place_order(self, account_id: int, order: Payload) -> Deferred[int]:
        """Place an order."""
        return self._request(lambda: self._exchange.place_order(account_id, order, self._now()))

    def cancel_order(self, account_id: int, order_id: int) -> Deferred[None]:
        """Cancel a working order."""
        return self._request(
            lambda: self._exchange.cancel_order(account_id, order_id, self._now())
        )

    def close_contract(self, account_id: int, contract_id: str) -> Deferred[None]:
        """Close a position at the market."""
        return self._request(
            lambda: self._exchange.close_contract(account_id, contract_id, self._now())
        )

    def _request(self, act: Callable[[], _T]) -> Deferred[_T]:
        result = execute(act)
        self._record()
        self._deliver()
        return result

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
                self._exchange.cancel_order(account_id, wish.order_id, now)
            else:
                self._exchange.close_contract(account_id, wish.contract_id, now)
        except GatewayRefusedError as refusal:
            # As at a broker: an order filled while the trader decided to cancel it.
            _log.debug(
                "practice trader of {account}: {refusal}", account=account_id, refusal=refusal
            )

    def _record(self) -> None:
        """Write down what happened; then it may be told, as a broker knows before it tells."""
        messages = self._exchange.take_messages()
        if not self._is_open:
            # A shut market has opening prices to fill orders at, and quotes nothing.
            messages = [message for message in messages if message.contract_id is None]
        of_users = [message for message in messages if message.contract_id is None]
        if self._ledger is not None and of_users:
            now = self._now()
            self._log_notes(self._ledger.append(of_users, lambda: self._exchange.memory(now)))
        self._untold.extend(messages)

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

    def _stopped_by_error(self, failure: Failure) -> None:
        _log.failure("the practice market stopped moving", failure=failure)


def _random(seed: int | None, part: str) -> Random:
    """Return a generator of its own for each part, so that none disturbs another's sequence."""
    return Random() if seed is None else Random(f"{seed} {part}")
