"""The practice exchange: a matching core that trades paper and speaks the gateway's own payloads.

It is pure: prices, orders and the time go in; what happened waits in :meth:`Exchange.take_messages`.
Every order is filled whole as soon as the market reaches it: a limit that rests in the book at its own
price, anything else at the touch.  A stop is triggered by the last trade.

Money is exact.  A position is netted per contract and carries the sum of the prices it was opened at;
when part of it is closed, the P&L of that part is rounded to the cent and what the rounding left stays
with the rest, so that the trades of a position add up to the cent.

It remembers as a broker does: :meth:`Exchange.memory` is all that another exchange needs to go on from
here, see :meth:`Exchange.restore`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from riskd.contracts import PRODUCTS, Contract
from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.interface import GatewayRefusedError, Payload
from riskd.money import ZERO, is_on_tick, to_cents

STARTING_BALANCE: Final = Decimal("50000.00")

REMEMBERED: Final = timedelta(days=2)
"""How long trades are remembered: longer than any trading day lasts."""

MAX_ENDED_ORDERS: Final = 10_000
MAX_TRADES: Final = 100_000
"""Far more than the practice traders make in the time that trades are remembered."""

_ORDER_REJECTED: Final = 2
_CONTRACT_NOT_FOUND: Final = 8
_CONTRACT_NOT_ACTIVE: Final = 9
_ORDER_NOT_FOUND: Final = 2
_POSITION_NOT_FOUND: Final = 2
_POSITION_CONTRACT_NOT_FOUND: Final = 3
_ACCOUNT_NOT_FOUND: Final = 1
_ORDER_UNKNOWN: Final = 1
_CENT: Final = Decimal("0.01")


class Message(NamedTuple):
    """What the gateway would send: an event's target, its contract if it is the market's, its payload."""

    target: str
    contract_id: str | None
    payload: Payload


class Quote(NamedTuple):
    """The touch of a contract and its last trade."""

    bid: Decimal
    ask: Decimal
    last: Decimal


@dataclass(frozen=True)
class Memory:
    """What a broker knows, as payloads: all that an exchange goes on from after a restart.

    :ivar accounts: of every account that traded.
    :ivar positions: of every position that is not flat.
    :ivar orders: of every working order.
    :ivar ended: of the orders that work no more, in the order of their end.
    :ivar trades: oldest first.
    :ivar highest_id: the highest id ever given to an order, a position or a trade.
    """

    accounts: tuple[Payload, ...] = ()
    positions: tuple[Payload, ...] = ()
    orders: tuple[Payload, ...] = ()
    ended: tuple[Payload, ...] = ()
    trades: tuple[Payload, ...] = ()
    highest_id: int = 0


@dataclass
class _Position:
    id: int
    contract: Contract
    created: datetime
    net: int = 0
    """Contracts held: above zero long, below zero short."""
    price_sum: Decimal = Decimal(0)
    """The prices of the contracts held, added up."""

    @property
    def side(self) -> int:
        return 1 if self.net > 0 else -1

    @property
    def size(self) -> int:
        return abs(self.net)

    @property
    def average_price(self) -> Decimal:
        return self.price_sum / self.size if self.net else Decimal(0)


@dataclass
class _Order:
    id: int
    account_id: int
    contract: Contract
    type: GatewayOrderType
    side: GatewayOrderSide
    size: int
    limit_price: Decimal | None
    stop_price: Decimal | None
    custom_tag: str | None
    created: datetime
    updated: datetime
    status: GatewayOrderStatus = GatewayOrderStatus.OPEN
    filled_price: Decimal | None = None
    triggered: bool = False
    """The market has reached the stop price."""
    resting: bool = False
    """The limit has been in the book before."""

    @property
    def direction(self) -> int:
        return 1 if self.side is GatewayOrderSide.BID else -1


@dataclass
class _Account:
    id: int
    name: str
    balance: Decimal = STARTING_BALANCE
    positions: dict[str, _Position] = field(default_factory=dict)
    orders: dict[int, _Order] = field(default_factory=dict)


class Exchange:
    """Accounts, the orders they work and the positions they hold, against a moving market.

    :param accounts: names of the accounts, by id.
    :param contracts: the contracts that can be traded.
    :param fees: dollars a contract and half-turn, by contract id.
    :param first_id: the first of the ids that orders, positions and trades get.
    """

    def __init__(
        self,
        accounts: Mapping[int, str],
        contracts: tuple[Contract, ...],
        fees: Mapping[str, Decimal],
        first_id: int = 1,
    ) -> None:
        self._accounts = {key: _Account(key, name) for key, name in accounts.items()}
        self._contracts = {contract.id: contract for contract in contracts}
        self._fees = fees
        self._last_id = first_id - 1
        self._quotes: dict[str, Quote] = {}
        self._messages: list[Message] = []
        self._ended: dict[int, Payload] = {}
        self._trades: deque[tuple[datetime, Payload]] = deque(maxlen=MAX_TRADES)

    # What happened and what is.

    def take_messages(self) -> list[Message]:
        """Return what happened since the last call, in order."""
        messages, self._messages = self._messages, []
        return messages

    def quote(self, contract_id: str) -> Quote | None:
        """Return the contract's market; ``None`` before its first quote."""
        return self._quotes.get(contract_id)

    def contract(self, contract_id: str) -> Payload:
        """Return the payload of a contract."""
        contract = self._contract("Contract/searchById", contract_id, code=1)
        return {
            "id": contract.id,
            "name": contract.name,
            "description": _description(contract),
            "tickSize": contract.tick_size,
            "tickValue": contract.tick_value,
            "activeContract": True,
            "symbolId": _symbol_id(contract),
        }

    def open_positions(self, account_id: int) -> list[Payload]:
        """Return the payloads of the account's positions that are not flat."""
        account = self._account("Position/searchOpen", account_id)
        return [
            _position_payload(account_id, held) for held in account.positions.values() if held.net
        ]

    def open_orders(self, account_id: int) -> list[Payload]:
        """Return the payloads of the account's working orders, oldest first."""
        return [
            _order_payload(order)
            for order in self._account("Order/searchOpen", account_id).orders.values()
        ]

    def order(self, account_id: int, order_id: int) -> Payload:
        """Return the payload of an order, working or ended.

        :raises GatewayRefusedError: the account has none of that id, or it ended too long ago.
        """
        account = self._account("Order/searchById", account_id)
        working = account.orders.get(order_id)
        if working is not None:
            return _order_payload(working)
        ended = self._ended.get(order_id)
        if ended is None or ended["accountId"] != account_id:
            raise GatewayRefusedError("Order/searchById", _ORDER_UNKNOWN, f"no order {order_id}")
        return {**ended}

    def trades(self, account_id: int, since: datetime) -> list[Payload]:
        """Return the payloads of the account's trades made at ``since`` or later, oldest first.

        Those of the last two days are remembered.

        :param since: aware.
        """
        self._account("Trade/search", account_id)
        return [
            {**payload}
            for made, payload in self._trades
            if made >= since and payload["accountId"] == account_id
        ]

    # What outlives an exchange.

    def memory(self, now: datetime) -> Memory:
        """Return what another exchange needs to go on from here; of the past, the last two days."""
        began = now - REMEMBERED
        accounts = self._accounts.values()
        return Memory(
            accounts=tuple(_account_payload(account) for account in accounts),
            positions=tuple(
                position for account in accounts for position in self.open_positions(account.id)
            ),
            orders=tuple(order for account in accounts for order in self.open_orders(account.id)),
            ended=tuple(
                order
                for order in self._ended.values()
                if datetime.fromisoformat(order["updateTimestamp"]) >= began
            ),
            trades=tuple(payload for made, payload in self._trades if made >= began),
            highest_id=self._last_id,
        )

    def restore(self, memory: Memory, now: datetime) -> list[str]:
        """Go on from what an earlier exchange knew; return what could not be, a sentence each.

        What is of an account that is not here is dropped, and so are positions and orders in a
        contract that is no longer listed; such an order has expired.  Nothing of this is told.

        :param memory: its payloads have every field that this exchange gives them.
        """
        dropped = [
            f"account {payload['id']} is not traded here any more: what it had is dropped"
            for payload in memory.accounts
            if payload["id"] not in self._accounts
        ]
        for payload in memory.accounts:
            if payload["id"] in self._accounts:
                self._accounts[payload["id"]].balance = payload["balance"]
        for order in self._own(memory.ended):
            self._remember_ended(order)
        for payload in self._own(memory.trades):
            self._remember_trade(payload, datetime.fromisoformat(payload["creationTimestamp"]))
        for payload in self._own(memory.positions):
            contract = self._contracts.get(payload["contractId"])
            if contract is None:
                dropped.append(_farewell("position", payload))
            else:
                positions = self._accounts[payload["accountId"]].positions
                positions[contract.id] = _restored_position(payload, contract)
        for payload in self._own(memory.orders):
            contract = self._contracts.get(payload["contractId"])
            if contract is None:
                dropped.append(_farewell("order", payload))
                expired = {"status": int(GatewayOrderStatus.EXPIRED)}
                self._remember_ended({**payload, **expired, "updateTimestamp": now.isoformat()})
            else:
                orders = self._accounts[payload["accountId"]].orders
                orders[payload["id"]] = _restored_order(payload, contract)
        self._last_id = max(self._last_id, memory.highest_id)
        return dropped

    def _own(self, payloads: tuple[Payload, ...]) -> list[Payload]:
        """Return those of the accounts that are here."""
        return [payload for payload in payloads if payload["accountId"] in self._accounts]

    def _remember_ended(self, order: Payload) -> None:
        self._ended[order["id"]] = order
        if len(self._ended) > MAX_ENDED_ORDERS:
            del self._ended[next(iter(self._ended))]

    def _remember_trade(self, payload: Payload, made: datetime) -> None:
        self._trades.append((made, payload))
        while self._trades[0][0] < made - REMEMBERED:
            self._trades.popleft()

    # The market moves.

    def move_market(self, contract_id: str, quote: Quote, now: datetime) -> None:
        """Let the market of a contract be ``quote``, and fill what it reaches."""
        self._quotes[contract_id] = quote
        stamp = now.isoformat()
        self._messages.append(
            Message(
                "GatewayQuote",
                contract_id,
                {
                    "symbol": _symbol_id(self._contracts[contract_id]),
                    "bestBid": quote.bid,
                    "bestAsk": quote.ask,
                    "lastPrice": quote.last,
                    "lastUpdated": stamp,
                    "timestamp": stamp,
                },
            )
        )
        for account in self._accounts.values():
            for order in list(account.orders.values()):
                if order.contract.id == contract_id:
                    self._match(account, order, now)

    # Accounts act.

    def place_order(self, account_id: int, order: Payload, now: datetime) -> int:
        """Place an order, given as the gateway's own fields; return its id.

        :raises GatewayRefusedError: account or contract are unknown, or the order is rejected; a
            rejected order exists all the same, and an event says so, unless its type, side or size
            could not even be understood.
        """
        account = self._account("Order/place", account_id)
        contract = self._contract("Order/place", order.get("contractId"), code=_CONTRACT_NOT_FOUND)
        quote = self._quotes.get(contract.id)
        if quote is None:
            raise GatewayRefusedError(
                "Order/place", _CONTRACT_NOT_ACTIVE, f"{contract.id} has no market"
            )
        order_type, side, size = _understood(order)
        placed = _Order(
            id=self._next_id(),
            account_id=account_id,
            contract=contract,
            type=order_type,
            side=side,
            size=size,
            limit_price=order.get("limitPrice"),
            stop_price=order.get("stopPrice"),
            custom_tag=order.get("customTag"),
            created=now,
            updated=now,
        )
        fault = _fault(placed, quote)
        if fault:
            placed.status = GatewayOrderStatus.REJECTED
            self._tell_order(placed)
            raise GatewayRefusedError("Order/place", _ORDER_REJECTED, fault)
        account.orders[placed.id] = placed
        self._tell_order(placed)
        self._match(account, placed, now)
        return placed.id

    def cancel_order(self, account_id: int, order_id: int, now: datetime) -> None:
        """Cancel a working order.

        :raises GatewayRefusedError: there is none of that id.
        """
        account = self._account("Order/cancel", account_id)
        order = account.orders.pop(order_id, None)
        if order is None:
            raise GatewayRefusedError(
                "Order/cancel", _ORDER_NOT_FOUND, f"order {order_id} does not work"
            )
        order.status = GatewayOrderStatus.CANCELLED
        order.updated = now
        self._tell_order(order)

    def close_contract(self, account_id: int, contract_id: str, now: datetime) -> None:
        """Close the account's position in a contract at the market; its working orders stay.

        :raises GatewayRefusedError: there is no such contract, or no position in it.
        """
        account = self._account("Position/closeContract", account_id)
        self._contract("Position/closeContract", contract_id, code=_POSITION_CONTRACT_NOT_FOUND)
        held = account.positions.get(contract_id)
        if held is None or not held.net:
            raise GatewayRefusedError(
                "Position/closeContract", _POSITION_NOT_FOUND, f"no position in {contract_id}"
            )
        self.place_order(
            account_id,
            {
                "contractId": contract_id,
                "type": GatewayOrderType.MARKET,
                "side": GatewayOrderSide.ASK if held.net > 0 else GatewayOrderSide.BID,
                "size": held.size,
            },
            now,
        )

    # Matching.

    def _match(self, account: _Account, order: _Order, now: datetime) -> None:
        quote = self._quotes[order.contract.id]
        was_triggered = order.triggered
        price = _fill_price(order, quote)
        if price is None:
            if order.triggered and not was_triggered:
                # A stop limit that is a limit from now on: its update is how one can know later.
                order.updated = now
                self._tell_order(order)
            return
        del account.orders[order.id]
        order.status = GatewayOrderStatus.FILLED
        order.filled_price = price
        order.updated = now
        self._tell_order(order)
        self._fill(account, order, price, now)
        self._tell("GatewayUserAccount", _account_payload(account))

    def _fill(self, account: _Account, order: _Order, price: Decimal, now: datetime) -> None:
        """Close what the order closes, then open with what is left of it."""
        held = account.positions.get(order.contract.id)
        left = order.size
        if held is not None and held.net * order.direction < 0:
            closing = min(left, held.size)
            left -= closing
            self._close(account, order, held, closing, price, now)
        if left:
            self._open(account, order, left, price, now)

    def _close(
        self,
        account: _Account,
        order: _Order,
        held: _Position,
        size: int,
        price: Decimal,
        now: datetime,
    ) -> None:
        average = held.average_price
        worth = held.contract.tick_value / held.contract.tick_size
        # Multiplied before it is divided, so that half a cent is seen as half a cent.
        cost = held.price_sum * size / held.size
        pnl = to_cents((price * size - cost) * held.side * worth)
        # The cost that this very P&L implies, so that rounding is passed on and never lost.
        held.price_sum -= price * size - pnl * held.side / worth
        held.net -= held.side * size
        self._tell_trade(account, order, size, price, pnl, now)
        payload = _position_payload(account.id, held)
        if not held.net:
            payload["averagePrice"] = average
            del account.positions[held.contract.id]
        self._tell("GatewayUserPosition", payload)

    def _open(
        self, account: _Account, order: _Order, size: int, price: Decimal, now: datetime
    ) -> None:
        held = account.positions.get(order.contract.id)
        if held is None:
            held = _Position(self._next_id(), order.contract, now)
            account.positions[order.contract.id] = held
        held.net += order.direction * size
        held.price_sum += price * size
        self._tell_trade(account, order, size, price, None, now)
        self._tell("GatewayUserPosition", _position_payload(account.id, held))

    # Telling.

    def _tell(self, target: str, payload: Payload) -> None:
        self._messages.append(Message(target, None, payload))

    def _tell_order(self, order: _Order) -> None:
        payload = _order_payload(order)
        if order.status is not GatewayOrderStatus.OPEN:
            self._remember_ended(payload)
        self._tell("GatewayUserOrder", payload)

    def _tell_trade(
        self,
        account: _Account,
        order: _Order,
        size: int,
        price: Decimal,
        pnl: Decimal | None,
        now: datetime,
    ) -> None:
        fees = self._fees[order.contract.id] * size
        account.balance += (pnl or ZERO) - fees
        nullable = {
            "id": self._next_id(),
            "accountId": account.id,
            "contractId": order.contract.id,
            "creationTimestamp": now.isoformat(),
            "price": price,
            "profitAndLoss": pnl,
            "fees": fees,
            "side": int(order.side),
            "size": size,
            "voided": False,
            "orderId": order.id,
        }
        payload = _without_nulls(nullable)
        self._remember_trade(payload, now)
        self._tell("GatewayUserTrade", payload)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    # Looking up.

    def _account(self, request: str, account_id: int) -> _Account:
        account = self._accounts.get(account_id)
        if account is None:
            raise GatewayRefusedError(request, _ACCOUNT_NOT_FOUND, f"no account {account_id}")
        return account

    def _contract(self, request: str, contract_id: str | None, *, code: int) -> Contract:
        contract = self._contracts.get(contract_id or "")
        if contract is None:
            raise GatewayRefusedError(request, code, f"no contract {contract_id}")
        return contract


