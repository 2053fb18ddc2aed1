"""The overview: P&L, limits, positions, working orders, quotes and activity."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Final

from trader.model.day_trades import trades_of_the_day
from trader.model.formatting import UNKNOWN
from trader.model.limit_usage import limit_usages, nearest_first, nearest_limit
from trader.model.ui_state import UiState
from trader.model.view import Source, View, unknown_reason
from trader.ui import panels
from trader.ui.disconnected import data_age, unknown_line
from trader.ui.gauges import close_lines, gauge_line, gauge_lines, no_limits_reason
from trader.ui.pnl_curve import pnl_curve
from trader.ui.styled_text import GAP, StyledLine, fit, panel_title, side_by_side, truncate

_TABLES: Final[tuple[tuple[panels.Panel, int], ...]] = (
    (panels.positions, 3),
    (panels.orders, 1),
    (panels.quotes, 1),
)
"""The tables, and how many rows each gets in its turn: the trader needs the positions first."""

_FIRST_POSITIONS: Final = 4
"""The title and so many positions less one are shown however little room there is."""

_ACTIVITY_ROWS: Final = 4
_ROOMY: Final = 16
"""From so many rows on there is always room for this much of the feed; on fewer, what is held comes first."""

_TWO_COLUMNS: Final = 116
"""From so many columns on there is room for two blocks side by side."""

_LEFT: Final = 80
"""From so many columns on a table shows every figure of a row; the left block is never narrower."""

_CLOSE_ROWS: Final = 16
"""From so many rows on there is room for what the end of the day would do to the nearest floor."""

_CACHED: Final = 16

_CURVE_ROWS: Final = 12
"""The curve gets at least so many rows, and at most twice as many: a higher one shows no more."""


def heading(
    view: View, _ui_state: UiState, now: datetime, columns: int, rows: int
) -> list[StyledLine]:
    """Return the whole page, in two columns where there is room for them."""
    if columns < _TWO_COLUMNS:
        return [fit(line, columns) for line in _left(view, now, columns, rows, with_limit=True)]
    left_width = max(_LEFT, (columns - len(GAP)) * 55 // 100)
    left = _left(view, now, left_width, rows, with_limit=False)
    right = _right(view, now, columns - left_width - len(GAP), rows)
    return side_by_side(left, right, left_width)


def _left(
    view: View, now: datetime, width: int, rows: int, *, with_limit: bool
) -> list[StyledLine]:
    lines = panels.pnl(view, now, width)
    if with_limit and view.source is not Source.NOTHING:
        lines += _nearest_limit(view, now, width, with_close=rows >= _CLOSE_ROWS)
    tables = [panel(view, now, width) for panel, _ in _TABLES]
    reserved = _ACTIVITY_ROWS if rows >= _ROOMY else 0
    heights = _share_rows(rows - len(lines) - reserved, tuple([len(table) for table in tables]))
    for table, height in zip(tables, heights, strict=True):
        lines += truncate(table, height)
    return lines + panels.activity(view, now, width, rows - len(lines))


def _nearest_limit(view: View, now: datetime, width: int, *, with_close: bool) -> list[StyledLine]:
    usage = nearest_limit(limit_usages(view, now))
    if usage is None:
        return [[("dim", f"Nearest limit {UNKNOWN} {no_limits_reason(view)}")]]
    return [
        gauge_line(view, usage, width),
        *(close_lines(view, usage, width) if with_close else []),
    ]


def _right(view: View, now: datetime, width: int, rows: int) -> list[StyledLine]:
    # While live, usages follow the panels beside them, which show their own age.
    age = "" if view.is_live else data_age(view, (), now)
    lines = [panel_title("Limits, nearest first", width, age)]
    usages = nearest_first(limit_usages(view, now))
    for usage in usages:
        lines += [*gauge_lines(view, usage, width), *close_lines(view, usage, width)]
    if not usages:
        lines.append([("dim", f"{UNKNOWN} {no_limits_reason(view)}")])
    lines = truncate(lines, rows - _CURVE_ROWS - 1)
    trades = trades_of_the_day(view.account)
    moments = [one.trade.timestamp for one in trades]
    lines.append(panel_title("P&L of the trades", width, data_age(view, moments, now)))
    if reason := unknown_reason(view):
        return [*lines, unknown_line(reason)]
    height = min(rows - len(lines), 2 * _CURVE_ROWS)
    return lines + pnl_curve(view, trades, width, height)


# The tables seldom change their sizes.
@lru_cache(maxsize=_CACHED)
def _share_rows(room: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many of ``room`` lines each table gets.

    The first positions come before all else; then each title has its line, and the tables take rows in turns.
    """
    given = [0] * len(wanted)
    given[0] = min(_FIRST_POSITIONS, wanted[0], max(0, room))
    room -= given[0]
    turns = [0, *[1] * (len(wanted) - 1)]
    while room > 0 and tuple(given) != wanted:
        for index, wish in enumerate(wanted):
            more = max(0, min(turns[index], wish - given[index], room))
            given[index] += more
            room -= more
        turns = [rows for _, rows in _TABLES]
    return tuple(given)
