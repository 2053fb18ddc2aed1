"""What the journal keeps of each trading day."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import msgspec

from riskd.model.account import AccountState
from riskd.model.balance import balance_at
from riskd.model.equity import day_start_balance
from riskd.model.money import ZERO


class DayReport(msgspec.Struct, frozen=True, kw_only=True):
    """One trading day of an account, as it was when it ended; amounts in dollars.

    :ivar day: the date on which it ended.
    :ivar start: the balance at its beginning; ``None`` if none was known, as ``close``.
    :ivar close: the balance at its end.
    :ivar net_pnl: the realized P&L of its trades, less fees and commissions.
    :ivar trades: the number of its full-turn trades.
    :ivar best: the highest P&L of one trade; ``None`` without trades, as ``worst``.
    :ivar enforced: how many enforcement actions it had.
    """

    day: date
    start: Decimal | None
    close: Decimal | None
    net_pnl: Decimal
    trades: int
    best: Decimal | None
    worst: Decimal | None
    enforced: int


def report_day(state: AccountState, day: date, began: datetime, ended: datetime) -> DayReport:
    """Return the report of a day that has ended, before a reset drops its trades."""
    pnls = [
        trade.profit_and_loss
        for trade in state.trades.values()
        if began <= trade.execution_time < ended
    ]
    charges = [
        charge.amount for charge in state.risk.charges.values() if began <= charge.at < ended
    ]
    expected, close, start = state.balance.expected, None, None
    if expected is not None:
        close = balance_at(expected, state.risk.results, ended)
        start = balance_at(expected, state.risk.results, began)
        if began == state.day_began:
            # Payouts and deposits are those of the day in which they were noticed.
            start = day_start_balance(state)
    return DayReport(
        day=day,
        start=start,
        close=close,
        net_pnl=sum(pnls, ZERO) - sum(charges, ZERO),
        trades=len(pnls),
        best=max(pnls, default=None),
        worst=min(pnls, default=None),
        enforced=sum(began <= action.timestamp < ended for action in state.enforcement),
    )
