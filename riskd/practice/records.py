"""What the practice exchange keeps of an account, its orders and its positions; and their payloads.

A payload says all that there is to know: from it the record can be made again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Self

from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.interface import Payload
from riskd.model.contracts import Contract

STARTING_BALANCE: Final = Decimal("50000.00")

_CENT: Final = Decimal("0.01")


@dataclass
class Position:
    """What an account holds of a contract."""

    id: int
    account_id: int
    contract: Contract
    created: datetime
    net: int = 0
    """Contracts held: above zero long, below zero short."""
    price_sum: Decimal = Decimal(0)
    """The prices of the contracts held, added up."""

    @classmethod
    def restored(cls, payload: Payload, contract: Contract) -> Self:
        """Return the position that ``payload`` was told of."""
        size: int = payload["size"]
        # An average with endless places was cut, and half a cent of P&L would fall to the wrong side.
        # But prices are whole ticks and P&L is whole cents, so the sum is a whole number of the price of
        # a cent.
        cent = contract.tick_size * _CENT / contract.tick_value
        return cls(
            id=payload["id"],
            account_id=payload["accountId"],
            contract=contract,
            created=datetime.fromisoformat(payload["creationTimestamp"]),
            net=size if payload["type"] == GatewayPositionType.LONG else -size,
            price_sum=_whole(payload["averagePrice"] * size, cent),
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
        """Return what a contract cost on average; 0 when there is none."""
        return self.price_sum / self.size if self.net else Decimal(0)

    def payload(self) -> Payload:
        """Return the gateway's payload of it."""
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
    """An order, in whatever state."""

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
    """Contracts of it that are filled."""
    fill_sum: Decimal = Decimal(0)
    """The prices of those, added up."""
    resting: bool = False
    """Its limit has been in the book before."""

    @classmethod
    def restored(cls, payload: Payload, contract: Contract) -> Self:
        """Return the working order that ``payload`` was told of."""
        filled: int = payload["fillVolume"]
        # Like that of a position, the average may have been cut; but every price is a whole tick.
        fill_sum = _whole(payload.get("filledPrice", 0) * filled, contract.tick_size)
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
            # It was met by the market when it was placed; a limit that was not reached then rests.
            resting=payload.get("stopPrice") is None,
        )

    @property
    def direction(self) -> int:
        """Return 1 for an order to buy and -1 for one to sell."""
        return 1 if self.side is GatewayOrderSide.BID else -1

    @property
    def left(self) -> int:
        """Return how many contracts are not filled."""
        return self.size - self.filled

    def payload(self) -> Payload:
        """Return the gateway's payload of it, without what it has not."""
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
    """An account, the positions it holds by contract id, and the orders it works by id."""

    id: int
    name: str
    balance: Decimal = STARTING_BALANCE
    can_trade: bool = True
    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)

    def payload(self) -> Payload:
        """Return the gateway's payload of it."""
        return {
            "id": self.id,
            "name": self.name,
            "balance": self.balance,
            "canTrade": self.can_trade,
            "isVisible": True,
            "simulated": True,
        }


def product_code(contract: Contract) -> str:
    """Return the gateway's code of a contract's product."""
    return contract.id.split(".")[3]


def symbol_id(contract: Contract) -> str:
    """Return the gateway's id of a contract's product."""
    return "F.US." + product_code(contract)


def without_nulls(payload: Payload) -> Payload:
    """Return ``payload`` as the gateway tells it: what is null is left out."""
    return {key: value for key, value in payload.items() if value is not None}


def _whole(amount: Decimal | int, unit: Decimal) -> Decimal:
    """Return ``amount`` rounded to whole units."""
    return (amount / unit).to_integral_value() * unit
