"""A month's calendar of trading days."""

from __future__ import annotations

from calendar import Calendar
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from decimal import Decimal

import msgspec

from riskd.model.formatting import counted, dollars
from riskd.model.money import ZERO


class DayResult(msgspec.Struct, frozen=True):
    """What a trading day has made, in dollars after fees.

    :ivar acted: how often riskd acted.
    """

    net: Decimal
    trades: int
    acted: int


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A day of the calendar.

    :ivar date: its number; empty for a day of another month.
    :ivar kind: ``shown`` for a day of the report, ``none`` for one that the journal does not know, otherwise empty.
    :ivar net: ``None`` for a day that the journal does not know.
    """

    date: str
    kind: str
    net: Decimal | None = None
    trades: str = ""
    acted: int = 0


class Week(msgspec.Struct, frozen=True):
    """A week, from Monday on.

    :ivar net: what it has made in this month; ``None`` without a trading day.
    """

    cells: tuple[Cell, ...]
    net: Decimal | None


class Month(msgspec.Struct, frozen=True):
    """A month.

    :ivar summary: what it has made, in words.
    """

    name: str
    weeks: tuple[Week, ...]
    summary: str


def months_of(results: Mapping[date, DayResult], shown: Collection[date]) -> list[Month]:
    """Return the months of a report, earliest first.

    :param results: of all days that the journal knows.
    :param shown: the days of the report.
    """
    firsts = sorted({each.replace(day=1) for each in shown})
    return [_month(first, results, shown) for first in firsts]


def _month(first: date, results: Mapping[date, DayResult], shown: Collection[date]) -> Month:
    weeks = tuple(
        _week(first, days, results, shown)
        for days in Calendar().monthdatescalendar(first.year, first.month)
    )
    known = {
        key: each
        for key, each in results.items()
        if (key.year, key.month) == (first.year, first.month)
    }
    return Month(f"{first:%B} {first.year}", weeks, _summary(known))


def _week(
    first: date,
    days: Iterable[date],
    results: Mapping[date, DayResult],
    shown: Collection[date],
) -> Week:
    own = [day if day.month == first.month else None for day in days]
    nets = [results[day].net for day in own if day is not None and day in results]
    cells = tuple(
        Cell(date="", kind="none") if day is None else _cell(day, results.get(day), shown)
        for day in own
    )
    return Week(cells, sum(nets, ZERO) if nets else None)


def _cell(day: date, result: DayResult | None, shown: Collection[date]) -> Cell:
    if result is None:
        return Cell(date=str(day.day), kind="none")
    return Cell(
        date=str(day.day),
        kind="shown" if day in shown else "",
        net=result.net,
        trades=counted(result.trades, "trade"),
        acted=result.acted,
    )


def _summary(results: Mapping[date, DayResult]) -> str:
    nets = {key: each.net for key, each in results.items() if each.trades or each.net}
    if not nets:
        return "no trade."
    won, lost = sum(net > 0 for net in nets.values()), sum(net < 0 for net in nets.values())
    best, worst = max(nets, key=lambda key: nets[key]), min(nets, key=lambda key: nets[key])
    return (
        f"{dollars(sum(nets.values(), ZERO))} in {counted(len(nets), 'day')} with trades, {won} with a profit, {lost} "
        f"with a loss; best {best}: {dollars(nets[best])}, worst {worst}: {dollars(nets[worst])}."
    )
