"""The figures of a limit in words, with their units."""

from __future__ import annotations

from decimal import Decimal

from riskd.model.formatting import dollars
from riskd.model.money import to_cents
from trader.model.formatting import UNKNOWN
from trader.model.limit_usage import LimitUsage


def usage_words(usage: LimitUsage) -> str:
    """Return a limit with its current value, or a floor with how far it is.

    What is on the other side of zero is no part of the limit: a profit is no loss below zero.
    """
    limit = figure(usage.limit, usage.unit)
    if usage.floor is not None and usage.headroom is not None:
        return f"{distance_words(usage.headroom)} floor {figure(usage.floor, usage.unit)}"
    join = ", limit" if _is_beyond_zero(usage) else " of"
    return f"{current_words(usage)}{join} {limit}"


def current_words(usage: LimitUsage) -> str:
    """Return the current value alone; beyond zero with the side on which it is."""
    current = figure(usage.current, usage.unit)
    if not _is_beyond_zero(usage):
        return current
    side = "in loss" if "profit" in usage.name else "in profit"
    return f"{side} {current.removeprefix('-')}"


def left_words(usage: LimitUsage) -> str:
    """Return what is left of a limit, or how far beyond it the account is."""
    if usage.headroom is None:
        return f"{UNKNOWN} left"
    word = "left" if usage.headroom >= 0 else "over"
    return f"{figure(abs(usage.headroom), usage.unit)} {word}"


def distance_words(headroom: Decimal) -> str:
    """Return how far the equity is above or below a floor, in dollars."""
    return f"{dollars(abs(headroom))} {'above' if headroom >= 0 else 'below'}"


def whole_percent(share: Decimal) -> int:
    """Return a share in whole per cent; only a limit that is reached has 100."""
    return int(share * 100)


def _is_beyond_zero(usage: LimitUsage) -> bool:
    return usage.unit == "$" and usage.current is not None and to_cents(usage.current) < 0


def figure(value: Decimal | None, unit: str) -> str:
    """Return an amount in its unit."""
    if value is None:
        return UNKNOWN
    if unit == "$":
        return dollars(value)
    return f"{value:f} {unit}" if unit in ("s", "%") else f"{value:f}"
