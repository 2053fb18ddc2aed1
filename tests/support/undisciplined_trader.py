"""A trader without discipline at a practice gateway in another process."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any, Protocol

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType
from tests.support.account_view import signed
from tests.support.exchange_oracle import MAX_TRADES
from tests.support.followed_exchange import FollowedExchange
from tests.support.practice_daemon import ACCOUNT

BUY, SELL = GatewayOrderSide.BID, GatewayOrderSide.ASK


class Api(Protocol):
    """A logged-in client of the gateway's REST API; it blocks."""

    def reply(self, path: str, **fields: Any) -> dict[str, Any]:
        """Return the reply to a request."""


class UndisciplinedTrader:
    """A trader without discipline, who trades through the gateway's API and moves the market.

    :param contracts: the ids of MNQ, ES and MES.
    :ivar mnq: the first of them.
    """

    def __init__(
        self,
        exchange: FollowedExchange,
        broker: Callable[[], Api],
        random: Random,
        contracts: tuple[str, str, str],
        trace: Callable[[str], object],
    ) -> None:
        self._exchange = exchange
        self._broker = broker
        self._random = random
        self._trace = trace
        self.mnq, self._es, self._mes = contracts
        self._steps = dict(zip(contracts, map(Decimal, ("2.5", "0.25", "0.25")), strict=True))
        acts = {
            self._work_a_limit: 3,
            self._protect: 2,
            self._cancel: 3,
            self._close: 3,
            self._scalp: 1,
            self._lose: 2,
            self._jump: 4,
            self._be_restricted: 0.3,
        }
        # Each trader has habits: one who does it all is locked out within a minute, and the rest is less seen.
        self._acts = {act: weight * random.choice((0, 1, 1, 2)) for act, weight in acts.items()}
        self._acts[self._trade] = 6
        self._largest = random.choice((1, 2, 5))
        prices = (Decimal(21000), Decimal(5800), Decimal(5800))
        exchange.prices.update(zip(contracts, prices, strict=True))

    async def ask(self, path: str, **fields: Any) -> dict[str, Any]:
        """Return the reply; an empty one if there is none."""
        try:
            return await deferToThread(self._broker().reply, path, **fields)
        except (OSError, http.client.HTTPException, ValueError):
            # The gateway is down, or a fault took the answer.
            return {}

    async def hold_prices(self) -> None:
        """Take the market back to its prices, from where it has moved by itself."""
        for contract_id in self._steps:
            await self._move_market(contract_id)

    async def _move_market(self, contract_id: str) -> None:
        price = float(self._exchange.prices[contract_id])
        await self.ask("Practice/moveMarket", contractId=contract_id, price=price)

    async def act(self) -> None:
        """Do one of the things that such a trader does."""
        (act,) = self._random.choices(list(self._acts), list(self._acts.values()))
        await act()

    def _contract(self) -> str:
        return self._random.choice([self.mnq] * 6 + [self._es] * 4 + [self._mes])

    def _side(self) -> GatewayOrderSide:
        return self._random.choice((BUY, SELL))

    async def place(
        self, contract_id: str, side: GatewayOrderSide, size: int, **prices: Decimal
    ) -> None:
        """Place a market order, or one with a ``limitPrice`` or ``stopPrice``."""
        kind = GatewayOrderType.MARKET
        if prices:
            kind = GatewayOrderType.LIMIT if "limitPrice" in prices else GatewayOrderType.STOP
        reply = await self.ask(
            "Order/place",
            accountId=ACCOUNT,
            contractId=contract_id,
            type=int(kind),
            side=int(side),
            size=size,
            **{name: float(price) for name, price in prices.items()},
        )
        self._trace(
            f"trader: {side.name} {size} {contract_id} {prices or ''} -> {_outcome(reply)}"
        )

    async def _trade(self) -> None:
        contract_id = self._contract()
        await self.place(contract_id, self._side(), self._random.randint(1, self._largest))
        if self._random.random() < 0.4:
            await self._protect(contract_id)

    async def _work_a_limit(self) -> None:
        contract_id = self._contract()
        away = self._random.randint(-20, 20) * self._steps[contract_id]
        price = self._exchange.prices[contract_id] + away
        await self.place(contract_id, self._side(), self._random.randint(1, 3), limitPrice=price)

    async def _protect(self, contract_id: str | None = None) -> None:
        """Place a stop for all of a position."""
        for held in self._exchange.store.open_positions(ACCOUNT):
            if contract_id in (None, held["contractId"]):
                sign = 1 if signed(held) > 0 else -1
                away = self._random.randint(5, 40) * self._steps[held["contractId"]]
                price = self._exchange.prices[held["contractId"]] - sign * away
                side = SELL if sign > 0 else BUY
                await self.place(held["contractId"], side, held["size"], stopPrice=price)

    async def _cancel(self) -> None:
        orders = self._exchange.store.open_orders(ACCOUNT)
        if orders:
            order_id = self._random.choice(orders)["id"]
            reply = await self.ask("Order/cancel", accountId=ACCOUNT, orderId=order_id)
            self._trace(f"trader: cancel {order_id} -> {_outcome(reply)}")

    async def _close(self) -> None:
        for held in self._exchange.store.open_positions(ACCOUNT)[:1]:
            contract_id = held["contractId"]
            reply = await self.ask(
                "Position/closeContract", accountId=ACCOUNT, contractId=contract_id
            )
            self._trace(f"trader: close {contract_id} -> {_outcome(reply)}")

    async def _scalp(self) -> None:
        """Trade often."""
        for _ in range(self._random.choice((3, MAX_TRADES + 1, MAX_TRADES + 1))):
            for side in (BUY, SELL):
                await self.place(self.mnq, side, 1)

    async def _lose(self) -> None:
        """Buy, let the market fall, and sell."""
        size = self._random.randint(1, 4)
        await self.place(self.mnq, BUY, size)
        self._exchange.prices[self.mnq] -= self._random.randint(4, 30) * self._steps[self.mnq]
        await self._move_market(self.mnq)
        await self.place(self.mnq, SELL, size)

    async def _jump(self) -> None:
        contract_id = self._contract()
        steps = self._random.choice(
            (-16, -8, 8, 16, -40, 40) if contract_id == self.mnq else (-4, 4)
        )
        self._exchange.prices[contract_id] += steps * self._steps[contract_id]
        self._trace(f"market: {contract_id} jumps to {self._exchange.prices[contract_id]}")
        await self._move_market(contract_id)

    async def _be_restricted(self) -> None:
        """Let the broker restrict the account for a while."""
        for may_trade in (False, True):
            await self.ask("Practice/setCanTrade", accountId=ACCOUNT, canTrade=may_trade)
            self._trace(f"broker: the account may {'' if may_trade else 'not '}trade")
            await deferLater(reactor, self._random.uniform(2, 8))

    async def permit(self) -> None:
        """Let the account trade again, where the request for that was lost."""
        if not self._exchange.store.account(ACCOUNT)["canTrade"]:
            await self.ask("Practice/setCanTrade", accountId=ACCOUNT, canTrade=True)


def _outcome(reply: dict[str, Any]) -> str:
    if not reply:
        return "no answer"
    return str(reply.get("orderId") or "done") if reply.get("success") else f"refused: {reply}"
