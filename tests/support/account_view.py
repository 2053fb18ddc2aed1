"""What an account has at the practice exchange, and what follows from that alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from riskd.gateway.enums import GatewayOrderSide, GatewayPositionType
from riskd.gateway.fields import Payload
from riskd.practice.account_store import AccountStore
from riskd.rules.interface import OWN_STOP_TAG
from tests.support.balance_oracle import ZERO, Held


@dataclass(frozen=True, eq=False)
class AccountView:
    """What an account has between two changes.

    :ivar positions: the gateway's payloads, by contract id.
    :ivar held: the same as what they are worth at a price.
    :ivar sizes: their sizes, short ones negative.
    :ivar orders: the payloads of the working orders.
    :ivar entries: those of them that would not close a position.
    """

    positions: Mapping[str, Payload] = field(default_factory=dict)
    held: Mapping[str, Held] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    orders: Sequence[Payload] = ()
    entries: Sequence[Payload] = ()
    balance: Decimal = ZERO
    can_trade: bool = True


def view_account(store: AccountStore, account_id: int) -> AccountView:
    """Return what an account has now."""
    record, orders = store.records[account_id], store.open_orders(account_id)
    positions = {each["contractId"]: each for each in store.open_positions(account_id)}
    sizes = {name: signed(each) for name, each in positions.items()}
    return AccountView(
        positions,
        {name: held_as(each, store) for name, each in positions.items()},
        sizes,
        orders,
        entries(sizes, orders),
        record.balance,
        record.can_trade,
    )


def held_as(position: Payload, store: AccountStore) -> Held:
    """Return a position as what it is worth at a price."""
    contract = store.listed[position["contractId"]]
    point = contract.tick_value / contract.tick_size
    return Held(
        contract.id, signed(position), position["averagePrice"], point, contract.tick_value
    )


def entries(sizes: Mapping[str, int], orders: Sequence[Payload]) -> list[Payload]:
    """Return the orders that would not close a position of these sizes."""
    return [each for each in orders if sizes.get(each["contractId"], 0) * direction(each) >= 0]


def signed(position: Payload) -> int:
    """Return the contracts of a position, negative when it is short."""
    size: int = position["size"]
    return size if position["type"] == GatewayPositionType.LONG else -size


def direction(order: Payload) -> int:
    """Return 1 for an order that buys, -1 for one that sells."""
    return 1 if order["side"] == GatewayOrderSide.BID else -1


def is_own_stop(order: Payload) -> bool:
    """Return whether riskd has placed an order."""
    return (order.get("customTag") or "").startswith(OWN_STOP_TAG)
