"""Limits as lines: a bar, figures, and how near the account is in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from riskd.model.formatting import dollars
from trader.model.formatting import UNKNOWN
from trader.model.limit_usage import Level, LimitUsage
from trader.model.view import View
from trader.ui.disconnected import shade
from trader.ui.styled_text import Markup, row

_STYLES: Final = {
    Level.UNKNOWN: "dim",
    Level.STATED: "text",
    Level.FINE: "text",
    Level.HALF: "caution",
    Level.NEAR: "caution",
    Level.VERY_NEAR: "loss",
    Level.REACHED: "loss",
}
_WIDE: Final = 100
_MIDDLE: Final = 79
_NARROW: Final = 50
"""From so many columns on there is room for more."""

_SHORT_BAR: Final = 5

_NAME: Final = 24
_SHORT_NAME: Final = 20
_PERCENT: Final = 6
_FIGURES: Final = 24
_WORDS: Final = 10


def gauge_line(view: View, usage: LimitUsage, width: int) -> Markup:
    """Return a limit in a line: what is measured, a bar, figures and words, as many as there is room for."""
    style = shade(view, _STYLES[usage.level])
    name = (shade(view, "strong"), usage.name)
    if usage.share is None:
        short = _NAME if width >= _MIDDLE else _SHORT_NAME
        return row([(*name, short), (style, _without_bar(usage), max(1, width - short - 1))])
    used = (style, f"{usage.share * 100:.0f} %", -_PERCENT)
    words = usage.words or usage.level.value
    if width < _NARROW:
        told = usage.words if usage.level is Level.FINE else words
        # How near it is must be there in full, whatever becomes of the name.
        room = width - _SHORT_BAR - _PERCENT - len(told) - 3
        size = max(1, min(len(usage.name), room))
        cells = [(style, bar(usage.share, _SHORT_BAR), _SHORT_BAR), used]
        return row([*cells, (style, usage.name, size), (style, told, len(told))])
    figures = f"{figure(usage.current, usage.unit)} of {figure(usage.limit, usage.unit)}"
    if width < _MIDDLE:
        told = f"{figures}, {words}"
        if len(told) > width - _SHORT_NAME - 8:
            # The figures are more than the bar, and more than the end of the name.
            short = max(1, min(_SHORT_NAME, width - len(told) - 1))
            return row([(*name, short), (style, told, len(told))])
        cells = [(*name, _SHORT_NAME), (style, bar(usage.share, 6), 6)]
        return row([*cells, (style, told, len(told))])
    cells = [(*name, _NAME), (style, bar(usage.share, 10), 10), used]
    cells += [(style, figures, _FIGURES), (style, words, _WORDS)]
    if width >= _WIDE:
        left = f"{figure(usage.headroom, usage.unit)} left"
        cells.append((shade(view, "dim"), left, width - 80))
    return row(cells)


def _without_bar(usage: LimitUsage) -> str:
    """Return the state of a limit that has no share."""
    told = usage.unknown or usage.words
    if usage.limit is not None:
        told = f"of {figure(usage.limit, usage.unit)}, {told}".removesuffix(", ")
    return f"{figure(usage.current, usage.unit)} {told}".strip()


def bar(share: Decimal, width: int) -> str:
    """Return how much is used as a bar, full at the limit and beyond."""
    # What is not nothing is seen, and only what is all is full.
    used = min(width, int(share * width))
    if share > 0:
        used = max(1, used)
    return "█" * used + "░" * (width - used)


def figure(value: Decimal | None, unit: str) -> str:
    """Return an amount in its unit."""
    if value is None:
        return UNKNOWN
    if unit == "$":
        return dollars(value)
    return f"{value:f}" if unit != "s" else f"{value:f} s"
