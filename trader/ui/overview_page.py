"""The overview: P&L, the limit that is nearest, positions, orders, quotes and what happened last."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from trader.model.day_trades import trades_of_the_day
from trader.model.formatting import UNKNOWN
from trader.model.limit_usage import loss_limit, nearest_first, nearest_limit
from trader.model.ui_state import UiState
from trader.model.view import Source, View, unknown_reason
from trader.ui import panels
from trader.ui.disconnected import freshness, measured
from trader.ui.gauges import gauge_line
from trader.ui.pnl_curve import curve
from trader.ui.styled_text import Markup, beside, cut, fitted, title

_TABLES: Final = (panels.positions, panels.orders, panels.quotes)
_TURNS: Final = (3, 1, 1)
"""How many lines each table is given in its turn: what is held comes first."""

_LINES_FOR_ACTIVITY: Final = 4
_TWO_COLUMNS: Final = 116
"""From so many columns on there is room for two blocks beside each other."""

_LEFT: Final = 80
_GAP: Final = 2
_CURVE_ROWS: Final = 12


def heading(
    view: View, _ui_state: UiState, now: datetime, columns: int, rows: int
) -> list[Markup]:
    """Return all of it, in two columns where there is room for them."""
    if columns < _TWO_COLUMNS:
        lines = _left(view, now, columns, rows, with_limit=True)
        return [fitted(line, columns) for line in lines]
    left_width = max(_LEFT, (columns - _GAP) * 55 // 100)
    left = _left(view, now, left_width, rows, with_limit=False)
    right = _right(view, now, columns - left_width - _GAP, rows)
    return beside(left, right, left_width)


def _left(view: View, now: datetime, width: int, rows: int, *, with_limit: bool) -> list[Markup]:
    lines = panels.pnl(view, now, width)
    if with_limit and view.source is not Source.NOTHING:
        lines.append(_nearest_limit(view, now, width))
    tables = [panel(view, now, width) for panel in _TABLES]
    heights = _share(rows - len(lines) - _LINES_FOR_ACTIVITY, [len(table) for table in tables])
    for table, height in zip(tables, heights, strict=True):
        lines += cut(table, height)
    return lines + panels.activity(view, now, width, rows - len(lines))


def _nearest_limit(view: View, now: datetime, width: int) -> Markup:
    found = measured(view, now)
    usage = nearest_limit(found)
    if usage is None:
        return [("dim", f"Nearest limit {UNKNOWN} {limits_missing(view)}")]
    return gauge_line(view, usage, width)


def _right(view: View, now: datetime, width: int, rows: int) -> list[Markup]:
    found = measured(view, now)
    lines = [title("Limits, nearest first", width, freshness(view, (), now).partition("no ")[0])]
    lines += [gauge_line(view, usage, width) for usage in nearest_first(found)] or [
        [("dim", f"{UNKNOWN} {limits_missing(view)}")]
    ]
    lines = cut(lines, rows - _CURVE_ROWS - 1)
    day = trades_of_the_day(view.account)
    moments = [one.trade.timestamp for one in day]
    lines.append(title("P&L of the trades", width, freshness(view, moments, now)))
    if reason := unknown_reason(view):
        return [*lines, [("dim", f"{UNKNOWN}  {reason}")]]
    height = min(rows - len(lines), 2 * _CURVE_ROWS)
    totals = tuple([one.total for one in day])
    drawn = curve(totals, loss_limit(view.account), width, height)
    return [*lines, *(drawn if view.source is Source.LIVE else map(_dimmed, drawn))]


def _dimmed(line: Markup) -> Markup:
    return [("dim", part if isinstance(part, str) else part[1]) for part in line]


def limits_missing(view: View) -> str:
    """Return why there is no limit to show."""
    if reason := unknown_reason(view):
        return reason
    if view.events_only_since is not None:
        return "the state file does not tell"
    return "no rule with a number is in force"


def _share(room: int, wanted: list[int]) -> list[int]:
    """Give out ``room`` lines: a title to each table, then in turn to those that want more."""
    given = [0] * len(wanted)
    lines = (1,) * len(wanted)
    while room > 0 and given != wanted:
        for index, wish in enumerate(wanted):
            more = max(0, min(lines[index], wish - given[index], room))
            given[index] += more
            room -= more
        lines = _TURNS
    return given
