"""The practice exchange's positions, orders and accounts, and their payloads.

A payload of a position or a working order is complete: the record can be rebuilt from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple, Self

from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.fields import Payload
from riskd.model.contracts import PRODUCTS, Contract
from riskd.model.money import CENT, to_cents

STARTING_BALANCE: Final = Decimal("50000.00")


class Message(NamedTuple):
    """An event that the exchange reports.

    :ivar target: the kind of event, such as :data:`riskd.gateway.targets.ORDER`.
    :ivar contract_id: the contract of a market event; ``None`` for an event of an account.
    """

    target: str
    contract_id: str | None
    payload: Payload


# The quotes of one step of the market have one time.
_stamp = lru_cache(maxsize=1)(datetime.isoformat)


class Quote(NamedTuple):
    """The best bid and ask of a contract and the price of its last trade."""

    bid: Decimal
    ask: Decimal
    last: Decimal

    def payload(self, symbol: str, now: datetime) -> Payload:
        """Return the gateway's payload of the quote.

        :param symbol: the id of the contract's product.
        """
        stamp = _stamp(now)
        return {
            "symbol": symbol,
            "bestBid": self.bid,
            "bestAsk": self.ask,
            "lastPrice": self.last,
            "lastUpdated": stamp,
            "timestamp": stamp,
        }


@dataclass
class Position:
    """The contracts of one kind that an account holds.

    Positions are netted: an account has at most one in a contract.  A position keeps the sum of its
    entry prices rather than their average, because an average may have endless decimal places.

    :ivar net: contracts held; above zero long, below zero short.
    :ivar price_sum: the entry prices of the contracts held, added up.
    """

    id: int
    account_id: int
    contract: Contract
    created: datetime
    net: int = 0
    price_sum: Decimal = Decimal(0)

    @classmethod
    def from_payload(cls, payload: Payload, contract: Contract) -> Self:
        """Return the position that a payload describes."""
        size: int = payload["size"]
        # An average with endless places was cut, and half a cent of P&L would round to the wrong side.
        # But entry prices are whole ticks and P&L is whole cents, so the sum of the prices is a multiple
        # of the price move that is worth one cent.
        cent = contract.tick_size * CENT / contract.tick_value
        return cls(
            id=payload["id"],
            account_id=payload["accountId"],
            contract=contract,
            created=datetime.fromisoformat(payload["creationTimestamp"]),
            net=size if payload["type"] == GatewayPositionType.LONG else -size,
            price_sum=_rounded(payload["averagePrice"] * size, cent),
        )

    @property
    def side(self) -> int:
        """Return 1 for a long position and -1 for a short one."""
        return 1 if self.net > 0 else -1

    @property
    def size(self) -> int:
        """Return how many contracts are held, long or short."""
        return abs(self.net)

    @property
    def average_price(self) -> Decimal:
        """Return the average entry price; 0 for a closed position."""
        return self.price_sum / self.size if self.net else Decimal(0)

    def reduce(self, size: int, price: Decimal) -> Decimal:
        """Close ``size`` contracts at ``price``; return the P&L in dollars.

        It is rounded to the cent.
        """
        worth = self.contract.tick_value / self.contract.tick_size
        # Multiply before dividing, so that half a cent is exactly half a cent.
        cost = self.price_sum * size / self.size
        pnl = to_cents((price * size - cost) * self.side * worth)
        # Rounding is passed on: subtract the cost that the rounded P&L implies.  What rounding took from
        # this part stays with the rest, so that the trades of a position add up to the cent.
        self.price_sum -= price * size - pnl * self.side / worth
        self.net -= self.side * size
        return pnl

    def payload(self) -> Payload:
        """Return the gateway's payload of the position."""
        kind = GatewayPositionType.LONG if self.net > 0 else GatewayPositionType.SHORT
        return {
            "id": self.id,
            "accountId": self.account_id,
            "contractId": self.contract.id,
            "creationTimestamp": self.created.isoformat(),
            "type": int(kind if self.net else GatewayPositionType.UNDEFINED),
            "size": self.size,
            "averagePrice": self.average_price,
        }


