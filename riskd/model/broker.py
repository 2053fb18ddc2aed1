"""What the broker reports of accounts and markets, as values.

A gateway maps each message of its broker to one of these, once.  Positions, orders and trades are the wire's
events and the broker's fields that the wire lacks: rules and clients read the same fields, and
:func:`on_wire` returns what is broadcast.

A stamp is the time that the broker's clock put on a message; ``None`` where it put none.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from riskd.model.events import (
    ContractId,
    Count,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    Identifier,
    OrderSide,
    OrderState,
    Timestamp,
)
from riskd.model.money import ZERO


class BrokerAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The broker's data of an account.

    :ivar can_trade: the broker's permission to trade; ``None``: not said.
    :ivar balance: dollars; ``None``: not said.
    :ivar unreadable: why the balance cannot be read, in a sentence; empty if it can.
    """

    name: str = ""
    can_trade: bool | None = None
    balance: Decimal | None = None
    unreadable: str = ""


class BrokerPosition(GatewayUserPosition, frozen=True, kw_only=True, rename="camel"):
    """The position in a contract; ``size`` 0 is closed.

    A closed one whose side or price the broker left out is long at 0; the account keeps what it knew.

    :ivar updated_at: from the gateway, the stamp or else the time of opening; the account then sets the time
        that the wire carries.
    """

    stamp: Timestamp | None = None

    @property
    def opening(self) -> Opening:
        """What tells it from other positions in its contract; neither part is enough.

        A broker may give all positions of a contract one id, or leave out the time.
        """
        return self.id, self.created_at


Opening = tuple[int, datetime]
"""The id of a position and the time of its opening."""


class BrokerOrder(GatewayUserOrder, frozen=True, kw_only=True, rename="camel"):
    """An order, working or ended; partial fills do not change its ``size``.

    :ivar updated_at: see :class:`BrokerPosition`.
    :ivar filled: the number of its contracts that are filled.
    :ivar is_open: whether the order is in the market; pending and suspended orders work, but are not.
    :ivar custom_tag: the tag that the order was placed with; riskd tags its own stops.
    """

    stamp: Timestamp | None = None
    filled: Count = 0
    is_open: bool = True
    custom_tag: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the order is filled, canceled or rejected."""
        return self.state is not OrderState.ACTIVE

    @property
    def remaining(self) -> int:
        """The number of contracts that are not filled yet."""
        left = self.size - self.filled
        return left if left > 0 else 0


class BrokerTrade(GatewayUserTrade, frozen=True, kw_only=True, rename="camel"):
    """An execution: a full turn closes contracts, a half-turn only opens some.

    :ivar profit_and_loss: gross dollars; 0 for a half-turn, which realizes nothing.
    :ivar execution_time: the broker's stamp.
    :ivar timestamp: from the gateway, the stamp; the account then sets the time of receipt.
    :ivar side: what the execution did; it closed a position of the other side.
    :ivar price: of the execution, so for a full turn the price of the exit.
    :ivar fees: dollars; ``commissions`` come on top.
    :ivar is_voided: whether the broker took the trade back.
    """

    is_full_turn: bool = True
    side: OrderSide | None = None
    price: Decimal | None = None
    order_id: Identifier | None = None
    fees: Decimal = ZERO
    commissions: Decimal = ZERO
    is_voided: bool = False

    @property
    def charges(self) -> Decimal:
        """The broker's fees and commissions together, in dollars."""
        return self.fees + self.commissions

    @property
    def net_pnl(self) -> Decimal:
        """What the execution has done to the balance, in dollars."""
        return self.profit_and_loss - self.charges


class BrokerQuote(msgspec.Struct, frozen=True):
    """What has changed of a contract's quote; ``None``: unchanged.

    :ivar is_trade: whether it is the latest trade alone, which does not say whether bid and ask have changed.
    """

    contract_id: ContractId
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    stamp: Timestamp | None = None
    is_trade: bool = False

    @property
    def has_prices(self) -> bool:
        """Whether it is more than a sign that nothing has changed."""
        return self.last is not None or self.bid is not None or self.ask is not None


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A reported position, order or trade that the gateway could not read.

    :ivar what: what it is, as the gateway calls it, such as ``GatewayUserOrder``.
    :ivar id: its id, if that could be read.
    :ivar contract_id: its contract, if that could be read.
    :ivar why: what is wrong with it, in a sentence.
    """

    what: str
    why: str
    id: Identifier | None = None
    contract_id: ContractId | None = None


BrokerNews = BrokerAccount | BrokerPosition | BrokerOrder | BrokerTrade | Unreadable
"""What the broker can say of an account."""


def on_wire(
    data: BrokerOrder | BrokerPosition | BrokerTrade,
) -> GatewayUserOrder | GatewayUserPosition | GatewayUserTrade:
    """Return the wire's event of an order, a position or a trade."""
    wire = _ON_WIRE[type(data)]
    return wire(**{name: getattr(data, name) for name in wire.__struct_fields__})


def is_same_on_wire(
    one: BrokerOrder | BrokerPosition | BrokerTrade,
    other: BrokerOrder | BrokerPosition | BrokerTrade,
) -> bool:
    """Return whether clients would learn nothing from ``other`` but a later time."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in _ON_WIRE[type(one)].__struct_fields__
        if name not in _TIMES_OF_NEWS
    )


_TIMES_OF_NEWS: Final = ("timestamp", "updated_at")
"""The fields of the wire with the time of the news itself."""

_ON_WIRE: Final[
    dict[type, type[GatewayUserOrder] | type[GatewayUserPosition] | type[GatewayUserTrade]]
] = {
    BrokerOrder: GatewayUserOrder,
    BrokerPosition: GatewayUserPosition,
    BrokerTrade: GatewayUserTrade,
}
