"""RULE-019: what a single order may be.

The rule checks the orders that would open contracts; an order that only closes a position may always work.
A forbidden order is canceled.  Most market orders are filled before that, and any order may be: then the
position is closed back to its size before the order.

An order is forbidden as a whole: of one that is too large, no part may stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.broker import BrokerOrder, BrokerPosition
from riskd.model.contracts import MICROS
from riskd.model.events import OrderState
from riskd.model.formatting import contract_name, counted
from riskd.model.marks import doubt_of, mark
from riskd.rules.fills import Fills, Ledger, with_order, with_positions
from riskd.rules.interface import (
    NOTHING,
    Command,
    Flatten,
    Gauge,
    Kind,
    RejectOrder,
    Rule,
    RuleResult,
    Trigger,
    recall,
    remember,
)
from riskd.rules.positions import affected_orders, by_root, held_in, net_size, opened_by
from riskd.rules.settings import Contracts, RuleSettings, Ticks
from riskd.rules.tightness import Lower, WhenTrue

_REPORTED: Final = timedelta(seconds=5)
"""How long after its order the change of a position may be reported."""

_AGAIN: Final = timedelta(seconds=1)
"""How soon an order is checked again that lacks a price to compare with."""


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``order_limits``.

    :ivar max_size: the most contracts of one order; ``None``: any number.
    :ivar price_band_ticks: how many ticks a limit price may be from the last price, when the order is placed
        or moved; ``None``: any number.
    :ivar no_adding_to_losers: whether a position may not grow at a price at which it has an open loss.
    :ivar no_opposite_micros: whether a product and its micro may not be held on opposite sides.
    """

    max_size: Lower[Contracts | None] = None
    price_band_ticks: Lower[Ticks | None] = None
    no_adding_to_losers: WhenTrue[bool] = False
    no_opposite_micros: WhenTrue[bool] = False


class _Excess(msgspec.Struct, frozen=True):
    """What a forbidden order has filled.

    :ivar allowed: the signed size of the position before it.
    :ivar was_seen: whether the position was beyond that.
    :ivar side: 1 for an order to buy, -1 for one to sell.
    """

    allowed: int
    reason: str
    at: datetime
    was_seen: bool = False
    # Journals of earlier versions do not have it.
    side: int = 0

    def beyond(self, held: int) -> int:
        """Return how many of the contracts held are too many; zero or less if none is."""
        side = self.side or _sign(held)
        return side * held - max(0, side * self.allowed)


class _Ordered(msgspec.Struct, frozen=True):
    """An order to check.

    :ivar held: the signed size of the position before its fills.
    :ivar at: when it was reported.
    """

    order: BrokerOrder
    held: int
    at: datetime


class _Memory(msgspec.Struct, frozen=True):
    """What the rule remembers.

    :ivar prices: the limit price at which a working order was found within the band, by order id.
    :ivar excesses: by contract id.
    :ivar filled: filled orders that lacked a price to compare with: no other event of them will come.
    """

    prices: dict[int, Decimal] = {}
    fills: Fills = Fills()
    excesses: dict[str, _Excess] = {}
    filled: tuple[_Ordered, ...] = ()


class _UnknownPriceError(Exception):
    """There is no price to compare an order with."""


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Cancel forbidden orders, and close what they have filled."""
    if settings == Settings():
        return NOTHING
    known, now = recall(state, RULE.rule_id, _Memory), trigger.now
    prices = {number: at for number, at in known.prices.items() if number in state.orders}
    fills = with_positions(known.fills, state, trigger, _REPORTED)
    excesses = _excesses(state, known.excesses, now)
    commands: list[Command] = []
    warnings: list[str] = []
    orders = [each for each in known.filled if now - each.at < _REPORTED]
    orders += [
        _Ordered(order, fills.held_by_orders(order.contract_id), now)
        for order in _orders(state, trigger)
    ]
    filled: list[_Ordered] = []
    for each in orders:
        order, held = each.order, each.held
        try:
            reason = _objection(order, held, state, settings, prices)
        except _UnknownPriceError:
            name = contract_name(state, order.contract_id)
            warnings.append(f"Order {order.id} in {name} cannot be checked yet: no price is known")
            if order.state is OrderState.FILLED:
                filled.append(each)
            continue
        if reason and order.state is OrderState.ACTIVE:
            commands.append(RejectOrder(reason=reason, order_id=order.id))
        if reason and order.filled:
            _add(excesses, order.contract_id, _Excess(held, reason, each.at, side=order.side.sign))
    fills = with_order(fills, state, trigger)
    excesses = _left(excesses, fills)
    for contract_id, excess in excesses.items():
        if excess.beyond(held_in(state, contract_id)) > 0:
            excesses[contract_id] = msgspec.structs.replace(excess, was_seen=True)
            kept = max(0, excess.allowed * _sign(held_in(state, contract_id)))
            commands.append(Flatten(reason=excess.reason, keep={contract_id: kept}))
    if settings.no_opposite_micros:
        commands += _opposite_positions(state)
    memory = _Memory(prices, fills, excesses, tuple(filled))
    return RuleResult(
        commands=tuple(commands),
        memory=remember(memory, known),
        wake_at=now + _AGAIN if warnings else None,
        warnings=tuple(warnings),
    )


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return the size of the largest entry order, and the other limits."""
    band = settings.price_band_ticks
    others = [
        *([] if band is None else [f"{counted(band, 'tick')} from the last price"]),
        *(["no adding to losers"] if settings.no_adding_to_losers else []),
        *(["no opposite micros"] if settings.no_opposite_micros else []),
    ]
    if settings.max_size is None:
        return (Gauge(name="order limits", words=", ".join(others) or "none"),)
    sizes = (
        order.size
        for order in state.working_orders
        if opened_by(order, order.remaining, held_in(state, order.contract_id))
    )
    largest = Gauge(
        name="largest order",
        limit=Decimal(settings.max_size),
        current=Decimal(max(sizes, default=0)),
        unit="contracts",
    )
    if not others:
        return (largest,)
    return (largest, Gauge(name="order limits", words=", ".join(others)))


