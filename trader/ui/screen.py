"""The whole screen: header, page and footer, and how often they may be drawn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import urwid

from trader.model.account_row import AccountList
from trader.model.formatting import ascii_only, terminal_text
from trader.model.ui_state import UiState
from trader.model.view import View
from trader.ui.accounts_page import accounts_body, top
from trader.ui.glance import glance
from trader.ui.header import banner, header
from trader.ui.pages import PAGES, Body, body, drawn_lines, scrolled, selected_place, selected_text
from trader.ui.styled_text import (
    StyledLine,
    justify,
    length,
    panel_title,
    side_by_side,
    wrap,
)
from trader.ui.terminal import paint

MIN_COLUMNS: Final = 60
MIN_ROWS: Final = 14

MAX_DRAWS_A_SECOND: Final = 20
_QUOTE_DRAWS_A_SECOND: Final = 5

_FOOTER_ROWS: Final = 1
_CACHED: Final = 16
_HELP: Final = "? help"
_QUIT: Final = "  q quit"


class Screen(urwid.Widget):
    """The one urwid widget of the console; it renders a view as lines of text.

    It is not selectable, so that urwid passes every key on to the console.

    :param view: returns the view now.
    :param ui_state: returns what the trader has chosen to see.
    :param now: returns the time of day by this machine's clock, aware; ages and countdowns go by the broker's.
    :param keys: label and description of each key, for the help.
    :param listed: returns all accounts, if the trader has chosen to see them.
    """

    _sizing = frozenset([urwid.Sizing.BOX])

    def __init__(
        self,
        view: Callable[[], View],
        ui_state: Callable[[], UiState],
        now: Callable[[], datetime],
        keys: Sequence[tuple[str, str]],
        listed: Callable[[], AccountList] | None = None,
    ) -> None:
        super().__init__()
        self._listed = listed
        self._view = view
        self._ui_state = ui_state
        self._now = now
        self._keys = keys

    def redraw(self) -> None:
        """Discard the cached canvas: the view has changed."""
        self._invalidate()

    def render(self, size: tuple[int, int], focus: bool = False) -> urwid.Canvas:  # type: ignore[override]  # noqa: ARG002
        """Return the canvas of the view now."""
        columns, rows = size
        ui_state = self._ui_state()
        listed = self._listed() if ui_state.is_all and self._listed else None
        view = self._view() if listed is None else listed.link
        now = self._now() + (view.clock_offset or timedelta())
        if listed is None:
            lines = compose(view, ui_state, now, columns, rows, self._keys)
        else:
            lines = compose_all(listed, ui_state, now, columns, rows, self._keys)
        return paint(lines, columns, rows, ascii_only if ui_state.is_ascii else terminal_text)


def compose(
    view: View,
    ui_state: UiState,
    now: datetime,
    columns: int,
    rows: int,
    keys: Sequence[tuple[str, str]] = (),
) -> list[StyledLine]:
    """Return exactly ``rows`` lines that show as much of ``view`` as fits.

    A screen that is too small shows no figures at all, because a number that is cut is another number.
    """
    lines = [header(view, now, columns), *banner(view, now, columns)]
    lines += _too_small(columns, rows) or (
        _between(view, ui_state, now, columns, rows - len(lines) - _FOOTER_ROWS, keys)
    )
    return _filled(lines, footer(ui_state, columns), rows)


def compose_all(
    listed: AccountList,
    ui_state: UiState,
    now: datetime,
    columns: int,
    rows: int,
    keys: Sequence[tuple[str, str]] = (),
) -> list[StyledLine]:
    """Return exactly ``rows`` lines that show as many accounts as fit."""
    lines = top(listed, now, columns)
    lines += _too_small(columns, rows) or (
        _between_all(listed, ui_state, now, columns, rows - len(lines) - _FOOTER_ROWS, keys).lines
    )
    return _filled(lines, [("dim", _footer_of_all(ui_state, columns))], rows)


def all_body(
    listed: AccountList,
    ui_state: UiState,
    now: datetime,
    columns: int,
    rows: int,
    keys: Sequence[tuple[str, str]] = (),
) -> Body:
    """Return what is between the top and the footer of all accounts."""
    above = len(top(listed, now, columns))
    return _between_all(listed, ui_state, now, columns, rows - above - _FOOTER_ROWS, keys)


def _between_all(
    listed: AccountList,
    ui_state: UiState,
    now: datetime,
    columns: int,
    rows: int,
    keys: Sequence[tuple[str, str]],
) -> Body:
    if ui_state.is_help:
        return scrolled(_help(keys, columns, rows), ui_state.scroll, rows)
    return accounts_body(listed, ui_state, now, columns, rows)


def _too_small(columns: int, rows: int) -> list[StyledLine]:
    """Return that the screen is too small, if it is."""
    if columns >= MIN_COLUMNS and rows >= MIN_ROWS:
        return []
    problem = f"{columns}x{rows} is too small; figures need {MIN_COLUMNS}x{MIN_ROWS}"
    return wrap("strong", problem, columns)


def _filled(lines: list[StyledLine], last: StyledLine, rows: int) -> list[StyledLine]:
    """Return exactly ``rows`` lines."""
    filled = (lines + [[] for _ in range(rows)])[: max(0, rows - _FOOTER_ROWS)]
    return [*filled, last][:rows]


def _footer_of_all(ui_state: UiState, columns: int) -> str:
    """Return the keys that matter where all accounts are shown."""
    end = f"{_modes(ui_state)}{_keys_shown(ui_state)}"
    for keys in ("Enter opens  / finds  o changes the order", "Enter opens  o order", ""):
        if len(keys) + len(end) + 2 <= columns:
            return f" {keys}{end.rjust(columns - len(keys) - 1)}"
    return end.rjust(columns)[:columns]


def page_body(
    view: View,
    ui_state: UiState,
    now: datetime,
    columns: int,
    rows: int,
    keys: Sequence[tuple[str, str]] = (),
) -> Body:
    """Return what is between header and footer on a screen of this size."""
    height = _page_rows(view, now, columns, rows)
    instead = _in_place_of_page(view, ui_state, now, columns, height, keys)
    return body(view, ui_state, now, columns, height) if instead is None else instead


def text_to_copy(view: View, ui_state: UiState, now: datetime, columns: int, rows: int) -> str:
    """Return the text of the selected row on a screen of this size."""
    return selected_text(view, ui_state, now, columns, _page_rows(view, now, columns, rows))


def place_among_all(view: View, ui_state: UiState, now: datetime, columns: int, rows: int) -> int:
    """Return the place of the selected row among all, on a screen of this size."""
    return selected_place(view, ui_state, now, columns, _page_rows(view, now, columns, rows))


def _page_rows(view: View, now: datetime, columns: int, rows: int) -> int:
    """Return how many of a screen's rows are between header and footer."""
    return rows - 1 - len(banner(view, now, columns)) - _FOOTER_ROWS


