"""The activity feed: all lines or one kind of them, running or paused."""

from __future__ import annotations

from datetime import datetime

from trader.model.ui_state import FILTERS, UiState
from trader.model.view import Source, View, unknown_reason
from trader.ui.disconnected import data_age, unknown_line
from trader.ui.panels import feed_line
from trader.ui.styled_text import StyledLine, panel_title


def heading(
    view: View, ui_state: UiState, now: datetime, columns: int, _rows: int
) -> list[StyledLine]:
    """Return the filter, how many lines pass it, and whether the feed is paused."""
    shown = ui_state.visible_lines(view.feed)
    name = f"Activity: {FILTERS[ui_state.filter][0]} ({len(shown)})"
    lines = [panel_title(name, columns, data_age(view, [line.at for line in shown[:1]], now))]
    if ui_state.paused_feed is not None:
        missed = len(view.feed) - len(ui_state.paused_feed)
        since = f", {missed} more since" if missed > 0 else ""
        lines.append([("caution", f"PAUSED{since}; p resumes")])
    if not shown and view.source is Source.NOTHING:
        lines.append(unknown_line(unknown_reason(view)))
    elif not shown:
        nothing = (
            "Nothing of this kind yet; f shows the next kind" if ui_state.filter else "Nothing yet"
        )
        lines.append([("dim", nothing)])
    return lines


def rows(view: View, ui_state: UiState, _now: datetime, _width: int) -> list[StyledLine]:
    """Return a row for each line of the feed that passes the filter, newest first."""
    return [feed_line(line) for line in ui_state.visible_lines(view.feed)]
