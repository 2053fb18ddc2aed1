"""The life of the practice market: prices move, and traders act on the exchange."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from twisted.logger import Logger

from riskd.gateway.interface import GatewayRefusedError
from riskd.practice.exchange import Exchange
from riskd.practice.market import Market
from riskd.practice.traders import Cancel, Place, Trader, TraderAction

_log = Logger()


class Simulation:
    """Moves the market and asks the traders, one step after another.

    :param traders: the practice traders by account id.  They act on the exchange itself, so no fault of
        the network meets them.
    """

    def __init__(self, exchange: Exchange, market: Market, traders: Mapping[int, Trader]) -> None:
        self._exchange = exchange
        self._market = market
        self._traders = traders

    def step(self, now: datetime) -> None:
        """Move the market, then let each trader act."""
        for contract_id, quote in self._market.step():
            self._exchange.move_market(contract_id, quote, now)
        for account_id, trader in self._traders.items():
            actions = trader.step(
                self._exchange.open_positions(account_id),
                self._exchange.open_orders(account_id),
                self._exchange.quote,
                partial(self._exchange.order, account_id),
            )
            for action in actions:
                self._carry_out(account_id, action, now)

    def _carry_out(self, account_id: int, action: TraderAction, now: datetime) -> None:
        try:
            if isinstance(action, Place):
                self._exchange.place_order(account_id, action.order, now)
            elif isinstance(action, Cancel):
                self._exchange.cancel_order(account_id, action.order_id, now)
            else:
                self._exchange.close_contract(account_id, action.contract_id, now)
        except GatewayRefusedError as refusal:
            # As at a broker: the market may fill an order while the trader decides to cancel it.
            _log.debug(
                "practice trader of {account}: {refusal}", account=account_id, refusal=refusal
            )