def _understood(order: Payload) -> tuple[GatewayOrderType, GatewayOrderSide, int]:
    """Return the type, side and size of an order that is to be placed.

    :raises GatewayRefusedError: one of them is missing, or a number that stands for nothing.
    """
    try:
        return GatewayOrderType(order["type"]), GatewayOrderSide(order["side"]), order["size"]
    except (KeyError, ValueError) as error:
        raise GatewayRefusedError(
            "Order/place", _ORDER_REJECTED, f"the order cannot be understood: {error}"
        ) from None


def _fault(order: _Order, quote: Quote) -> str:
    """Say why an order is rejected; nothing when it is sound."""
    if order.size < 1:
        return f"size is {order.size}, it must be at least 1"
    needs_limit = order.type in (GatewayOrderType.LIMIT, GatewayOrderType.STOP_LIMIT)
    needs_stop = order.type in (GatewayOrderType.STOP, GatewayOrderType.STOP_LIMIT)
    if not (needs_limit or needs_stop or order.type is GatewayOrderType.MARKET):
        return f"order type {int(order.type)} is not traded here"
    for name, price, needed in (
        ("limitPrice", order.limit_price, needs_limit),
        ("stopPrice", order.stop_price, needs_stop),
    ):
        if needed != (price is not None):
            return f"{name} is {'missing' if needed else 'not wanted'}"
        if price is not None and (price <= 0 or not is_on_tick(price, order.contract.tick_size)):
            return f"{name} {price} is not on a tick of {order.contract.tick_size}"
    if order.stop_price is not None and (order.stop_price - quote.last) * order.direction <= 0:
        return f"stopPrice {order.stop_price} is already through the market at {quote.last}"
    return ""


