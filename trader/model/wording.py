"""Orders, positions and their prices in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from riskd.model.account import AccountState
from riskd.model.events import (
    GatewayUserOrder,
    GatewayUserPosition,
    OrderSide,
    OrderState,
    OrderType,
    PositionType,
)
from riskd.model.formatting import contract_name
from riskd.model.money import is_on_tick
from trader.model.formatting import price

# Capitals for the one state that the trader must act on.
_ORDER_STATES: Final = {
    OrderState.ACTIVE: "working",
    OrderState.FILLED: "filled",
    OrderState.CANCELED: "canceled",
    OrderState.REJECTED: "REJECTED",
}

_EXTRA_PLACES_OF_AN_AVERAGE: Final = 2


def contract_price(state: AccountState, contract_id: str, value: Decimal) -> str:
    """Return a price with as many decimals as the contract's tick size has."""
    contract = state.contract(contract_id)
    return price(value, contract.price_places if contract else None)


def average_price(state: AccountState, position: GatewayUserPosition) -> str:
    """Return a position's average price; between ticks, with up to two more decimals."""
    contract = state.contract(position.contract_id)
    value = position.average_price
    if contract is None or is_on_tick(value, contract.tick_size):
        return contract_price(state, position.contract_id, value)
    # With the decimals of a tick it would look like a price that was traded.
    return f"{value:.{contract.price_places + _EXTRA_PLACES_OF_AN_AVERAGE}f}".rstrip("0")


def side_name(side: OrderSide | PositionType) -> str:
    """Return ``Buy`` or ``Sell``, ``Long`` or ``Short``."""
    return side.name.capitalize()


def order_type_name(order_type: OrderType) -> str:
    """Return ``market``, ``limit``, ``stop`` or ``stop-limit``."""
    return order_type.name.lower().replace("_", "-")


def order_prices(order: GatewayUserOrder, state: AccountState) -> str:
    """Return stop and limit price: ``20990.25 limit 21000.00``; empty without any."""
    return " limit ".join(
        contract_price(state, order.contract_id, value)
        for value in (order.stop_price, order.limit_price)
        if value is not None
    )


def describe_order(order: GatewayUserOrder, state: AccountState) -> str:
    """Return an order in words, such as ``Sell stop 2 MNQZ6 at 20990.00 working``."""
    prices = order_prices(order, state)
    at = f" at {prices}" if prices else ""
    name = contract_name(state, order.contract_id)
    kind = f"{side_name(order.side)} {order_type_name(order.type)}"
    return f"{kind} {order.size} {name}{at} {_ORDER_STATES[order.state]}"


def describe_position(position: GatewayUserPosition, state: AccountState) -> str:
    """Return what changed with a position.

    :param state: the account before the change.
    """
    name = contract_name(state, position.contract_id)
    if not position.size:
        return f"Position closed: {name}"
    known = state.positions.get(position.contract_id)
    verb = "changed" if known and known.size else "opened"
    average = average_price(state, position)
    return f"Position {verb}: {side_name(position.type)} {position.size} {name} at {average}"
