"""Positions, orders and trades of the broker; a test names the fields that matter to it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from riskd.model.broker import BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.events import OrderSide, OrderState, OrderType, PositionType

MNQ = "CON.F.US.MNQ.Z26"
NOON = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
"""12:00 in Chicago."""


def broker_position(*, at: datetime = NOON, **fields: Any) -> BrokerPosition:
    """Return a long position of one contract at 21000.

    :param at: when it was opened and changed last.
    """
    defaults: dict[str, Any] = {
        "id": 1,
        "contract_id": MNQ,
        "type": PositionType.LONG,
        "size": 1,
        "average_price": Decimal(21000),
        "created_at": at,
        "updated_at": at,
    }
    return BrokerPosition(**{**defaults, **fields})


def broker_order(*, at: datetime = NOON, **fields: Any) -> BrokerOrder:
    """Return a working stop that sells one contract, without prices.

    :param at: when it was placed and changed last.
    """
    defaults: dict[str, Any] = {
        "id": 7,
        "contract_id": MNQ,
        "type": OrderType.STOP,
        "side": OrderSide.SELL,
        "size": 1,
        "limit_price": None,
        "stop_price": None,
        "state": OrderState.ACTIVE,
        "created_at": at,
        "updated_at": at,
    }
    return BrokerOrder(**{**defaults, **fields})


def broker_trade(*, at: datetime = NOON, **fields: Any) -> BrokerTrade:
    """Return a full turn of one contract that lost five dollars.

    :param at: when it was executed and received.
    """
    defaults: dict[str, Any] = {
        "id": 9,
        "contract_id": MNQ,
        "profit_and_loss": Decimal(-5),
        "quantity": 1,
        "execution_time": at,
        "timestamp": at,
    }
    return BrokerTrade(**{**defaults, **fields})
