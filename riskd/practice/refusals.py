"""The errors with which the practice broker refuses requests, and their codes.

Source: the ProjectX Gateway API documentation.  It numbers the errors of each request anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from riskd.gateway.interface import GatewayRefusedError

_ACCOUNT_REQUEST: Final = {"AccountNotFound": 1}
_CHANGE: Final = {"AccountNotFound": 1, "OrderNotFound": 2, "Rejected": 3, "Pending": 4}
_CORRECTION: Final = {"AccountNotFound": 1, "TradeNotFound": 1, "TradeVoided": 2}
_CLOSE: Final = {"AccountNotFound": 1, "PositionNotFound": 2, "ContractNotFound": 3}

_CODES: Final[Mapping[str, Mapping[str, int]]] = {
    "Account/search": _ACCOUNT_REQUEST,
    "Contract/searchById": {"ContractNotFound": 1},
    "History/retrieveBars": {"UnitInvalid": 2, "UnitNumberInvalid": 3, "LimitInvalid": 4},
    "Order/searchOpen": _ACCOUNT_REQUEST,
    "Order/search": _ACCOUNT_REQUEST,
    "Order/searchById": {"AccountNotFound": 1, "OrderNotFound": 1},
    "Order/place": {
        "AccountNotFound": 1,
        "Rejected": 2,
        "AccountViolation": 4,
        "ContractNotFound": 8,
        "ContractNotActive": 9,
    },
    "Order/cancel": _CHANGE,
    "Order/modify": _CHANGE,
    "Position/searchOpen": _ACCOUNT_REQUEST,
    "Position/closeContract": {**_CLOSE, "Rejected": 5, "Pending": 6},
    "Position/partialCloseContract": {
        **_CLOSE,
        "InvalidCloseSize": 5,
        "Rejected": 6,
        "Pending": 7,
    },
    "Trade/search": _ACCOUNT_REQUEST,
    # Requests that only the practice gateway has.
    "Practice/moveMarket": {"PriceInvalid": 2},
    "Practice/setCanTrade": _ACCOUNT_REQUEST,
    "Practice/transfer": {**_ACCOUNT_REQUEST, "AmountInvalid": 2},
    "Practice/amendTrade": _CORRECTION,
    "Practice/voidTrade": _CORRECTION,
}


def can_be_pending(request: str) -> bool:
    """Return whether a request may be refused because another is still under way."""
    return "Pending" in _CODES[request]


def refusal(request: str, error: str, message: str) -> GatewayRefusedError:
    """Return the error of a refused request.

    :param request: the gateway's name of it, such as ``Order/place``.
    :param error: the name of the error, such as ``AccountNotFound``.
    :param message: why, for a person.
    """
    return GatewayRefusedError(request, _CODES[request][error], message)
