"""The gauge of a limit as a line: bar, value, limit, headroom and level."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from riskd.rules.builtin.maximum_loss import published_floor
from trader.model.formatting import sentence, text_width
from trader.model.gauge_words import (
    current_words,
    figure,
    left_words,
    usage_words,
    whole_percent,
)
from trader.model.limit_usage import Level, LimitUsage
from trader.model.view import View, unknown_reason
from trader.ui.disconnected import current_style
from trader.ui.styled_text import StyledLine, table_row, wrap

LEVEL_STYLES: Final = {
    Level.UNKNOWN: "dim",
    Level.STATED: "text",
    Level.FINE: "text",
    Level.HALF: "caution",
    Level.NEAR: "caution",
    Level.VERY_NEAR: "loss",
    Level.REACHED: "loss",
}
_UNWARNED: Final = (Level.UNKNOWN, Level.STATED, Level.FINE)
"""The levels without a warning."""

_NARROW: Final = 50
_MIDDLE: Final = 79
_WIDE: Final = 100
"""Columns from which on there is room for the name in full, for the percentage, and for the headroom."""

_NAME: Final = 24
_SHORT_NAME: Final = 20
_BAR: Final = 10
_MIDDLE_BAR: Final = 6
_SHORT_BAR: Final = 5
_PERCENT: Final = 6
_FIGURES: Final = 24
_WORDS: Final = 10
"""Columns of each cell."""

_FLOOR_LINES: Final = 3
"""Lines about a floor beside the tables."""


def no_limits_reason(view: View) -> str:
    """Return why there is no limit to show."""
    if reason := unknown_reason(view):
        return reason
    if view.events_only_since is not None:
        return "not known without the state file"
    return "no rule with a number is in force"


def gauge_line(view: View, usage: LimitUsage, width: int) -> StyledLine:
    """Return name, bar, figures and level of a limit, as far as there is room."""
    style = current_style(view, LEVEL_STYLES[usage.level])
    name = (current_style(view, "strong"), usage.name)
    if usage.share is None or usage.is_of_last_trade:
        state, size = _without_bar(usage), text_width(usage.name)
        room, least = width - text_width(state) - 1, _NAME if width >= _MIDDLE else _SHORT_NAME
        size = max(min(least, max(room, size)), min(size, room))
        return table_row([(*name, size), (style, state, max(1, width - size - 1))])
    percent = (style, f"{whole_percent(usage.share)} %", -_PERCENT)
    words = _words(usage)
    if width < _NARROW:
        return table_row(_narrow_cells(usage, percent, style, bar(usage.share, _SHORT_BAR), width))
    if width < (_MIDDLE if usage.floor is None else _WIDE):
        figures = f"{usage_words(usage)}, {words}".removesuffix(", ")
        if usage.floor is None and words != usage.words:
            longer = f"{figures}, {usage.words}".removesuffix(", ")
            if text_width(longer) <= width - _SHORT_NAME - _MIDDLE_BAR - 2:
                figures = longer
        cells = [(style, bar(usage.share, _MIDDLE_BAR), _MIDDLE_BAR)]
        # A longer name is cut only where there is no room: its end may be all that tells two limits apart.
        room = width - text_width(figures) - _MIDDLE_BAR - 2
        size = max(_SHORT_NAME, min(text_width(usage.name), room))
        if size > room:
            # The figures matter more than the bar and the end of the name.
            size, cells = max(1, min(_SHORT_NAME, width - text_width(figures) - 1)), []
        return table_row([(*name, size), *cells, (style, figures, text_width(figures))])
    # A longer name takes its room from the bar.
    more = max(0, min(text_width(usage.name) - _NAME, _BAR - _SHORT_BAR))
    cells = _wide_cells(usage, usage.share, style, width, _BAR - more)
    return table_row([(*name, _NAME + more), *cells])


def gauge_lines(view: View, usage: LimitUsage, width: int) -> list[StyledLine]:
    """Return a limit beside the tables, in more lines where one has too little room."""
    style, size = current_style(view, LEVEL_STYLES[usage.level]), text_width(usage.name)
    if usage.share is None or usage.is_of_last_trade:
        below, is_whole = _without_bar(usage), size + 1 + text_width(_without_bar(usage)) <= width
        first = table_row([(current_style(view, "strong"), usage.name, min(size, width - 1))])
    else:
        below, is_warned = _words(usage), usage.level not in _UNWARNED
        is_whole = not is_warned or _PERCENT + size + text_width(below) + 2 <= width
        percent = (style, f"{whole_percent(usage.share)} %", -_PERCENT)
        room = width - _PERCENT - 2
        cells = [percent, (style, usage.name, min(size, room))]
        if size + _SHORT_BAR + 1 <= room:
            cells = [(style, bar(usage.share, _SHORT_BAR), _SHORT_BAR), *cells]
        first = table_row(cells)
    return [gauge_line(view, usage, width)] if is_whole else [first, *wrap(style, below, width)]


def _narrow_cells(
    usage: LimitUsage, percent: tuple[str, str, int], style: str, used: str, width: int
) -> list[tuple[str, str, int]]:
    """Return per cent, name and words, and the bar where the name is whole."""
    words, is_warned = _words(usage), usage.level not in _UNWARNED
    if not is_warned and usage.floor is not None:
        words = ""
    wanted = text_width(usage.name) + text_width(words)
    room = width - _PERCENT - 2
    beside_bar = room - _SHORT_BAR - 1
    if not is_warned and wanted > room:
        words, wanted = "", text_width(usage.name)
    cells = [percent]
    if wanted <= beside_bar or not words:
        cells, room = [(style, used, _SHORT_BAR), percent], beside_bar
    # How near the limit is must be there in full, even if its name is cut for it.
    size = max(1, min(text_width(usage.name), room - text_width(words)))
    return [*cells, (style, usage.name, size), (style, words, text_width(words))]


def _wide_cells(
    usage: LimitUsage, share: Decimal, style: str, width: int, bar_width: int
) -> list[tuple[str, str, int]]:
    """Return bar, per cent, figures, words, and from 100 columns on what is left."""
    words, left = _words(usage), left_words(usage)
    figures, end = usage_words(usage), left
    if usage.floor is not None:
        figures, end = left, f"floor {figure(usage.floor, usage.unit)}"
    elif text_width(figures) > _FIGURES:
        figures, end = current_words(usage), f"limit {figure(usage.limit, usage.unit)}, {left}"
    elif text_width(words) > _WORDS:
        words, end = usage.level.value, f"{left}, {words}"
    return [
        (style, bar(share, bar_width), bar_width),
        (style, f"{whole_percent(share)} %", -_PERCENT),
        (style, figures, _FIGURES),
        (style, words, _WORDS),
        *([("dim", end, width - 80)] if width >= _WIDE else []),
    ]


def close_lines(view: View, usage: LimitUsage, width: int) -> list[StyledLine]:
    """Return what the end of the day would do to a floor; nothing for another limit.

    Where the gauge's line has no room for how far the floor is, these lines have that, too.
    """
    floor = None if usage.share is None else published_floor(view.account)
    if usage.floor is None or floor is None:
        return []
    text = sentence(floor.close_words)
    if width < _NARROW:
        text = f"{usage_words(usage)}. {text}"
    return wrap(current_style(view, "text"), text, width, _FLOOR_LINES)


def _words(usage: LimitUsage) -> str:
    # How far a floor is stands beside it; how near that is must be there, too, and a warning, whatever the words.
    is_level = usage.floor is not None or usage.level not in _UNWARNED
    return usage.level.value if is_level else usage.words or usage.level.value


def _without_bar(usage: LimitUsage) -> str:
    """Return the state of a limit whose used share is not known, or is no number."""
    state = usage.unknown or usage.words
    if usage.limit is not None:
        state = f"of {figure(usage.limit, usage.unit)}, {state}".removesuffix(", ")
    elif usage.current is None and not usage.unknown:
        # A setting that is no number is known; a dash would say that it is not.
        return state
    return f"{current_words(usage)} {state}".strip()


def bar(share: Decimal, width: int) -> str:
    """Return the used share of a limit as a bar, full only from the limit on."""
    used = min(width, int(share * width))
    # The least use that is not 0 per cent is visible.
    if whole_percent(share):
        used = max(1, used)
    return "█" * used + "░" * (width - used)
