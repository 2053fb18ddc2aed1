"""The life of the practice market: prices move, and traders act on the exchange."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from twisted.logger import Logger

from riskd.gateway.interface import GatewayRefusedError
from riskd.practice.exchange import Exchange
from riskd.practice.market import Market
from riskd.practice.traders import Cancel, Close, Place, Trader, TraderAction

_log = Logger()


def simulate_step(
    exchange: Exchange, market: Market, traders: Mapping[int, Trader], now: datetime
) -> None:
    """Move the market, then let each trader act.

    :param traders: the practice traders by account id.  They act on the exchange itself, so no fault of
        the network meets them.
    """
    for contract_id, quote in market.step():
        exchange.move_market(contract_id, quote, now)
    for account_id, trader in traders.items():
        actions = trader.step(
            exchange.store.open_positions(account_id),
            exchange.store.open_orders(account_id),
            exchange.quote,
            partial(exchange.store.order, account_id),
        )
        for action in actions:
            try:
                carry_out(exchange, account_id, action, now)
            except GatewayRefusedError as refusal:
                # As at a broker: the market may fill an order while the trader decides to cancel it.
                _log.debug(
                    "practice trader of {account}: {refusal}", account=account_id, refusal=refusal
                )


def carry_out(exchange: Exchange, account_id: int, action: TraderAction, now: datetime) -> None:
    """Do what a trader decided.

    :raises GatewayRefusedError: the exchange refuses it.
    """
    match action:
        case Place(order):
            exchange.place_order(account_id, order, now)
        case Cancel(order_id):
            exchange.cancel_order(account_id, order_id, now)
        case Close(contract_id):
            exchange.close_contract(account_id, contract_id, now)
