"""Map the gateway's payloads to values, once and at the edge.

The ProjectX gateway counts sides from 0, swaps the numbers of market and limit orders, has nine order
states where the wire has four, and leaves out keys that are null.  Nothing behind this module sees any of
that.

Source: the ProjectX Gateway API documentation, and what its clients see of the live gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from riskd.gateway.broker_text import broker_text
from riskd.gateway.commands import Command, PlaceOrder
from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.fields import FieldReader, MappingError, Payload, in_utc, is_contract_id, whole
from riskd.gateway.targets import ACCOUNT, ORDER, POSITION, QUOTE, TRADE
from riskd.model.broker import (
    BrokerAccount,
    BrokerNews,
    BrokerOrder,
    BrokerPosition,
    BrokerQuote,
    BrokerTrade,
    Unreadable,
)
from riskd.model.contracts import Contract
from riskd.model.events import OrderSide, OrderState, OrderType, PositionType, plain_number
from riskd.model.exact_json import encode_json
from riskd.model.moments import NEVER, is_placeholder
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

_PLACED_TYPES: Final = {
    OrderType.MARKET: GatewayOrderType.MARKET,
    OrderType.LIMIT: GatewayOrderType.LIMIT,
    OrderType.STOP: GatewayOrderType.STOP,
    OrderType.STOP_LIMIT: GatewayOrderType.STOP_LIMIT,
}
_PLACED_SIDES: Final = {side: gateway_side for gateway_side, side in ORDER_SIDES.items()}

_COMMAND_FIELDS: Final = {
    "account_id": "accountId",
    "contract_id": "contractId",
    "order_id": "orderId",
    "type": "type",
    "side": "side",
    "size": "size",
    "limit_price": "limitPrice",
    "stop_price": "stopPrice",
    "custom_tag": "customTag",
}

_AVERAGE_PRICE_STEP: Final = Decimal("1e-9")


def account(payload: Payload) -> BrokerAccount:
    """Return an account; its balance may be unreadable.

    :raises MappingError: the payload says neither yes nor no to trading.
    """
    read = FieldReader(ACCOUNT, payload)
    can_trade = payload.get("canTrade")
    if can_trade is not None and not isinstance(can_trade, bool):
        raise MappingError(f"{ACCOUNT}.canTrade", can_trade, "true or false")
    balance, unreadable = None, ""
    try:
        balance = read.optional_amount("balance")
    except MappingError as error:
        # That the account may not trade any more must be known all the same.
        unreadable = str(error)
    return BrokerAccount(
        name=broker_text(payload.get("name") or ""),
        can_trade=can_trade,
        balance=balance,
        unreadable=unreadable,
    )


def position(payload: Payload) -> BrokerPosition:
    """Return a position; a closed one may lack side and price.

    :raises MappingError: the payload cannot be read.
    """
    read = FieldReader(POSITION, payload)
    size = read.count("size")
    if size == 0 and payload.get("averagePrice") is None:
        average = ZERO
    else:
        average = _without_endless_places(read.number("averagePrice"))
    if size == 0 and payload.get("type") in (None, GatewayPositionType.UNDEFINED):
        side = PositionType.LONG
    else:
        side = read.choice("type", POSITION_TYPES)
    created, stamp = _created(read, payload), read.optional_time("updateTimestamp")
    return BrokerPosition(
        id=read.whole("id"),
        contract_id=read.contract_id(),
        type=side,
        size=size,
        average_price=average,
        created_at=created,
        updated_at=stamp or created,
        stamp=stamp,
    )


def order(payload: Payload) -> BrokerOrder:
    """Return an order.

    :raises MappingError: the payload cannot be read.
    """
    read = FieldReader(ORDER, payload)
    limit_price = read.optional_number("limitPrice")
    stop_price = read.optional_number("stopPrice")
    created, stamp = _created(read, payload), read.optional_time("updateTimestamp")
    order_type = ORDER_TYPES.get(whole(payload.get("type")) or 0)
    if order_type is None:
        order_type = _type_by_prices(limit_price, stop_price)
    return BrokerOrder(
        id=read.whole("id"),
        contract_id=read.contract_id(),
        type=order_type,
        side=read.choice("side", ORDER_SIDES),
        size=read.count("size"),
        limit_price=limit_price,
        stop_price=stop_price,
        state=read.choice("status", ORDER_STATES),
        created_at=created,
        updated_at=stamp or created,
        stamp=stamp,
        filled=0 if payload.get("fillVolume") is None else read.count("fillVolume"),
        is_open=payload.get("status") == GatewayOrderStatus.OPEN,
        custom_tag=broker_text(payload.get("customTag") or ""),
    )


def trade(payload: Payload) -> BrokerTrade:
    """Return a trade, a full turn or a half-turn.

    Each reconciliation lists all trades of the day, so those that were read lately are not read again.

    :raises MappingError: the payload cannot be read.
    """
    # All of it is the key: 1 and true are equal, and so are 1.5 and 1.50.
    try:
        key = encode_json(payload)
    except (ValueError, RecursionError):
        # A text that is no Unicode, or an unknown field that is nested deeply.
        return _read_trade(payload)
    if len(key) > _LONGEST_TRADE:
        return _read_trade(payload)
    known = _TRADES.get(key)
    if known is None:
        known = _TRADES[key] = _read_trade(payload)
        if len(_TRADES) > _MOST_TRADES:
            del _TRADES[next(iter(_TRADES))]
    return known


_TRADES: Final[dict[bytes, BrokerTrade]] = {}
"""The trades that were read lately, by their payloads as JSON, oldest first."""

_MOST_TRADES: Final = 2000
"""More than an account makes in a day."""

_LONGEST_TRADE: Final = 2048
"""Bytes; several times what the gateway sends.  Longer ones are read anew, and take no room."""


def _read_trade(payload: Payload) -> BrokerTrade:
    read = FieldReader(TRADE, payload)
    # An exit arrives as two trades: itself, and the entry once more, which has no P&L.  The gateway leaves out
    # keys that are null, and a scratch trade has a P&L of 0: test for None alone.
    profit_and_loss = read.optional_amount("profitAndLoss")
    executed = _created(read, payload)
    # A trade of no order: 0 is no order's id, and such trades have no exit in common.
    order_id = payload.get("orderId") or None
    return BrokerTrade(
        id=read.whole("id"),
        contract_id=read.contract_id(),
        profit_and_loss=ZERO if profit_and_loss is None else profit_and_loss,
        quantity=read.count("size"),
        execution_time=executed,
        timestamp=executed,
        is_full_turn=profit_and_loss is not None,
        side=None if payload.get("side") is None else read.choice("side", ORDER_SIDES),
        price=read.optional_number("price"),
        order_id=None if order_id is None else read.whole("orderId"),
        fees=read.optional_amount("fees") or ZERO,
        commissions=read.optional_amount("commissions") or ZERO,
        is_voided=bool(payload.get("voided")),
    )


def news(target: str, payload: Payload) -> BrokerNews:
    """Return what a payload of an account says, or why it cannot be read.

    :param target: ``GatewayUserAccount``, ``GatewayUserPosition``, ``GatewayUserOrder`` or
        ``GatewayUserTrade``.
    """
    try:
        return _MAPPINGS[target](payload)
    except MappingError as error:
        contract_id = payload.get("contractId")
        return Unreadable(
            what=target,
            why=str(error),
            id=whole(payload.get("id")),
            contract_id=contract_id if is_contract_id(contract_id) else None,
        )


def account_of(target: str, payload: Payload) -> int | None:
    """Return the id of the account that a payload is about; ``None`` without one."""
    # Only GatewayUserAccount has its account under another name.
    return whole(payload.get("id" if target == ACCOUNT else "accountId"))


def body_of(command: Command) -> Payload:
    """Return a command in the gateway's own fields, without those that are ``None``."""
    body: Payload = {
        _COMMAND_FIELDS[name]: value
        for name in command.__struct_fields__
        if (value := getattr(command, name)) is not None
    }
    if isinstance(command, PlaceOrder):
        body["type"] = int(_PLACED_TYPES[command.type])
        body["side"] = int(_PLACED_SIDES[command.side])
    return body


