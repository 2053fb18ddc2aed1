"""The numbers of the gateway's API, as its documentation has them.

The wire's numbers differ (:mod:`riskd.model.events`): here a limit order is 1 and a buy is 0.
"""

from __future__ import annotations

from enum import IntEnum


class GatewayOrderType(IntEnum):
    """The type of an order."""

    UNKNOWN = 0
    LIMIT = 1
    MARKET = 2
    STOP_LIMIT = 3
    STOP = 4
    TRAILING_STOP = 5
    JOIN_BID = 6
    JOIN_ASK = 7


class GatewayOrderSide(IntEnum):
    """The side of an order: a bid buys, an ask sells."""

    BID = 0
    ASK = 1


class GatewayOrderStatus(IntEnum):
    """The status of an order."""

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
    """The side of a position; a closed one is undefined."""

    UNDEFINED = 0
    LONG = 1
    SHORT = 2