def _between(
    view: View,
    ui_state: UiState,
    now: datetime,
    columns: int,
    rows: int,
    keys: Sequence[tuple[str, str]],
) -> list[StyledLine]:
    instead = _in_place_of_page(view, ui_state, now, columns, rows, keys)
    return drawn_lines(view, ui_state, now, columns, rows) if instead is None else instead.lines


def _in_place_of_page(
    view: View,
    ui_state: UiState,
    now: datetime,
    columns: int,
    rows: int,
    keys: Sequence[tuple[str, str]],
) -> Body | None:
    """Return the help or the large figures; ``None`` where the page itself is shown."""
    if ui_state.is_help:
        return scrolled(_help(keys, columns, rows), ui_state.scroll, rows)
    if ui_state.is_glance:
        return Body(glance(view, now, columns, rows), 1, rows)
    return None


def footer(ui_state: UiState, columns: int) -> StyledLine:
    """Return the tabs of the pages, and as much of modes and keys as fits."""
    tabs, end = _tabs_and_end(ui_state, columns)
    if tabs:
        return justify(tabs, end, columns)
    return [("dim", _keys_shown(ui_state).rjust(columns)[:columns])]


def page_at(ui_state: UiState, columns: int, column: int) -> int | None:
    """Return the index of the page whose tab covers a column of the footer."""
    end = 0
    for number, (_, text) in enumerate(_tabs_and_end(ui_state, columns)[0]):
        end += len(text)
        if column < end:
            return number
    return None


