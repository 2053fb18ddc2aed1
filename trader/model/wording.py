"""Events in words: the lines of the activity feed, orders, positions and prices."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.broker import BrokerTrade
from riskd.model.events import (
    DaemonStatus,
    DailyReset,
    Event,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    LockoutCleared,
    MarketQuote,
    OrderSide,
    OrderState,
    OrderType,
    PositionType,
    Status,
)
from riskd.model.formatting import contract_name, describe
from riskd.model.money import is_on_tick
from riskd.model.settings_changes import CHANGE_BEGINS
from trader.model.formatting import UNKNOWN, money, price, until

# Capitals for the one state that the trader must act on.
_ORDER_STATES: Final = {
    OrderState.ACTIVE: "working",
    OrderState.FILLED: "filled",
    OrderState.CANCELED: "canceled",
    OrderState.REJECTED: "REJECTED",
}

_EXTRA_PLACES_OF_AN_AVERAGE: Final = 2

_ACCOUNT: Final = re.compile(r"\b[Aa]ccount (\d+)\b")
"""How riskd names an account."""


class FeedLine(msgspec.Struct, frozen=True):
    """One line of the feed.

    :ivar at: when the event was received or, if it came from the state file, happened; aware.
    :ivar text: the event in a sentence.
    :ivar style: the name of a style in the palette.
    :ivar flashes: whether the line flashes on the screen.
    :ivar kind: the event type; ``console`` for lines of the console itself.
    """

    at: datetime
    text: str
    style: str
    flashes: bool = False
    kind: str = "console"


def line_for(event: Event, state: AccountState, now: datetime) -> FeedLine | None:
    """Return the line for ``event``; ``None`` for an event that has no line.

    :param state: the account before the event.
    """
    data = event.data
    flashes = True
    match data:
        case MarketQuote():
            return None
        case GatewayUserOrder(type=OrderType.MARKET, state=OrderState.ACTIVE):
            # It is filled a moment later, and its fill has a line.
            return None
        case GatewayUserOrder():
            text, flashes = describe_order(data, state), data.state is OrderState.REJECTED
            style = "loss" if flashes else "dim"
        case GatewayUserPosition():
            text, style, flashes = describe_position(data, state), "text", False
        case GatewayUserTrade():
            pnl, name = data.profit_and_loss, contract_name(state, data.contract_id)
            text = f"Trade {money(pnl)}  {name} x{data.quantity}"
            style = "loss" if pnl < 0 else "gain" if pnl > 0 else "strong"
        case DaemonStatus() if data.message.startswith(CHANGE_BEGINS):
            return settings_line(data.message, now)
        case DaemonStatus() if _is_notice_of_other(data, state):
            return None
        case DaemonStatus():
            # An error does not flash: it stands above every page for as long as it lasts.
            text, flashes = f"Daemon {data.status}: {data.message}", False
            style = "alert" if data.status is not Status.RUNNING else _running_style(state)
        case _:
            text = describe(data, until)
            style = "good" if isinstance(data, (LockoutCleared, DailyReset)) else "alert"
    return FeedLine(now, text, style, flashes, event.type)


def _is_notice_of_other(status: DaemonStatus, state: AccountState) -> bool:
    """Return whether a daemon with which all is well speaks of another account."""
    named = _ACCOUNT.findall(status.message)
    is_well = status.status is Status.RUNNING
    return is_well and bool(named) and str(state.account_id) not in named


def _running_style(state: AccountState) -> str:
    """Return the style of RUNNING.

    That all is well again is good news; what else riskd says need not be.
    """
    was_well = state.daemon is not None and state.daemon.status is Status.RUNNING
    return "text" if was_well else "good"


def settings_line(sentence: str, at: datetime) -> FeedLine:
    """Return the line for a change of settings."""
    return FeedLine(at, sentence, "warning", flashes=False, kind="daemon_status")


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


def side_and_prices(state: AccountState, trade: GatewayUserTrade) -> tuple[str, str, str]:
    """Return ``Long`` or ``Short``, entry and exit of what a trade has closed.

    The stream has none of them; once the published copy is read again they are known.
    """
    if not isinstance(trade, BrokerTrade) or trade.side is None or trade.price is None:
        return UNKNOWN, UNKNOWN, UNKNOWN
    side = side_name(PositionType.LONG if trade.side is OrderSide.SELL else PositionType.SHORT)
    exit_ = contract_price(state, trade.contract_id, trade.price)
    contract = state.contract(trade.contract_id)
    if contract is None or not trade.quantity:
        return side, UNKNOWN, exit_
    made, size = trade.profit_and_loss, trade.quantity
    entry = contract.entry_price(
        made=made, size=size, exit_=trade.price, closed_by=trade.side.sign
    )
    return side, f"{entry:f}", exit_


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
