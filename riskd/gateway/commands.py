"""Commands to the broker, as values for :meth:`IGateway.carry_out`."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from riskd.model.events import OrderSide, OrderType


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command"):
    """A command about one account."""

    account_id: int


class CloseContract(_Command, frozen=True, tag="close"):
    """Close the account's position in a contract at the market.  May be repeated."""

    contract_id: str


class PartialCloseContract(_Command, frozen=True, tag="partial_close"):
    """Close ``size`` contracts of a position at the market."""

    contract_id: str
    size: int


class CancelOrder(_Command, frozen=True, tag="cancel"):
    """Cancel a working order.  May be repeated."""

    order_id: int


class ModifyOrder(_Command, frozen=True, tag="modify"):
    """Change a working order; what is ``None`` stays."""

    order_id: int
    size: int | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class PlaceOrder(_Command, frozen=True, tag="place"):
    """Place an order; the answer is its id.  Never repeated blindly.

    :ivar custom_tag: the broker refuses a second order with the same tag.
    """

    contract_id: str
    type: OrderType
    side: OrderSide
    size: int
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    custom_tag: str | None = None


Command = CloseContract | PartialCloseContract | CancelOrder | ModifyOrder | PlaceOrder

REQUEST_NAMES: dict[type, str] = {
    CloseContract: "Position/closeContract",
    PartialCloseContract: "Position/partialCloseContract",
    CancelOrder: "Order/cancel",
    ModifyOrder: "Order/modify",
    PlaceOrder: "Order/place",
}
"""The broker's name of the request that carries out each command."""


def request_name(command: Command) -> str:
    """Return the broker's name of the request that carries out ``command``."""
    return REQUEST_NAMES[type(command)]
