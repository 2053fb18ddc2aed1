"""Map the gateway's payloads to riskd's events, once and at the edge.

The ProjectX gateway counts sides from 0, swaps the numbers of market and limit orders, has nine order
states where the wire has four, and leaves out keys that are null.  Nothing behind this module sees any of
that.  Quotes, which arrive as changes, are mapped by :mod:`riskd.gateway.quote_book`.

Source: the ProjectX Gateway API documentation, and what its clients see of the live gateway.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.fields import FieldReader, MappingError
from riskd.gateway.interface import Payload
from riskd.model.account import Charge, OrderDetail
from riskd.model.contracts import Contract
from riskd.model.events import (
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    OrderSide,
    OrderState,
    OrderType,
    PositionType,
)
from riskd.model.moments import is_placeholder
from riskd.model.money import ZERO

ORDER_TYPES: Final[dict[int, OrderType]] = {
    GatewayOrderType.LIMIT: OrderType.LIMIT,
    GatewayOrderType.MARKET: OrderType.MARKET,
    GatewayOrderType.STOP_LIMIT: OrderType.STOP_LIMIT,
    GatewayOrderType.STOP: OrderType.STOP,
    GatewayOrderType.TRAILING_STOP: OrderType.STOP,
    GatewayOrderType.JOIN_BID: OrderType.LIMIT,
    GatewayOrderType.JOIN_ASK: OrderType.LIMIT,
}
"""The gateway's order types on the wire; the type of any other order follows from its prices."""

ORDER_SIDES: Final[dict[int, OrderSide]] = {
    GatewayOrderSide.BID: OrderSide.BUY,
    GatewayOrderSide.ASK: OrderSide.SELL,
}

ORDER_STATES: Final[dict[int, OrderState]] = {
    GatewayOrderStatus.NONE: OrderState.ACTIVE,
    GatewayOrderStatus.OPEN: OrderState.ACTIVE,
    GatewayOrderStatus.FILLED: OrderState.FILLED,
    GatewayOrderStatus.CANCELLED: OrderState.CANCELED,
    GatewayOrderStatus.EXPIRED: OrderState.CANCELED,
    GatewayOrderStatus.REJECTED: OrderState.REJECTED,
    GatewayOrderStatus.PENDING: OrderState.ACTIVE,
    GatewayOrderStatus.PENDING_CANCELLATION: OrderState.ACTIVE,
    GatewayOrderStatus.SUSPENDED: OrderState.ACTIVE,
}

POSITION_TYPES: Final[dict[int, PositionType]] = {
    GatewayPositionType.LONG: PositionType.LONG,
    GatewayPositionType.SHORT: PositionType.SHORT,
}

_AVERAGE_PRICE_STEP: Final = Decimal("1e-9")


def trade(payload: Payload, received: datetime) -> GatewayUserTrade | None:
    """Return a full-turn trade; ``None`` for a half-turn or a voided trade.

    :param received: when the payload came, aware.
    :raises MappingError: the payload cannot be read.
    """
    read = FieldReader("GatewayUserTrade", payload)
    executed = read.time("creationTimestamp")
    # An exit arrives as two trades: itself, and the entry once more, which has no P&L.  The gateway leaves out keys that are null, and a scratch trade has a P&L of 0: test for None alone.
    if payload.get("profitAndLoss") is None or payload.get("voided"):
        return None
    return GatewayUserTrade(
        id=read.whole("id"),
        contract_id=read.contract_id(),
        profit_and_loss=read.amount("profitAndLoss"),
        quantity=read.count("size"),
        # A loss without a date belongs to the day in which it is reported.
        execution_time=received if is_placeholder(executed) else executed,
        timestamp=received,
    )


def voided_trade(payload: Payload) -> int | None:
    """Return the id of a trade that the broker has voided; ``None`` if it has not.

    A trade may be voided long after it was reported; its P&L must then be taken back.

    :raises MappingError: the payload cannot be read.
    """
    return FieldReader("GatewayUserTrade", payload).whole("id") if payload.get("voided") else None


def charge(payload: Payload) -> tuple[int, Charge]:
    """Return the id of a trade, half-turn or full, and its fees and commissions.

    The gateway's ``profitAndLoss`` is gross: the balance changes by it less the charges of both half-turns.

    :raises MappingError: the payload cannot be read.
    """
    read = FieldReader("GatewayUserTrade", payload)
    amounts = (read.optional_amount(name) for name in ("fees", "commissions"))
    total = sum((amount for amount in amounts if amount is not None), ZERO)
    return read.whole("id"), Charge(read.time("creationTimestamp"), total)


