"""The practice broker's accounts with their positions, orders and trades.

The store remembers as much as a broker does.  After a restart, a new store restores the state of the old one
and goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Final

from riskd.gateway.enums import GatewayOrderStatus
from riskd.gateway.fields import Payload
from riskd.model.contracts import Contract
from riskd.model.money import ZERO
from riskd.practice.records import Account, Order, Position, contract_payload
from riskd.practice.refusals import refusal

REMEMBERED: Final = timedelta(days=8)
"""How long trades are remembered: longer than any week lasts."""

MAX_ENDED_ORDERS: Final = 10_000
MAX_TRADES: Final = 100_000
"""Far more than the practice traders make while trades are remembered."""


@dataclass(frozen=True)
class ExchangeState:
    """All that an exchange needs to go on after a restart, as payloads.

    :ivar accounts: every account that traded.
    :ivar positions: every open position.
    :ivar orders: every working order.
    :ivar ended: orders that have ended, in the order of their end.
    :ivar trades: oldest first.
    :ivar highest_id: the highest id that an order, a position or a trade ever had.
    """

    accounts: tuple[Payload, ...] = ()
    positions: tuple[Payload, ...] = ()
    orders: tuple[Payload, ...] = ()
    ended: tuple[Payload, ...] = ()
    trades: tuple[Payload, ...] = ()
    highest_id: int = 0

    def last_prices(self) -> dict[str, Decimal]:
        """Return the price of each contract's last trade, or else of a position in it."""
        return {
            **{position["contractId"]: position["averagePrice"] for position in self.positions},
            **{trade["contractId"]: trade["price"] for trade in self.trades},
        }