def _orders(state: AccountState, trigger: Trigger) -> Iterator[BrokerOrder]:
    """Yield the orders to check: the event's, even if it is filled, or all that work.

    The exits of an entry are suspended until it is filled; until then they would look like entries.
    """
    subject = trigger.subject
    if isinstance(subject, BrokerOrder) and subject.state is OrderState.FILLED:
        yield subject
        return
    # A position may be the other side of an order in its micro.
    orders = (
        state.working_orders
        if isinstance(subject, BrokerPosition)
        else affected_orders(state, trigger)
    )
    yield from (order for order in orders if order.is_open)


def _excesses(state: AccountState, known: dict[str, _Excess], now: datetime) -> dict[str, _Excess]:
    """Return the excesses that may not be closed yet."""
    return {
        contract_id: excess
        for contract_id, excess in known.items()
        if (
            excess.beyond(held_in(state, contract_id)) > 0
            if excess.was_seen
            else now - excess.at < _REPORTED
        )
    }


def _add(excesses: dict[str, _Excess], contract_id: str, excess: _Excess) -> None:
    """Add an excess, unless there is one on its side.

    To open on the other side, its order has closed that one.
    """
    before = excesses.get(contract_id)
    if before is None or before.side * excess.side < 0:
        excesses[contract_id] = excess


def _left(excesses: dict[str, _Excess], fills: Fills) -> dict[str, _Excess]:
    """Return the excesses that the trader has not closed himself.

    His exits may be reported before the position that they close, and so may what he opens afterwards.
    """
    return {
        contract_id: excess
        for contract_id, excess in excesses.items()
        if not _is_closed(excess, fills.ledgers.get(contract_id))
    }


def _is_closed(excess: _Excess, ledger: Ledger | None) -> bool:
    """Return whether orders, or positions ahead of them, have closed an excess."""
    if ledger is None:
        return False
    by_orders = ledger.size + ledger.bought - ledger.sold
    side = excess.side or _sign(by_orders)
    # What positions have shown and no order yet.
    ahead = -ledger.sold if side > 0 else -ledger.bought
    return excess.beyond(by_orders) <= max(0, ahead)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _objection(
    order: BrokerOrder,
    held: int,
    state: AccountState,
    settings: Settings,
    prices: dict[int, Decimal],
) -> str:
    """Return why an order is forbidden; empty if it is not.

    :param held: the signed size of the position before its fills.
    :raises _UnknownPriceError: that is not known yet.
    """
    if not _opens(order, held, held_in(state, order.contract_id)):
        return ""
    name = contract_name(state, order.contract_id)
    what = f"order to {order.side.name.lower()} {order.size} {name}"
    if settings.max_size is not None and order.size > settings.max_size:
        return f"Order too large: {what} (limit {counted(settings.max_size, 'contract')})"
    if settings.no_opposite_micros and (other := _opposite(order, state)):
        return f"Opposite sides of one market: {what} against {other}"
    position = state.positions.get(order.contract_id)
    if settings.no_adding_to_losers and position is not None and held * order.side.sign > 0:
        price = _fill_price(order, position, state)
        if (price - position.average_price) * position.type.sign < 0:
            entry = f"{position.average_price.normalize():f}"
            return f"Adding to a losing position: {what} at {price.normalize():f} (entry {entry})"
    limit = order.limit_price
    if settings.price_band_ticks is None or limit is None or prices.get(order.id) == limit:
        return ""
    reason = _beyond_band(order, limit, settings.price_band_ticks, state)
    if not reason:
        prices[order.id] = limit
    return reason and f"{reason}: {what} (limit {counted(settings.price_band_ticks, 'tick')})"


