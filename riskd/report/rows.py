"""A day of a report, and the rows of the page's tables as texts and amounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from riskd.journal.history import TradeReport
from riskd.model.events import EnforcementAction
from riskd.model.formatting import dollars
from riskd.model.money import ZERO
from riskd.report.figures import Figures, figures_of
from riskd.report.happened import Happened, actions_of, happened, local_time, was_done
from riskd.report.journaled import Journaled, TradingDay
from riskd.report.levels import Day
from riskd.report.uses import Use, uses_of

_UNKNOWN: Final = "-"


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A day of the report.

    :ivar all: its executions, with voided ones.
    """

    day: TradingDay
    measured: Day
    all: Sequence[TradeReport]
    figures: Figures
    events: Sequence[Happened]
    actions: Sequence[EnforcementAction]
    uses: Sequence[Use]

    @property
    def acted(self) -> int:
        """How often riskd acted; in a dry run it does not."""
        return sum(was_done(each) for each in self.actions)


def read_day(journaled: Journaled, day: TradingDay) -> Known:
    """Return what the journal has of a day."""
    executions = journaled.executions(day.began, day.ended)
    measured = Day(
        journaled=journaled,
        day=day,
        executions=[each for each in executions if not each.is_voided],
        has_voids=any(each.is_voided for each in executions),
        minutes=journaled.equity(day.began, day.ended),
    )
    actions = actions_of(journaled.log, day)
    return Known(
        day=day,
        measured=measured,
        all=executions,
        figures=figures_of(executions),
        events=happened(journaled.log, day),
        actions=actions,
        uses=uses_of(measured, actions),
    )


def duration(length: timedelta | None) -> str:
    """Return a time as minutes and seconds, or with hours before them."""
    if length is None:
        return _UNKNOWN
    minutes, seconds = divmod(int(length.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def close_of(known: Known) -> Decimal | None:
    """Return the balance at a day's end, or now."""
    report = known.day.report
    if report is not None:
        return report.close
    return known.measured.journaled.account.balance.expected


def day_row(known: Known) -> dict[str, Any]:
    """Return a row of the table of days."""
    nearest = max(
        (use for use in known.uses if use.share is not None),
        key=lambda use: use.share or ZERO,
        default=None,
    )
    return {
        "name": f"{known.day.key:%a %Y-%m-%d}",
        "running": known.day.is_running,
        "start": known.measured.start,
        "close": close_of(known),
        "figures": known.figures,
        "acted": known.acted,
        "nearest": _UNKNOWN if nearest is None else f"{nearest.name} {nearest.share:.0f} %",
    }


def event_row(number: int, known: Known, event: Happened, is_range: bool) -> dict[str, Any]:
    """Return a row of what riskd did."""
    local = known.day.local(event.at)
    return {
        "number": number,
        "time": f"{local:%Y-%m-%d %H:%M:%S}" if is_range else local_time(event.at, known.day),
        "what": event.what,
        "rule": event.rule,
        "why": event.why,
    }


def limit_row(use: Use, day: TradingDay) -> dict[str, Any]:
    """Return a row of the limits."""
    share = use.share
    return {
        "name": use.name,
        "rule_id": use.rule_id,
        "limit": _figure(use.limit, use.unit),
        "most": _figure(use.most, use.unit),
        "share": _UNKNOWN if share is None else f"{share:.0f} %",
        "meter": None if share is None else f"{share.min(Decimal(100)):.0f}",
        "at": local_time(use.at, day) if use.at is not None and use.most else "",
        "basis": use.basis,
        "acted": "" if use.acted_at is None else local_time(use.acted_at, day),
        "acted_word": "dry run" if use.is_dry_run else "acted",
    }


def _figure(amount: Decimal | None, unit: str) -> str:
    if amount is None:
        return _UNKNOWN
    return dollars(amount) if unit == "$" else f"{amount.normalize():f} {unit}"


def rows_of(executions: Sequence[TradeReport]) -> list[TradeReport]:
    """Return the executions that have a row: exits, and voided ones."""
    return [each for each in executions if each.pnl is not None or each.is_voided]


def trade_row(day: TradingDay, trade: TradeReport, total: Figures) -> dict[str, Any]:
    """Return a row of the trades."""
    held = None if trade.opened_at is None else trade.at - trade.opened_at
    return {
        "day": str(day.key),
        "time": local_time(trade.at, day),
        "contract": trade.contract,
        "side": trade.side,
        "size": trade.size,
        "entry": _price(trade.entry),
        "exit": _price(trade.exit),
        "held": duration(held),
        "pnl": trade.pnl,
        "fees": trade.fees,
        "is_voided": trade.is_voided,
        "tag": "best" if trade is total.best else "worst" if trade is total.worst else "",
    }


def _price(price: Decimal | None) -> str:
    return _UNKNOWN if price is None else f"{price:f}"