class AccountStore:
    """Accounts with their positions, orders and trades.

    Every search raises :class:`GatewayRefusedError` if the account or the contract is unknown.

    :param accounts: names of the accounts, by id.
    :param contracts: the listed contracts.
    :param first_id: the first id for orders, positions and trades.
    :ivar records: the accounts by id.
    :ivar listed: the listed contracts by id.
    :ivar used_tags: the tags of orders that the store remembers, each with its account's id.
    """

    def __init__(
        self, accounts: Mapping[int, str], contracts: Iterable[Contract], first_id: int
    ) -> None:
        self.records = {key: Account(key, name) for key, name in accounts.items()}
        self.listed = {contract.id: contract for contract in contracts}
        self._last_id = first_id - 1
        self._ended: dict[int, Payload] = {}
        self._trades: dict[int, Payload] = {}
        self.used_tags: set[tuple[int, str | None]] = set()

    # Searches.

    def contract(self, contract_id: str) -> Payload:
        """Return the payload of a contract."""
        return contract_payload(self.find_contract("Contract/searchById", contract_id))

    def contracts(self) -> list[Payload]:
        """Return the payloads of all contracts."""
        return [contract_payload(contract) for contract in self.listed.values()]

    def accounts(self) -> list[Payload]:
        """Return the payloads of all accounts."""
        return [account.payload() for account in self.records.values()]

    def account(self, account_id: int) -> Payload:
        """Return the payload of an account."""
        return self.find_account("Account/search", account_id).payload()

    def open_positions(self, account_id: int) -> list[Payload]:
        """Return the payloads of the account's open positions."""
        account = self.find_account("Position/searchOpen", account_id)
        return [position.payload() for position in account.positions.values()]

    def open_orders(self, account_id: int) -> list[Payload]:
        """Return the payloads of the account's working orders, oldest first."""
        account = self.find_account("Order/searchOpen", account_id)
        return [order.payload() for order in account.orders.values()]

    def orders(self, account_id: int, since: datetime) -> list[Payload]:
        """Return the payloads of orders placed at ``since`` or later, oldest first.

        The last :data:`MAX_ENDED_ORDERS` ended orders of all accounts are remembered.

        :param since: aware.
        """
        account = self.find_account("Order/search", account_id)
        working = (order.payload() for order in account.orders.values())
        orders = _created_since(since, account_id, (*self._ended.values(), *working))
        # Orders end in another order than they were placed.
        return sorted(orders, key=itemgetter("id"))

    def order(self, account_id: int, order_id: int) -> Payload:
        """Return the payload of an order, working or ended.

        :raises GatewayRefusedError: the account has no such order, or it ended too long ago.
        """
        account = self.find_account("Order/searchById", account_id)
        working = account.orders.get(order_id)
        if working is not None:
            return working.payload()
        ended = self._ended.get(order_id)
        if ended is None or ended["accountId"] != account_id:
            raise refusal("Order/searchById", "OrderNotFound", f"no order {order_id}")
        return {**ended}

    def trades(self, account_id: int, since: datetime) -> list[Payload]:
        """Return the payloads of trades made at ``since`` or later, oldest first.

        Trades of the last eight days are remembered.

        :param since: aware.
        """
        self.find_account("Trade/search", account_id)
        return _created_since(since, account_id, self._trades.values())

    # Restarts.

    def state(self, now: datetime) -> ExchangeState:
        """Return what another store needs to go on from here.

        Of ended orders and trades, it has those of the last eight days.
        """
        began = now - REMEMBERED
        ended, trades = self._ended.values(), self._trades.values()
        return ExchangeState(
            accounts=tuple(self.accounts()),
            positions=tuple(chain.from_iterable(map(self.open_positions, self.records))),
            orders=tuple(chain.from_iterable(map(self.open_orders, self.records))),
            ended=tuple(order for order in ended if _time(order, "updateTimestamp") >= began),
            trades=tuple(trade for trade in trades if _time(trade, "creationTimestamp") >= began),
            highest_id=self._last_id,
        )

    def restore(self, state: ExchangeState, now: datetime) -> list[str]:
        """Go on from the state of an earlier store; return what is dropped, in sentences.

        It drops everything of an account that is no longer traded here, and each position and order in a
        contract that is no longer listed; such an order expires.  No message reports any of this.

        :param state: its payloads must have every field that the exchange writes.
        """
        dropped = []
        for payload in state.accounts:
            account = self.records.get(payload["id"])
            if account is None:
                dropped.append(
                    f"account {payload['id']} is no longer traded here: what it had is dropped"
                )
            else:
                account.balance, account.can_trade = payload["balance"], payload["canTrade"]
        for payload in self._known(state.ended):
            self.add_order(payload)
        for payload in self._known(state.trades):
            self.add_trade(payload)
        for payload in self._known(state.positions):
            contract = self.listed.get(payload["contractId"])
            if contract is None:
                dropped.append(_unlisted("position", payload))
            else:
                account = self.records[payload["accountId"]]
                account.positions[contract.id] = Position.from_payload(payload, contract)
        for payload in self._known(state.orders):
            contract = self.listed.get(payload["contractId"])
            if contract is None:
                dropped.append(_unlisted("order", payload))
                self.add_order(
                    {
                        **payload,
                        "status": int(GatewayOrderStatus.EXPIRED),
                        "updateTimestamp": now.isoformat(),
                    }
                )
            else:
                self.add_order(payload)
                account = self.records[payload["accountId"]]
                account.orders[payload["id"]] = Order.from_payload(payload, contract)
        # The first id comes from the time of day, which may have been set back since.
        self._last_id = max(self._last_id, state.highest_id)
        return dropped

    def _known(self, payloads: Iterable[Payload]) -> list[Payload]:
        """Return the payloads of accounts that are traded here."""
        return [payload for payload in payloads if payload["accountId"] in self.records]

    # What the exchange keeps here.

    def working_orders(self, contract_id: str) -> list[Order]:
        """Return all accounts' working orders in a contract."""
        return [
            order
            for account in self.records.values()
            for order in account.orders.values()
            if order.contract.id == contract_id
        ]

    def add_order(self, order: Payload) -> None:
        """Remember an order's tag and, once the order has ended, the order itself."""
        # A used tag is refused, so a client that repeats a request gets no second order.
        if "customTag" in order:
            self.used_tags.add((order["accountId"], order["customTag"]))
        if order["status"] == GatewayOrderStatus.OPEN:
            return
        self._ended[order["id"]] = order
        if len(self._ended) > MAX_ENDED_ORDERS:
            # A dict keeps its order, so the first one ended first.
            forgotten = self._ended.pop(next(iter(self._ended)))
            self.used_tags.discard((forgotten["accountId"], forgotten.get("customTag")))

    def add_trade(self, trade: Payload) -> None:
        """Remember a trade, and forget those that are too old or too many."""
        self._trades[trade["id"]] = trade
        oldest = _time(trade, "creationTimestamp") - REMEMBERED
        while True:
            first = next(iter(self._trades.values()))
            if _time(first, "creationTimestamp") >= oldest and len(self._trades) <= MAX_TRADES:
                break
            del self._trades[first["id"]]

    def void_trade(self, account_id: int, trade_id: int) -> Payload:
        """Take back a trade's P&L, fees and commissions; return its payload.

        :raises GatewayRefusedError: the account has no such trade, or it is voided already.
        """
        trade = self._find_valid_trade("Practice/voidTrade", account_id, trade_id)
        self.records[account_id].balance -= net_result(trade)
        # A new payload, because the one that was reported must not change.
        self._trades[trade_id] = voided = {**trade, "voided": True}
        return voided

    def amend_trade(self, account_id: int, trade_id: int, changes: Payload) -> Payload:
        """Change a trade's amounts, and the balance with them; return its payload.

        :param changes: any of ``profitAndLoss``, ``fees`` and ``commissions``.
        :raises GatewayRefusedError: the account has no such trade, or it is voided.
        """
        trade = self._find_valid_trade("Practice/amendTrade", account_id, trade_id)
        amended = {**trade, **changes}
        self.records[account_id].balance += net_result(amended) - net_result(trade)
        self._trades[trade_id] = amended
        return amended

    def _find_valid_trade(self, request: str, account_id: int, trade_id: int) -> Payload:
        self.find_account(request, account_id)
        trade = self._trades.get(trade_id)
        if trade is None or trade["accountId"] != account_id:
            raise refusal(request, "TradeNotFound", f"no trade {trade_id}")
        if trade["voided"]:
            raise refusal(request, "TradeVoided", f"{trade_id} is voided already")
        return trade

    def next_id(self) -> int:
        """Return the id for a new order, position or trade."""
        self._last_id += 1
        return self._last_id

    def find_account(self, request: str, account_id: int) -> Account:
        """Return an account.

        :param request: the gateway's name of the request, for the refusal.
        :raises GatewayRefusedError: the account is unknown.
        """
        account = self.records.get(account_id)
        if account is None:
            raise refusal(request, "AccountNotFound", f"no account {account_id}")
        return account

    def find_working_order(self, request: str, account_id: int, order_id: int) -> Order:
        """Return a working order of an account.

        :raises GatewayRefusedError: the account has no such working order.
        """
        order = self.find_account(request, account_id).orders.get(order_id)
        if order is None:
            raise refusal(request, "OrderNotFound", f"order {order_id} is not working")
        return order

    def find_contract(self, request: str, contract_id: str | None) -> Contract:
        """Return a listed contract.

        :raises GatewayRefusedError: the contract is unknown.
        """
        contract = self.listed.get(contract_id or "")
        if contract is None:
            raise refusal(request, "ContractNotFound", f"no contract {contract_id}")
        return contract


def net_result(trade: Payload) -> Decimal:
    """Return what a trade adds to the balance: P&L less fees and commissions."""
    pnl: Decimal = trade.get("profitAndLoss", ZERO)
    costs: Decimal = trade["fees"] + trade.get("commissions", ZERO)
    return pnl - costs


def _created_since(since: datetime, account_id: int, payloads: Iterable[Payload]) -> list[Payload]:
    """Return copies of an account's payloads that were created at ``since`` or later."""
    return [
        {**each}
        for each in payloads
        # Not by _time(): another call for each would be a third of the work.
        if each["accountId"] == account_id and _moment(each["creationTimestamp"]) >= since
    ]


def _time(payload: Payload, name: str) -> datetime:
    return _moment(payload[name])


# Each search compares all orders or trades that are remembered.
_moment = lru_cache(maxsize=10_000)(datetime.fromisoformat)


def _unlisted(kind: str, payload: Payload) -> str:
    return (
        f"{kind} {payload['id']} of account {payload['accountId']}, {payload['size']} "
        f"{payload['contractId']}, is dropped: the contract is no longer listed"
    )
