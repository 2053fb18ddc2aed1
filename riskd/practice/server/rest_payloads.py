"""Payloads as the REST API writes them: with every field, nulls included, and times in one form.

Source: the ProjectX Gateway API documentation.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from riskd.gateway.interface import Payload
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
    return _timed({name: payload.get(name) for name in _ORDER_FIELDS})


def full_trade(payload: Payload) -> Payload:
    """Return a trade with all of its fields; the practice exchange takes fees and no commissions."""
    return _timed({name: {"commissions": ZERO, **payload}.get(name) for name in _TRADE_FIELDS})


def full_position(payload: Payload, contract: Payload) -> Payload:
    """Return a position with all of its fields.

    :param contract: the payload of its contract.
    """
    return _timed({**payload, "contractDisplayName": contract["name"]})


def _timed(payload: Payload) -> Payload:
    return {
        name: _time(value) if name.endswith("Timestamp") else value
        for name, value in payload.items()
    }


def _time(text: Any) -> str:
    """Return a time in the one form: UTC, microseconds, and an offset."""
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return moment.isoformat(timespec="microseconds")
