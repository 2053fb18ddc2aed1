"""The practice exchange as a gateway: a clock drives the market and the traders, in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from random import Random
from typing import TypeVar

from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.contracts import Contract
from riskd.gateway.interface import GatewayRefusedError, IGateway, IGatewayListener, Payload
from riskd.practice.exchange import Exchange, Message
from riskd.practice.market import STEP_SECONDS, Market
from riskd.practice.traders import Cancel, Place, Trader, Wish

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
    ) -> None:
        self._now = now
        # Unseeded, ids go on from those of an earlier run, as a broker's do.
        first_id = 1 if seed is not None else int(now().timestamp() * 1000)
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
        self._delivering = False
        self._is_open = is_open
        self._loop = LoopingCall(self._step)
        self._loop.clock = clock

    def start(self, listener: IGatewayListener) -> Deferred[None]:
        """Open the market and tell ``listener`` what happens from now on."""
        self._listener = listener
        for contract_id, quote in self._market.opening():
            self._exchange.move_market(contract_id, quote, self._now())
        if self._is_open:
            self._deliver()
            self._loop.start(STEP_SECONDS, now=False).addErrback(self._stopped_by_error)
        else:
            self._exchange.take_messages()
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Shut the market."""
        if self._loop.running:
            self._loop.stop()
        self._listener = None
        return succeed(None)

    def search_open_positions(self, account_id: int) -> Deferred[list[Payload]]:
        """Return the account's open positions."""
        return execute(self._exchange.open_positions, account_id)

    def search_open_orders(self, account_id: int) -> Deferred[list[Payload]]:
        """Return the account's working orders."""
        return execute(self._exchange.open_orders, account_id)

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
        self._deliver()
        return result

    def _listed(self, tickers: tuple[str, ...]) -> tuple[Contract, ...]:
        return tuple(known for known in self._market.contracts if known.root in tickers)

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

    def _deliver(self) -> None:
        # A listener may act on what it is told, and so come back here.  What follows from that waits
        # its turn: told at once, it would overtake what happened before it.
        if self._delivering:
            return
        self._delivering = True
        try:
            while messages := self._exchange.take_messages():
                for message in messages:
                    self._tell(message)
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
