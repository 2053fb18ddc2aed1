"""The limits: each rule in force, what it measures, and how near it is."""

from __future__ import annotations

from datetime import datetime

from trader.model.formatting import UNKNOWN, countdown, until
from trader.model.limit_usage import is_strict, next_reset, rule_name
from trader.model.ui_state import UiState
from trader.model.view import View
from trader.ui.disconnected import measured, shade
from trader.ui.gauges import gauge_line
from trader.ui.header import when
from trader.ui.overview_page import limits_missing
from trader.ui.styled_text import Markup, title, wrapped


def heading(
    view: View, _ui_state: UiState, now: datetime, columns: int, _rows: int
) -> list[Markup]:
    """Return since when these limits are known, and what holds for all of them."""
    read = f"read {when(view.file_as_of, now)}" if view.account.limits else ""
    lines = [title("Limits in force", columns, read)]
    if not view.account.limits:
        return [*lines, [("dim", f"{UNKNOWN}  {limits_missing(view)}")]]
    lines.append([("dim", _day_end(view, now))])
    if view.is_dry_run:
        lines += wrapped(
            "practice", "Dry run: a limit that is reached is told, and nothing is done", columns, 1
        )
    if is_strict(view.account):
        lines += wrapped(
            shade(view, "caution"),
            "Strict mode: any breach locks until an operator unlocks",
            columns,
            1,
        )
    return lines


def _day_end(view: View, now: datetime) -> str:
    reset = next_reset(view.account, now)
    if reset is None:
        return "When the trading day ends is not known"
    left = countdown((reset - now).total_seconds())
    return f"The trading day ends {until(reset, now)}, in {left}"


def rows(view: View, _ui_state: UiState, now: datetime, width: int) -> list[Markup]:
    """Return a row for each limit, in the order in which the rules are asked."""
    found = measured(view, now)
    return [
        [("dim", f"{usage.rule_id[-3:]} "), *gauge_line(view, usage, width - 4)] for usage in found
    ]


def rule_title(rule_id: str) -> str:
    """Return a rule's id with what it is called."""
    name = rule_name(rule_id)
    return rule_id if name == rule_id else f"{rule_id} {name}"
