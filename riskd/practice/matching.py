"""Whether an order is sound, and when and at what price the market fills it.

A limit order that rests in the book fills at its own price, any other order at the best bid or ask.  The
last trade triggers a stop order; a triggered stop limit is a limit order from then on.  A price may be zero
or below it, as that of crude oil was in April 2020.
"""

from __future__ import annotations

from decimal import Decimal

from riskd.gateway.enums import GatewayOrderType
from riskd.gateway.fields import Payload
from riskd.model.money import is_on_tick
from riskd.practice.records import Order, Quote


def waits_for_stop(order: Order, quote: Quote) -> bool:
    """Return whether the last trade has not yet reached the order's stop."""
    if order.stop_price is None or order.filled:
        # Once a stop is filled in part, its rest is a market order.
        return False
    return (quote.last - order.stop_price) * order.direction < 0


def fill_price(order: Order, quote: Quote) -> Decimal | None:
    """Return the price at which the market fills an order now, or ``None``.

    :param order: waits for no stop.
    """
    best = best_price(order, quote)
    if order.limit_price is None:
        return best
    if (order.limit_price - best) * order.direction < 0:
        return None
    # An order in the book trades at its own price, even when the market jumps over it.
    return order.limit_price if order.resting else best


def best_price(order: Order, quote: Quote) -> Decimal:
    """Return the best price for the order: the ask for a buy, else the bid."""
    return quote.ask if order.direction > 0 else quote.bid


def find_bracket_problem(fields: Payload) -> str:
    """Return why an order is rejected for its brackets; empty if it has none.

    :param fields: the order as the gateway's own fields.
    """
    for name in ("stopLossBracket", "takeProfitBracket"):
        if fields.get(name) is not None:
            return f"{name} cannot be used: the brackets of the account are those of its positions"
    return ""


def find_problem(order: Order, quote: Quote) -> str:
    """Return why an order is rejected; an empty string if it is sound."""
    if order.left < 1:
        return f"size is {order.size}, it must be at least {order.filled + 1}"
    needs_limit = order.type in (GatewayOrderType.LIMIT, GatewayOrderType.STOP_LIMIT)
    needs_stop = order.type in (GatewayOrderType.STOP, GatewayOrderType.STOP_LIMIT)
    if not (needs_limit or needs_stop or order.type is GatewayOrderType.MARKET):
        return f"order type {int(order.type)} is not traded here"
    for name, price, is_needed in (
        ("limitPrice", order.limit_price, needs_limit),
        ("stopPrice", order.stop_price, needs_stop),
    ):
        if is_needed != (price is not None):
            return f"{name} is {'missing' if is_needed else 'not wanted'}"
        if price is not None and not is_on_tick(price, order.contract.tick_size):
            return f"{name} {price} is not on a tick of {order.contract.tick_size}"
    is_untriggered_stop = order.stop_price is not None and not order.filled
    if is_untriggered_stop and not waits_for_stop(order, quote):
        return f"stopPrice {order.stop_price} is already through the market at {quote.last}"
    return ""
