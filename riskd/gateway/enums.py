"""The gateway's own numbers, as its API documents them.

They differ from the wire's (:mod:`riskd.model.events`): here a limit order is 1 and a buy is 0.
"""

from __future__ import annotations

from enum import IntEnum


class GatewayOrderType(IntEnum):
    """How an order is to be filled."""

    UNKNOWN = 0
    LIMIT = 1
    MARKET = 2
    STOP_LIMIT = 3
    STOP = 4
    TRAILING_STOP = 5
    JOIN_BID = 6
    JOIN_ASK = 7


class GatewayOrderSide(IntEnum):
    """Whether an order buys (bid) or sells (ask)."""

    BID = 0
    ASK = 1


class GatewayOrderStatus(IntEnum):
    """Where an order stands."""

    NONE = 0
    OPEN = 1
    FILLED = 2
    CANCELLED = 3
    EXPIRED = 4
    REJECTED = 5
    PENDING = 6
    PENDING_CANCELLATION = 7
    SUSPENDED = 8


class GatewayPositionType(IntEnum):
    """Which way a position points; a closed one is undefined."""

    UNDEFINED = 0
    LONG = 1
    SHORT = 2
