"""The practice traders: who opens, protects and closes positions so that there is something to watch.

They are people: they trade too large now and then, leave a position without a stop, and when somebody
else closes their position or cancels their orders they are offended, stay away for a while, and may try
once more all the same.

A trader is pure.  Once a step it is shown its own positions and orders and the market, and answers
with what it wants done; it remembers what it saw and wanted last, and how long it has waited.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple

from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.interface import Payload
from riskd.model.contracts import Contract
from riskd.model.money import round_down_to_tick
from riskd.practice.exchange import Quote

# Counted in steps of the market, four a second.
_PAUSE_STEPS: Final = (8, 32)
_HOLD_STEPS: Final = (32, 100)
_PATIENCE_STEPS: Final = (12, 40)
_OFFENCE_STEPS: Final = (80, 280)
_DEFIANCE_STEPS: Final = (20, 80)

_STOP_TICKS: Final = (30, 80)
_TARGET_TICKS: Final = (40, 120)
_REST_TICKS: Final = (2, 8)
_PROTECTS: Final = 0.8
_TAKES_PROFIT: Final = 0.6
_ADDS: Final = 0.02
_RESTS: Final = 1 / 3
_OVERSIZES: Final = 1 / 8
_DEFIES: Final = 0.4
_SIZES: Final = (1, 3)
_OVERSIZES_TO: Final = (4, 6)


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
        self._steps_owed = 0
        """How long it is to stay away when it pauses next."""
        self._has_entered = False
        self._is_resting = False
        """An entry of its own waits in the book."""
        self._is_defiant = False
        """It will try once more in its pause."""
        self._sight = _NOTHING_SEEN

    def step(
        self,
        positions: list[Payload],
        orders: list[Payload],
        quote_of: Callable[[str], Quote | None],
        order_of: Callable[[int], Payload],
    ) -> list[Wish]:
        """Return what the trader wants done now.

        :param positions: payloads of the account's open positions.
        :param orders: payloads of its working orders.
        :param quote_of: gives the market of a contract, or ``None``.
        :param order_of: gives the payload of an order that worked in the step before.
        """
        self._steps_left -= 1
        if self._sight.shows_interference(positions, orders, order_of):
            self._take_offence()
            if not positions and not orders:
                self._pause()
        wishes = self._decide(positions, orders, quote_of)
        self._sight = self._sight.then(positions, orders, wishes, rests=self._is_resting)
        return wishes

    def _decide(
        self,
        positions: list[Payload],
        orders: list[Payload],
        quote_of: Callable[[str], Quote | None],
    ) -> list[Wish]:
        if positions:
            return self._manage(positions[0], orders, quote_of)
        if orders:
            if self._is_resting and self._steps_left > 0:
                return []
            # Nobody wants any more what they would open.
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
        oversizes = random.random() < _OVERSIZES
        size = random.randint(*(_OVERSIZES_TO if oversizes else _SIZES))
        # The first one is at the market, so that there is something to see at once.
        if self._is_defiant or (self._has_entered and random.random() < _RESTS):
            return [self._rest(contract, side, size, quote)]
        self._has_entered = True
        self._steps_left = random.randint(*_HOLD_STEPS)
        entry = Place(_order(contract.id, GatewayOrderType.MARKET, side, size))
        return [entry, *self._protect(contract, side, size, quote)]

    def _rest(self, contract: Contract, side: GatewayOrderSide, size: int, quote: Quote) -> Place:
        """Return a limit order a few ticks away from the market, to be filled if it comes there."""
        self._is_resting, self._is_defiant = True, False
        self._steps_left = self._random.randint(*_PATIENCE_STEPS)
        is_long = side is GatewayOrderSide.BID
        start, away = (quote.bid, -1) if is_long else (quote.ask, 1)
        limit = self._price(start, contract, away, _REST_TICKS)
        return Place(_order(contract.id, GatewayOrderType.LIMIT, side, size, limitPrice=limit))

    def _protect(
        self, contract: Contract, side: GatewayOrderSide, size: int, quote: Quote
    ) -> list[Wish]:
        """Return the orders that are to end a position: often a stop, and a target."""
        random = self._random
        wishes: list[Wish] = []
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

    def _manage(
        self,
        position: Payload,
        orders: list[Payload],
        quote_of: Callable[[str], Quote | None],
    ) -> list[Wish]:
        contract_id = position["contractId"]
        held_long = position["type"] == GatewayPositionType.LONG
        side = GatewayOrderSide.BID if held_long else GatewayOrderSide.ASK
        if self._is_resting:
            self._is_resting = False
            self._steps_left = self._random.randint(*_HOLD_STEPS)
            quote = quote_of(contract_id)
            contract = next((own for own in self._contracts if own.id == contract_id), None)
            if quote is not None and contract is not None:
                return self._protect(contract, side, position["size"], quote)
        if self._steps_left <= 0:
            self._pause()
            return [*(Cancel(order["id"]) for order in orders), Close(contract_id)]
        if position["size"] < _SIZES[1] and self._random.random() < _ADDS:
            return [Place(_order(contract_id, GatewayOrderType.MARKET, side, 1))]
        return []

    def _pause(self) -> None:
        self._is_resting = False
        steps = max(self._random.randint(*_PAUSE_STEPS), self._steps_owed)
        self._steps_left = self._random.randint(*_DEFIANCE_STEPS) if self._is_defiant else steps
        self._steps_owed = max(steps - self._steps_left, 0)

    def _take_offence(self) -> None:
        """Stay away for long in the next pause; perhaps try once in the midst of it."""
        self._steps_owed = self._random.randint(*_OFFENCE_STEPS)
        self._is_defiant = self._random.random() < _DEFIES

    def _price(
        self, start: Decimal, contract: Contract, direction: int, ticks: tuple[int, int]
    ) -> Decimal:
        distance = self._random.randint(*ticks) * contract.tick_size * direction
        return round_down_to_tick(start + distance, contract.tick_size)


@dataclass(frozen=True)
class _Sight:
    """What a trader saw last and wanted then; what that does not explain is the work of others.

    :ivar orders: ids of the orders that worked, less those that it wanted to be cancelled.
    :ivar held: the contract it held, or entered at the market, and did not want to be closed.
    :ivar rests: whether it was flat and an entry of its own waited in the book.
    :ivar closes: whether it wanted the position closed.
    """

    orders: frozenset[int]
    held: str | None
    rests: bool
    closes: bool

    def shows_interference(
        self,
        positions: list[Payload],
        orders: list[Payload],
        order_of: Callable[[int], Payload],
    ) -> bool:
        """Tell whether somebody else has closed the position, or cancelled or refused an order."""
        working = {order["id"] for order in orders}
        ended = [order_of(order_id) for order_id in self.orders - working]
        if any(order["status"] == GatewayOrderStatus.CANCELLED for order in ended):
            return True
        if self.held is not None:
            is_gone = all(position["contractId"] != self.held for position in positions)
            return is_gone and not any(order["fillVolume"] for order in ended)
        return self.rests and not positions and not orders

    def then(
        self, positions: list[Payload], orders: list[Payload], wishes: list[Wish], *, rests: bool
    ) -> _Sight:
        """Return what is seen and wanted in the step after this one."""
        cancelled = {wish.order_id for wish in wishes if isinstance(wish, Cancel)}
        closes = any(isinstance(wish, Close) for wish in wishes) or (
            # It may be closed in parts.
            self.closes and bool(positions)
        )
        entered = [
            wish.order["contractId"]
            for wish in wishes
            if isinstance(wish, Place) and wish.order["type"] == GatewayOrderType.MARKET
        ]
        held = [position["contractId"] for position in positions] or entered
        return _Sight(
            orders=frozenset(order["id"] for order in orders) - cancelled,
            held=held[0] if held and not closes else None,
            rests=rests and not positions,
            closes=closes,
        )


_NOTHING_SEEN: Final = _Sight(frozenset(), None, rests=False, closes=False)


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
