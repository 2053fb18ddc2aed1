"""The limits: each rule in force, what it measures, and how near its limit is."""

from __future__ import annotations

from datetime import datetime

from riskd.model.formatting import dollars
from riskd.rules.builtin.maximum_loss import published_floor
from trader.model.formatting import UNKNOWN, countdown, sentence, until
from trader.model.gauge_words import distance_words
from trader.model.limit_usage import is_strict, limit_usages, next_reset, unknown_open_pnl
from trader.model.ui_state import UiState
from trader.model.view import View, unknown_reason
from trader.model.waits import commitment_words, waits_in_words
from trader.ui.disconnected import current_style, time_and_age, unknown_line
from trader.ui.gauges import gauge_line, no_limits_reason
from trader.ui.styled_text import StyledLine, panel_title, wrap

_DRY_RUN = "Dry run: breaches are reported, nothing is enforced"
_STRICT = "Strict mode: any breach locks until an operator unlocks"


def heading(
    view: View, _ui_state: UiState, now: datetime, columns: int, _rows: int
) -> list[StyledLine]:
    """Return the age of the limits, the end of the day, and the modes in force."""
    if not view.account.limits:
        return [panel_title("Limits in force", columns), unknown_line(no_limits_reason(view))]
    read = f"read {time_and_age(view.file_as_of, now)}"
    lines = [panel_title("Limits in force", columns, read)]
    lines.append([("dim", _day_end(view, now))])
    if view.is_dry_run:
        lines += wrap("practice", _DRY_RUN, columns, 1)
    lines += floor_lines(view, now, columns)
    if is_strict(view.account):
        lines += wrap(current_style(view, "caution"), _STRICT, columns, 1)
    if committed := commitment_words(view.account):
        lines += wrap(current_style(view, "text"), committed, columns)
    for words in waits_in_words(view.account, now):
        lines += wrap(current_style(view, "caution"), words, columns)
    return lines


def floor_lines(view: View, now: datetime, columns: int) -> list[StyledLine]:
    """Return the floor, how far it is, and what the end of the day would do to it.

    Nothing without a floor.
    """
    floor = None if unknown_reason(view) else published_floor(view.account)
    if floor is None:
        return []
    figures = f"Floor {dollars(floor.amount)} by {floor.source.words}"
    if unknown := unknown_open_pnl(view, now):
        lines = [f"{figures}; headroom {UNKNOWN} {unknown}"]
    else:
        where = f"equity {dollars(floor.equity)}, {distance_words(floor.headroom)} it"
        lines = [f"{figures}; {where}", sentence(floor.close_words)]
    return [line for text in lines for line in wrap(current_style(view, "text"), text, columns)]


def _day_end(view: View, now: datetime) -> str:
    reset = next_reset(view.account, now)
    if reset is None:
        return "The end of the trading day is not known"
    left = countdown((reset - now).total_seconds())
    return f"The trading day ends {until(reset, now)}, in {left}"


def rows(view: View, _ui_state: UiState, now: datetime, width: int) -> list[StyledLine]:
    """Return a row for each limit, in the order in which the rules are evaluated."""
    return [
        [("dim", f"{usage.rule_id[-3:]} "), *gauge_line(view, usage, width - 4)]
        for usage in limit_usages(view, now)
    ]
