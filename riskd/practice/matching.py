"""Whether the market reaches an order, and at what price it fills it.

A limit order that rests in the book fills at its own price, any other order at the best bid or ask.  The
last trade triggers a stop order; a triggered stop limit is a limit order from then on.
"""

from __future__ import annotations

from decimal import Decimal

from riskd.practice.records import Order, Quote


def waits_for_stop(order: Order, quote: Quote) -> bool:
    """Return whether the last trade has not yet reached the order's stop."""
    if order.stop_price is None or order.filled:
        # Once a stop is filled in part, its rest is a market order.
        return False
    return (quote.last - order.stop_price) * order.direction < 0


def fill_price(order: Order, quote: Quote) -> Decimal | None:
    """Return the price at which the market fills an order that waits for no stop; ``None`` if it does not."""
    best = best_price(order, quote)
    if order.limit_price is None:
        return best
    if (order.limit_price - best) * order.direction < 0:
        return None
    # An order in the book trades at its own price, even when the market jumps over it.
    return order.limit_price if order.resting else best


def best_price(order: Order, quote: Quote) -> Decimal:
    """Return the price at which the market would fill the order now: the ask for a buy, else the bid."""
    return quote.ask if order.direction > 0 else quote.bid
