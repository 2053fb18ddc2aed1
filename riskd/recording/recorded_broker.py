"""The broker of a recording: answers reads that the recorded daemon never made.

This module is pure.  It knows the events of accounts and the answers that the recorded daemon received.
An answer describes the moment of its request, so it never overrides an event that came later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from riskd.gateway.enums import GatewayOrderStatus
from riskd.gateway.fields import in_utc
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError, Payload

SEARCHES_TRAIL_SECONDS: Final = 1.0
"""How long the gateway's searches may trail its events; about 0.1 s has been seen on the live gateway."""

_ORDER_NOT_FOUND: Final = 1
"""The gateway's code for an order that it does not know."""

_FINAL_STATUSES: Final = frozenset(
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
"""The field that identifies the subject of each kind of event."""

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
        self._accounts: dict[int, Payload] = {}
        self._contracts: dict[str, Payload] = {}
        self._positions: dict[int, dict[str, Payload]] = defaultdict(dict)
        self._orders: dict[int, dict[int, Payload]] = defaultdict(dict)
        self._trades: dict[int, dict[int, Payload]] = defaultdict(dict)
        self._received_at: dict[object, float] = {}
        self._answered: set[tuple[str, int]] = set()
        self._readers: Mapping[str, Callable[..., Any]] = {
            "gateway.search_account": self._accounts.get,
            "gateway.search_contract": self._contracts.get,
            "gateway.search_open_positions": lambda account_id: list(
                self._positions[account_id].values()
            ),
            "gateway.search_open_orders": lambda account_id: list(
                filter(_is_working, self._orders[account_id].values())
            ),
            "gateway.search_orders": lambda account_id, since: _since(
                self._orders[account_id], since
            ),
            "gateway.search_order": self._order,
            "gateway.search_trades": lambda account_id, since: _since(
                self._trades[account_id], since
            ),
        }

    # From the recording.

    def apply_event(self, target: str, payload: Payload, seconds: float) -> None:
        """Apply an event of an account.

        :param seconds: when the daemon received it, by the steady clock.
        """
        account_id = payload.get("id" if target == "GatewayUserAccount" else "accountId")
        if not isinstance(account_id, int):
            return
        if target == "GatewayUserAccount":
            self._accounts[account_id] = {**self._accounts.get(account_id, {}), **payload}
        elif target == "GatewayUserPosition":
            # A position that changes moves to the end, as it does in the gateway's answers.
            self._positions[account_id].pop(payload["contractId"], None)
            if payload.get("size"):
                self._positions[account_id][payload["contractId"]] = payload
        elif target == "GatewayUserOrder":
            self._orders[account_id][payload["id"]] = payload
        elif target == "GatewayUserTrade":
            self._trades[account_id][payload["id"]] = payload
        self._received_at[target, account_id, payload.get(_KEYS.get(target, ""))] = seconds

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
            self._orders[account_id].update((payload["id"], payload) for payload in value)
        elif request == "gateway.search_order":
            self._orders[account_id][value["id"]] = value
        elif request == "gateway.search_trades":
            self._trades[account_id].update((payload["id"], payload) for payload in value)

    def _apply_open_positions(
        self, account_id: int, found: Iterable[Payload], requested_at: float
    ) -> None:
        def is_newer(contract_id: object) -> bool:
            return self._is_newer(("GatewayUserPosition", account_id, contract_id), requested_at)

        known = self._positions[account_id]
        listed = {payload["contractId"]: payload for payload in found}
        self._positions[account_id] = {
            **{key: payload for key, payload in known.items() if is_newer(key)},
            **{key: payload for key, payload in listed.items() if not is_newer(key)},
        }

    def _apply_working_orders(
        self, account_id: int, found: Iterable[Payload], requested_at: float
    ) -> None:
        known = self._orders[account_id]
        working = {payload["id"]: payload for payload in found}
        for order_id, payload in list(known.items()):
            is_newer = self._is_newer(("GatewayUserOrder", account_id, order_id), requested_at)
            if order_id not in working and not is_newer and _is_working(payload):
                # Its end was lost on the way; if it was filled, an event or another answer says so.
                known[order_id] = {**payload, "status": int(GatewayOrderStatus.CANCELLED)}
            elif order_id in working and is_newer:
                del working[order_id]
        known.update(working)

    def _is_newer(self, key: object, requested_at: float) -> bool:
        """Return whether the last event of ``key`` may be newer than an answer."""
        received_at = self._received_at.get(key)
        return received_at is not None and received_at > requested_at - SEARCHES_TRAIL_SECONDS

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

    def _order(self, account_id: int, order_id: int) -> Payload:
        known = self._orders[account_id].get(order_id)
        if known is None:
            raise GatewayRefusedError("gateway.search_order", _ORDER_NOT_FOUND, "no such order")
        return known


def _is_working(order: Payload) -> bool:
    return order.get("status") not in _FINAL_STATUSES


def _since(known: Mapping[int, Payload], since: datetime) -> list[Payload]:
    return [
        payload
        for payload in known.values()
        if in_utc(msgspec.convert(payload["creationTimestamp"], datetime)) >= since
    ]
