"""The gateway's payloads put into riskd's events, once and at the edge.

The ProjectX gateway counts sides from 0, swaps the numbers of market and limit orders, knows nine
order states where the wire has four, and leaves out what is null.  All of that ends here.

Source: the ProjectX Gateway API documentation, and what its clients see of the live gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.interface import Payload
from riskd.model.account import BestBidAsk, Charge, OrderDetail
from riskd.model.contracts import Contract
from riskd.model.events import (
    ContractId,
    EventError,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    MarketQuote,
    OrderSide,
    OrderState,
    OrderType,
    PositionType,
    plain_number,
)
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
"""The gateway's order types on the wire; any other is told by its prices."""

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

_MAX_WHOLE: Final = 2**63 - 1
_MAX_COUNT: Final = 2**53
"""What ids and sizes can be, on the wire and in the journal."""

MAX_AHEAD: Final = timedelta(seconds=2)
"""How far ahead of ours the broker's clock is believed to be."""

_AVERAGE_PRICE_PLACES: Final = Decimal("1e-9")
_MISSING: Final = object()
_Choice = TypeVar("_Choice")


class MappingError(EventError):
    """A payload of the gateway that riskd cannot read; names its field, value and expectation."""


def whole(value: object) -> int | None:
    """Return the whole number that ``value`` is; ``None`` if it is none, or one that is no id and no size."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    # The live gateway has been seen to write whole numbers as 2.000000000.
    if not -_MAX_WHOLE <= value <= _MAX_WHOLE or value != int(value):
        return None
    return int(value)


def trade(payload: Payload, received: datetime) -> GatewayUserTrade | None:
    """Return a full-turn trade; ``None`` for an opening half-turn and for a voided trade.

    :param received: when the payload came, aware.
    :raises MappingError: the payload cannot be read.
    """
    read = _Reader("GatewayUserTrade", payload)
    # Null keys are left out, and a scratch trade has a P&L of 0: only None is no P&L.
    if payload.get("profitAndLoss") is None or payload.get("voided"):
        return None
    return GatewayUserTrade(
        id=read.whole("id"),
        contract_id=read.contract_id(),
        profit_and_loss=read.number("profitAndLoss"),
        quantity=read.count("size"),
        execution_time=read.time("creationTimestamp"),
        timestamp=received,
    )


def voided_trade(payload: Payload) -> int | None:
    """Return the id of a trade that does not count any more; ``None`` if it does.

    :raises MappingError: the payload cannot be read.
    """
    return _Reader("GatewayUserTrade", payload).whole("id") if payload.get("voided") else None


def made_at(payload: Payload) -> datetime:
    """Return when a trade was made.

    :raises MappingError: the payload does not say.
    """
    return _Reader("GatewayUserTrade", payload).time("creationTimestamp")


def charge(payload: Payload) -> tuple[int, Charge]:
    """Return the id of a trade, half-turn or full, and what the broker took for it.

    :raises MappingError: the payload cannot be read.
    """
    read = _Reader("GatewayUserTrade", payload)
    amounts = (read.optional_number(name) for name in ("fees", "commissions"))
    total = sum((amount for amount in amounts if amount is not None), ZERO)
    return read.whole("id"), Charge(read.time("creationTimestamp"), total)


def may_trade(payload: Payload) -> bool | None:
    """Return what an account's payload says of whether it may trade; ``None`` if nothing.

    :raises MappingError: it says something else than yes or no.
    """
    value = payload.get("canTrade")
    if value is not None and not isinstance(value, bool):
        raise MappingError("GatewayUserAccount.canTrade", value, "true or false")
    return value


def position(
    payload: Payload, last: GatewayUserPosition | None, received: datetime
) -> GatewayUserPosition:
    """Return a position.

    :param last: what is known of the contract's position; it answers for what the payload of a
        closed position leaves out, and for nothing of an open one.
    :param received: when the payload came, aware.
    :raises MappingError: the payload cannot be read.
    """
    read = _Reader("GatewayUserPosition", payload)
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
        average_price=_short(average),
        created_at=read.time("creationTimestamp"),
        updated_at=read.time(
            "updateTimestamp", _no_earlier_than(last.updated_at if last else None, received)
        ),
    )


def order(payload: Payload, last: GatewayUserOrder | None, received: datetime) -> GatewayUserOrder:
    """Return an order; its ``size`` is the original one, however much of it is filled.

    :param last: what is known of the order.
    :param received: when the payload came, aware.
    :raises MappingError: the payload cannot be read.
    """
    read = _Reader("GatewayUserOrder", payload)
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
        updated_at=read.time(
            "updateTimestamp", _no_earlier_than(last.updated_at if last else None, received)
        ),
    )


def order_detail(payload: Payload) -> OrderDetail:
    """Return what the wire does not carry of an order.

    :raises MappingError: the payload cannot be read.
    """
    read = _Reader("GatewayUserOrder", payload)
    filled = 0 if payload.get("fillVolume") is None else read.count("fillVolume")
    return OrderDetail(
        filled=filled,
        is_open=payload.get("status") == GatewayOrderStatus.OPEN,
        custom_tag=str(payload.get("customTag") or ""),
    )


def _no_earlier_than(last: datetime | None, received: datetime) -> datetime:
    """Return the time to give to what came without one.

    What comes later is newer, also when the clock was set back in between.
    """
    return received if last is None else max(received, last)


def has_known_type(payload: Payload) -> bool:
    """Tell whether an order's type is one the gateway documents, and need not be told by its prices."""
    return payload.get("type") in ORDER_TYPES


