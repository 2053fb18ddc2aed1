"""The pages: each fills the room between the top and the foot of the screen.

A page of rows has one that is chosen, and shows the part of them in which that one is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

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
from trader.ui.styled_text import Markup, fitted, plain, title, wrapped, written

Block = Callable[[View, UiState, datetime, int, int], list[Markup]]
"""Takes a view, the look, the time, and the columns and rows there are; returns lines."""


class Page(msgspec.Struct, frozen=True):
    """A page.

    :ivar short: its name where there is little room.
    :ivar heading: what stands above the rows; all there is on a page without rows.
    :ivar rows: the rows, all of them; ``None`` on a page without.
    """

    name: str
    short: str
    heading: Block
    rows: Callable[[View, UiState, datetime, int], list[Markup]] | None = None


PAGES: Final = (
    Page("Overview", "Overview", overview_page.heading),
    Page("Trades", "Trades", trades_page.heading, trades_page.rows),
    Page("Limits", "Limits", limits_page.heading, limits_page.rows),
    Page("Lockouts", "Locks", lockouts_page.heading, lockouts_page.rows),
    Page("Activity", "Activity", activity_page.heading, activity_page.rows),
    Page("Connection", "Link", connection_page.heading),
)

_MARK_WIDTH: Final = 2
_DETAIL: Final = 4
"""Lines in which nearly every row can be told in full."""


def body(view: View, ui_state: UiState, now: datetime, columns: int, rows: int) -> list[Markup]:
    """Return the lines of the page that is looked at, ``rows`` of them at the most."""
    page = PAGES[ui_state.page]
    lines = page.heading(view, ui_state, now, columns, rows)[:rows]
    if page.rows is None:
        return lines
    found = page.rows(view, ui_state, now, columns - _MARK_WIDTH)
    detail = _detail(found, ui_state.row, columns, (rows - len(lines)) // 2)
    height = rows - len(lines) - len(detail)
    if height < len(detail):
        detail, height = [], rows - len(lines)
    shown = _window(found, ui_state.row, columns, height)
    blank: list[Markup] = [[] for _ in range(height - len(shown))]
    return [*lines, *shown, *(blank if detail else []), *detail]


def row_count(view: View, ui_state: UiState, now: datetime) -> int:
    """Return how many rows there are to choose from."""
    rows = PAGES[ui_state.page].rows
    return len(rows(view, ui_state, now, 0)) if rows else 0


def chosen_text(view: View, ui_state: UiState, now: datetime, columns: int) -> str:
    """Return what the chosen row says; where there is none, the first figures of the page."""
    page = PAGES[ui_state.page]
    if page.rows is None:
        return " ".join(plain(line) for line in page.heading(view, ui_state, now, columns, 2)[1:])
    rows = page.rows(view, ui_state, now, columns)
    return plain(rows[min(ui_state.row, len(rows) - 1)]) if rows else ""


def _detail(rows: list[Markup], chosen: int, columns: int, height: int) -> list[Markup]:
    """Return the whole of the chosen row where it is too long for one line, about ``height`` lines."""
    line = rows[min(chosen, len(rows) - 1)] if rows else Markup()
    # Columns are filled up with blanks, which may be cut.
    if len(written(line).rstrip()) <= columns - _MARK_WIDTH:
        return []
    return [
        title("Chosen", columns),
        *wrapped("text", plain(line), columns, max(_DETAIL, height - 1)),
    ]


def _window(rows: list[Markup], chosen: int, columns: int, height: int) -> list[Markup]:
    """Return the part of ``rows`` in which the chosen one is; signs say where there are more."""
    chosen = min(chosen, len(rows) - 1)
    first = max(0, min(chosen - height // 2, len(rows) - height))
    shown = rows[first : first + max(0, height)]
    lines: list[Markup] = []
    for number, line in enumerate(shown, first):
        mark = "> " if number == chosen else "  "
        if number != chosen and (
            (number == first and first > 0)
            or (number == first + height - 1 and first + height < len(rows))
        ):
            mark = "↑ " if number == first else "↓ "
        lines.append([("title", mark), *fitted(line, columns - _MARK_WIDTH)])
    return lines
