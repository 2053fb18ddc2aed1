"""What a recording has told of a gateway up to now: enough to answer reads that were never made.

It is pure.  It follows the events of accounts, and what the gateway answered to the recorded daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from riskd.gateway.enums import GatewayOrderStatus
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError, Payload

SEARCHES_TRAIL_SECONDS: Final = 1.0
"""How long the gateway's searches may trail what it has told."""

_UNKNOWN: Final = 1
"""The gateway's code for an order that it does not know."""

_ENDED: Final = frozenset(
    {
        GatewayOrderStatus.FILLED,
        GatewayOrderStatus.CANCELLED,
        GatewayOrderStatus.EXPIRED,
        GatewayOrderStatus.REJECTED,
    }
)

_KEYS: Final = {
    "GatewayUserPosition": "contractId",
    "GatewayUserOrder": "id",
    "GatewayUserTrade": "id",
}
"""What each kind of event is told apart by."""


class Book:
    """Accounts, positions, orders, trades and contracts, as last told."""

    def __init__(self) -> None:
        self._accounts: dict[int, Payload] = {}
        self._contracts: dict[str, Payload] = {}
        self._positions: dict[int, dict[str, Payload]] = {}
        self._orders: dict[int, dict[int, Payload]] = {}
        self._trades: dict[int, dict[int, Payload]] = {}
        self._heard: dict[object, float] = {}
        self._answered: set[tuple[str, int]] = set()
        self._events: Mapping[str, Callable[[int, Payload], None]] = {
            "GatewayUserAccount": self._take_account,
            "GatewayUserPosition": self._take_position,
            "GatewayUserOrder": self._take_order,
            "GatewayUserTrade": self._take_trade,
        }
        self._reads: Mapping[str, Callable[..., Any]] = {
            "gateway.search_account": self._find_account,
            "gateway.search_contract": self._find_contract,
            "gateway.search_open_positions": self._find_positions,
            "gateway.search_open_orders": self._find_working,
            "gateway.search_orders": self._find_orders,
            "gateway.search_order": self._find_order,
            "gateway.search_trades": self._find_trades,
        }

    # What is told.

    def take_event(self, target: str, payload: Payload, seconds: float) -> None:
        """Take what happened to an account.

        :param seconds: when it was told, by a clock that nobody sets.
        """
        account_id = payload.get("id" if target == "GatewayUserAccount" else "accountId")
        take = self._events.get(target)
        if isinstance(account_id, int) and take is not None:
            take(account_id, payload)
            self._heard[target, account_id, payload.get(_KEYS.get(target, ""))] = seconds

    def take_answer(
        self, request: str, arguments: Mapping[str, Any], value: Any, asked: float
    ) -> None:
        """Take what the gateway answered to the recorded daemon.

        :param request: what was asked, such as ``gateway.search_account``.
        :param asked: when it was asked, by the clock of :meth:`take_event`.
        """
        if request == "gateway.search_contract":
            self._contracts[arguments["contract_id"]] = value
            return
        account_id = arguments.get("account_id", 0)
        self._answered.add((request, account_id))
        if request == "gateway.search_account":
            self._accounts[account_id] = value
        elif request == "gateway.search_open_positions":
            self._take_positions(account_id, value, asked)
        elif request == "gateway.search_open_orders":
            self._take_orders(account_id, value, asked)
        elif request == "gateway.search_orders":
            for payload in value:
                self._take_order(account_id, payload)
        elif request == "gateway.search_order":
            self._take_order(account_id, value)
        elif request == "gateway.search_trades":
            for payload in value:
                self._take_trade(account_id, payload)

    def _take_account(self, account_id: int, payload: Payload) -> None:
        self._accounts[account_id] = {**self._accounts.get(account_id, {}), **payload}

    def _take_position(self, account_id: int, payload: Payload) -> None:
        held = self._positions.setdefault(account_id, {})
        held.pop(payload["contractId"], None)
        if payload.get("size"):
            held[payload["contractId"]] = payload

    def _take_order(self, account_id: int, payload: Payload) -> None:
        self._orders.setdefault(account_id, {})[payload["id"]] = payload

    def _take_trade(self, account_id: int, payload: Payload) -> None:
        self._trades.setdefault(account_id, {})[payload["id"]] = payload

    def _take_positions(self, account_id: int, found: Iterable[Payload], asked: float) -> None:
        def is_newer(contract_id: object) -> bool:
            return self._is_newer(("GatewayUserPosition", account_id, contract_id), asked)

        known = self._positions.get(account_id, {})
        self._positions[account_id] = {
            **{key: payload for key, payload in known.items() if is_newer(key)},
            **{
                payload["contractId"]: payload
                for payload in found
                if not is_newer(payload["contractId"])
            },
        }

    def _take_orders(self, account_id: int, found: Iterable[Payload], asked: float) -> None:
        known = self._orders.setdefault(account_id, {})
        working = {payload["id"]: payload for payload in found}
        for order_id, payload in list(known.items()):
            is_newer = self._is_newer(("GatewayUserOrder", account_id, order_id), asked)
            if order_id not in working and not is_newer and _is_working(payload):
                # What became of it is told with its event, or was asked.
                known[order_id] = {**payload, "status": int(GatewayOrderStatus.CANCELLED)}
            elif order_id in working and is_newer:
                del working[order_id]
        known.update(working)

    def _is_newer(self, key: object, asked: float) -> bool:
        """Tell whether what was told of ``key`` may be newer than the answer."""
        heard = self._heard.get(key)
        return heard is not None and heard > asked - SEARCHES_TRAIL_SECONDS

    # What is asked.

    def answer(self, request: str, arguments: Mapping[str, Any]) -> Any:
        """Return what a gateway would answer that knows what is told here.

        :raises GatewayUnansweredError: that has not been told yet.
        :raises GatewayRefusedError: it is an order that nobody has heard of, or a change: nothing is
            changed here.
        """
        read = self._reads.get(request)
        if read is None:
            raise GatewayRefusedError(request, 0, "a recording cannot be changed")
        known = read(**{key: arguments[key] for key in arguments if key != "urgent"})
        if known is None:
            raise GatewayUnansweredError(request, "the recording has not told yet")
        return known

    def _is_known(self, request: str, account_id: int) -> bool:
        """Tell whether events add to a list of which the gateway has once told all."""
        return (request, account_id) in self._answered

    def _find_account(self, account_id: int) -> Payload | None:
        return self._accounts.get(account_id)

    def _find_contract(self, contract_id: str) -> Payload | None:
        return self._contracts.get(contract_id)

    def _find_positions(self, account_id: int) -> list[Payload] | None:
        if not self._is_known("gateway.search_open_positions", account_id):
            return None
        return list(self._positions.get(account_id, {}).values())

    def _find_working(self, account_id: int) -> list[Payload] | None:
        if not self._is_known("gateway.search_open_orders", account_id):
            return None
        return list(filter(_is_working, self._orders.get(account_id, {}).values()))

    def _find_orders(self, account_id: int, since: datetime) -> list[Payload] | None:
        if not self._is_known("gateway.search_open_orders", account_id):
            return None
        return _since(self._orders.get(account_id, {}), since)

    def _find_trades(self, account_id: int, since: datetime) -> list[Payload] | None:
        if not self._is_known("gateway.search_trades", account_id):
            return None
        return _since(self._trades.get(account_id, {}), since)

    def _find_order(self, account_id: int, order_id: int) -> Payload:
        known = self._orders.get(account_id, {}).get(order_id)
        if known is None:
            raise GatewayRefusedError("gateway.search_order", _UNKNOWN, "no such order")
        return known


def _is_working(order: Payload) -> bool:
    return order.get("status") not in _ENDED


def _since(known: Mapping[int, Payload], since: datetime) -> list[Payload]:
    return [payload for payload in known.values() if _began(payload) >= since]


def _began(payload: Payload) -> datetime:
    moment = msgspec.convert(payload["creationTimestamp"], datetime)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
