"""The practice traders, which open, protect and close positions.

With them the console has something to show.

They behave like people: now and then they trade too large or leave a position without a stop.  When riskd
or the operator closes their position or cancels their orders, they stay away for a while; some try once more
before that.

A trader is pure.  At each step it receives its own positions and orders and the market, and returns its
actions.  It remembers what it saw and did in the step before, and how many steps it still waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple

from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.fields import Payload
from riskd.model.contracts import Contract
from riskd.model.money import round_down_to_tick
from riskd.practice.exchange import Exchange
from riskd.practice.records import Quote

# Ranges, in steps of the market; there are four a second.
_PAUSE_STEPS: Final = (8, 32)
_HOLD_STEPS: Final = (32, 100)
_RESTING_ENTRY_STEPS: Final = (12, 40)
_STAY_AWAY_STEPS: Final = (80, 280)
_UNTIL_RETRY_STEPS: Final = (20, 80)

# Ranges, in ticks from the market.
_STOP_TICKS: Final = (30, 80)
_TARGET_TICKS: Final = (40, 120)
_RESTING_ENTRY_TICKS: Final = (2, 8)

# Chances.
_PLACES_STOP: Final = 0.8
_PLACES_TARGET: Final = 0.6
_ADDS: Final = 0.02
_RESTS: Final = 1 / 3
_OVERSIZES: Final = 1 / 8
_RETRIES: Final = 0.4

# Ranges, in contracts.
_USUAL_SIZES: Final = (1, 3)
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


TraderAction = Place | Cancel | Close


def carry_out(exchange: Exchange, account_id: int, action: TraderAction, now: datetime) -> None:
    """Do on the exchange what a trader decided.

    :raises GatewayRefusedError: the exchange refuses it.
    """
    match action:
        case Place(order):
            exchange.place_order(account_id, order, now)
        case Cancel(order_id):
            exchange.cancel_order(account_id, order_id, now)
        case Close(contract_id):
            exchange.close_contract(account_id, contract_id, now)


class Trader:
    """Trades some contracts, one position at a time.

    :param contracts: at least one.
    :param random: makes all choices; the same seed gives the same trader.
    """

    def __init__(self, contracts: tuple[Contract, ...], random: Random) -> None:
        self._contracts = contracts
        self._random = random
        self._steps_left = random.randint(4, _PAUSE_STEPS[0])
        # The least number of steps of the next pause.
        self._steps_owed = 0
        self._has_entered = False
        # An entry of its own waits in the book.
        self._is_resting = False
        # It will try once more in its pause.
        self._will_retry = False
        self._last_step = _NOTHING_YET

    def step(
        self,
        positions: list[Payload],
        orders: list[Payload],
        quote_of: Callable[[str], Quote | None],
        order_of: Callable[[int], Payload],
    ) -> list[TraderAction]:
        """Return what the trader does in this step.

        :param positions: payloads of the account's open positions.
        :param orders: payloads of its working orders.
        :param quote_of: returns the market of a contract, or ``None``.
        :param order_of: returns the payload of an order that worked in the step before.
        """
        self._steps_left -= 1
        if self._last_step.shows_interference(positions, orders, order_of):
            self._steps_owed = self._random.randint(*_STAY_AWAY_STEPS)
            self._will_retry = self._random.random() < _RETRIES
            if not positions and not orders:
                self._pause()
        actions = self._decide(positions, orders, quote_of)
        self._last_step = self._last_step.then(positions, orders, actions, rests=self._is_resting)
        return actions

    def _decide(
        self,
        positions: list[Payload],
        orders: list[Payload],
        quote_of: Callable[[str], Quote | None],
    ) -> list[TraderAction]:
        if positions:
            return self._manage(positions[0], orders, quote_of)
        if orders:
            if self._is_resting and self._steps_left > 0:
                return []
            # An entry that was not filled in time, or a stop or target whose position is gone.
            self._pause()
            return [Cancel(order["id"]) for order in orders]
        return [] if self._steps_left > 0 else self._enter(quote_of)

    def _enter(self, quote_of: Callable[[str], Quote | None]) -> list[TraderAction]:
        random = self._random
        contract = random.choice(self._contracts)
        quote = quote_of(contract.id)
        if quote is None:
            return []
        side = random.choice((GatewayOrderSide.BID, GatewayOrderSide.ASK))
        oversizes = random.random() < _OVERSIZES
        size = random.randint(*(_OVERSIZES_TO if oversizes else _USUAL_SIZES))
        # The first entry is at the market, so that the console shows a position at once.
        if self._will_retry or (self._has_entered and random.random() < _RESTS):
            return [self._rest(contract, side, size, quote)]
        self._has_entered = True
        self._steps_left = random.randint(*_HOLD_STEPS)
        entry = Place(_order(contract.id, GatewayOrderType.MARKET, side, size))
        return [entry, *self._protect(contract, side, size, quote)]

    def _rest(self, contract: Contract, side: GatewayOrderSide, size: int, quote: Quote) -> Place:
        """Return a limit order a few ticks from the market, for the market to reach."""
        self._is_resting, self._will_retry = True, False
        self._steps_left = self._random.randint(*_RESTING_ENTRY_STEPS)
        is_long = side is GatewayOrderSide.BID
        start, away = (quote.bid, -1) if is_long else (quote.ask, 1)
        limit = self._price(start, contract, away, _RESTING_ENTRY_TICKS)
        return Place(_order(contract.id, GatewayOrderType.LIMIT, side, size, limitPrice=limit))

    def _protect(
        self, contract: Contract, side: GatewayOrderSide, size: int, quote: Quote
    ) -> list[TraderAction]:
        """Return the orders that are to end a position: often a stop, and a target."""
        actions: list[TraderAction] = []
        away = 1 if side is GatewayOrderSide.BID else -1
        exit_side = GatewayOrderSide.ASK if away > 0 else GatewayOrderSide.BID
        for chance, kind, name, direction, ticks in (
            (_PLACES_STOP, GatewayOrderType.STOP, "stopPrice", -away, _STOP_TICKS),
            (_PLACES_TARGET, GatewayOrderType.LIMIT, "limitPrice", away, _TARGET_TICKS),
        ):
            if self._random.random() < chance:
                price = self._price(quote.last, contract, direction, ticks)
                order = _order(contract.id, kind, exit_side, size, **{name: price})
                actions.append(Place(order))
        return actions

    def _manage(
        self,
        position: Payload,
        orders: list[Payload],
        quote_of: Callable[[str], Quote | None],
    ) -> list[TraderAction]:
        contract_id = position["contractId"]
        is_long = position["type"] == GatewayPositionType.LONG
        side = GatewayOrderSide.BID if is_long else GatewayOrderSide.ASK
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
        if position["size"] < _USUAL_SIZES[1] and self._random.random() < _ADDS:
            return [Place(_order(contract_id, GatewayOrderType.MARKET, side, 1))]
        return []

    def _pause(self) -> None:
        self._is_resting = False
        steps = max(self._random.randint(*_PAUSE_STEPS), self._steps_owed)
        self._steps_left = self._random.randint(*_UNTIL_RETRY_STEPS) if self._will_retry else steps
        self._steps_owed = max(steps - self._steps_left, 0)

    def _price(
        self, start: Decimal, contract: Contract, direction: int, ticks: tuple[int, int]
    ) -> Decimal:
        distance = self._random.randint(*ticks) * contract.tick_size * direction
        return round_down_to_tick(start + distance, contract.tick_size)


@dataclass(frozen=True)
class _LastStep:
    """What a trader saw and did in the step before.

    All other changes since were made by riskd or the operator.

    :ivar orders: ids of the orders that worked, without those it canceled.
    :ivar held: the contract that it held or entered at the market; ``None`` if it closed the position.
    :ivar rests: whether it was flat while an entry of its own waited in the book.
    :ivar closes: whether it closed the position.
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
        """Return whether riskd or the operator acted on the account.

        They may have closed the position, or canceled or refused an order.
        """
        working = {order["id"] for order in orders}
        ended = [order_of(order_id) for order_id in self.orders - working]
        if any(order["status"] == GatewayOrderStatus.CANCELLED for order in ended):
            return True
        if self.held is not None:
            is_gone = all(position["contractId"] != self.held for position in positions)
            return is_gone and not any(order["fillVolume"] for order in ended)
        return self.rests and not positions and not orders

    def then(
        self,
        positions: list[Payload],
        orders: list[Payload],
        actions: list[TraderAction],
        *,
        rests: bool,
    ) -> _LastStep:
        """Return the record of the step after this one."""
        canceled = {action.order_id for action in actions if isinstance(action, Cancel)}
        closes = any(isinstance(action, Close) for action in actions) or (
            # The market may close it in parts.
            self.closes and bool(positions)
        )
        entered = [
            action.order["contractId"]
            for action in actions
            if isinstance(action, Place) and action.order["type"] == GatewayOrderType.MARKET
        ]
        held = [position["contractId"] for position in positions] or entered
        return _LastStep(
            orders=frozenset(order["id"] for order in orders) - canceled,
            held=held[0] if held and not closes else None,
            rests=rests and not positions,
            closes=closes,
        )


_NOTHING_YET: Final = _LastStep(frozenset(), None, rests=False, closes=False)


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
