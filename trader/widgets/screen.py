"""The screen: panels under each other, as many lines of each as there is room for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import urwid

from trader.session import View
from trader.text import printable
from trader.widgets import panels
from trader.widgets.markup import Markup

MIN_COLUMNS: Final = 80

_TABLES: Final = (panels.positions, panels.orders, panels.quotes)
_LINES_FOR_ACTIVITY: Final = 4
_FOOTER_ROWS: Final = 1


class Screen(urwid.Widget):
    """Draws a view on whatever size the terminal has.

    :param view: gives the view of this moment.
    :param now: gives the time of day, aware.
    :param footer: the last line.
    """

    _sizing = frozenset([urwid.Sizing.BOX])
    _selectable = True

    def __init__(self, view: Callable[[], View], now: Callable[[], datetime], footer: str) -> None:
        super().__init__()
        self._view = view
        self._now = now
        self._footer = footer

    def redraw(self) -> None:
        """Forget what was drawn: the view has changed."""
        self._invalidate()

    def keypress(self, _size: tuple[int, int], key: str) -> str:  # type: ignore[override]
        """Leave every key to the console."""
        return key

    def render(self, size: tuple[int, int], focus: bool = False) -> urwid.Canvas:  # type: ignore[override]  # noqa: ARG002
        """Return the picture of the view."""
        columns, rows = size
        lines = compose(self._view(), self._now(), columns, rows - _FOOTER_ROWS)
        lines.append([("dim", self._footer)])
        return _canvas(lines[:rows], columns, rows)


def compose(view: View, now: datetime, columns: int, rows: int) -> list[Markup]:
    """Return exactly ``rows`` lines that show as much of ``view`` as fits.

    On a narrow screen there are no figures at all: one that is cut is a wrong one.
    """
    top = panels.header(view, now, columns) + panels.banner(view, now, columns)
    if columns < MIN_COLUMNS:
        too_few = f"{columns} columns are too few for figures; {MIN_COLUMNS} are needed"
        top += panels.wrapped("strong", too_few, columns)
        return (top + [[] for _ in range(rows)])[:rows]
    top += panels.pnl(view, now, columns)
    tables = [panel(view, now, columns) for panel in _TABLES]
    heights = _share(rows - len(top) - _LINES_FOR_ACTIVITY, [len(table) for table in tables])
    for table, height in zip(tables, heights, strict=True):
        top += _cut(table, height)
    left = max(0, rows - len(top))
    lines = top + panels.activity(view, now, columns)[:left]
    return (lines + [[] for _ in range(rows)])[:rows]


def _share(room: int, wanted: list[int]) -> list[int]:
    """Give out ``room`` lines, one at a time and in turn, to those that want more."""
    given = [0] * len(wanted)
    while room > 0 and given != wanted:
        for index, wish in enumerate(wanted):
            if given[index] < wish and room > 0:
                given[index] += 1
                room -= 1
    return given


def _cut(table: list[Markup], height: int) -> list[Markup]:
    """Return ``height`` lines of ``table``; the last one says how many are missing.

    A single line is the title, which says how many there are.
    """
    if len(table) <= height or height <= 1:
        return table[: max(0, height)]
    missing = len(table) - height + 1
    return [*table[: height - 1], [("dim", f"  ... and {missing} more")]]


def _canvas(lines: list[Markup], columns: int, rows: int) -> urwid.Canvas:
    widget = urwid.Filler(
        urwid.Pile([(urwid.PACK, urwid.Text(_markup(line), wrap=urwid.CLIP)) for line in lines]),
        valign=urwid.TOP,
    )
    return urwid.CompositeCanvas(widget.render((columns, rows)))


def _markup(line: Markup) -> Any:
    # Reasons and messages come from elsewhere; here is the one way to the terminal.
    parts: Markup = [
        printable(part) if isinstance(part, str) else (part[0], printable(part[1]))
        for part in line
    ]
    return parts or ""