def _fill_price(order: _Order, quote: Quote) -> Decimal | None:
    """Return the price at which the market fills ``order``; ``None`` while it does not."""
    touch = quote.ask if order.direction > 0 else quote.bid
    if order.stop_price is not None and not order.triggered:
        order.triggered = (quote.last - order.stop_price) * order.direction >= 0
        if not order.triggered:
            return None
    if order.limit_price is None:
        return touch
    if (order.limit_price - touch) * order.direction < 0:
        order.resting = True
        return None
    # What rests in the book is traded at its own price, even when the market jumps over it.
    return order.limit_price if order.resting else touch


def _restored_position(payload: Payload, contract: Contract) -> _Position:
    size: int = payload["size"]
    # An average with endless places was cut, and half a cent of P&L would fall to the wrong side.  But
    # prices are whole ticks and P&L is whole cents, so the sum is a whole number of the price of a cent.
    cent = contract.tick_size * _CENT / contract.tick_value
    price_sum = (payload["averagePrice"] * size / cent).to_integral_value() * cent
    return _Position(
        id=payload["id"],
        contract=contract,
        created=datetime.fromisoformat(payload["creationTimestamp"]),
        net=size if payload["type"] == GatewayPositionType.LONG else -size,
        price_sum=price_sum,
    )


