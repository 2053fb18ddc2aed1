"""What the tests of rules build orders of."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from riskd.account import AccountState, OrderDetail
from riskd.events import (
    Event,
    EventData,
    GatewayUserOrder,
    GatewayUserPosition,
    OrderSide,
    OrderState,
    OrderType,
)
from riskd.rules.interface import Kind, Occasion
from tests.rules_help import ACCOUNT, MNQ, SELL, at, occasion, with_details

_KINDS: dict[type[EventData], Kind] = {
    GatewayUserPosition: Kind.POSITION,
    GatewayUserOrder: Kind.ORDER,
}


def order(
    number: int,
    contract_id: str = MNQ,
    side: OrderSide = SELL,
    size: int = 1,
    *,
    kind: OrderType = OrderType.STOP,
    state: OrderState = OrderState.ACTIVE,
    price: str = "20900",
    seconds: float = 0,
) -> Event:
    """Return what is told of an order so many seconds after noon."""
    has_stop = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
    has_limit = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    data = GatewayUserOrder(
        id=number,
        contract_id=contract_id,
        type=kind,
        side=side,
        size=size,
        limit_price=Decimal(price) if has_limit else None,
        stop_price=Decimal(price) if has_stop else None,
        state=state,
        created_at=at(0),
        updated_at=at(seconds),
    )
    return Event(ACCOUNT, data)


def canceled(event: Event, seconds: float = 0) -> Event:
    """Return what is told when an order is canceled."""
    return Event(
        ACCOUNT,
        msgspec.structs.replace(event.data, state=OrderState.CANCELED, updated_at=at(seconds)),
    )


def told(event: Event, seconds: float = 0) -> Occasion:
    """Return the occasion of an event, so many seconds after noon."""
    return occasion(_KINDS[type(event.data)], seconds, event.data)


def timer(seconds: float) -> Occasion:
    """Return the occasion of a timer, so many seconds after noon."""
    return occasion(Kind.TIMER, seconds)


def with_detail(state: AccountState, number: int, **detail: object) -> AccountState:
    """Return ``state`` with what the gateway says of one more order."""
    known = {**state.risk.order_details, number: msgspec.convert(detail, OrderDetail)}
    return with_details(state, known)
