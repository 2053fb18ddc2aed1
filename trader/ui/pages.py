"""The table of pages, and the page that is shown, between header and footer.

Each page is a module with the same two functions: ``heading``, the fixed lines at its top, and ``rows``, a
list in which one row is selected and which is scrolled to it.  Where the screen is too low for a heading, its lines are
the first rows.  A page without rows is all heading, and scrolled as a whole.  A search leaves out the rows, or the lines
of such a page, that do not have its text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from riskd.model.formatting import counted
from trader.model.formatting import text_width
from trader.model.ui_state import UiState
from trader.model.view import View
from trader.ui import (
    activity_page,
    connection_page,
    limits_page,
    lockouts_page,
    overview_page,
    trades_page,
)
from trader.ui.styled_text import (
    MARK_WIDTH,
    StyledLine,
    collapsed_text,
    fit,
    panel_title,
    text_of,
    wrap,
)

Heading = Callable[[View, UiState, datetime, int, int], list[StyledLine]]
"""Returns a page's fixed lines for a view, the UI state, the time, and the columns and rows of the page."""

Rows = Callable[[View, UiState, datetime, int], list[StyledLine]]
"""Returns all rows of a page for a view, the UI state, the time and a width in columns."""


class Page(msgspec.Struct, frozen=True):
    """A page.

    :ivar short: the beginning of its name, for a narrow screen.
    :ivar rows: ``None`` on a page without rows.
    """

    name: str
    short: str
    heading: Heading
    rows: Rows | None = None


PAGES: Final = (
    Page("Overview", "Over", overview_page.heading),
    Page("Trades", "Trades", trades_page.heading, trades_page.rows),
    Page("Limits", "Limits", limits_page.heading, limits_page.rows),
    Page("Lockouts", "Lockouts", lockouts_page.heading, lockouts_page.rows),
    Page("Activity", "Activ", activity_page.heading, activity_page.rows),
    Page("Connection", "Conn", connection_page.heading),
)
"""The pages in the order of their keys."""

_DETAIL_LINES: Final = 4
"""Lines in which nearly every row can be shown in full."""

_LEAST_ROWS: Final = 2
"""A heading that leaves room for fewer rows is scrolled with them."""

_WHOLE_ROW: Final = 200
"""Columns in which every row has all that it can show."""

_WHOLE_PAGE: Final = 500
"""More lines than a page without rows has at present; the oldest of the activity are on a page of their own."""


class Body(NamedTuple):
    """A page as it is laid out.

    :ivar lines: what is drawn.
    :ivar places: how many rows there are to select from, or places to scroll to.
    :ivar height: how many of them are on the screen at once.
    """

    lines: list[StyledLine]
    places: int
    height: int


def drawn_lines(
    view: View, ui_state: UiState, now: datetime, columns: int, rows: int
) -> list[StyledLine]:
    """Return the lines of :func:`body`, without laying out what is out of sight."""
    page = PAGES[ui_state.page]
    if page.rows is None and not _is_moved(ui_state):
        return page.heading(view, ui_state, now, columns, rows)[:rows]
    return body(view, ui_state, now, columns, rows).lines


def _is_moved(ui_state: UiState) -> bool:
    """Return whether a page without rows shows anything but its beginning."""
    return bool(ui_state.scroll or ui_state.search or ui_state.is_typing)


