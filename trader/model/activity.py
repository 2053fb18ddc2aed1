"""What each event says in a line for a trader: the activity feed, and what flashes on the screen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.descriptions import RiskEvent, describe
from riskd.model.events import (
    DaemonStatus,
    DailyReset,
    EnforcementAction,
    Event,
    EventData,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    LockoutCleared,
    LockoutSet,
    MarketQuote,
    OrderSide,
    OrderState,
    OrderType,
    PositionType,
    Status,
)
from riskd.model.money import is_on_tick
from trader.model.formatting import money, price, until

_ORDER_TYPES = {
    OrderType.MARKET: "market",
    OrderType.LIMIT: "limit",
    OrderType.STOP: "stop",
    OrderType.STOP_LIMIT: "stop-limit",
}
_ORDER_STATES = {
    OrderState.ACTIVE: "working",
    OrderState.FILLED: "filled",
    OrderState.CANCELED: "canceled",
    OrderState.REJECTED: "REJECTED",
}

_PLACES_OF_AN_AVERAGE: Final = 2


class FeedLine(msgspec.Struct, frozen=True):
    """One line of the feed.

    :ivar at: when the console learned of it, or, where the file told it, when it was; aware.
    :ivar text: what happened.
    :ivar style: the name of a style in the palette.
    :ivar flashes: whether it is worth flashing on the screen.
    :ivar kind: the type of the event that it tells of; ``console`` for what the console says itself.
    """

    at: datetime
    text: str
    style: str
    flashes: bool = False
    kind: str = "console"


def line_for(event: Event, state: AccountState, now: datetime) -> FeedLine | None:
    """Return the line for ``event``; ``None`` for what is shown otherwise or at once superseded.

    :param state: the account before the event.
    """
    data = event.data
    if isinstance(data, MarketQuote) or _is_about_to_be_filled(data):
        return None
    text, style, flashes = _TELLERS[type(data)](data, state)
    return FeedLine(now, text, style, flashes, event.type)


def _is_about_to_be_filled(data: EventData) -> bool:
    """Tell of a market order that works: a moment later it is filled, and that is said."""
    return (
        isinstance(data, GatewayUserOrder)
        and data.type is OrderType.MARKET
        and data.state is OrderState.ACTIVE
    )


def contract_name(state: AccountState, contract_id: str) -> str:
    """Return a contract's short name, such as ``MNQZ6``; its id where none is known."""
    contract = state.contract(contract_id)
    return contract.name if contract else contract_id


def contract_price(state: AccountState, contract_id: str, value: Decimal) -> str:
    """Return a price with as many places as the contract's ticks have."""
    contract = state.contract(contract_id)
    return price(value, contract.price_places if contract else None)


def average_price(state: AccountState, position: GatewayUserPosition) -> str:
    """Return a position's average price; one between ticks has up to two places more than a tick."""
    contract = state.contract(position.contract_id)
    value = position.average_price
    if contract is None or is_on_tick(value, contract.tick_size):
        return contract_price(state, position.contract_id, value)
    shown = f"{value:.{contract.price_places + _PLACES_OF_AN_AVERAGE}f}"
    return shown.rstrip("0")


def side_name(side: OrderSide) -> str:
    """Return ``Buy`` or ``Sell``."""
    return "Buy" if side is OrderSide.BUY else "Sell"


def order_type_name(order_type: OrderType) -> str:
    """Return the order type in lower case."""
    return _ORDER_TYPES[order_type]


def order_prices(order: GatewayUserOrder, state: AccountState) -> str:
    """Return stop and limit price, such as ``20990.25 limit 21000.00``; empty for a market order."""
    return " limit ".join(
        contract_price(state, order.contract_id, value)
        for value in (order.stop_price, order.limit_price)
        if value is not None
    )


def describe_order(order: GatewayUserOrder, state: AccountState) -> str:
    """Return an order in a line, such as ``Sell stop 2 MNQZ6 at 20990.00 working``."""
    prices = order_prices(order, state)
    at = f" at {prices}" if prices else ""
    name = contract_name(state, order.contract_id)
    kind = f"{side_name(order.side)} {order_type_name(order.type)}"
    return f"{kind} {order.size} {name}{at} {_ORDER_STATES[order.state]}"


def position_side(position: GatewayUserPosition) -> str:
    """Return ``Long`` or ``Short``."""
    return "Long" if position.type is PositionType.LONG else "Short"


_Told = tuple[str, str, bool]
"""A sentence, its style, and whether it flashes."""


def _trade(trade: GatewayUserTrade, state: AccountState) -> _Told:
    pnl = trade.profit_and_loss
    style = "loss" if pnl < 0 else "gain" if pnl > 0 else "strong"
    name = contract_name(state, trade.contract_id)
    return f"Trade {money(trade.profit_and_loss)}  {name} x{trade.quantity}", style, True


def _position(position: GatewayUserPosition, state: AccountState) -> _Told:
    name = contract_name(state, position.contract_id)
    if not position.size:
        return f"Position closed: {name}", "text", False
    known = state.positions.get(position.contract_id)
    verb = "changed" if known and known.size else "opened"
    average = average_price(state, position)
    held = f"{position_side(position)} {position.size} {name} at {average}"
    return f"Position {verb}: {held}", "text", False


def _order(order: GatewayUserOrder, state: AccountState) -> _Told:
    is_rejected = order.state is OrderState.REJECTED
    return describe_order(order, state), "loss" if is_rejected else "dim", is_rejected


def _risk_event(data: RiskEvent, _state: AccountState) -> _Told:
    style = "good" if isinstance(data, (LockoutCleared, DailyReset)) else "alert"
    return describe(data, until), style, True


def _status(status: DaemonStatus, _state: AccountState) -> _Told:
    is_fine = status.status is Status.RUNNING
    told = f"Daemon {status.status}: {status.message}"
    # What is wrong stands above every page for as long as it is so.
    return told, "good" if is_fine else "alert", False


_TELLERS: Final[dict[type, Callable[[Any, AccountState], _Told]]] = {
    GatewayUserTrade: _trade,
    GatewayUserPosition: _position,
    GatewayUserOrder: _order,
    LockoutSet: _risk_event,
    LockoutCleared: _risk_event,
    EnforcementAction: _risk_event,
    DailyReset: _risk_event,
    DaemonStatus: _status,
}
