"""Marks: the prices that value open positions, and the prices that are believed.

A mark is the last price, if it is believed, and otherwise the best bid for a long position and the best ask
for a short one.

A price received before a position was opened, reversed or increased is older than the entry and does not
value it: fills and quotes arrive in different streams, and in a fast market an old price would show a profit
or a loss that does not exist.  The order of receipt alone decides, because two clocks may have stamped them.
A quote that says that nothing has changed brings no newer price, unless it comes five seconds after the entry: then
none is on its way.

A last price is compared with the bid and ask beside it, because feeds send zero for "none", the price of
another expiry, or one from before a move:

- Zero is believed only between bid and ask, or where no market is near.  Other prices may be negative.
- Any other last price is believed if it is no further from bid and ask than the largest of
  :data:`FAR_SHARE` of their price, :data:`FAR_TICKS` ticks and their spread.  Exchanges cancel trades that are
  further from the market; a wide spread means a thin market.
- Beside a bid without an ask, or an ask without a bid, as at a price limit, it may be ten times as far.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from riskd.model.account import AccountState, is_outdated
from riskd.model.events import GatewayUserPosition, MarketQuote, PositionType
from riskd.model.money import ZERO

FAR_SHARE: Final = Decimal("0.01")
"""A distance from the market that is far, as a share of its price."""

FAR_TICKS: Final = 100
"""A distance from the market that is far where prices are near zero, in ticks."""

WIDE: Final = 10
"""How many times as far a price may be from a market that is only known in part."""


class Doubt(StrEnum):
    """Why a last price is not believed."""

    ZERO = "zero"
    FAR = "far from bid and ask"


class Mark(msgspec.Struct, frozen=True):
    """The price by which a position is valued.

    :ivar at: the broker's time of the quote that it is from; ``None`` if that is unknown.
    """

    price: Decimal
    at: datetime | None


def mark(state: AccountState, position: GatewayUserPosition) -> Mark | None:
    """Return the mark of an open position; ``None`` if there is none."""
    contract_id = position.contract_id
    quote = state.quotes.get(contract_id)
    if quote is not None:
        if is_outdated(state, contract_id):
            return None
        if is_within_market(quote):
            return Mark(quote.last, quote.timestamp)
    contract = state.contract(contract_id)
    tick_size = ZERO if contract is None else contract.tick_size
    if quote is not None:
        if doubt_of(quote, tick_size) is None:
            return Mark(quote.last, quote.timestamp)
        price = _closing_price(quote.bid, quote.ask, position.type, tick_size)
        return None if price is None else Mark(price, quote.timestamp)
    best = state.risk.best_bid_asks.get(contract_id)
    if best is None:
        return None
    price = _closing_price(best.bid, best.ask, position.type, tick_size)
    return None if price is None else Mark(price, best.at)


def exit_price(state: AccountState, position: GatewayUserPosition) -> Decimal | None:
    """Return the price of an exit: bid or ask, or else the mark.

    Bid and ask count where they are near each other.  ``None`` without a mark.
    """
    contract_id = position.contract_id
    quote = state.quotes.get(contract_id)
    # By identity; see mark().
    if quote is not None and state.outdated_quotes.get(contract_id) is not quote:
        contract = state.contract(contract_id)
        tick_size = ZERO if contract is None else contract.tick_size
        price = _closing_price(quote.bid, quote.ask, position.type, tick_size)
        if price is not None:
            return price
    found = mark(state, position)
    return None if found is None else found.price


def is_within_market(quote: MarketQuote) -> bool:
    """Return whether a quote has all prices, the last one between bid and ask.

    Nearly all quotes are like this, and whatever the tick size is, the last price of such a quote is believed.
    """
    bid, ask, last = quote.bid, quote.ask, quote.last
    return bool(last and bid and ask and bid <= last <= ask)


def doubt_of(quote: MarketQuote, tick_size: Decimal) -> Doubt | None:
    """Return why the last price of a quote is not believed; ``None`` if it is.

    :param tick_size: 0 if it is unknown.
    """
    if is_within_market(quote):
        return None
    bid, ask, last = quote.bid, quote.ask, quote.last
    prices = _market(bid, ask, tick_size)
    if not last:
        return None if prices and min(prices) <= 0 <= max(prices) else Doubt.ZERO
    if not prices:
        return None
    low, high = min(prices), max(prices)
    distance, nearest = (low - last, low) if last < low else (last - high, high)
    reach = _reach(nearest, tick_size)
    reach = max(reach, high - low) if len(prices) > 1 else reach * WIDE
    return Doubt.FAR if distance > reach else None


def outdates_market(quote: MarketQuote, tick_size: Decimal) -> bool:
    """Return whether a trade outdates bid and ask, which are older.

    It does if it is far from them, but neither zero nor further away than a market moves.

    :param tick_size: 0 if it is unknown.
    """
    if doubt_of(quote, tick_size) is not Doubt.FAR:
        return False
    prices = _market(quote.bid, quote.ask, tick_size)
    return any(abs(quote.last - price) <= WIDE * _reach(price, tick_size) for price in prices)


def _reach(price: Decimal, tick_size: Decimal) -> Decimal:
    """Return the longest distance from a price that is not far."""
    return max(abs(price) * FAR_SHARE, tick_size * FAR_TICKS)


def _market(bid: Decimal | None, ask: Decimal | None, tick_size: Decimal) -> tuple[Decimal, ...]:
    """Return those of bid and ask that are prices.

    A zero is a price only beside another one near zero; otherwise it is how feeds say that there is none.
    """
    if bid and ask:
        return (bid, ask)
    other = bid or ask
    if not other:
        return ()
    if bid is None or ask is None or abs(other) > tick_size * FAR_TICKS:
        return (other,)
    return (bid, ask)


def _closing_price(
    bid: Decimal | None, ask: Decimal | None, side: PositionType, tick_size: Decimal
) -> Decimal | None:
    """Return the price of an exit; ``None`` if bid and ask do not say.

    They do not when they are far from each other: contracts do not trade at both.
    """
    prices = _market(bid, ask, tick_size)
    price = bid if side is PositionType.LONG else ask
    if price is None or price not in prices:
        return None
    is_far = len(prices) > 1 and abs(prices[0] - prices[1]) > _reach(price, tick_size)
    return None if is_far else price
