"""The practice exchange: a matching core that trades paper and speaks the gateway's own payloads.

It is pure: prices, orders and the time go in; what happened waits in :meth:`Exchange.take_messages`.
An order is filled as soon as the market reaches it, whole unless :attr:`Exchange.available` says that
the market takes a part of it: a limit that rests in the book at its own price, anything else at the
touch.  A stop is triggered by the last trade; a stop limit is a limit from then on.

Money is exact.  A position is netted per contract and carries the sum of the prices it was opened at;
when part of it is closed, the P&L of that part is rounded to the cent and what the rounding left stays
with the rest, so that the trades of a position add up to the cent.

It remembers as a broker does: :meth:`Exchange.memory` is all that another exchange needs to go on from
here, see :meth:`Exchange.restore`.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from riskd.gateway.enums import GatewayOrderSide, GatewayOrderStatus, GatewayOrderType
from riskd.gateway.interface import GatewayRefusedError, Payload
from riskd.model.contracts import PRODUCTS, Contract
from riskd.model.money import ZERO, is_on_tick, to_cents
from riskd.practice.records import (
    Account,
    Order,
    Position,
    product_code,
    symbol_id,
    without_nulls,
)

REMEMBERED: Final = timedelta(days=2)
"""How long trades are remembered: longer than any trading day lasts."""

MAX_ENDED_ORDERS: Final = 10_000
MAX_TRADES: Final = 100_000
"""Far more than the practice traders make in the time that trades are remembered."""

_ACCOUNT_NOT_FOUND: Final = 1
_ORDER_UNKNOWN: Final = 1
_TRADE_UNKNOWN: Final = 1
_TRADE_VOIDED: Final = 2
_ORDER_REJECTED: Final = 2
_ACCOUNT_VIOLATION: Final = 4
_CONTRACT_NOT_FOUND: Final = 8
_CONTRACT_NOT_ACTIVE: Final = 9
_ORDER_NOT_FOUND: Final = 2
_CHANGE_REJECTED: Final = 3
_POSITION_NOT_FOUND: Final = 2
_POSITION_CONTRACT_NOT_FOUND: Final = 3
_INVALID_CLOSE_SIZE: Final = 5

_CHANGEABLE: Final = {"size": "size", "limitPrice": "limit_price", "stopPrice": "stop_price"}
"""Fields of an order that can be changed, and their names here."""


class _Closing(NamedTuple):
    """A request to close, and those of its codes that differ from the other's."""

    request: str
    rejected: int
    pending: int


_CLOSE: Final = _Closing("Position/closeContract", rejected=5, pending=6)
_PARTIAL_CLOSE: Final = _Closing("Position/partialCloseContract", rejected=6, pending=7)


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


class OrderRejectedError(GatewayRefusedError):
    """An order was rejected, and exists all the same.

    :ivar order_id: its id.
    """

    def __init__(self, order_id: int, message: str) -> None:
        super().__init__("Order/place", _ORDER_REJECTED, message)
        self.order_id = order_id


