"""An exchange that a test drives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import NO_FAULTS
from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
)
from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayRefusedError
from riskd.model.contracts import Contract, known_contract
from riskd.practice.account_store import ExchangeState
from riskd.practice.exchange import Exchange
from riskd.practice.fault_injection import FaultInjector
from riskd.practice.records import Message, Quote

ACCOUNT = 123
OTHER_ACCOUNT = 456
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
BUY, SELL = GatewayOrderSide.BID, GatewayOrderSide.ASK
LIMIT, MARKET = GatewayOrderType.LIMIT, GatewayOrderType.MARKET
STOP, STOP_LIMIT = GatewayOrderType.STOP, GatewayOrderType.STOP_LIMIT
ORDER, TRADE = "GatewayUserOrder", "GatewayUserTrade"
POSITION, ACCOUNT_EVENT = "GatewayUserPosition", "GatewayUserAccount"


def contract_of(contract_id: str) -> Contract:
    contract = known_contract(contract_id)
    assert contract is not None
    return contract


MNQ = contract_of("CON.F.US.MNQ.H26")
ES = contract_of("CON.F.US.EP.H26")
EURO = contract_of("CON.F.US.EU6.H26")
FEES = {MNQ.id: Decimal("0.37"), ES.id: Decimal("1.40"), EURO.id: Decimal("1.62")}


def without_faults() -> FaultInjector:
    return FaultInjector(NO_FAULTS, Random(0))


def fresh_exchange(
    accounts: tuple[int, ...] = (ACCOUNT, OTHER_ACCOUNT),
    contracts: tuple[Contract, ...] = (MNQ, ES, EURO),
    first_id: int = 1,
    injector: FaultInjector | None = None,
) -> Exchange:
    names = {key: f"PRACTICE-{key}" for key in accounts}
    return Exchange(names, contracts, FEES, injector or without_faults(), first_id)


class ExchangeDriver:
    """Drives an exchange: a clock, and methods that place, cancel, close and quote.

    :ivar injector: decides what goes wrong at the exchange, also after a restart.
    """

    def __init__(self) -> None:
        self.injector = without_faults()
        self.exchange = fresh_exchange(injector=self.injector)
        self.now = NOW
        self.messages: list[Message] = []

    def restart(self, state: ExchangeState) -> list[str]:
        """Go on with a fresh exchange that restores ``state``; return what it dropped."""
        quotes = self.quotes()
        self.exchange = fresh_exchange(injector=self.injector)
        dropped = self.exchange.store.restore(state, self.now)
        self.quote(quotes)
        return dropped

    def quotes(self) -> dict[str, Quote]:
        quotes = {contract.id: self.exchange.quote(contract.id) for contract in (MNQ, ES, EURO)}
        return {contract_id: quote for contract_id, quote in quotes.items() if quote is not None}

    def quote(self, quotes: dict[str, Quote]) -> None:
        """Quote contracts, and keep only the messages about accounts."""
        for contract_id, quote in quotes.items():
            self.exchange.move_market(contract_id, quote, self.now)
        messages = self.exchange.take_messages()
        self.messages += [message for message in messages if message.contract_id is None]

    def move(self, bid: str | Decimal, last: str | Decimal = "", contract: Contract = MNQ) -> None:
        """Quote ``bid`` and an ask one tick above, and a trade at the bid or ``last``."""
        low = Decimal(bid)
        quote = Quote(low, low + contract.tick_size, Decimal(last) if last else low)
        self.exchange.move_market(contract.id, quote, self.now)
        self.collect()

    def order(
        self,
        side: GatewayOrderSide,
        size: int,
        order_type: GatewayOrderType = MARKET,
        *,
        account_id: int = ACCOUNT,
        contract: Contract = MNQ,
        **fields: Any,
    ) -> int:
        order = {
            "contractId": contract.id,
            "type": int(order_type),
            "side": int(side),
            "size": size,
            **fields,
        }
        try:
            return self.exchange.place_order(account_id, order, self.now)
        finally:
            self.collect()

    def close(self, contract: Contract = MNQ, account_id: int = ACCOUNT) -> None:
        self.exchange.close_contract(account_id, contract.id, self.now)
        self.collect()

    def cancel(self, order_id: int, account_id: int = ACCOUNT) -> None:
        self.exchange.cancel_order(account_id, order_id, self.now)
        self.collect()

    def modify(self, order_id: int, account_id: int = ACCOUNT, **changes: Any) -> None:
        self.exchange.modify_order(account_id, order_id, changes, self.now)
        self.collect()

    def partial_close(self, size: int, contract: Contract = MNQ) -> None:
        self.exchange.partial_close_contract(ACCOUNT, contract.id, size, self.now)
        self.collect()

    def void(self, trade_id: int, account_id: int = ACCOUNT) -> None:
        self.exchange.void_trade(account_id, trade_id)
        self.collect()

    def amend(self, trade_id: int, account_id: int = ACCOUNT, **changes: Decimal) -> None:
        self.exchange.amend_trade(account_id, trade_id, changes)
        self.collect()

    def restrict(self, *, can_trade: bool = False) -> None:
        self.exchange.set_can_trade(ACCOUNT, can_trade)
        self.collect()

    def payloads(self, target: str) -> list[Payload]:
        return [message.payload for message in self.messages if message.target == target]

    def last(self, target: str) -> Payload:
        return self.payloads(target)[-1]

    def fills(self) -> list[tuple[int, Decimal]]:
        """Return the order and the price of every fill, in order."""
        return [
            (order["id"], order["filledPrice"])
            for order in self.payloads(ORDER)
            if order["status"] == GatewayOrderStatus.FILLED
        ]

    def working(self) -> list[int]:
        return [order["id"] for order in self.exchange.store.open_orders(ACCOUNT)]

    def clear(self) -> None:
        self.messages.clear()

    def collect(self) -> None:
        self.messages += self.exchange.take_messages()


def prices(**given_prices: str) -> dict[str, Decimal]:
    return {f"{name}Price": Decimal(price) for name, price in given_prices.items()}


class RefusalTestCase(SynchronousTestCase):
    """A market at 21000.00 to 21000.25, and a check of refusals."""

    def setUp(self) -> None:
        self.driver = ExchangeDriver()
        self.driver.move("21000.00")

    def refusal(self, act: Callable[..., object], *args: Any, **fields: Any) -> tuple[str, int]:
        error = self.assertRaises(GatewayRefusedError, act, *args, **fields)
        return error.request, error.code