def _type_by_prices(limit_price: Decimal | None, stop_price: Decimal | None) -> OrderType:
    if stop_price is not None:
        return OrderType.STOP if limit_price is None else OrderType.STOP_LIMIT
    return OrderType.MARKET if limit_price is None else OrderType.LIMIT


class _QuoteNews(msgspec.Struct, frozen=True, rename="camel"):
    """What a feed that sends only what has changed says of a contract."""

    best_bid: int | Decimal | None = None
    best_ask: int | Decimal | None = None
    last_price: int | Decimal | None = None
    timestamp: datetime | None = None


class _Prices(msgspec.Struct, frozen=True):
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None


_NO_PRICES: Final = _Prices()


class QuoteBook:
    """The latest quote of each contract, put together from a feed that sends only what changed.

    No quote is older than one before it, and none is dated ahead: it would keep out all that follow.
    """

    def __init__(self) -> None:
        self._known: dict[str, MarketQuote | _Prices] = {}
        self._horizon = datetime.min.replace(tzinfo=UTC)

    def merge(
        self, contract_id: str, payload: Payload, now: Callable[[], datetime]
    ) -> MarketQuote | None:
        """Return the contract's quote after ``payload``; ``None`` until bid, ask and last are known.

        :param contract_id: the contract that the feed named beside the payload; the payload's own
            ``symbol`` spans expiries.
        :param now: gives the time of day, aware, for a payload that has none.
        :raises MappingError: the payload cannot be read; then nothing of it is kept.
        """
        known = self._known.get(contract_id, _NO_PRICES)
        bid, ask, last = known.bid, known.ask, known.last
        try:
            # All of it at once: quotes are most of what comes.
            news = msgspec.convert(payload, _QuoteNews, builtin_types=(Decimal,))
            if news.best_bid is not None:
                bid = Decimal(news.best_bid)
            if news.best_ask is not None:
                ask = Decimal(news.best_ask)
            if news.last_price is not None:
                last = Decimal(news.last_price)
            moment = news.timestamp
            if moment is None:
                moment = _time_of_update(payload, known, now())
            moment = _in_utc(moment)
            if moment > self._horizon:
                self._horizon = now() + MAX_AHEAD
                moment = min(moment, self._horizon)
            if isinstance(known, MarketQuote) and moment < known.timestamp:
                return known
            if bid is None or ask is None or last is None:
                self._known[contract_id] = _Prices(*map(_plain, (bid, ask, last)))
                return None
            quote = MarketQuote(
                contract_id=contract_id, bid=bid, ask=ask, last=last, timestamp=moment
            )
        except MappingError:
            raise
        except (msgspec.ValidationError, ValueError) as error:
            _blame_quote(payload)
            raise MappingError("GatewayQuote", payload, str(error)) from None
        self._known[contract_id] = quote
        return quote

    def best_bid_ask(self, contract_id: str) -> BestBidAsk:
        """Return what is known of a contract's bid and ask."""
        known = self._known.get(contract_id, _NO_PRICES)
        return BestBidAsk(known.bid, known.ask)


