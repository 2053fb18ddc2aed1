"""The figures of a limit in words, with their units."""

from __future__ import annotations

from decimal import Decimal

from riskd.model.formatting import dollars
from trader.model.formatting import UNKNOWN
from trader.model.limit_usage import LimitUsage


def usage_words(usage: LimitUsage) -> str:
    """Return a limit with its current value, or a floor with how far it is."""
    if usage.floor is None or usage.headroom is None:
        return f"{figure(usage.current, usage.unit)} of {figure(usage.limit, usage.unit)}"
    where = "above" if usage.headroom >= 0 else "below"
    distance = figure(abs(usage.headroom), usage.unit)
    return f"{distance} {where} floor {figure(usage.floor, usage.unit)}"


def figure(value: Decimal | None, unit: str) -> str:
    """Return an amount in its unit."""
    if value is None:
        return UNKNOWN
    if unit == "$":
        return dollars(value)
    return f"{value:f} {unit}" if unit in ("s", "%") else f"{value:f}"
