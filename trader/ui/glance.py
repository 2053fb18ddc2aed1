"""A page to be read from across the room.

It shows the net P&L in big figures, the nearest limit, and what the account may do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

import urwid

from trader.model.account_row import AccountRow, Standing, account_row
from trader.model.formatting import UNKNOWN, money, sentence, text_width
from trader.model.gauge_words import usage_words, whole_percent
from trader.model.standing_words import standing_words
from trader.model.view import View
from trader.ui.disconnected import current_style
from trader.ui.gauges import LEVEL_STYLES, bar, no_limits_reason
from trader.ui.styled_text import StyledLine, fit, pnl_style, wrap

_FONTS: Final = (
    urwid.HalfBlock7x7Font(),
    urwid.HalfBlockHeavy6x5Font(),
    urwid.HalfBlock5x4Font(),
)
"""The largest first."""

_THICK: Final = 2
"""How many of them have strokes that still look like letters at twice the size."""

_UPPER: Final = str.maketrans({" ": "  ", "█": "██", "▀": "██", "▄": "  ", "▌": "█ ", "▐": " █"})
_LOWER: Final = str.maketrans({" ": "  ", "█": "██", "▀": "  ", "▄": "██", "▌": "█ ", "▐": " █"})
"""What each block of the fonts becomes at twice the size, in the upper line of two and in the lower one."""

_STYLES: Final = {
    Standing.UNKNOWN: "warning",
    Standing.FREE: "good",
    Standing.NEAR: "warning",
    Standing.REDUCE_ONLY: "warning",
    Standing.NO_STOP: "alert",
    Standing.LINK_LOST: "warning",
    Standing.NOT_GUARDED: "alert",
    Standing.COOLDOWN: "alert",
    Standing.LOCKED: "alert",
}

_EXPLAINED: Final = (
    Standing.NO_STOP,
    Standing.LINK_LOST,
    Standing.NOT_GUARDED,
    Standing.UNKNOWN,
)
"""What no line above the page gives the reason for."""

_CACHED: Final = 64
"""Texts in big letters that are kept."""

_WORD_AND_WORDS: Final = 2
"""Lines if not even the word alone fits in big letters."""

_BELOW: Final = 4
"""Lines below the figures: the limit, its bar, a blank one, and what the account may do."""


def glance(view: View, now: datetime, columns: int, rows: int) -> list[StyledLine]:
    """Return the page, as large as the room allows."""
    row = account_row(view, now)
    name, amount, style = _pnl(view, row)
    # On a low screen the figures need the blank line more.
    gap: list[StyledLine] = [[]]
    figures: Sequence[str] = [amount]
    if amount != UNKNOWN:
        # What the account may do needs its room as well.
        room = rows - _BELOW - 1
        figures = _big(amount, columns, min(room, max(_FONTS[0].height, room // 2)))
        if len(figures) == 1:
            figures, gap = _big(amount, columns, rows - _BELOW), []
    lines: list[StyledLine] = [[("dim", name)]]
    lines += [[(style, line)] for line in figures]
    lines += [*_limit(view, row, columns), *gap]
    lines += _standing(row, now, columns, rows - len(lines))
    return lines[:rows]


def _pnl(view: View, row: AccountRow) -> tuple[str, str, str]:
    """Return the name of the P&L, its amount, and its style."""
    if row.net_pnl is not None:
        name, amount = "Net P&L of the day", row.net_pnl
    elif row.open_pnl is not None:
        name, amount = "P&L of the day, before fees", view.account.realized_pnl + row.open_pnl
    else:
        return "P&L of the day: not known", UNKNOWN, "dim"
    return name, money(amount), current_style(view, pnl_style(amount))


def _limit(view: View, row: AccountRow, columns: int) -> list[StyledLine]:
    """Return the nearest limit in words, and its bar over the whole line."""
    usage = row.nearest
    if usage is None or usage.share is None:
        return [[("dim", f"Nearest limit {UNKNOWN} {no_limits_reason(view)}")], []]
    style = current_style(view, LEVEL_STYLES[usage.level])
    words = f"{sentence(usage.name)}: {usage_words(usage)}, {whole_percent(usage.share)} %"
    return [fit([(style, words)], columns), [(style, bar(usage.share, columns))]]


def _standing(row: AccountRow, now: datetime, columns: int, rows: int) -> list[StyledLine]:
    """Return what the account may do, over the whole lines that are left."""
    style, words = _STYLES[row.standing], standing_words(row, now).upper()
    if row.standing is Standing.UNKNOWN:
        # A big dash would look like a minus.
        words = "UNKNOWN"
    shown = _big(words, columns, rows - 2)
    # Until when it may not trade may be too long for big letters; the word alone is shown before that.
    word = row.standing.value.upper()
    if len(shown) == 1 and words.startswith(word):
        shown = [*_big(word, columns, rows - 3), words]
        if len(shown) == _WORD_AND_WORDS:
            shown = [words]
    if len(shown) > 1:
        # Without it the letters would run into the page above, whose color some themes give them.
        shown = ["", *shown]
    lines: list[StyledLine] = [[(style, line.center(columns))] for line in shown]
    if row.standing in _EXPLAINED:
        lines += wrap("text", row.why, columns, max(1, rows - len(lines)))
    return lines


def _big(text: str, columns: int, rows: int) -> Sequence[str]:
    """Return ``text`` in the largest letters that fit; the text itself if none do."""
    fonts = range(len(_FONTS))
    sizes = [_doubled(text, font) for font in fonts[:_THICK]]
    sizes += [_lines(text, font) for font in fonts]
    for lines in sizes:
        if len(lines) <= rows and text_width(lines[0]) <= columns:
            return lines
    return (text,)


@lru_cache(maxsize=_CACHED)
def _doubled(text: str, font: int) -> tuple[str, ...]:
    lines = _lines(text, font)
    return tuple([line.translate(half) for line in lines for half in (_UPPER, _LOWER)])


@lru_cache(maxsize=_CACHED)
def _lines(text: str, font: int) -> tuple[str, ...]:
    canvas = urwid.BigText(text, _FONTS[font]).render(())
    return tuple(line.decode() for line in canvas.text)