def _time_of_update(
    payload: Payload, known: MarketQuote | _Prices, received: datetime
) -> datetime:
    """Return the time of a quote that has none of its own."""
    last = known.timestamp if isinstance(known, MarketQuote) else None
    return _Reader("GatewayQuote", payload).time("lastUpdated", _no_earlier_than(last, received))


def _plain(price: Decimal | None) -> Decimal | None:
    return None if price is None else plain_number(price)


def _blame_quote(payload: Payload) -> None:
    """Raise the error that names the first wrong field."""
    read = _Reader("GatewayQuote", payload)
    for name in ("bestBid", "bestAsk", "lastPrice"):
        read.optional_number(name)
    if payload.get("timestamp") is not None:
        read.time("timestamp")


def _in_utc(moment: datetime) -> datetime:
    """Return a time of the gateway's; they are UTC whether they say so or not."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def began_at(bar: Payload) -> datetime:
    """Return when a bar began.

    :raises MappingError: it does not say.
    """
    return _Reader("bar", bar).time("t")


def contract(payload: Payload) -> Contract:
    """Return what the gateway says of a contract.

    :raises MappingError: the payload cannot be read, or a tick size or value is not above zero.
    """
    read = _Reader("contract", payload)
    return Contract(
        id=read.contract_id("id"),
        name=read.text("name"),
        tick_size=read.positive("tickSize"),
        tick_value=read.positive("tickValue"),
    )


def _short(average: Decimal) -> Decimal:
    """Return an average price without the endless places that a division leaves."""
    exponent = average.as_tuple().exponent
    limit = _AVERAGE_PRICE_PLACES.as_tuple().exponent
    if isinstance(exponent, int) and isinstance(limit, int) and exponent < limit:
        return average.quantize(_AVERAGE_PRICE_PLACES)
    return average


class _Reader:
    """Reads the fields of one payload and names the one that is wrong."""

    def __init__(self, target: str, payload: Payload) -> None:
        self._target = target
        self._payload = payload

    def _fail(self, name: str, value: object, expected: str) -> MappingError:
        return MappingError(
            f"{self._target}.{name}", None if value is _MISSING else value, expected
        )

    def whole(self, name: str) -> int:
        value = self._payload.get(name, _MISSING)
        number = whole(value)
        if number is None:
            raise self._fail(name, value, "a whole number")
        return number

    def number(self, name: str) -> Decimal:
        value = self._payload.get(name, _MISSING)
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            raise self._fail(name, value, "a number")
        try:
            return plain_number(Decimal(value))
        except ValueError:
            raise self._fail(name, value, "a number of at most 15 digits") from None

    def positive(self, name: str) -> Decimal:
        value = self.number(name)
        if value <= 0:
            raise self._fail(name, value, "a number above zero")
        return value

    def optional_number(self, name: str) -> Decimal | None:
        return None if self._payload.get(name) is None else self.number(name)

    def text(self, name: str) -> str:
        value = self._payload.get(name, _MISSING)
        if not isinstance(value, str) or not value:
            raise self._fail(name, value, "a text")
        return value

    def count(self, name: str) -> int:
        value = self.whole(name)
        if not 0 <= value <= _MAX_COUNT:
            raise self._fail(name, value, "a whole number, not negative")
        return value

    def contract_id(self, name: str = "contractId") -> str:
        value = self._payload.get(name, _MISSING)
        try:
            return msgspec.convert(value, ContractId)
        except msgspec.ValidationError:
            raise self._fail(name, value, "a contract id") from None

    def choice(self, name: str, choices: Mapping[int, _Choice]) -> _Choice:
        value = self._payload.get(name, _MISSING)
        number = whole(value)
        chosen = None if number is None else choices.get(number)
        if chosen is None:
            raise self._fail(
                name, value, "one of " + ", ".join(str(int(choice)) for choice in choices)
            )
        return chosen

    def time(self, name: str, default: datetime | None = None) -> datetime:
        value = self._payload.get(name)
        if value is None and default is not None:
            return default
        try:
            moment = msgspec.convert(value, datetime)
        except msgspec.ValidationError:
            raise self._fail(name, value, "an ISO 8601 timestamp") from None
        return _in_utc(moment)
