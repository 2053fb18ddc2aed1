"""The trades of the day: the curve of the running total, and each trade with what it made."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from trader.model.activity import contract_name
from trader.model.day_trades import DayTrade, trades_of_the_day
from trader.model.formatting import UNKNOWN, clock, money
from trader.model.limit_usage import loss_limit
from trader.model.ui_state import UiState
from trader.model.view import View, unknown_reason
from trader.ui.disconnected import count, freshness, shade
from trader.ui.pnl_curve import curve
from trader.ui.styled_text import Markup, length, row, signed_style, title

_ROWS_BELOW: Final = 4


def heading(
    view: View, _ui_state: UiState, now: datetime, columns: int, rows: int
) -> list[Markup]:
    """Return the curve, with the loss limit in it, and what the rows say."""
    day = trades_of_the_day(view.account)
    since = view.events_only_since
    what = "Trades of the day" if since is None else f"Trades seen since {clock(since)}"
    moments = [one.trade.timestamp for one in day]
    lines = [title(f"{what} {count(view, len(day))}", columns, freshness(view, moments, now))]
    if reason := unknown_reason(view):
        return [*lines, [("dim", f"{UNKNOWN}  {reason}")]]
    lines += _summary(view, day, columns)
    height = max(0, min(rows // 2, rows - len(lines) - _ROWS_BELOW))
    lines += curve(tuple([one.total for one in day]), loss_limit(view.account), columns, height)
    if day:
        lines.append(
            [("dim", f"  {'Time':<9}{'Contract':<11}{'Size':>5}{'P&L':>14}{'Total':>14}")]
        )
    return lines


def _summary(view: View, day: tuple[DayTrade, ...], columns: int) -> list[Markup]:
    won = sum(one.trade.profit_and_loss > 0 for one in day)
    lost = sum(one.trade.profit_and_loss < 0 for one in day)
    realized = view.account.realized_pnl
    limit = loss_limit(view.account)
    known: Markup = [
        ("dim", "Realized "),
        (shade(view, signed_style(realized)), money(realized)),
        ("dim", f"   {won} won, {lost} lost   "),
    ]
    told = "no daily loss limit is known" if limit is None else f"daily loss limit {-limit:,.2f}"
    if length(known) + len(told) <= columns:
        return [[*known, ("dim", told)]]
    return [known, [("dim", told)]]


def rows(view: View, _ui_state: UiState, _now: datetime, _width: int) -> list[Markup]:
    """Return a row for each trade, newest first."""
    return [trade_row(view, one) for one in reversed(trades_of_the_day(view.account))]


def trade_row(view: View, one: DayTrade) -> Markup:
    """Return a trade, what it made, and what the day had made then."""
    trade = one.trade
    return row(
        [
            ("dim", clock(trade.execution_time), 8),
            (shade(view, "strong"), contract_name(view.account, trade.contract_id), 10),
            (shade(view, "text"), str(trade.quantity), -5),
            (shade(view, signed_style(trade.profit_and_loss)), money(trade.profit_and_loss), -13),
            (shade(view, signed_style(one.total)), money(one.total), -13),
        ]
    )
