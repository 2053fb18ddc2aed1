"""The practice traders: who opens, protects and closes positions so that there is something to watch.

A trader is pure.  Once a step it is shown its own positions and orders and the market, and answers
with what it wants done; it remembers nothing but how long it has waited.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple

from riskd.contracts import Contract
from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType, GatewayPositionType
from riskd.gateway.interface import Payload
from riskd.money import round_down_to_tick
from riskd.practice.exchange import Quote

# Counted in steps of the market, four a second.
_PAUSE_STEPS: Final = (8, 32)
_HOLD_STEPS: Final = (32, 100)

_STOP_TICKS: Final = (30, 80)
_TARGET_TICKS: Final = (40, 120)
_PROTECTS: Final = 0.8
_TAKES_PROFIT: Final = 0.6
_ADDS: Final = 0.02
_MAX_SIZE: Final = 3


class Place(NamedTuple):
    """Place this order."""

    order: Payload


class Cancel(NamedTuple):
    """Cancel this order."""

    order_id: int


class Close(NamedTuple):
    """Close the position in this contract."""

    contract_id: str


Wish = Place | Cancel | Close


class Trader:
    """Somebody who trades some contracts, one position at a time.

    :param contracts: what is traded; at least one.
    :param random: where moods come from; the same seed gives the same trader.
    """

    def __init__(self, contracts: tuple[Contract, ...], random: Random) -> None:
        self._contracts = contracts
        self._random = random
        self._steps_left = random.randint(4, _PAUSE_STEPS[0])

    def step(
        self,
        positions: list[Payload],
        orders: list[Payload],
        quote_of: Callable[[str], Quote | None],
    ) -> list[Wish]:
        """Return what the trader wants done now.

        :param positions: payloads of the account's open positions.
        :param orders: payloads of its working orders.
        :param quote_of: gives the market of a contract, or ``None``.
        """
        self._steps_left -= 1
        if positions:
            return self._manage(positions[0], orders)
        if orders:
            # Flat: whatever still works would open a position nobody wants.
            self._pause()
            return [Cancel(order["id"]) for order in orders]
        if self._steps_left > 0:
            return []
        return self._enter(quote_of)

    def _enter(self, quote_of: Callable[[str], Quote | None]) -> list[Wish]:
        random = self._random
        contract = random.choice(self._contracts)
        quote = quote_of(contract.id)
        if quote is None:
            return []
        side = random.choice((GatewayOrderSide.BID, GatewayOrderSide.ASK))
        size = random.randint(1, _MAX_SIZE)
        self._steps_left = random.randint(*_HOLD_STEPS)
        wishes: list[Wish] = [Place(_order(contract.id, GatewayOrderType.MARKET, side, size))]
        away = 1 if side is GatewayOrderSide.BID else -1
        exit_side = GatewayOrderSide.ASK if away > 0 else GatewayOrderSide.BID
        if random.random() < _PROTECTS:
            stop = self._price(quote.last, contract, -away, _STOP_TICKS)
            wishes.append(
                Place(_order(contract.id, GatewayOrderType.STOP, exit_side, size, stopPrice=stop))
            )
        if random.random() < _TAKES_PROFIT:
            limit = self._price(quote.last, contract, away, _TARGET_TICKS)
            wishes.append(
                Place(
                    _order(contract.id, GatewayOrderType.LIMIT, exit_side, size, limitPrice=limit)
                )
            )
        return wishes

    def _manage(self, position: Payload, orders: list[Payload]) -> list[Wish]:
        contract_id = position["contractId"]
        if self._steps_left <= 0:
            self._pause()
            return [*(Cancel(order["id"]) for order in orders), Close(contract_id)]
        if position["size"] < _MAX_SIZE and self._random.random() < _ADDS:
            held_long = position["type"] == GatewayPositionType.LONG
            side = GatewayOrderSide.BID if held_long else GatewayOrderSide.ASK
            return [Place(_order(contract_id, GatewayOrderType.MARKET, side, 1))]
        return []

    def _pause(self) -> None:
        self._steps_left = self._random.randint(*_PAUSE_STEPS)

    def _price(
        self, start: Decimal, contract: Contract, direction: int, ticks: tuple[int, int]
    ) -> Decimal:
        distance = self._random.randint(*ticks) * contract.tick_size * direction
        return round_down_to_tick(start + distance, contract.tick_size)


def _order(
    contract_id: str,
    order_type: GatewayOrderType,
    side: GatewayOrderSide,
    size: int,
    **prices: Decimal,
) -> Payload:
    return {
        "contractId": contract_id,
        "type": int(order_type),
        "side": int(side),
        "size": size,
        **prices,
    }
