"""The feed: everything that happened, of one kind if that is wanted, and still while it is paused."""

from __future__ import annotations

from datetime import datetime

from trader.model.look import FILTERS, Look, shown_lines
from trader.model.text import UNKNOWN
from trader.model.view import Source, View
from trader.ui.disconnected import freshness
from trader.ui.panels import feed_line
from trader.ui.styled_text import Markup, title


def heading(view: View, look: Look, now: datetime, columns: int, _rows: int) -> list[Markup]:
    """Return which part of the feed this is."""
    shown = shown_lines(look, view.lines)
    what = f"Activity: {FILTERS[look.filter][0]} ({len(shown)})"
    lines = [title(what, columns, freshness(view, [line.at for line in shown[:1]], now))]
    if look.paused is not None:
        missed = len(view.lines) - len(look.paused)
        since = f", {missed} more since" if missed > 0 else ""
        lines.append([("caution", f"PAUSED{since}; p lets it run again")])
    if not shown:
        lines.append([("dim", _nothing(view, look))])
    return lines


def _nothing(view: View, look: Look) -> str:
    if view.source is Source.NOTHING:
        return f"{UNKNOWN}  not connected yet"
    return "Nothing of that kind yet; f shows the next" if look.filter else "Nothing yet"


def rows(view: View, look: Look, _now: datetime, _width: int) -> list[Markup]:
    """Return a row for each line of the feed that is shown, newest first."""
    return [feed_line(line) for line in shown_lines(look, view.lines)]