def _restored_order(payload: Payload, contract: Contract) -> _Order:
    order = _Order(
        id=payload["id"],
        account_id=payload["accountId"],
        contract=contract,
        type=GatewayOrderType(payload["type"]),
        side=GatewayOrderSide(payload["side"]),
        size=payload["size"],
        limit_price=payload.get("limitPrice"),
        stop_price=payload.get("stopPrice"),
        custom_tag=payload.get("customTag"),
        created=datetime.fromisoformat(payload["creationTimestamp"]),
        updated=datetime.fromisoformat(payload["updateTimestamp"]),
    )
    # A working order was met by the market when it was placed.  It has been updated since only if its
    # stop was reached and its limit was not; and a limit that was not reached rests.
    order.triggered = order.stop_price is not None and order.updated > order.created
    order.resting = order.stop_price is None or order.triggered
    return order


def _farewell(kind: str, payload: Payload) -> str:
    return (
        f"{kind} {payload['id']} of account {payload['accountId']}, {payload['size']} "
        f"{payload['contractId']}, is dropped: the contract is not listed any more"
    )


def _product_code(contract: Contract) -> str:
    return contract.id.split(".")[3]


def _symbol_id(contract: Contract) -> str:
    return "F.US." + _product_code(contract)


def _description(contract: Contract) -> str:
    product = PRODUCTS.get(_product_code(contract))
    return product.description if product else contract.name


