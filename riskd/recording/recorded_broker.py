"""The broker of a recording: answers reads that the recorded daemon never made.

This module is pure.  It knows the events of accounts and the answers that the recorded daemon received.
An answer describes the moment of its request, so it never overrides an event that came later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from riskd.engine.order_of_truth import SETTLED_SECONDS, Thing, thing_of
from riskd.gateway.interface import Found, GatewayRefusedError, GatewayUnansweredError
from riskd.model.broker import (
    BrokerAccount,
    BrokerNews,
    BrokerOrder,
    BrokerPosition,
    BrokerTrade,
    Unreadable,
)
from riskd.model.contracts import Contract
from riskd.model.events import OrderState

_ORDER_NOT_FOUND: Final = 1
"""The gateway's code for an order that it does not know."""

_LISTED_BY: Final = {
    "gateway.search_open_positions": "gateway.search_open_positions",
    "gateway.search_open_orders": "gateway.search_open_orders",
    "gateway.search_orders": "gateway.search_open_orders",
    "gateway.search_trades": "gateway.search_trades",
}
"""The request that must have been answered once: events alone do not say that there is nothing else."""


class RecordedBroker:
    """The broker's data, as far as the recording has reported them."""

    def __init__(self) -> None:
        self._accounts: dict[int, BrokerAccount] = {}
        self._contracts: dict[str, Contract] = {}
        self._positions: dict[int, dict[str, BrokerPosition]] = defaultdict(dict)
        self._orders: dict[int, dict[int, BrokerOrder]] = defaultdict(dict)
        self._trades: dict[int, dict[int, BrokerTrade]] = defaultdict(dict)
        self._received_at: dict[tuple[int, Thing], float] = {}
        self._answered: set[tuple[str, int]] = set()
        self._readers: Mapping[str, Callable[..., Any]] = {
            "gateway.search_account": self._accounts.get,
            "gateway.search_contract": self._contracts.get,
            "gateway.search_open_positions": lambda account_id: Found(
                tuple(self._positions[account_id].values())
            ),
            "gateway.search_open_orders": lambda account_id: Found(
                tuple(order for order in self._orders[account_id].values() if not order.has_ended)
            ),
            "gateway.search_orders": lambda account_id, since: Found(
                tuple(
                    order
                    for order in self._orders[account_id].values()
                    if order.created_at >= since
                )
            ),
            "gateway.search_order": self._order,
            "gateway.search_trades": lambda account_id, since: Found(
                tuple(
                    trade
                    for trade in self._trades[account_id].values()
                    if trade.execution_time >= since
                )
            ),
        }

    # From the recording.

    def apply_event(self, account_id: int, news: BrokerNews, seconds: float) -> None:
        """Apply an event of an account.

        :param seconds: when the daemon received it, by the steady clock.
        """
        if isinstance(news, Unreadable):
            return
        if isinstance(news, BrokerAccount):
            known = self._accounts.get(account_id, news)
            can_trade = known.can_trade if news.can_trade is None else news.can_trade
            self._accounts[account_id] = msgspec.structs.replace(news, can_trade=can_trade)
            return
        if isinstance(news, BrokerPosition):
            # A position that changes moves to the end, as it does in the gateway's answers.
            self._positions[account_id].pop(news.contract_id, None)
            if news.size:
                self._positions[account_id][news.contract_id] = news
        elif isinstance(news, BrokerOrder):
            self._orders[account_id][news.id] = news
        else:
            self._trades[account_id][news.id] = news
        self._received_at[account_id, thing_of(news)] = seconds

    def apply_answer(
        self, request: str, arguments: Mapping[str, Any], value: Any, requested_at: float
    ) -> None:
        """Apply what the gateway answered to the recorded daemon.

        :param request: such as ``gateway.search_account``.
        :param requested_at: when the daemon made the request, by the steady clock.
        """
        if request == "gateway.search_contract":
            self._contracts[arguments["contract_id"]] = value
            return
        account_id = arguments.get("account_id", 0)
        self._answered.add((request, account_id))
        if request == "gateway.search_account":
            self._accounts[account_id] = value
        elif request == "gateway.search_open_positions":
            self._apply_open_positions(account_id, value, requested_at)
        elif request == "gateway.search_open_orders":
            self._apply_working_orders(account_id, value, requested_at)
        elif request == "gateway.search_orders":
            self._orders[account_id].update((order.id, order) for order in value.items)
        elif request == "gateway.search_order":
            self._orders[account_id][value.id] = value
        elif request == "gateway.search_trades":
            self._trades[account_id].update((trade.id, trade) for trade in value.items)

    def _apply_open_positions(
        self, account_id: int, found: Found[BrokerPosition], requested_at: float
    ) -> None:
        positions = [*self._positions[account_id].values()]
        kept = [each for each in positions if self._is_newer(account_id, each, requested_at)]
        listed = [
            each for each in found.items if not self._is_newer(account_id, each, requested_at)
        ]
        self._positions[account_id] = {each.contract_id: each for each in (*kept, *listed)}

    def _apply_working_orders(
        self, account_id: int, found: Found[BrokerOrder], requested_at: float
    ) -> None:
        known = self._orders[account_id]
        working = {order.id: order for order in found.items}
        beyond = frozenset(found.beyond)
        for order_id, order in list(known.items()):
            is_newer = self._is_newer(account_id, order, requested_at)
            is_listed = order_id in working or order_id in beyond
            if not is_listed and not is_newer and not order.has_ended:
                # Its end was lost on the way; if it was filled, an event or another answer says so.
                known[order_id] = msgspec.structs.replace(order, state=OrderState.CANCELED)
            elif order_id in working and is_newer:
                del working[order_id]
        known.update(working)

    def _is_newer(
        self, account_id: int, known: BrokerPosition | BrokerOrder, requested_at: float
    ) -> bool:
        """Return whether the last event of a thing may be newer than an answer."""
        received_at = self._received_at.get((account_id, thing_of(known)))
        return received_at is not None and received_at > requested_at - SETTLED_SECONDS

    # For a replay.

    def answer(self, request: str, arguments: Mapping[str, Any]) -> Any:
        """Return what the broker would answer, by what the recording has reported so far.

        :raises GatewayUnansweredError: the recording has not reported it yet.
        :raises GatewayRefusedError: the request is about an unknown order, or would change something.
        """
        reader = self._readers.get(request)
        if reader is None:
            raise GatewayRefusedError(request, 0, "a recording cannot be changed")
        found = None
        listed_by = _LISTED_BY.get(request)
        if listed_by is None or (listed_by, arguments["account_id"]) in self._answered:
            found = reader(*(arguments[key] for key in arguments if key != "urgent"))
        if found is None:
            raise GatewayUnansweredError(request, "the recording does not say")
        return found

    def _order(self, account_id: int, order_id: int) -> BrokerOrder:
        known = self._orders[account_id].get(order_id)
        if known is None:
            raise GatewayRefusedError("gateway.search_order", _ORDER_NOT_FOUND, "no such order")
        return known
