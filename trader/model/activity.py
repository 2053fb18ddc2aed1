"""What each event says in a line for a trader: the activity feed, and what flashes on the screen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.events import (
    Action,
    ClearedBy,
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
from riskd.model.formatting import counted
from riskd.model.money import is_on_tick
from trader.model.formatting import money, price, until

_CLEARED_BY = {
    ClearedBy.TIMER_EXPIRY: "the lock has ended",
    ClearedBy.ADMIN_OVERRIDE: "an operator cleared it",
    ClearedBy.DAILY_RESET: "a new trading day began",
}
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

ACTIONS: Final = {
    Action.CLOSE_ALL_POSITIONS: "close positions",
    Action.CLOSE_ALL_AND_LOCKOUT: "close all and lock",
    Action.COOLDOWN: "close all and pause",
    Action.REJECT_ORDER: "cancel an order",
    Action.AUTO_STOP_LOSS: "place a stop",
}
"""What was enforced, in words that fit what was done, what failed, and what a dry run left alone."""

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


def describe_order(order: GatewayUserOrder, state: AccountState) -> str:
    """Return an order in a line, such as ``Sell stop 2 MNQZ6 at 20990.00 working``."""
    prices = [
        contract_price(state, order.contract_id, value)
        for value in (order.stop_price, order.limit_price)
        if value is not None
    ]
    at = f" at {' limit '.join(prices)}" if prices else ""
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


def _lockout(lockout: LockoutSet, _state: AccountState) -> _Told:
    ends = lockout.locked_until
    end = f"until {until(ends, lockout.locked_at)}" if ends else "until an operator unlocks it"
    return f"LOCKED OUT {end}: {lockout.reason} ({lockout.rule_id})", "alert", True


def _cleared(cleared: LockoutCleared, _state: AccountState) -> _Told:
    return f"Trading resumed: {_CLEARED_BY[cleared.cleared_by]}", "good", True


def _enforcement(action: EnforcementAction, _state: AccountState) -> _Told:
    done = action.details
    if done.dry_run is True:
        outcome = "NOT ENFORCED (dry run): "
    else:
        outcome = "ENFORCED: " if action.success else "ENFORCEMENT FAILED: "
    counts = [
        f"{counted(number, what)} {done_to}"
        for number, what, done_to in (
            (done.positions_closed, "position", "closed"),
            (done.orders_canceled, "order", "canceled"),
        )
        if number
    ]
    told = f"{outcome}{ACTIONS[action.action]} ({action.rule_id}): {action.reason}"
    if not counts:
        return told, "alert", True
    would = "would be: " if done.dry_run is True else ""
    return f"{told}; {would}{', '.join(counts)}", "alert", True


def _reset(reset: DailyReset, _state: AccountState) -> _Told:
    before = f"{money(reset.previous_pnl)} in {reset.previous_trade_count} trades before it"
    return f"Daily reset executed: {before}", "good", True


def _status(status: DaemonStatus, _state: AccountState) -> _Told:
    is_fine = status.status is Status.RUNNING
    told = f"Daemon {status.status}: {status.message}"
    # What is wrong stands above every page for as long as it is so.
    return told, "good" if is_fine else "alert", False


_TELLERS: Final[dict[type, Callable[[Any, AccountState], _Told]]] = {
    GatewayUserTrade: _trade,
    GatewayUserPosition: _position,
    GatewayUserOrder: _order,
    LockoutSet: _lockout,
    LockoutCleared: _cleared,
    EnforcementAction: _enforcement,
    DailyReset: _reset,
    DaemonStatus: _status,
}
