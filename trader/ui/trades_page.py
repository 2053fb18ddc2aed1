"""The trades of the day: the P&L curve, and each trade with its P&L."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from riskd.model.formatting import contract_name
from trader.model.day_trades import DayTrade, trades_of_the_day
from trader.model.formatting import clock, money
from trader.model.limit_usage import nearest_loss_level
from trader.model.ui_state import UiState
from trader.model.view import View, unknown_reason
from trader.model.wording import side_and_prices
from trader.ui.disconnected import broker_count, current_style, data_age, unknown_line
from trader.ui.pnl_curve import pnl_curve
from trader.ui.styled_text import (
    MARK_WIDTH,
    StyledLine,
    length,
    panel_title,
    pnl_style,
    table_row,
)

_ROWS_BELOW: Final = 4
"""The curve leaves room for the column titles and a few trades."""

_COLUMN_TITLES: Final = f"  {'Time':<9}{'Contract':<11}{'Size':>5}{'P&L':>14}{'Total':>14}"

_WIDE: Final = 78
"""From so many columns on there is room for side, entry and exit."""

_WIDE_TITLES: Final = f"  {'Time':<9}{'Contract':<9}{'Side':<6}{'Size':>4}{'Entry':>11}{'Exit':>11}{'P&L':>13}{'Total':>13}"


def heading(
    view: View, _ui_state: UiState, now: datetime, columns: int, rows: int
) -> list[StyledLine]:
    """Return the day's figures, the P&L curve, and the titles of the columns."""
    day = trades_of_the_day(view.account)
    since = view.events_only_since
    name = "Trades of the day" if since is None else f"Trades seen since {clock(since)}"
    age = data_age(view, [one.trade.timestamp for one in day], now)
    lines = [panel_title(f"{name} {broker_count(view, len(day))}", columns, age)]
    if reason := unknown_reason(view):
        return [*lines, unknown_line(reason)]
    lines += _summary(view, day, columns)
    height = max(0, min(rows // 2, rows - len(lines) - _ROWS_BELOW))
    lines += pnl_curve(view, day, columns, height)
    if day:
        titles = _WIDE_TITLES if columns - MARK_WIDTH >= _WIDE else _COLUMN_TITLES
        lines.append([("dim", titles)])
    return lines


def _summary(view: View, day: tuple[DayTrade, ...], columns: int) -> list[StyledLine]:
    won = sum(one.trade.profit_and_loss > 0 for one in day)
    lost = sum(one.trade.profit_and_loss < 0 for one in day)
    realized = view.account.realized_pnl
    limit = nearest_loss_level(view.account)
    words = "no limit on losses is known"
    if limit is not None:
        words = f"P&L at the {limit.word} {money(limit.pnl)} ({limit.name})"
    figures: StyledLine = [
        ("dim", "Realized "),
        (current_style(view, pnl_style(realized)), money(realized)),
        ("dim", f"   {won} won, {lost} lost   "),
    ]
    if length(figures) + len(words) <= columns:
        return [[*figures, ("dim", words)]]
    return [figures, [("dim", words)]]


def rows(view: View, _ui_state: UiState, _now: datetime, width: int) -> list[StyledLine]:
    """Return a row for each trade, newest first."""
    row = _wide_row if width >= _WIDE else trade_row
    return [row(view, one) for one in reversed(trades_of_the_day(view.account))]


def _wide_row(view: View, day_trade: DayTrade) -> StyledLine:
    """Return a trade with side, entry and exit, where they are known."""
    trade, total = day_trade.trade, day_trade.total
    pnl, text = trade.profit_and_loss, current_style(view, "text")
    side, entry, exit_ = side_and_prices(view.account, trade)
    return table_row(
        [
            ("dim", clock(trade.execution_time), 8),
            (current_style(view, "strong"), contract_name(view.account, trade.contract_id), 8),
            (text, side, 5),
            (text, str(trade.quantity), -4),
            (text, entry, -10),
            (text, exit_, -10),
            (current_style(view, pnl_style(pnl)), money(pnl), -12),
            (current_style(view, pnl_style(total)), money(total), -12),
        ]
    )


def trade_row(view: View, day_trade: DayTrade) -> StyledLine:
    """Return a trade with its P&L, and the total of the day after it."""
    trade, total = day_trade.trade, day_trade.total
    pnl = trade.profit_and_loss
    return table_row(
        [
            ("dim", clock(trade.execution_time), 8),
            (current_style(view, "strong"), contract_name(view.account, trade.contract_id), 10),
            (current_style(view, "text"), str(trade.quantity), -5),
            (current_style(view, pnl_style(pnl)), money(pnl), -13),
            (current_style(view, pnl_style(total)), money(total), -13),
        ]
    )
