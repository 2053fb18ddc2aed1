"""The page: what is known of the days as text and figures, put into the template.

The template escapes every text.  The page asks a browser to load nothing and to run nothing, whatever a text says.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from importlib.resources import files
from itertools import count
from typing import Any, Final

import jinja2
from markupsafe import Markup

from riskd import __version__
from riskd.journal.history import EquityLine
from riskd.model.events import DRY_RUN_NOTE
from riskd.model.formatting import dollars
from riskd.model.money import ZERO, to_cents
from riskd.model.safe_text import printable
from riskd.report.calendar import DayResult, months_of
from riskd.report.canvas import Mark, Span
from riskd.report.charts import columns_chart, equity_chart
from riskd.report.figures import Group, by_hour, by_instrument, figures_of
from riskd.report.happened import (
    Happened,
    actions_of,
    local_time,
    locked_times,
    was_done,
)
from riskd.report.journaled import Journaled, TradingDay
from riskd.report.levels import Level, levels_of
from riskd.report.rows import (
    Known,
    close_of,
    day_row,
    duration,
    event_row,
    limit_row,
    read_day,
    rows_of,
    trade_row,
)
from riskd.report.uses import BY_MINUTE

_LATE: Final = timedelta(minutes=10)
_MOST_MARKS: Final = 40


def write_page(
    journaled: Journaled, known: Sequence[TradingDay], shown: Sequence[TradingDay]
) -> str:
    """Return the report of trading days as one page of HTML.

    :param known: all days that the journal knows.
    :param shown: those of the report, at least one, oldest first.
    """
    days = [read_day(journaled, each) for each in shown]
    css = files("riskd.report").joinpath("page.css").read_text(encoding="utf-8")
    template = _environment().get_template("page.html")
    page: str = template.render(
        **_whole(journaled, known, days),
        style=Markup(css),  # noqa: S704  # a file of ours
        style_hash=_hash(css),
    )
    return page


def _hash(css: str) -> str:
    digest = hashlib.sha256(css.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("riskd.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        # A text of the broker may have characters that command a screen.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters.update(dollars=dollars, sign=_sign, duration=duration)
    return environment


def _sign(amount: Decimal) -> str:
    return "gain" if amount > 0 else "loss" if amount < 0 else "even"


def _whole(
    journaled: Journaled, known: Sequence[TradingDay], days: Sequence[Known]
) -> dict[str, Any]:
    """Return what the template shows."""
    first, last = days[0].day, days[-1].day
    executions = [trade for each in days for trade in each.all]
    total = figures_of(executions)
    is_range = len(days) > 1
    numbers = count(1)
    events = [(each, event) for each in days for event in each.events]
    numbered = [(next(numbers) if event.is_marked else 0, each, event) for each, event in events]
    equity, level_notes = _equity(journaled, days, numbered)
    instruments, hours = by_instrument(executions), _hours(days)
    running = local_time(last.known_until, last)[:-3] if last.is_running else ""
    return {
        "title": _title(first.key, last.key),
        "span": _span(first, last),
        "running": running,
        "zone": last.zone,
        "account": journaled.account_id,
        "account_name": journaled.name,
        "gateway": journaled.gateway,
        "total": total,
        "start": days[0].measured.start,
        "close": close_of(days[-1]),
        **_open_pnl(days[-1]),
        "acted": sum(each.acted for each in days),
        "dry": sum(len(each.actions) - each.acted for each in days),
        "is_dry_run": _is_dry_run(journaled),
        "flows": _flows(days),
        "notes": [note for each in days for note in _notes(journaled, each)],
        "days": [day_row(each) for each in days] if is_range else [],
        "equity": equity,
        "level_notes": level_notes,
        "events": [event_row(number, each, event, is_range) for number, each, event in numbered],
        "limits": [limit_row(use, days[0].day) for use in days[0].uses],
        "limits_note": _limits_note(days[0]),
        "instruments": instruments,
        "hours": hours,
        "instrument_chart": _columns(instruments, "Net P&L by instrument"),
        "hour_chart": _columns(hours, "Net P&L by hour"),
        "trades": [
            trade_row(each.day, trade, total) for each in days for trade in rows_of(each.all)
        ],
        "months": months_of(_results(journaled, known, days), [each.day.key for each in days]),
        "version": __version__,
        "as_of": f"{last.local(journaled.as_of):%Y-%m-%d %H:%M:%S} {last.zone}",
        "methods": _methods(days),
    }


def _title(first: date, last: date) -> str:
    def named(day: date) -> str:
        return f"{day:%A, %B} {day.day}, {day.year}"

    if first == last:
        return named(first)
    return f"{first:%b} {first.day} to {last:%b} {last.day}, {last.year}"


def _span(first: TradingDay, last: TradingDay) -> str:
    began, ended = first.local(first.began), last.local(last.ended)
    return f"Trading day from {began:%a %Y-%m-%d %H:%M} to {ended:%a %Y-%m-%d %H:%M}"


def _open_pnl(known: Known) -> dict[str, Any]:
    """Return the open P&L of a day that is running, by its last figures."""
    last = next(reversed(known.measured.minutes), None)
    account = known.measured.journaled.account
    if not known.day.is_running or last is None or not account.open_positions:
        return {"open_pnl": None, "open_at": ""}
    return {
        "open_pnl": last.equity - last.balance,
        "open_at": f"at {local_time(last.at, known.day)[:-3]}",
    }


def _flows(days: Sequence[Known]) -> Decimal | None:
    """Return by how much the balance has changed without a trade of these days."""
    flows = [_flow(each) for each in days]
    known = [each for each in flows if each is not None]
    return to_cents(sum(known, ZERO)) if len(known) == len(flows) else None


def _flow(known: Known) -> Decimal | None:
    start, close, report = known.measured.start, close_of(known), known.day.report
    if start is None or close is None:
        return None
    # What the broker has corrected since is in no balance of an ended day.
    return close - start - (known.figures.net if report is None else report.net_pnl)


def _is_dry_run(journaled: Journaled) -> bool:
    daemon = journaled.account.daemon
    return daemon is not None and daemon.message.endswith(DRY_RUN_NOTE)


def _notes(journaled: Journaled, known: Known) -> list[str]:
    """Return what a reader must know to read the figures of a day."""
    day, net, notes = known.day, known.figures.net, list[str]()
    kept = journaled.account.days.get(day.key)
    if day.report is not None:
        if kept is not None and kept.net != net:
            notes.append(
                f"{day.key}: the journal has details of executions that made {dollars(net)}, and a net P&L of "
                f"{dollars(kept.net)}: an earlier riskd kept no details, or they are older than two years."
            )
        elif day.report.net_pnl != net:
            notes.append(
                f"{day.key}: when the day ended its net P&L was {dollars(day.report.net_pnl)}; the broker has corrected "
                "trades since."
            )
    minutes = known.measured.minutes
    if minutes and minutes[0].at - day.began > _LATE:
        notes.append(f"{day.key}: the equity is known from {local_time(minutes[0].at, day)} on.")
    return notes


def _equity(
    journaled: Journaled,
    days: Sequence[Known],
    numbered: Sequence[tuple[int, Known, Happened]],
) -> tuple[Markup, list[str]]:
    minutes = [minute for each in days for minute in each.measured.minutes]
    notes, levels = list[str](), dict[str, list[Any]]()
    for each in days:
        found, problems = levels_of(each.measured)
        notes += [problem for problem in problems if problem not in notes]
        for level in found:
            levels.setdefault(level.name, []).extend(level.points)
    if not minutes:
        return Markup(""), []
    first, last = days[0].day, days[-1].day
    marks = [Mark(event.at, str(number)) for number, _day, event in numbered if number]
    if len(marks) > _MOST_MARKS:
        notes.append(f"The chart has no marks: there would be {len(marks)}.")
        marks = []
    # A riskd that began late has an empty beginning, which says nothing.
    began, ended = max(first.began, minutes[0].at - _LATE), last.known_until
    svg, far = equity_chart(
        minutes,
        Span(began=began, ended=ended, local=last.local),
        [Level(name, points) for name, points in levels.items()],
        marks=marks,
        bands=locked_times(journaled.log, began, ended),
    )
    if far:
        notes.append(f"Too far from the curve to be drawn: {', '.join(far)}.")
    low, high = min(minutes, key=_of), max(minutes, key=_of)
    notes.insert(
        0,
        f"Lowest {dollars(low.equity)} at {local_time(low.at, last)}, highest {dollars(high.equity)} at "
        f"{local_time(high.at, last)}.",
    )
    return Markup(svg), notes  # noqa: S704  # leather's own elements, whose texts ElementTree has escaped


def _of(minute: EquityLine) -> Decimal:
    return minute.equity


def _limits_note(known: Known) -> str:
    end = "now" if known.day.is_running else "at the day's end"
    note = f"The limits are those of the configuration {end}; a lock or a commitment may have held a tighter one in force."
    if any(use.basis == BY_MINUTE for use in known.uses):
        note += " Between two minutes the use may have been higher than measured."
    return note


def _hours(days: Sequence[Known]) -> list[Group]:
    executions = [trade for each in days for trade in each.all]
    found = by_hour(executions, days[-1].day.local)
    # A day begins in the evening; several days are sorted by the clock.
    return sorted(found, key=lambda each: each.name) if len(days) > 1 else found


def _columns(groups: Sequence[Group], title: str) -> Markup:
    if not groups:
        return Markup("")
    amounts = [(each.name, each.figures.net) for each in groups]
    return Markup(columns_chart(amounts, title))  # noqa: S704  # as above


def _results(
    journaled: Journaled, known: Sequence[TradingDay], days: Sequence[Known]
) -> dict[date, DayResult]:
    """Return what each day that the journal knows has made."""
    results: dict[date, DayResult] = {}
    shown = {each.day.key: each for each in days}
    for each in known:
        own = shown.get(each.key)
        if own is not None:
            results[each.key] = DayResult(own.figures.net, own.figures.trades, own.acted)
        elif each.report is not None:
            kept = journaled.account.days.get(each.key)
            net = each.report.net_pnl if kept is None else kept.net
            results[each.key] = DayResult(net, each.report.trades, each.report.enforced)
        else:
            figures = figures_of(journaled.executions(each.began, each.ended))
            enforced = sum(map(was_done, actions_of(journaled.log, each)))
            results[each.key] = DayResult(figures.net, figures.trades, enforced)
    return results


def _methods(days: Sequence[Known]) -> list[str]:
    zone = days[-1].day.zone
    return [
        f"Times are those of the trading day's zone, {zone}; a trading day has the date on which it ends.",
        "Net P&L is what the executions of the day made, less fees and commissions, by the broker's latest word on each.",
        "The equity is that of each minute in which riskd wrote it, with open P&L at what an exit would bring.",
        "Where its curve is dotted, riskd wrote none.",
        "The floor is riskd's estimate, or goes on from the firm's figure where an operator gave it. The firm decides.",
        "- is a figure that is not known.",
    ]
