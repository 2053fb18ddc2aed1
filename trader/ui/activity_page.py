"""The feed: everything that happened, of one kind if that is wanted, and still while it is paused."""

from __future__ import annotations

from datetime import datetime

from trader.model.formatting import UNKNOWN
from trader.model.ui_state import FILTERS, UiState
from trader.model.view import Source, View
from trader.ui.disconnected import freshness
from trader.ui.panels import feed_line
from trader.ui.styled_text import Markup, title


def heading(
    view: View, ui_state: UiState, now: datetime, columns: int, _rows: int
) -> list[Markup]:
    """Return which part of the feed this is."""
    shown = ui_state.visible_lines(view.feed)
    what = f"Activity: {FILTERS[ui_state.filter][0]} ({len(shown)})"
    lines = [title(what, columns, freshness(view, [line.at for line in shown[:1]], now))]
    if ui_state.paused_feed is not None:
        missed = len(view.feed) - len(ui_state.paused_feed)
        since = f", {missed} more since" if missed > 0 else ""
        lines.append([("caution", f"PAUSED{since}; p lets it run again")])
    if not shown:
        lines.append([("dim", _nothing(view, ui_state))])
    return lines


def _nothing(view: View, ui_state: UiState) -> str:
    if view.source is Source.NOTHING:
        return f"{UNKNOWN}  not connected yet"
    return "Nothing of that kind yet; f shows the next" if ui_state.filter else "Nothing yet"


def rows(view: View, ui_state: UiState, _now: datetime, _width: int) -> list[Markup]:
    """Return a row for each line of the feed that is shown, newest first."""
    return [feed_line(line) for line in ui_state.visible_lines(view.feed)]