def may_trade(payload: Payload) -> bool | None:
    """Return whether an account may trade; ``None`` if its payload does not say.

    :raises MappingError: the payload says neither yes nor no.
    """
    value = payload.get("canTrade")
    if value is not None and not isinstance(value, bool):
        raise MappingError("GatewayUserAccount.canTrade", value, "true or false")
    return value


def position(
    payload: Payload, last: GatewayUserPosition | None, received: datetime
) -> GatewayUserPosition:
    """Return a position.

    :param last: the contract's position as last known; it supplies what the payload of a closed
        position leaves out, and nothing of an open one.
    :param received: when the payload came, aware.
    :raises MappingError: the payload cannot be read.
    """
    read = FieldReader("GatewayUserPosition", payload)
    size = read.count("size")
    if size == 0 and last is not None and payload.get("averagePrice") is None:
        average = last.average_price
    else:
        average = read.number("averagePrice")
    if size == 0 and payload.get("type") in (None, GatewayPositionType.UNDEFINED):
        side = last.type if last else PositionType.LONG
    else:
        side = read.choice("type", POSITION_TYPES)
    return GatewayUserPosition(
        id=read.whole("id"),
        contract_id=read.contract_id(),
        type=side,
        size=size,
        average_price=_without_endless_places(average),
        created_at=read.time("creationTimestamp"),
        updated_at=_updated_at(read, last, received),
    )


def order(payload: Payload, last: GatewayUserOrder | None, received: datetime) -> GatewayUserOrder:
    """Return an order; its ``size`` is the original one, also after partial fills.

    :param last: the order as last known.
    :param received: when the payload came, aware.
    :raises MappingError: the payload cannot be read.
    """
    read = FieldReader("GatewayUserOrder", payload)
    limit_price = read.optional_number("limitPrice")
    stop_price = read.optional_number("stopPrice")
    return GatewayUserOrder(
        id=read.whole("id"),
        contract_id=read.contract_id(),
        type=ORDER_TYPES.get(payload.get("type", 0)) or _type_by_prices(limit_price, stop_price),
        side=read.choice("side", ORDER_SIDES),
        size=read.count("size"),
        limit_price=limit_price,
        stop_price=stop_price,
        state=read.choice("status", ORDER_STATES),
        created_at=read.time("creationTimestamp"),
        updated_at=_updated_at(read, last, received),
    )


def order_detail(payload: Payload) -> OrderDetail:
    """Return the details of an order that the wire does not carry.

    :raises MappingError: the payload cannot be read.
    """
    read = FieldReader("GatewayUserOrder", payload)
    return OrderDetail(
        filled=0 if payload.get("fillVolume") is None else read.count("fillVolume"),
        is_open=payload.get("status") == GatewayOrderStatus.OPEN,
        custom_tag=str(payload.get("customTag") or ""),
    )


def _updated_at(
    read: FieldReader, last: GatewayUserPosition | GatewayUserOrder | None, received: datetime
) -> datetime:
    # What is received later is newer, also when our clock was set back in between.
    default = received if last is None else max(received, last.updated_at)
    return read.time("updateTimestamp", default)


def has_known_type(payload: Payload) -> bool:
    """Return whether the gateway documents an order's type.

    If not, its prices give its type.
    """
    return payload.get("type") in ORDER_TYPES


def _type_by_prices(limit_price: Decimal | None, stop_price: Decimal | None) -> OrderType:
    if stop_price is not None:
        return OrderType.STOP if limit_price is None else OrderType.STOP_LIMIT
    return OrderType.MARKET if limit_price is None else OrderType.LIMIT


def contract(payload: Payload) -> Contract:
    """Return a contract.

    :raises MappingError: the payload cannot be read, or a tick size or value is not above zero.
    """
    read = FieldReader("contract", payload)
    return Contract(
        id=read.contract_id("id"),
        name=read.text("name"),
        tick_size=read.positive("tickSize"),
        tick_value=read.positive("tickValue"),
    )


def _without_endless_places(average: Decimal) -> Decimal:
    # The gateway's average of several fills is a division, with as many places as it likes.
    cut = average.quantize(_AVERAGE_PRICE_STEP)
    return average if average == cut else cut
