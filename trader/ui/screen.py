"""The screen: top, page and foot, on whatever size the terminal has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

import urwid

from trader.model.characters import ascii_only, printable
from trader.model.ui_state import UiState
from trader.model.view import View
from trader.ui import header
from trader.ui.canvas import paint
from trader.ui.pages import PAGES, body
from trader.ui.styled_text import Markup, beside, cut, length, title, wrapped

MIN_COLUMNS: Final = 60
MIN_ROWS: Final = 14

_FOOTER_ROWS: Final = 1


class Screen(urwid.Widget):
    """Draws a view as it is looked at.

    :param view: gives the view of this moment.
    :param ui_state: gives what the trader has chosen to see.
    :param now: gives the time of day, aware.
    :param keys: the keys and what they do, for the help.
    """

    _sizing = frozenset([urwid.Sizing.BOX])
    _selectable = True

    def __init__(
        self,
        view: Callable[[], View],
        ui_state: Callable[[], UiState],
        now: Callable[[], datetime],
        keys: Sequence[tuple[str, str]],
    ) -> None:
        super().__init__()
        self._view = view
        self._ui_state = ui_state
        self._now = now
        self._keys = keys

    def redraw(self) -> None:
        """Forget what was drawn: the view has changed."""
        self._invalidate()

    def keypress(self, _size: tuple[int, int], key: str) -> str:  # type: ignore[override]
        """Leave every key to the console."""
        return key

    def render(self, size: tuple[int, int], focus: bool = False) -> urwid.Canvas:  # type: ignore[override]  # noqa: ARG002
        """Return the picture of the view."""
        columns, rows = size
        ui_state = self._ui_state()
        lines = compose(self._view(), ui_state, self._now(), columns, rows, self._keys)
        letters = ascii_only if ui_state.is_ascii else printable
        return paint(lines, columns, rows, letters)


def compose(
    view: View,
    ui_state: UiState,
    now: datetime,
    columns: int,
    rows: int,
    keys: Sequence[tuple[str, str]] = (),
) -> list[Markup]:
    """Return exactly ``rows`` lines that show as much of ``view`` as fits.

    On a screen that is too small there are no figures at all: one that is cut is a wrong one.
    """
    lines = header.header(view, now, columns) + header.banner(view, now, columns)
    room = rows - len(lines) - _FOOTER_ROWS
    if columns < MIN_COLUMNS or rows < MIN_ROWS:
        least = f"{MIN_COLUMNS}x{MIN_ROWS}"
        too_small = f"{columns}x{rows} is too small for figures; {least} is the least"
        lines += wrapped("strong", too_small, columns)
    elif ui_state.is_help:
        lines += _help(keys, columns, room)
    else:
        lines += body(view, ui_state, now, columns, room)
    filled = (lines + [[] for _ in range(rows)])[: max(0, rows - _FOOTER_ROWS)]
    return [*filled, footer(ui_state, columns)][:rows]


def footer(ui_state: UiState, columns: int) -> Markup:
    """Return the pages by their keys, the one that is looked at among them marked, and how to get help."""
    end: Markup = [("dim", _state(ui_state)), ("dim", "? help  q quit")]
    for names in _tabs(ui_state):
        if length(names) + length(end) < columns:
            return [*names, " " * (columns - length(names) - length(end)), *end]
    return [("dim", "? help  q quit".rjust(columns)[:columns])]


def page_at(ui_state: UiState, columns: int, column: int) -> int | None:
    """Return the number of the page whose name stands in a column of the foot."""
    begin = 0
    names = footer(ui_state, columns)
    for number in range(min(len(PAGES), len(names))):
        width = len(names[number][1])
        if begin <= column < begin + width:
            return number
        begin += width
    return None


def _tabs(ui_state: UiState) -> Iterator[Markup]:
    """Yield the pages' names, the longest first."""
    yield [_tab(number, page.name, ui_state) for number, page in enumerate(PAGES)]
    yield [_tab(number, page.short, ui_state) for number, page in enumerate(PAGES)]
    yield [
        _tab(number, page.name if number == ui_state.page else "", ui_state)
        for number, page in enumerate(PAGES)
    ]


def _tab(number: int, name: str, ui_state: UiState) -> tuple[str, str]:
    label = f"{number + 1} {name}".strip()
    return ("select", f"[{label}]") if number == ui_state.page else ("dim", f" {label} ")


def _state(ui_state: UiState) -> str:
    """Return the choices that change what is told, as words."""
    words = [
        ("muted", ui_state.is_muted),
        ("mouse", ui_state.has_mouse),
        ("paused", ui_state.paused_feed is not None),
    ]
    return "".join(f"{word}  " for word, is_so in words if is_so)


def _help(keys: Sequence[tuple[str, str]], columns: int, rows: int) -> list[Markup]:
    """Return the keys, in two columns where one would be too long."""
    lines: list[Markup] = [[("strong", f" {key:<10}"), ("text", told)] for key, told in keys]
    if len(lines) >= rows:
        half = (len(lines) + 1) // 2
        left = min(columns // 2, max(map(length, lines[:half])))
        lines = beside(lines[:half], lines[half:], left)
    return cut([title("Keys", columns), *lines], rows)
