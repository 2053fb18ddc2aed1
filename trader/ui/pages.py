"""The table of pages, and the page that is shown, between header and footer.

Each page is a module with the same two functions: ``heading``, the fixed lines at its top, and ``rows``, a
list in which one row is selected and which is scrolled to it.  A page without rows is all heading.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

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
from trader.ui.styled_text import StyledLine, collapsed_text, fit, panel_title, text_of, wrap

Heading = Callable[[View, UiState, datetime, int, int], list[StyledLine]]
"""Returns a page's fixed lines for a view, the UI state, the time, and the columns and rows of the page."""

Rows = Callable[[View, UiState, datetime, int], list[StyledLine]]
"""Returns all rows of a page for a view, the UI state, the time and a width in columns."""


class Page(msgspec.Struct, frozen=True):
    """A page.

    :ivar short: its name where there is little room.
    :ivar rows: ``None`` on a page without rows.
    """

    name: str
    short: str
    heading: Heading
    rows: Rows | None = None


PAGES: Final = (
    Page("Overview", "Overview", overview_page.heading),
    Page("Trades", "Trades", trades_page.heading, trades_page.rows),
    Page("Limits", "Limits", limits_page.heading, limits_page.rows),
    Page("Lockouts", "Locks", lockouts_page.heading, lockouts_page.rows),
    Page("Activity", "Activity", activity_page.heading, activity_page.rows),
    Page("Connection", "Link", connection_page.heading),
)
"""The pages in the order of their keys."""

_MARK_WIDTH: Final = 2
_DETAIL_LINES: Final = 4
"""Lines in which nearly every row can be shown in full."""


def body(
    view: View, ui_state: UiState, now: datetime, columns: int, rows: int
) -> list[StyledLine]:
    """Return the lines of the page that is shown, at most ``rows``."""
    page = PAGES[ui_state.page]
    heading = page.heading(view, ui_state, now, columns, rows)[:rows]
    if page.rows is None:
        return heading
    found = page.rows(view, ui_state, now, columns - _MARK_WIDTH)
    selected = min(ui_state.row, len(found) - 1)
    room = rows - len(heading)
    detail = _detail(found, selected, columns, room // 2)
    # The rows get at least as many lines as the detail.
    if room < 2 * len(detail):
        detail = []
    height = room - len(detail)
    shown = _visible_rows(found, selected, columns, height)
    # The detail stays at the bottom of the page, so that it does not jump from row to row.
    padding = [StyledLine() for _ in range(height - len(shown))] if detail else []
    return [*heading, *shown, *padding, *detail]


def row_count(view: View, ui_state: UiState, now: datetime) -> int:
    """Return how many rows the page has to select from."""
    rows = PAGES[ui_state.page].rows
    return len(rows(view, ui_state, now, 0)) if rows else 0


def selected_text(view: View, ui_state: UiState, now: datetime, columns: int) -> str:
    """Return the text of the selected row; of a page without rows, its first figures."""
    page = PAGES[ui_state.page]
    if page.rows is None:
        heading = page.heading(view, ui_state, now, columns, 2)
        return " ".join(collapsed_text(line) for line in heading[1:])
    rows = page.rows(view, ui_state, now, columns)
    return collapsed_text(rows[min(ui_state.row, len(rows) - 1)]) if rows else ""


def _detail(rows: list[StyledLine], selected: int, columns: int, height: int) -> list[StyledLine]:
    """Return the selected row in full, if it does not fit into one line."""
    line = rows[selected] if rows else []
    # Table rows end with blanks, which can be cut.
    if text_width(text_of(line).rstrip()) <= columns - _MARK_WIDTH:
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
    first = max(0, min(selected - height // 2, len(rows) - height))
    last = first + height - 1
    lines = []
    for number, row in enumerate(rows[first : first + max(0, height)], first):
        if number == selected:
            mark = "> "
        elif number == first and first > 0:
            mark = "↑ "
        else:
            mark = "↓ " if number == last < len(rows) - 1 else "  "
        lines.append([("title", mark), *fit(row, columns - _MARK_WIDTH)])
    return lines