def _tabs_and_end(ui_state: UiState, columns: int) -> tuple[StyledLine, StyledLine]:
    """Return a tab for each page, and what stands at the end of the line.

    With the longest names that fit.  They come before the keys, and what the trader has switched before both.
    """
    return _known_tabs(ui_state.page, _modes(ui_state), _keys_shown(ui_state), columns)


@lru_cache(maxsize=_CACHED)
def _known_tabs(page: int, modes: str, keys: str, columns: int) -> tuple[StyledLine, StyledLine]:
    whole, short = [each.name for each in PAGES], [each.short for each in PAGES]
    only_shown = [each.short if number == page else "" for number, each in enumerate(PAGES)]
    for names, gap, end in (
        (whole, " ", f"{modes}{keys}"),
        (whole, "", f"{modes}{keys}"),
        (whole, "", f"{modes}{_HELP}"),
        (whole, "", f"{modes}?"),
        (short, "", f"{modes}{_HELP}"),
        (only_shown, " ", f"{modes}?"),
    ):
        tabs = [_tab(number, name, gap, page) for number, name in enumerate(names)]
        if length(tabs) + len(end) < columns:
            return tabs, [("dim", end)]
    return [], []


def _keys_shown(ui_state: UiState) -> str:
    return _HELP if ui_state.is_page else _HELP + _QUIT


def _tab(number: int, name: str, gap: str, page: int) -> tuple[str | None, str]:
    label = f"{number + 1} {name}".strip()
    return ("select", f"[{label}]") if number == page else ("dim", f" {label}{gap}")


def _modes(ui_state: UiState) -> str:
    """Return in words what the trader has switched away from the usual."""
    modes = (
        ("muted", ui_state.is_muted),
        ("mouse", ui_state.has_mouse),
        ("paused", ui_state.paused_feed is not None),
    )
    return "".join(f"{word}  " for word, is_on in modes if is_on)


def _help(keys: Sequence[tuple[str, str]], columns: int, rows: int) -> list[StyledLine]:
    """Return the keys and what they do, in two columns where one is too long."""
    lines: list[StyledLine] = [
        [("strong", f" {label:<10}"), ("text", description)] for label, description in keys
    ]
    if len(lines) >= rows:
        half = (len(lines) + 1) // 2
        left_width = min(columns // 2, max(map(length, lines[:half])))
        lines = side_by_side(lines[:half], lines[half:], left_width)
    return [panel_title("Keys", columns, "Esc closes it"), *lines]


class RedrawThrottle:
    """Limits the screen to 20 draws in any second, 5 of them for quotes.

    Eyes follow no more quotes than that.  The other draws are kept for changes that must be seen at once.

    :param seconds: returns the time of a steady clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._draws: deque[float] = deque(maxlen=MAX_DRAWS_A_SECOND)

    def wait(self, *, important: bool) -> float:
        """Return the seconds until the next draw is allowed; 0 for at once."""
        now = self._seconds()
        wait = 0.0
        if len(self._draws) == MAX_DRAWS_A_SECOND:
            wait = self._draws[0] + 1.0 - now
        if not important and self._draws:
            wait = max(wait, self._draws[-1] + 1.0 / _QUOTE_DRAWS_A_SECOND - now)
        return max(0.0, wait)

    def record(self) -> None:
        """Count a draw that is made now."""
        self._draws.append(self._seconds())
