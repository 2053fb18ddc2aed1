"""Random courses of trading, for tests of invariants."""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from riskd.gateway.enums import (
    GatewayOrderSide,
)
from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayRefusedError
from riskd.model.contracts import Contract
from tests.support.practice_exchange import (
    ACCOUNT,
    BUY,
    EURO,
    LIMIT,
    MARKET,
    MNQ,
    NOW,
    OTHER_ACCOUNT,
    STOP,
    STOP_LIMIT,
    TRADE,
    ExchangeDriver,
    contract_of,
)

STARTS = {MNQ: Decimal("21000.00"), EURO: Decimal("1.10000")}
WORTH = {contract: contract.tick_value / contract.tick_size for contract in STARTS}


contracts = st.sampled_from(list(STARTS))


account_ids = st.sampled_from([ACCOUNT, OTHER_ACCOUNT])


distances = st.integers(min_value=-6, max_value=6)


placings = st.fixed_dictionaries(
    {
        "account_id": account_ids,
        "contract": contracts,
        "side": st.sampled_from(GatewayOrderSide),
        "size": st.integers(min_value=0, max_value=7),
        "order_type": st.sampled_from([MARKET, MARKET, LIMIT, STOP, STOP_LIMIT]),
        "limit": distances,
        "stop": distances,
    }
)


courses = st.lists(
    st.tuples(st.just("move"), contracts, distances, st.booleans())
    | st.tuples(st.just("place"), placings)
    | st.tuples(st.just("cancel"), account_ids, st.integers(min_value=0, max_value=20))
    | st.tuples(st.just("close"), account_ids, contracts),
    min_size=5,
    max_size=40,
)


class Course:
    """A course of trading: markets move, two accounts act, refusals are ignored."""

    def __init__(self) -> None:
        self.driver = ExchangeDriver()
        self.bids = dict(STARTS)
        for contract in STARTS:
            self.move(contract, 0, False)

    def play(self, steps: list[Any]) -> None:
        for kind, *args in steps:
            try:
                getattr(self, kind)(*args)
            except GatewayRefusedError:
                continue

    def move(self, contract: Contract, ticks: int, at_ask: bool) -> None:
        bid = self.bids[contract] = self.bids[contract] + ticks * contract.tick_size
        self.driver.now += timedelta(milliseconds=250)
        self.driver.move(bid, bid + contract.tick_size if at_ask else bid, contract)

    def place(self, wish: dict[str, Any]) -> None:
        contract, order_type = wish["contract"], wish["order_type"]
        fields = {}
        for name, kinds in (("limit", (LIMIT, STOP_LIMIT)), ("stop", (STOP, STOP_LIMIT))):
            if order_type in kinds:
                price = self.bids[contract] + wish[name] * contract.tick_size
                fields[f"{name}Price"] = price
        self.driver.order(
            wish["side"],
            wish["size"],
            order_type,
            account_id=wish["account_id"],
            contract=contract,
            **fields,
        )

    def cancel(self, account_id: int, index: int) -> None:
        working = self.driver.exchange.store.open_orders(account_id)
        if working:
            self.driver.cancel(working[index % len(working)]["id"], account_id)

    def close(self, account_id: int, contract: Contract) -> None:
        self.driver.close(contract, account_id)

    def close_all(self) -> None:
        for account_id, contract in itertools.product((ACCOUNT, OTHER_ACCOUNT), STARTS):
            self.play([("close", account_id, contract)])

    def trades(self, account_id: int, contract: Contract) -> list[Payload]:
        return [
            trade
            for trade in self.driver.payloads(TRADE)
            if (trade["accountId"], trade["contractId"]) == (account_id, contract.id)
        ]

    def books(self) -> list[tuple[int, Contract, list[Payload]]]:
        """Return the trades by account and contract."""
        return [
            (account_id, contract, self.trades(account_id, contract))
            for account_id, contract in itertools.product((ACCOUNT, OTHER_ACCOUNT), STARTS)
        ]


full_courses = st.lists(
    st.tuples(st.just("move"), contracts, distances, st.booleans())
    | st.tuples(st.just("place"), placings)
    | st.tuples(st.just("take"), st.integers(min_value=1, max_value=4))
    | st.tuples(
        st.just("modify"),
        account_ids,
        st.integers(min_value=0, max_value=20),
        st.integers(min_value=1, max_value=9),
        distances,
    )
    | st.tuples(st.just("close_part"), contracts, st.integers(min_value=0, max_value=5))
    | st.tuples(st.just("tag"), st.sampled_from("abc"))
    | st.tuples(st.just("void"), st.integers(min_value=0, max_value=20))
    | st.tuples(
        st.just("amend"),
        st.integers(min_value=0, max_value=20),
        st.sampled_from(("profitAndLoss", "fees", "commissions")),
        st.decimals(-500, 500, places=2, allow_nan=False),
    )
    | st.tuples(st.just("restrict"), account_ids, st.booleans())
    | st.tuples(st.just("cancel"), account_ids, st.integers(min_value=0, max_value=20))
    | st.tuples(st.just("close"), account_ids, contracts),
    min_size=10,
    max_size=40,
)


class FullCourse(Course):
    """A course of trading with partial fills, changed orders, and acts of the broker."""

    def take(self, most: int) -> None:
        """Fill at most ``most`` contracts of an order at a time."""
        self.driver.injector.available = lambda size: min(size, most)

    def modify(self, account_id: int, index: int, size: int, ticks: int) -> None:
        working = self.driver.exchange.store.open_orders(account_id)
        if not working:
            return
        order = working[index % len(working)]
        contract = contract_of(order["contractId"])
        price = self.bids[contract] + ticks * contract.tick_size
        names = [name for name in ("limitPrice", "stopPrice") if name in order]
        changes = dict.fromkeys(names, price) if ticks else {}
        self.driver.modify(order["id"], account_id, size=size, **changes)

    def close_part(self, contract: Contract, size: int) -> None:
        self.driver.partial_close(size, contract)

    def tag(self, tag: str) -> None:
        self.driver.order(BUY, 1, customTag=tag)

    def void(self, index: int) -> None:
        trades = self.driver.exchange.store.trades(ACCOUNT, NOW)
        if trades:
            self.driver.void(trades[index % len(trades)]["id"])

    def amend(self, index: int, name: str, amount: Decimal) -> None:
        trades = self.driver.exchange.store.trades(ACCOUNT, NOW)
        if trades:
            self.driver.amend(trades[index % len(trades)]["id"], **{name: amount})

    def restrict(self, account_id: int, can_trade: bool) -> None:
        self.driver.exchange.set_can_trade(account_id, can_trade)
        self.driver.collect()


def direction(trade: Payload) -> int:
    return 1 if trade["side"] == GatewayOrderSide.BID else -1


def cash_flow(contract: Contract, trades: list[Payload]) -> Decimal:
    """Return the dollars from sales less the cost of purchases."""
    flow = sum(
        (-direction(trade) * trade["price"] * trade["size"] for trade in trades), Decimal(0)
    )
    return flow * WORTH[contract]


def total_pnl(trades: list[Payload]) -> Decimal:
    return sum((trade.get("profitAndLoss", Decimal(0)) for trade in trades), Decimal(0))