def _without_nulls(payload: Payload) -> Payload:
    return {key: value for key, value in payload.items() if value is not None}


def _account_payload(account: _Account) -> Payload:
    return {
        "id": account.id,
        "name": account.name,
        "balance": account.balance,
        "canTrade": True,
        "isVisible": True,
        "simulated": True,
    }


def _position_payload(account_id: int, held: _Position) -> Payload:
    kind = GatewayPositionType.LONG if held.net > 0 else GatewayPositionType.SHORT
    return {
        "id": held.id,
        "accountId": account_id,
        "contractId": held.contract.id,
        "creationTimestamp": held.created.isoformat(),
        "type": int(kind if held.net else GatewayPositionType.UNDEFINED),
        "size": held.size,
        "averagePrice": held.average_price,
    }


def _order_payload(order: _Order) -> Payload:
    filled = order.status is GatewayOrderStatus.FILLED
    return _without_nulls(
        {
            "id": order.id,
            "accountId": order.account_id,
            "contractId": order.contract.id,
            "symbolId": _symbol_id(order.contract),
            "creationTimestamp": order.created.isoformat(),
            "updateTimestamp": order.updated.isoformat(),
            "status": int(order.status),
            "type": int(order.type),
            "side": int(order.side),
            "size": order.size,
            "fillVolume": order.size if filled else 0,
            "limitPrice": order.limit_price,
            "stopPrice": order.stop_price,
            "filledPrice": order.filled_price,
            "customTag": order.custom_tag,
        }
    )