class Exchange:
    """Accounts, the orders they work and the positions they hold, against a moving market.

    :param accounts: names of the accounts, by id.
    :param contracts: the contracts that can be traded.
    :param fees: dollars a contract and half-turn, by contract id.
    :param first_id: the first of the ids that orders, positions and trades get.
    :ivar available: asked, when the market reaches an order, how many of so many contracts it takes
        now, from 1 to all; the rest waits for the next quote.
    :ivar tells_opening_again: whether an exit is told as two trades: the opening half again, at the
        average price of the entry, and the exit itself.
    """

    def __init__(
        self,
        accounts: Mapping[int, str],
        contracts: tuple[Contract, ...],
        fees: Mapping[str, Decimal],
        first_id: int = 1,
    ) -> None:
        self.available: Callable[[int], int] = _all_of
        self.tells_opening_again = False
        self._accounts = {key: Account(key, name) for key, name in accounts.items()}
        self._contracts = {contract.id: contract for contract in contracts}
        self._fees = fees
        self._last_id = first_id - 1
        self._quotes: dict[str, Quote] = {}
        self._messages: list[Message] = []
        self._ended: dict[int, Payload] = {}
        self._tags: set[tuple[int, str | None]] = set()
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
        return _payload(self._contract("Contract/searchById", contract_id, code=1))

    def contracts(self) -> list[Payload]:
        """Return the payloads of all contracts."""
        return [_payload(contract) for contract in self._contracts.values()]

    def accounts(self) -> list[Payload]:
        """Return the payloads of all accounts."""
        return [account.payload() for account in self._accounts.values()]

    def account(self, account_id: int) -> Payload:
        """Return the payload of an account."""
        return self._account("Account/search", account_id).payload()

    def open_positions(self, account_id: int) -> list[Payload]:
        """Return the payloads of the account's positions that are not flat."""
        account = self._account("Position/searchOpen", account_id)
        return [held.payload() for held in account.positions.values()]

    def open_orders(self, account_id: int) -> list[Payload]:
        """Return the payloads of the account's working orders, oldest first."""
        return [
            order.payload()
            for order in self._account("Order/searchOpen", account_id).orders.values()
        ]

    def orders(self, account_id: int, since: datetime) -> list[Payload]:
        """Return the payloads of the account's orders placed at ``since`` or later, oldest first.

        Of those that work no more, the last :data:`MAX_ENDED_ORDERS` are remembered.

        :param since: aware.
        """
        account = self._account("Order/search", account_id)
        ended = ({**order} for order in self._ended.values() if order["accountId"] == account_id)
        working = (order.payload() for order in account.orders.values())
        return sorted(
            (
                order
                for order in (*ended, *working)
                if datetime.fromisoformat(order["creationTimestamp"]) >= since
            ),
            key=lambda order: int(order["id"]),
        )

    def order(self, account_id: int, order_id: int) -> Payload:
        """Return the payload of an order, working or ended.

        :raises GatewayRefusedError: the account has none of that id, or it ended too long ago.
        """
        account = self._account("Order/searchById", account_id)
        working = account.orders.get(order_id)
        if working is not None:
            return working.payload()
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
            accounts=tuple(account.payload() for account in accounts),
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
                account = self._accounts[payload["id"]]
                account.balance, account.can_trade = payload["balance"], payload["canTrade"]
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
                positions[contract.id] = Position.restored(payload, contract)
        for payload in self._own(memory.orders):
            contract = self._contracts.get(payload["contractId"])
            if contract is None:
                dropped.append(_farewell("order", payload))
                expired = {"status": int(GatewayOrderStatus.EXPIRED)}
                self._remember_ended({**payload, **expired, "updateTimestamp": now.isoformat()})
            else:
                orders = self._accounts[payload["accountId"]].orders
                self._remember_tag(payload)
                orders[payload["id"]] = Order.restored(payload, contract)
        self._last_id = max(self._last_id, memory.highest_id)
        return dropped

    def _own(self, payloads: tuple[Payload, ...]) -> list[Payload]:
        """Return those of the accounts that are here."""
        return [payload for payload in payloads if payload["accountId"] in self._accounts]

    def _remember_ended(self, order: Payload) -> None:
        self._remember_tag(order)
        self._ended[order["id"]] = order
        if len(self._ended) > MAX_ENDED_ORDERS:
            forgotten = self._ended.pop(next(iter(self._ended)))
            self._tags.discard((forgotten["accountId"], forgotten.get("customTag")))

    def _remember_tag(self, order: Payload) -> None:
        if "customTag" in order:
            self._tags.add((order["accountId"], order["customTag"]))

    def _remember_trade(self, payload: Payload, made: datetime) -> None:
        self._trades.append((made, payload))
        while self._trades[0][0] < made - REMEMBERED:
            self._trades.popleft()

    # The market moves.

    def move_market(self, contract_id: str, quote: Quote, now: datetime) -> None:
        """Let the market of a contract be ``quote``, and fill what it reaches."""
        self._quotes[contract_id] = quote
        payload = quote_payload(symbol_id(self._contracts[contract_id]), quote, now)
        self._messages.append(Message("GatewayQuote", contract_id, payload))
        for account in self._accounts.values():
            for order in list(account.orders.values()):
                if order.contract.id == contract_id:
                    self._match(account, order, now)

    # Accounts act.

    def place_order(self, account_id: int, order: Payload, now: datetime) -> int:
        """Place an order, given as the gateway's own fields; return its id.

        :raises GatewayRefusedError: account or contract are unknown, the account may not trade, or the
            order is rejected; a rejected order exists all the same, and an event says so, unless its
            type, side or size could not even be understood, or its tag was used before.
        :raises OrderRejectedError: it is rejected and exists.
        """
        account = self._account("Order/place", account_id)
        if not account.can_trade:
            raise GatewayRefusedError(
                "Order/place", _ACCOUNT_VIOLATION, f"account {account_id} may not trade"
            )
        contract = self._contract("Order/place", order.get("contractId"), code=_CONTRACT_NOT_FOUND)
        quote = self._quotes.get(contract.id)
        if quote is None:
            raise GatewayRefusedError(
                "Order/place", _CONTRACT_NOT_ACTIVE, f"{contract.id} has no market"
            )
        order_type, side, size = _understood(order)
        tag = order.get("customTag")
        if tag is not None and (account_id, tag) in self._tags:
            raise GatewayRefusedError(
                "Order/place", _ORDER_REJECTED, f"customTag {tag!r} was used before"
            )
        placed = Order(
            id=self._next_id(),
            account_id=account_id,
            contract=contract,
            type=order_type,
            side=side,
            size=size,
            created=now,
            updated=now,
            limit_price=order.get("limitPrice"),
            stop_price=order.get("stopPrice"),
            custom_tag=tag,
        )
        fault = _bracket_fault(order) or _fault(placed, quote)
        if fault:
            placed.status = GatewayOrderStatus.REJECTED
            self._tell_order(placed)
            raise OrderRejectedError(placed.id, fault)
        self._work(account, placed, now)
        return placed.id

    def cancel_order(self, account_id: int, order_id: int, now: datetime) -> None:
        """Cancel a working order; what of it is filled stays so.

        :raises GatewayRefusedError: there is none of that id.
        """
        account, order = self._working("Order/cancel", account_id, order_id)
        del account.orders[order_id]
        order.status = GatewayOrderStatus.CANCELLED
        order.updated = now
        self._tell_order(order)

    def modify_order(
        self, account_id: int, order_id: int, changes: Payload, now: datetime
    ) -> None:
        """Change ``size``, ``limitPrice`` or ``stopPrice`` of a working order.

        :param changes: what is not there, or null, stays as it is.
        :raises GatewayRefusedError: there is no order of that id, or it would not be sound.
        """
        account, order = self._working("Order/modify", account_id, order_id)
        given = {
            _CHANGEABLE[key]: value
            for key, value in changes.items()
            if key in _CHANGEABLE and value is not None
        }
        quote = self._quotes.get(order.contract.id)
        if quote is None:
            fault = f"{order.contract.id} has no market"
        else:
            fault = _fault(dataclasses.replace(order, **given), quote)
        if fault:
            raise GatewayRefusedError("Order/modify", _CHANGE_REJECTED, fault)
        for name, value in given.items():
            setattr(order, name, value)
        if "limit_price" in given:
            # It goes to the book anew, and may be worth the touch now.
            order.resting = False
        order.updated = now
        self._tell_order(order)
        self._match(account, order, now)

    def close_contract(self, account_id: int, contract_id: str, now: datetime) -> None:
        """Close the account's position in a contract at the market; its working orders stay.

        :raises GatewayRefusedError: there is no such contract, no position in it, no market, or an
            earlier order to close it is not yet filled.
        """
        held = self._held(_CLOSE, account_id, contract_id)
        self._exit(_CLOSE, held, held.size, now)

    def partial_close_contract(
        self, account_id: int, contract_id: str, size: int, now: datetime
    ) -> None:
        """Close ``size`` contracts of the account's position at the market.

        :raises GatewayRefusedError: as :meth:`close_contract`, or so many are not held.
        """
        held = self._held(_PARTIAL_CLOSE, account_id, contract_id)
        if not 1 <= size <= held.size:
            raise GatewayRefusedError(
                _PARTIAL_CLOSE.request,
                _INVALID_CLOSE_SIZE,
                f"{size} cannot be closed, {held.size} are held",
            )
        self._exit(_PARTIAL_CLOSE, held, size, now)

    def _held(self, closing: _Closing, account_id: int, contract_id: str) -> Position:
        account = self._account(closing.request, account_id)
        self._contract(closing.request, contract_id, code=_POSITION_CONTRACT_NOT_FOUND)
        held = account.positions.get(contract_id)
        if held is None:
            raise GatewayRefusedError(
                closing.request, _POSITION_NOT_FOUND, f"no position in {contract_id}"
            )
        return held

    def _exit(self, closing: _Closing, held: Position, size: int, now: datetime) -> None:
        account = self._accounts[held.account_id]
        if held.contract.id not in self._quotes:
            raise GatewayRefusedError(
                closing.request, closing.rejected, f"{held.contract.id} has no market"
            )
        for order in account.orders.values():
            if _exits_at_market(order, held):
                # Another one would turn the position round as soon as both are filled.
                raise GatewayRefusedError(
                    closing.request, closing.pending, f"order {order.id} is closing it"
                )
        order = Order(
            id=self._next_id(),
            account_id=account.id,
            contract=held.contract,
            type=GatewayOrderType.MARKET,
            side=GatewayOrderSide.ASK if held.net > 0 else GatewayOrderSide.BID,
            size=size,
            created=now,
            updated=now,
        )
        self._work(account, order, now)

    # The broker acts.

    def set_can_trade(self, account_id: int, can_trade: bool) -> None:
        """Let an account trade, or restrict it: then it may only cancel, change and close.

        :raises GatewayRefusedError: the account is unknown.
        """
        account = self._account("Account/restrict", account_id)
        account.can_trade = can_trade
        self._tell("GatewayUserAccount", account.payload())

    def void_trade(self, account_id: int, trade_id: int) -> None:
        """Take a trade back: its P&L and its fees; the position it made or closed stays as it is.

        :raises GatewayRefusedError: the account has no trade of that id, or it is voided already.
        """
        account = self._account("Trade/void", account_id)
        found = (
            index
            for index, (_made, trade) in enumerate(self._trades)
            if trade["id"] == trade_id and trade["accountId"] == account_id
        )
        index = next(found, None)
        if index is None:
            raise GatewayRefusedError("Trade/void", _TRADE_UNKNOWN, f"no trade {trade_id}")
        made, trade = self._trades[index]
        if trade["voided"]:
            raise GatewayRefusedError("Trade/void", _TRADE_VOIDED, f"{trade_id} is voided already")
        voided = {**trade, "voided": True}
        self._trades[index] = made, voided
        account.balance -= trade.get("profitAndLoss", ZERO) - trade["fees"]
        self._tell("GatewayUserTrade", voided)
        self._tell("GatewayUserAccount", account.payload())

    def fill_order(self, account_id: int, order_id: int, now: datetime) -> None:
        """Fill all that is left of a working order, wherever the market is.

        It is filled at its limit, or at the touch if it has none.

        :raises GatewayRefusedError: there is no order of that id.
        """
        account, order = self._working("Order/cancel", account_id, order_id)
        price = order.limit_price or _touch(order, self._quotes[order.contract.id])
        self._fill(account, order, order.left, price, now)

    # Matching.

    def _work(self, account: Account, order: Order, now: datetime) -> None:
        account.orders[order.id] = order
        self._tell_order(order)
        self._match(account, order, now)

    def _match(self, account: Account, order: Order, now: datetime) -> None:
        quote = self._quotes[order.contract.id]
        if _waits_for_stop(order, quote):
            return
        was_stop_limit = order.type is GatewayOrderType.STOP_LIMIT
        if was_stop_limit:
            order.type, order.stop_price = GatewayOrderType.LIMIT, None
        price = _fill_price(order, quote)
        if price is not None:
            self._fill(account, order, self.available(order.left), price, now)
            return
        order.resting = True
        if was_stop_limit:
            order.updated = now
            self._tell_order(order)

    def _fill(
        self, account: Account, order: Order, size: int, price: Decimal, now: datetime
    ) -> None:
        """Fill ``size`` contracts of an order; tell the order, its trades, the position, the account."""
        order.filled += size
        order.fill_sum += price * size
        order.resting = True
        order.updated = now
        if not order.left:
            del account.orders[order.id]
            order.status = GatewayOrderStatus.FILLED
        self._tell_order(order)
        self._settle(account, order, size, price, now)
        self._tell("GatewayUserAccount", account.payload())

    def _settle(
        self, account: Account, order: Order, size: int, price: Decimal, now: datetime
    ) -> None:
        """Close what ``size`` contracts of the order close, then open with what is left of them."""
        held = account.positions.get(order.contract.id)
        left = size
        if held is not None and held.net * order.direction < 0:
            closing = min(left, held.size)
            left -= closing
            self._close(account, order, held, closing, price, now)
        if left:
            self._open(account, order, left, price, now)

    def _close(
        self,
        account: Account,
        order: Order,
        held: Position,
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
        if self.tells_opening_again:
            # Before the exit, so that the last trade has the last price.
            self._tell_opening_again(order, size, average, now)
        self._tell_trade(account, order, size, price, pnl, now)
        payload = held.payload()
        if not held.net:
            payload["averagePrice"] = average
            del account.positions[held.contract.id]
        self._tell("GatewayUserPosition", payload)

    def _open(
        self, account: Account, order: Order, size: int, price: Decimal, now: datetime
    ) -> None:
        held = account.positions.get(order.contract.id)
        if held is None:
            held = Position(self._next_id(), account.id, order.contract, now)
            account.positions[order.contract.id] = held
        held.net += order.direction * size
        held.price_sum += price * size
        self._tell_trade(account, order, size, price, None, now)
        self._tell("GatewayUserPosition", held.payload())

    # Telling.

    def _tell(self, target: str, payload: Payload) -> None:
        self._messages.append(Message(target, None, payload))

    def _tell_order(self, order: Order) -> None:
        payload = order.payload()
        if order.status is GatewayOrderStatus.OPEN:
            self._remember_tag(payload)
        else:
            self._remember_ended(payload)
        self._tell("GatewayUserOrder", payload)

    def _tell_trade(
        self,
        account: Account,
        order: Order,
        size: int,
        price: Decimal,
        pnl: Decimal | None,
        now: datetime,
    ) -> None:
        fees = self._fees[order.contract.id] * size
        account.balance += (pnl or ZERO) - fees
        self._make_trade(order, now, price=price, size=size, profitAndLoss=pnl, fees=fees)

    def _tell_opening_again(
        self, order: Order, size: int, average: Decimal, now: datetime
    ) -> None:
        """Tell the entry that ``order`` exits from once more; it costs nothing again."""
        side = 1 - order.side
        self._make_trade(order, now, price=average, size=size, side=side, fees=ZERO)

    def _make_trade(self, order: Order, now: datetime, **fields: object) -> None:
        nullable = {
            "id": self._next_id(),
            "accountId": order.account_id,
            "contractId": order.contract.id,
            "creationTimestamp": now.isoformat(),
            "side": int(order.side),
            "voided": False,
            "orderId": order.id,
            **fields,
        }
        payload = without_nulls(nullable)
        self._remember_trade(payload, now)
        self._tell("GatewayUserTrade", payload)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    # Looking up.

    def _working(self, request: str, account_id: int, order_id: int) -> tuple[Account, Order]:
        account = self._account(request, account_id)
        order = account.orders.get(order_id)
        if order is None:
            raise GatewayRefusedError(request, _ORDER_NOT_FOUND, f"order {order_id} does not work")
        return account, order

    def _account(self, request: str, account_id: int) -> Account:
        account = self._accounts.get(account_id)
        if account is None:
            raise GatewayRefusedError(request, _ACCOUNT_NOT_FOUND, f"no account {account_id}")
        return account

    def _contract(self, request: str, contract_id: str | None, *, code: int) -> Contract:
        contract = self._contracts.get(contract_id or "")
        if contract is None:
            raise GatewayRefusedError(request, code, f"no contract {contract_id}")
        return contract


def quote_payload(symbol: str, quote: Quote, now: datetime) -> Payload:
    """Return the gateway's payload of a quote.

    :param symbol: the id of the contract's product.
    """
    stamp = now.isoformat()
    return {
        "symbol": symbol,
        "bestBid": quote.bid,
        "bestAsk": quote.ask,
        "lastPrice": quote.last,
        "lastUpdated": stamp,
        "timestamp": stamp,
    }


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


def _bracket_fault(order: Payload) -> str:
    """Say why an order is rejected for its brackets; nothing when it has none."""
    for name in ("stopLossBracket", "takeProfitBracket"):
        if order.get(name) is not None:
            return f"{name} cannot be used: the brackets of the account are those of its positions"
    return ""


def _fault(order: Order, quote: Quote) -> str:
    """Say why an order is rejected; nothing when it is sound."""
    if order.left < 1:
        return f"size is {order.size}, it must be at least {order.filled + 1}"
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
    is_stop = order.stop_price is not None and not order.filled
    if is_stop and not _waits_for_stop(order, quote):
        return f"stopPrice {order.stop_price} is already through the market at {quote.last}"
    return ""


def _waits_for_stop(order: Order, quote: Quote) -> bool:
    """Tell whether the last trade has not yet reached the order's stop."""
    if order.stop_price is None or order.filled:
        # Of a stop that is filled in part, the rest is a market order.
        return False
    return (quote.last - order.stop_price) * order.direction < 0


def _fill_price(order: Order, quote: Quote) -> Decimal | None:
    """Return the price at which the market fills an order without a stop; ``None`` while it does not."""
    touch = _touch(order, quote)
    if order.limit_price is None:
        return touch
    if (order.limit_price - touch) * order.direction < 0:
        return None
    # What rests in the book is traded at its own price, even when the market jumps over it.
    return order.limit_price if order.resting else touch


def _touch(order: Order, quote: Quote) -> Decimal:
    """Return the price at which the market would take the order at once."""
    return quote.ask if order.direction > 0 else quote.bid


def _exits_at_market(order: Order, held: Position) -> bool:
    """Tell whether a working order is one to close the position at the market."""
    return (
        order.type is GatewayOrderType.MARKET
        and order.contract == held.contract
        and order.direction * held.net < 0
    )


def _all_of(size: int) -> int:
    return size


def _farewell(kind: str, payload: Payload) -> str:
    return (
        f"{kind} {payload['id']} of account {payload['accountId']}, {payload['size']} "
        f"{payload['contractId']}, is dropped: the contract is not listed any more"
    )


def _payload(contract: Contract) -> Payload:
    return {
        "id": contract.id,
        "name": contract.name,
        "description": _description(contract),
        "tickSize": contract.tick_size,
        "tickValue": contract.tick_value,
        "activeContract": True,
        "symbolId": symbol_id(contract),
    }


def _description(contract: Contract) -> str:
    product = PRODUCTS.get(product_code(contract))
    return product.description if product else contract.name