def _opens(order: BrokerOrder, by_orders: int, held: int) -> bool:
    """Return whether an order opens contracts, or has.

    One that works opens some by what orders say and by the position: news of either may be missing.
    """
    if order.state is not OrderState.ACTIVE:
        return bool(opened_by(order, order.filled, by_orders))
    return all(opened_by(order, order.remaining, each) for each in (by_orders, held))


def _beyond_band(order: BrokerOrder, limit: Decimal, band: int, state: AccountState) -> str:
    """Return how a limit price is too far from the last price; empty if it is not.

    :raises _UnknownPriceError: the last price is not known.
    """
    contract, last = state.contract(order.contract_id), _last_price(order, state)
    if contract is None or last is None:
        raise _UnknownPriceError
    if abs(limit - last) <= band * contract.tick_size:
        return ""
    return f"Limit price {limit.normalize():f} too far from the last price {last.normalize():f}"


def _last_price(order: BrokerOrder, state: AccountState) -> Decimal | None:
    """Return the last price, if it is believed; otherwise ``None``."""
    quote, contract = state.quotes.get(order.contract_id), state.contract(order.contract_id)
    if quote is None or contract is None or doubt_of(quote, contract.tick_size) is not None:
        return None
    return quote.last


def _fill_price(order: BrokerOrder, position: BrokerPosition, state: AccountState) -> Decimal:
    """Return the price at which an order would be filled.

    A limit order is filled at its price or at a better one, a stop order at its price or at a worse one; what is
    filled has the price of its executions.

    :raises _UnknownPriceError: the market's price is not known.
    """
    is_buy = order.side.sign > 0
    # They are exact, and known while no quote values the position that they have made.
    if order.state is OrderState.FILLED and (executed := _executed_prices(order, state)):
        return min(executed) if is_buy else max(executed)
    found = mark(state, position)
    prices = [] if found is None else [found.price]
    if order.stop_price is not None:
        prices.append(order.stop_price)
        return max(prices) if is_buy else min(prices)
    if order.limit_price is not None:
        prices.append(order.limit_price)
        return min(prices) if is_buy else max(prices)
    if found is None:
        raise _UnknownPriceError
    return found.price


def _executed_prices(order: BrokerOrder, state: AccountState) -> list[Decimal]:
    """Return the prices of an order's executions, as far as they are known."""
    executions = [
        each.execution for each in state.risk.results.values() if each.order_id == order.id
    ]
    prices = [each.price for each in executions if each is not None]
    return [price for price in prices if price is not None]


def _opposite(order: BrokerOrder, state: AccountState) -> str:
    """Return what an order would be on the other side of; empty if nothing."""
    mine = (state.root(order.contract_id) or "").upper()
    for root, positions in by_root(state).items():
        if MICROS.get(root) == mine or MICROS.get(mine) == root:
            held = net_size(positions)
            if held * order.side.sign < 0:
                return f"{abs(held)} {root} {'long' if held > 0 else 'short'}"
    return ""


def _opposite_positions(state: AccountState) -> Iterator[Flatten]:
    """Yield the closes where a product and its micro have opposite sides.

    The one that changed last is closed; of two that changed together, the micro.
    """
    roots = by_root(state)
    for micro, whole in MICROS.items():
        if micro not in roots or whole not in roots:
            continue
        sizes = {root: net_size(roots[root]) for root in (micro, whole)}
        if sizes[micro] * sizes[whole] >= 0:
            continue
        changed = {root: max(each.updated_at for each in roots[root]) for root in (micro, whole)}
        # Of equals, max returns the first.
        latest = max((micro, whole), key=changed.__getitem__)
        other = whole if latest == micro else micro
        held = " and ".join(
            f"{abs(sizes[root])} {root} {'long' if sizes[root] > 0 else 'short'}"
            for root in (other, latest)
        )
        keep = {
            each.contract_id: 0 for each in roots[latest] if each.type.sign * sizes[latest] > 0
        }
        yield Flatten(reason=f"Opposite sides of one market: {held}", keep=keep)


RULE: Final = Rule(
    "RULE-019", "order_limits", Settings, frozenset({Kind.POSITION, Kind.ORDER}), check, gauges
)
