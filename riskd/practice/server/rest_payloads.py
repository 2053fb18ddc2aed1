"""Payloads of the REST API: every field, nulls included, and times in one form.

Source: the ProjectX Gateway API documentation.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from riskd.gateway.fields import Payload
from riskd.model.money import ZERO

_ORDER_FIELDS: Final = (
    "id",
    "accountId",
    "contractId",
    "symbolId",
    "creationTimestamp",
    "updateTimestamp",
    "status",
    "type",
    "side",
    "size",
    "limitPrice",
    "stopPrice",
    "fillVolume",
    "filledPrice",
    "customTag",
    "trailPrice",
    "trailDistance",
    "parentOrderId",
    "linkedOrderId",
)
_TRADE_FIELDS: Final = (
    "id",
    "accountId",
    "contractId",
    "creationTimestamp",
    "price",
    "profitAndLoss",
    "fees",
    "commissions",
    "side",
    "size",
    "voided",
    "orderId",
)


def full_order(payload: Payload) -> Payload:
    """Return an order with all of its fields."""
    return _with_rest_times({name: payload.get(name) for name in _ORDER_FIELDS})


def full_trade(payload: Payload) -> Payload:
    """Return a trade with all of its fields.

    Where the practice exchange takes no commissions, they are zero.
    """
    trade = {"commissions": ZERO, **payload}
    return _with_rest_times({name: trade.get(name) for name in _TRADE_FIELDS})


def full_position(payload: Payload, contract: Payload) -> Payload:
    """Return a position with all of its fields.

    :param contract: the payload of its contract.
    """
    return _with_rest_times({**payload, "contractDisplayName": contract["name"]})


def _with_rest_times(payload: Payload) -> Payload:
    """Return ``payload`` with times in UTC, to the microsecond, with an offset."""
    return {
        name: _rest_time(value) if name.endswith("Timestamp") and value is not None else value
        for name, value in payload.items()
    }


# Clients ask for the trades of a day again and again.
@lru_cache(maxsize=10_000)
def _rest_time(time: str) -> str:
    return datetime.fromisoformat(time).astimezone(UTC).isoformat(timespec="microseconds")