def _created(read: FieldReader, payload: Payload) -> datetime:
    """Return when something was created.

    Nobody can guard a position that cannot be read, so a missing date is as good as .NET's empty one.
    """
    name = "creationTimestamp"
    return NEVER if payload.get(name) is None else read.time(name)


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


def quote(contract_id: str, payload: Payload) -> BrokerQuote:
    """Return what has changed of a contract's quote.

    :param contract_id: the contract that the feed named beside the payload; the payload's own
        ``symbol`` spans expiries.
    :raises MappingError: the payload cannot be read.
    """
    try:
        # Convert all fields in one call: most of what the gateway sends is quotes.
        update = msgspec.convert(payload, _QuoteUpdate, builtin_types=(Decimal,))
        stamp = update.timestamp
        if stamp is None or is_placeholder(stamp):
            stamp = FieldReader(QUOTE, payload).optional_time("lastUpdated")
        return BrokerQuote(
            contract_id,
            _price(update.best_bid),
            _price(update.best_ask),
            _price(update.last_price),
            None if stamp is None else in_utc(stamp),
        )
    except (msgspec.ValidationError, ValueError) as error:
        _check_quote_fields(payload)
        raise MappingError(QUOTE, payload, str(error)) from None


class _QuoteUpdate(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a ``GatewayQuote`` payload; unchanged ones are missing."""

    best_bid: int | Decimal | None = None
    best_ask: int | Decimal | None = None
    last_price: int | Decimal | None = None
    timestamp: datetime | None = None


def _price(value: int | Decimal | None) -> Decimal | None:
    return None if value is None else plain_number(Decimal(value))


def _check_quote_fields(payload: Payload) -> None:
    """Raise the error that names the first field that cannot be read, if any."""
    read = FieldReader(QUOTE, payload)
    for name in ("bestBid", "bestAsk", "lastPrice"):
        read.optional_number(name)
    for name in ("timestamp", "lastUpdated"):
        read.optional_time(name)


def _without_endless_places(average: Decimal) -> Decimal:
    # The gateway's average of several fills is a division, with as many places as it likes.
    cut = average.quantize(_AVERAGE_PRICE_STEP)
    return average if average == cut else cut


_MAPPINGS: Final[dict[str, Callable[[Payload], BrokerNews]]] = {
    ACCOUNT: account,
    POSITION: position,
    ORDER: order,
    TRADE: trade,
}