@dataclass
class Order:
    """An order, working or ended.

    :ivar filled: how many of its contracts are filled.
    :ivar fill_sum: the prices of the filled contracts, added up.
    :ivar resting: whether its limit has been in the book before; see :func:`.matching.fill_price`.
    """

    id: int
    account_id: int
    contract: Contract
    type: GatewayOrderType
    side: GatewayOrderSide
    size: int
    created: datetime
    updated: datetime
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    custom_tag: str | None = None
    status: GatewayOrderStatus = GatewayOrderStatus.OPEN
    filled: int = 0
    fill_sum: Decimal = Decimal(0)
    resting: bool = False

    @classmethod
    def from_payload(cls, payload: Payload, contract: Contract) -> Self:
        """Return the working order that a payload describes."""
        filled: int = payload["fillVolume"]
        # The average may have been cut, as that of a position; but every price is a whole tick.
        fill_sum = _rounded(payload.get("filledPrice", 0) * filled, contract.tick_size)
        return cls(
            id=payload["id"],
            account_id=payload["accountId"],
            contract=contract,
            type=GatewayOrderType(payload["type"]),
            side=GatewayOrderSide(payload["side"]),
            size=payload["size"],
            created=datetime.fromisoformat(payload["creationTimestamp"]),
            updated=datetime.fromisoformat(payload["updateTimestamp"]),
            limit_price=payload.get("limitPrice"),
            stop_price=payload.get("stopPrice"),
            custom_tag=payload.get("customTag"),
            filled=filled,
            fill_sum=fill_sum,
            # The market did not reach it when it was placed, so a limit without a stop is in the book.
            resting=payload.get("stopPrice") is None,
        )

    @property
    def direction(self) -> int:
        """Return 1 for an order to buy and -1 for one to sell."""
        return 1 if self.side is GatewayOrderSide.BID else -1

    @property
    def left(self) -> int:
        """Return how many contracts are not filled yet."""
        return self.size - self.filled

    def fill(self, size: int, price: Decimal, now: datetime) -> None:
        """Fill ``size`` contracts at ``price``."""
        self.filled += size
        self.fill_sum += price * size
        # What is left of a limit has been in the book.
        self.resting = True
        self.updated = now
        if not self.left:
            self.status = GatewayOrderStatus.FILLED

    def payload(self) -> Payload:
        """Return the gateway's payload of the order, without null fields."""
        return without_nulls(
            {
                "id": self.id,
                "accountId": self.account_id,
                "contractId": self.contract.id,
                "symbolId": symbol_id(self.contract),
                "creationTimestamp": self.created.isoformat(),
                "updateTimestamp": self.updated.isoformat(),
                "status": int(self.status),
                "type": int(self.type),
                "side": int(self.side),
                "size": self.size,
                "fillVolume": self.filled,
                "limitPrice": self.limit_price,
                "stopPrice": self.stop_price,
                "filledPrice": self.fill_sum / self.filled if self.filled else None,
                "customTag": self.custom_tag,
            }
        )


@dataclass
class Account:
    """An account, its positions by contract id and its working orders by id."""

    id: int
    name: str
    balance: Decimal = STARTING_BALANCE
    can_trade: bool = True
    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)

    def payload(self) -> Payload:
        """Return the gateway's payload of the account."""
        return {
            "id": self.id,
            "name": self.name,
            "balance": self.balance,
            "canTrade": self.can_trade,
            "isVisible": True,
            "simulated": True,
        }


def contract_payload(contract: Contract) -> Payload:
    """Return the gateway's payload of a contract."""
    return {
        "id": contract.id,
        "name": contract.name,
        "description": PRODUCTS[_product_code(contract)].description,
        "tickSize": contract.tick_size,
        "tickValue": contract.tick_value,
        "activeContract": True,
        "symbolId": symbol_id(contract),
    }


def symbol_id(contract: Contract) -> str:
    """Return the gateway's id of a contract's product, such as ``F.US.EP``."""
    return "F.US." + _product_code(contract)


def without_nulls(payload: Payload) -> Payload:
    """Return ``payload`` without its null fields, which the gateway's events omit."""
    return {key: value for key, value in payload.items() if value is not None}


def _product_code(contract: Contract) -> str:
    return contract.id.split(".")[3]


def _rounded(amount: Decimal | int, unit: Decimal) -> Decimal:
    """Return ``amount`` rounded to a multiple of ``unit``."""
    return (amount / unit).to_integral_value() * unit
