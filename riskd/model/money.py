"""Tick arithmetic: prices, contracts and dollars, exact to the tick and the cent.

All of it is ``Decimal``.  A float would print cents such as ``-45.500000001`` on the wire.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import Final

ZERO: Final = Decimal("0.00")
CENT: Final = Decimal("0.01")

_WIDE: Final = Context(prec=80)
"""Digits enough that no price and no size of the wire is rounded in between: a profit has 61 at the most."""


_NOISE: Final = Decimal("0.000001")


def without_noise(amount: Decimal) -> Decimal:
    """Return the cent that ``amount`` misses by less than a millionth.

    Brokers compute in binary and send -249.99999999999997 for -250.00; a sum of such amounts would miss a
    limit that the account has reached.  Any other amount is returned as it is.
    """
    if not amount.is_finite() or amount.adjusted() > _WIDE.prec // 2:
        return amount
    cent = to_cents(amount)
    is_noise = amount != cent and abs(_WIDE.subtract(amount, cent)) < _NOISE
    return cent if is_noise else amount


def to_cents(amount: Decimal) -> Decimal:
    """Return ``amount`` in dollars, rounded half-even to the cent."""
    # The or turns a negative zero into zero, or screens would show -0.00.
    return amount.quantize(CENT, ROUND_HALF_EVEN, _WIDE) or ZERO


def profit(
    *,
    side: int,
    size: int,
    entry: Decimal,
    exit_: Decimal,
    tick_size: Decimal,
    tick_value: Decimal,
) -> Decimal:
    """Return the dollars, to the cent, that a position makes between two prices.

    :param side: 1 for a long position, -1 for a short one.
    :param size: contracts, not negative.
    :param entry: the (average) price at which it was opened; it need not lie on a tick.
    :param exit_: the price at which it is closed.
    :param tick_size: the smallest move of the price.
    :param tick_value: the dollars that one contract makes with one tick.
    """
    moved = _WIDE.multiply(_WIDE.subtract(exit_, entry), size * side)
    return to_cents(_WIDE.divide(_WIDE.multiply(moved, tick_value), tick_size))


def is_on_tick(price: Decimal, tick_size: Decimal) -> bool:
    """Return whether ``price`` is a whole number of ticks."""
    return price % tick_size == 0


def round_down_to_tick(price: Decimal, tick_size: Decimal) -> Decimal:
    """Return the highest price on a tick that is not above ``price``."""
    return (price / tick_size).to_integral_value(ROUND_FLOOR) * tick_size


def round_up_to_tick(price: Decimal, tick_size: Decimal) -> Decimal:
    """Return the lowest price on a tick that is not below ``price``."""
    return (price / tick_size).to_integral_value(ROUND_CEILING) * tick_size