def body(view: View, ui_state: UiState, now: datetime, columns: int, rows: int) -> Body:
    """Return the page that is shown, at most ``rows`` lines of it."""
    page = PAGES[ui_state.page]
    if page.rows is None:
        return _page_without_rows(page, view, ui_state, now, columns, rows)
    heading, listed = _heading_and_rows(page, page.rows, view, ui_state, now, columns, rows)
    found = _found(listed, ui_state)
    selected = min(ui_state.row, len(found) - 1)
    if ui_state.is_open and found:
        # With every column, whatever the screen has room for.
        whole = page.rows(view, ui_state, now, _WHOLE_ROW)
        whole = [*listed[: len(listed) - len(whole)], *whole]
        opened = [
            row for row, each in zip(whole, listed, strict=True) if _has_text(each, ui_state)
        ]
        return _opened(opened, selected, columns, rows)
    search = search_line(ui_state, len(found))
    heading = [*heading[: rows - len(search)], *search]
    room = rows - len(heading)
    detail = _detail(found, selected, columns, room // 2)
    # The rows get at least as many lines as the detail.
    if room < 2 * len(detail):
        detail = []
    height = room - len(detail)
    shown = _visible_rows(found, selected, columns, height)
    # The detail stays at the bottom of the page, so that it does not jump from row to row.
    padding = [StyledLine() for _ in range(height - len(shown))] if detail else []
    return Body([*heading, *shown, *padding, *detail], len(found), max(1, height))


def _heading_and_rows(
    page: Page,
    rows_of: Rows,
    view: View,
    ui_state: UiState,
    now: datetime,
    columns: int,
    rows: int,
) -> tuple[list[StyledLine], list[StyledLine]]:
    """Return the fixed lines and the rows; on a low screen only the title is fixed."""
    width = columns - MARK_WIDTH
    listed = rows_of(view, ui_state, now, width)
    heading = page.heading(view, ui_state, now, columns, rows)
    if len(heading) + min(len(listed), _LEAST_ROWS) <= rows:
        return heading, listed
    return heading[:1], [*page.heading(view, ui_state, now, width, rows)[1:], *listed]


def _page_without_rows(
    page: Page, view: View, ui_state: UiState, now: datetime, columns: int, rows: int
) -> Body:
    whole = page.heading(view, ui_state, now, columns, _WHOLE_PAGE)
    if ui_state.search or ui_state.is_typing:
        found = _found(whole, ui_state)
        body = scrolled(found, ui_state.scroll, rows - 1)
        return body._replace(lines=[*search_line(ui_state, len(found)), *body.lines])
    if _is_moved(ui_state):
        return scrolled(whole, ui_state.scroll, rows)
    # What is most important of all, as much of it as fits.
    fitting = drawn_lines(view, ui_state, now, columns, rows)
    return scrolled(whole, 0, rows)._replace(lines=fitting)


def scrolled(lines: Sequence[StyledLine], first: int, rows: int) -> Body:
    """Return so many lines from the ``first`` on; arrows say how many are beyond."""
    if len(lines) <= rows:
        return Body([*lines], 1, rows)
    # The first place shows everything but a line, in whose place is an arrow; at all others are two at most.
    last = len(lines) - rows + 1
    first = min(first, last)
    if not first:
        return Body([*lines[: rows - 1], _beyond("↓", len(lines) - rows + 1)], last + 1, rows)
    shown = [_beyond("↑", first), *lines[first : first + rows - 1]]
    if first < last:
        shown[-1] = _beyond("↓", len(lines) - first - rows + 2)
    return Body(shown, last + 1, rows)


def _beyond(arrow: str, lines: int) -> StyledLine:
    return [("dim", f"{arrow} {lines} more")]


def _found(rows: list[StyledLine], ui_state: UiState) -> list[StyledLine]:
    """Return the rows that have the text of the search in them."""
    return [row for row in rows if _has_text(row, ui_state)] if ui_state.search else rows


def _has_text(row: StyledLine, ui_state: UiState) -> bool:
    return ui_state.search.casefold() in collapsed_text(row).casefold()


def search_line(ui_state: UiState, count: int) -> list[StyledLine]:
    """Return what rows must have and how many have it; nothing without a search."""
    if not (ui_state.search or ui_state.is_typing):
        return []
    keys = (
        "Enter keeps it, Esc ends it" if ui_state.is_typing else "n next, N previous, Esc ends it"
    )
    cursor = "_" if ui_state.is_typing else ""
    return [
        [("strong", f"/{ui_state.search}{cursor}"), ("dim", f"   {counted(count, 'row')}; {keys}")]
    ]


def _opened(found: list[StyledLine], selected: int, columns: int, rows: int) -> Body:
    """Return the selected row in full."""
    title = panel_title(f"Row {selected + 1} of {len(found)}", columns, "Esc closes it")
    lines = wrap("text", collapsed_text(found[selected]), columns, rows - 1)
    return Body([title, *lines], len(found), 1)


def selected_text(view: View, ui_state: UiState, now: datetime, columns: int, rows: int) -> str:
    """Return the text of the selected row; of a page without rows, its first figures."""
    page = PAGES[ui_state.page]
    if page.rows is None:
        heading = page.heading(view, ui_state, now, columns, 2)
        return " ".join(collapsed_text(line) for line in heading[1:])
    _place, line = _selected(page, page.rows, view, ui_state, now, columns, rows)
    return collapsed_text(line)


def selected_place(view: View, ui_state: UiState, now: datetime, columns: int, rows: int) -> int:
    """Return the place of the selected row among all, found and not found."""
    page = PAGES[ui_state.page]
    if page.rows is None:
        return 0
    place, _line = _selected(page, page.rows, view, ui_state, now, columns, rows)
    return place


def _selected(
    page: Page,
    rows_of: Rows,
    view: View,
    ui_state: UiState,
    now: datetime,
    columns: int,
    rows: int,
) -> tuple[int, StyledLine]:
    """Return the place of the selected row among all, and the row.

    The first place and an empty row if none is found.
    """
    _, listed = _heading_and_rows(page, rows_of, view, ui_state, now, columns, rows)
    found = [(place, row) for place, row in enumerate(listed) if _has_text(row, ui_state)]
    return found[min(ui_state.row, len(found) - 1)] if found else (0, [])


def _detail(rows: list[StyledLine], selected: int, columns: int, height: int) -> list[StyledLine]:
    """Return the selected row in full, if it does not fit into one line."""
    line = rows[selected] if rows else []
    # Table rows end with blanks, which can be cut.
    if text_width(text_of(line).rstrip()) <= columns - MARK_WIDTH:
        return []
    max_lines = max(_DETAIL_LINES, height - 1)
    return [
        panel_title("Selected", columns),
        *wrap("text", collapsed_text(line), columns, max_lines),
    ]


def _visible_rows(
    rows: list[StyledLine], selected: int, columns: int, height: int
) -> list[StyledLine]:
    """Return the rows around the selected one; arrows mark where there are more."""
    shown = visible(selected, len(rows), height)
    return [
        [row_mark(number, selected, len(rows), shown), *fit(rows[number], columns - MARK_WIDTH)]
        for number in shown
    ]


def visible(selected: int, count: int, height: int) -> range:
    """Return which of the rows are in sight around the selected one."""
    first = max(0, min(selected - height // 2, count - height))
    return range(first, min(first + max(0, height), count))


def row_mark(number: int, selected: int, count: int, shown: range) -> tuple[str, str]:
    """Return the mark of the selected row, or an arrow where there are more rows."""
    if number == selected:
        return ("strong", "> ")
    if number == shown[0] > 0:
        return ("strong", "↑ ")
    return ("strong", "↓ " if number == shown[-1] < count - 1 else "  ")
