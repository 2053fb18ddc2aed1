"""The practice exchange, which matches orders on paper.

It takes and reports the gateway's own payloads.  It is pure: quotes, orders and the time go in;
:meth:`Exchange.take_messages` returns what happened.

The market fills an order as soon as it reaches it, whole or, by a fault, only a part of it; the rest waits
for the next quote.  :mod:`.matching` decides when and at what price, and which orders are rejected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from riskd.gateway.enums import GatewayOrderSide, GatewayOrderStatus, GatewayOrderType
from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayRefusedError
from riskd.gateway.targets import ACCOUNT, ORDER, POSITION, QUOTE, TRADE
from riskd.model.contracts import Contract
from riskd.practice.account_store import AccountStore, net_result
from riskd.practice.fault_injection import FaultInjector
from riskd.practice.matching import (
    best_price,
    fill_price,
    find_bracket_problem,
    find_problem,
    waits_for_stop,
)
from riskd.practice.records import Message, Order, Position, Quote, symbol_id, without_nulls
from riskd.practice.refusals import refusal

COMMISSION: Final = Decimal("0.25")
"""Dollars per contract and half-turn, where trades cost commissions."""

_CHANGEABLE: Final = {"size": "size", "limitPrice": "limit_price", "stopPrice": "stop_price"}
"""The fields of an order that can be changed, and the attributes of :class:`Order` for them."""


class OrderRejectedError(GatewayRefusedError):
    """The exchange rejected an order, which exists all the same.

    :ivar order_id: its id.
    """

    def __init__(self, order_id: int, rejection: GatewayRefusedError) -> None:
        super().__init__(rejection.request, rejection.code, rejection.why)
        self.order_id = order_id


class Exchange:
    """Accounts that trade against a moving market.

    :param accounts: names of the accounts, by id.
    :param contracts: the listed contracts.
    :param fees: dollars per contract and half-turn, by contract id.
    :param injector: decides how orders are filled, what trades cost, and which dates are wrong.
    :param first_id: the first id for orders, positions and trades.
    :ivar store: what the accounts have; answers all searches.
    :ivar version: is another one after each change of what the accounts have.
    """

    def __init__(
        self,
        accounts: Mapping[int, str],
        contracts: tuple[Contract, ...],
        fees: Mapping[str, Decimal],
        injector: FaultInjector,
        first_id: int = 1,
    ) -> None:
        self.store = AccountStore(accounts, contracts, first_id)
        self._injector = injector
        self._fees = fees
        self._quotes: dict[str, Quote] = {}
        self._messages: list[Message] = []
        self.version = 0

    def take_messages(self) -> list[Message]:
        """Return what happened since the last call, in order."""
        messages, self._messages = self._messages, []
        return messages

    # The market.

    def quote(self, contract_id: str) -> Quote | None:
        """Return the contract's last quote; ``None`` before its first."""
        return self._quotes.get(contract_id)

    def move_market(self, contract_id: str, quote: Quote, now: datetime) -> None:
        """Quote a contract, and fill the orders that the quote reaches."""
        self._quotes[contract_id] = quote
        payload = quote.payload(symbol_id(self.store.listed[contract_id]), now)
        self._messages.append(Message(QUOTE, contract_id, payload))
        for order in self.store.working_orders(contract_id):
            self._match(order, now)

    # Requests of accounts.

    def place_order(self, account_id: int, order: Payload, now: datetime) -> int:
        """Place an order, given as the gateway's own fields; return its id.

        :raises OrderRejectedError: the order is unsound; it exists as a rejected one, with an event.
        :raises GatewayRefusedError: account or contract are unknown, the account may not trade, the tag
            was used before, or type, side or size are missing or unknown; no order exists.
        """
        account = self.store.find_account("Order/place", account_id)
        if not account.can_trade:
            raise refusal("Order/place", "AccountViolation", f"account {account_id} may not trade")
        contract = self.store.find_contract("Order/place", order.get("contractId"))
        quote = self._quotes.get(contract.id)
        if quote is None:
            raise refusal("Order/place", "ContractNotActive", f"{contract.id} has no market")
        kind, side, size = _read_order(order)
        tag = order.get("customTag")
        if (account_id, tag) in self.store.used_tags:
            raise refusal("Order/place", "Rejected", f"customTag {tag!r} was used before")
        placed = Order(
            id=self.store.next_id(),
            account_id=account_id,
            contract=contract,
            type=kind,
            side=side,
            size=size,
            created=now,
            updated=now,
            limit_price=order.get("limitPrice"),
            stop_price=order.get("stopPrice"),
            custom_tag=tag,
        )
        problem = find_bracket_problem(order) or find_problem(placed, quote)
        if problem:
            placed.status = GatewayOrderStatus.REJECTED
            # As the broker does: the rejected order exists, and an event reports it.
            self._report_order(placed)
            raise OrderRejectedError(placed.id, refusal("Order/place", "Rejected", problem))
        self._start(placed, now)
        return placed.id

    def cancel_order(self, account_id: int, order_id: int, now: datetime) -> None:
        """Cancel a working order; the part that is filled stays filled.

        :raises GatewayRefusedError: the account has no such working order, or the market filled it
            first: at its limit, or at the best price if it has none, wherever the market is.
        """
        # Drawn before the lookup, so that every cancellation draws once, whether or not the order works.
        is_filled_first = self._injector.fills_while_canceled()
        order = self.store.find_working_order("Order/cancel", account_id, order_id)
        if is_filled_first:
            price = order.limit_price
            if price is None:
                price = best_price(order, self._quotes[order.contract.id])
            self._fill(order, order.left, price, now)
            raise refusal("Order/cancel", "OrderNotFound", f"order {order_id} was filled")
        del self.store.records[account_id].orders[order_id]
        order.status = GatewayOrderStatus.CANCELLED
        order.updated = self._injector.end_stamp(order.updated, now)
        self._report_order(order)

    def modify_order(
        self, account_id: int, order_id: int, changes: Payload, now: datetime
    ) -> None:
        """Change ``size``, ``limitPrice`` or ``stopPrice`` of a working order.

        :param changes: a field that is missing or null keeps its value.
        :raises GatewayRefusedError: the account has no such working order, or the changed order would be
            rejected.
        """
        order = self.store.find_working_order("Order/modify", account_id, order_id)
        given = {
            _CHANGEABLE[key]: value
            for key, value in changes.items()
            if key in _CHANGEABLE and value is not None
        }
        quote = self._quotes.get(order.contract.id)
        problem = (
            f"{order.contract.id} has no market"
            if quote is None
            else find_problem(dataclasses.replace(order, **given), quote)
        )
        if problem:
            raise refusal("Order/modify", "Rejected", problem)
        for name, value in given.items():
            setattr(order, name, value)
        if "limit_price" in given:
            # With a new limit it enters the book anew, where it may get the best price at once.
            order.resting = False
        order.updated = now
        self._report_order(order)
        self._match(order, now)

    def close_contract(self, account_id: int, contract_id: str, now: datetime) -> None:
        """Close a position at the market; working orders stay.

        :raises GatewayRefusedError: there is no such contract, no position in it, no market, or an
            earlier order to close it is not filled yet.
        """
        self._close("Position/closeContract", account_id, contract_id, None, now)

    def partial_close_contract(
        self, account_id: int, contract_id: str, size: int, now: datetime
    ) -> None:
        """Close ``size`` contracts of the account's position at the market.

        :raises GatewayRefusedError: as :meth:`close_contract`, or the position is smaller.
        """
        self._close("Position/partialCloseContract", account_id, contract_id, size, now)

    def _close(
        self,
        request: str,
        account_id: int,
        contract_id: str,
        size: int | None,
        now: datetime,
    ) -> None:
        account = self.store.find_account(request, account_id)
        self.store.find_contract(request, contract_id)
        held = account.positions.get(contract_id)
        if held is None:
            raise refusal(request, "PositionNotFound", f"no position in {contract_id}")
        if size is None:
            size = held.size
        if not 1 <= size <= held.size:
            why = f"{size} cannot be closed, {held.size} are held"
            raise refusal(request, "InvalidCloseSize", why)
        if contract_id not in self._quotes:
            raise refusal(request, "Rejected", f"{contract_id} has no market")
        _check_none_closes(request, held, account.orders.values())
        order = Order(
            id=self.store.next_id(),
            account_id=account_id,
            contract=held.contract,
            type=GatewayOrderType.MARKET,
            side=GatewayOrderSide.ASK if held.net > 0 else GatewayOrderSide.BID,
            size=size,
            created=now,
            updated=now,
        )
        self._start(order, now)

    # Acts of the broker.

    def set_can_trade(self, account_id: int, can_trade: bool) -> None:
        """Let an account trade, or restrict it to canceling, changing and closing.

        :raises GatewayRefusedError: the account is unknown.
        """
        account = self.store.find_account("Practice/setCanTrade", account_id)
        account.can_trade = can_trade
        self._report(ACCOUNT, account.payload())

    def transfer(self, account_id: int, amount: Decimal) -> None:
        """Pay out a negative amount, or take a deposit; no trade explains it.

        :raises GatewayRefusedError: the account is unknown.
        """
        account = self.store.find_account("Practice/transfer", account_id)
        account.balance += amount
        self._report(ACCOUNT, account.payload())

    def void_trade(self, account_id: int, trade_id: int) -> None:
        """Take back a trade's P&L, fees and commissions; no position changes.

        :raises GatewayRefusedError: the account has no such trade, or it is voided already.
        """
        self._report(TRADE, self.store.void_trade(account_id, trade_id))
        self._report(ACCOUNT, self.store.account(account_id))

    def amend_trade(self, account_id: int, trade_id: int, changes: Payload) -> None:
        """Change the amounts of a trade; no position changes.

        :param changes: any of ``profitAndLoss``, ``fees`` and ``commissions``.
        :raises GatewayRefusedError: the account has no such trade, or it is voided.
        """
        self._report(TRADE, self.store.amend_trade(account_id, trade_id, changes))
        self._report(ACCOUNT, self.store.account(account_id))

    # Matching.

    def _start(self, order: Order, now: datetime) -> None:
        """Report a new working order, and fill it if the market reaches it."""
        self.store.records[order.account_id].orders[order.id] = order
        self._report_order(order)
        self._match(order, now)

    def _match(self, order: Order, now: datetime) -> None:
        quote = self._quotes[order.contract.id]
        if waits_for_stop(order, quote):
            return
        was_stop_limit = order.type is GatewayOrderType.STOP_LIMIT
        if was_stop_limit:
            # Its stop stays triggered, even if the market turns back.
            order.type, order.stop_price = GatewayOrderType.LIMIT, None
        price = fill_price(order, quote)
        if price is not None:
            for part in self._injector.parts(self._injector.available(order.left)):
                self._fill(order, part, price, now)
            return
        order.resting = True
        if was_stop_limit:
            order.updated = now
            self._report_order(order)

    def _fill(self, order: Order, size: int, price: Decimal, now: datetime) -> None:
        """Fill ``size`` contracts: first close what they close, then open the rest.

        The broker reports the order, then a trade and the position for each part, then the account.
        """
        account = self.store.records[order.account_id]
        last_change = order.updated
        order.fill(size, price, now)
        if not order.left:
            order.updated = self._injector.end_stamp(last_change, now)
            del account.orders[order.id]
        self._report_order(order)
        held = account.positions.get(order.contract.id)
        if held is not None and held.net * order.direction < 0:
            closing = min(size, held.size)
            size -= closing
            self._exit(order, held, closing, price, now)
        if size:
            self._enter(order, size, price, now)
        self._report(ACCOUNT, account.payload())

    def _exit(
        self, order: Order, held: Position, size: int, price: Decimal, now: datetime
    ) -> None:
        average = held.average_price
        pnl = held.reduce(size, price)
        if self._injector.faults.opening_half_again:
            # Before the exit, so that the last trade has the last price.  It costs nothing again.
            self._trade(order, size, average, now, side=1 - order.side, is_free=True)
        self._trade(order, size, price, now, pnl=pnl)
        payload = held.payload()
        if not held.net:
            # As the broker does: a closed position is reported with its last average price.
            payload["averagePrice"] = average
            del self.store.records[held.account_id].positions[held.contract.id]
        self._report(POSITION, payload)

    def _enter(self, order: Order, size: int, price: Decimal, now: datetime) -> None:
        account = self.store.records[order.account_id]
        held = account.positions.get(order.contract.id)
        if held is None:
            created = self._injector.position_date(now)
            held = Position(self.store.next_id(), account.id, order.contract, created)
            account.positions[order.contract.id] = held
        held.net += order.direction * size
        held.price_sum += price * size
        self._trade(order, size, price, now)
        self._report(POSITION, held.payload())

    def _trade(
        self,
        order: Order,
        size: int,
        price: Decimal,
        now: datetime,
        *,
        side: int | None = None,
        pnl: Decimal | None = None,
        is_free: bool = False,
    ) -> None:
        """Remember and report a trade.

        :param side: that of the order, unless given.
        :param pnl: of an exit.
        :param is_free: whether it costs neither fees nor commissions.
        """
        charged = 0 if is_free else size
        fees = self._fees[order.contract.id] * charged
        commissions = COMMISSION * charged if self._injector.faults.commissions else None
        trade = without_nulls(
            {
                "id": self.store.next_id(),
                "accountId": order.account_id,
                "contractId": order.contract.id,
                "creationTimestamp": now.isoformat(),
                "side": int(order.side) if side is None else side,
                "voided": False,
                "orderId": order.id,
                "price": price,
                "size": size,
                "profitAndLoss": pnl,
                "fees": fees,
                "commissions": commissions,
            }
        )
        self.store.records[order.account_id].balance += net_result(trade)
        self.store.add_trade(trade)
        self._report(TRADE, trade)

    # Messages.

    def _report(self, target: str, payload: Payload) -> None:
        """Report a change of what an account has, which nothing else makes."""
        self.version += 1
        self._messages.append(Message(target, None, payload))

    def _report_order(self, order: Order) -> None:
        payload = order.payload()
        self.store.add_order(payload)
        self._report(ORDER, payload)


def _check_none_closes(request: str, held: Position, orders: Iterable[Order]) -> None:
    """Check that no market order is closing a position.

    A second exit would reverse it once both are filled.

    :raises GatewayRefusedError: one is.
    """
    for order in orders:
        if (
            order.type is GatewayOrderType.MARKET
            and order.contract == held.contract
            and order.direction * held.net < 0
        ):
            raise refusal(request, "Pending", f"order {order.id} is closing it")


def _read_order(order: Payload) -> tuple[GatewayOrderType, GatewayOrderSide, int]:
    """Return the type, side and size of an order to place.

    :raises GatewayRefusedError: one of them is missing or unknown.
    """
    try:
        return GatewayOrderType(order["type"]), GatewayOrderSide(order["side"]), order["size"]
    except (KeyError, ValueError) as error:
        why = f"the order cannot be understood: {error}"
        raise refusal("Order/place", "Rejected", why) from None
