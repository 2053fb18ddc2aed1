"""The panels: each turns a view into lines of styled text, and knows nothing else."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final

from riskd.account import OpenPnl, position_pnl
from riskd.events import (
    GatewayUserPosition,
    MarketQuote,
    OrderSide,
    OrderType,
    PositionType,
    Status,
)
from trader.activity import (
    average_price,
    contract_name,
    contract_price,
    order_type_name,
    position_side,
    side_name,
)
from trader.session import Source, View, is_stopping
from trader.text import UNKNOWN, age, clock, countdown, money, printable, until
from trader.widgets.markup import Markup, row, signed_style, spread

Panel = Callable[[View, datetime, int], list[Markup]]
"""Takes a view, the time and a width in columns; returns lines."""

_STALE_SECONDS: Final = 5
_SILENT_SECONDS: Final = 30
_LINES_FOR_FILE_TROUBLE: Final = 3
"""Its sentence names a path, and says after it what to do."""


def header(view: View, now: datetime, width: int) -> list[Markup]:
    """Account, gateway, whether it is a dry run, connection and time of day."""
    left: Markup = [("bar", f" riskd  account {view.account.account_id} ")]
    if view.gateway_name is not None:
        is_practice = view.gateway_name == "practice"
        left.append(("practice" if is_practice else "bar", f" {view.gateway_name.upper()} "))
    if view.is_dry_run:
        left.append(("warning", " DRY RUN "))
    daemon = view.daemon
    if view.source is Source.LIVE:
        is_fine = daemon is None or daemon.status is Status.RUNNING
        state = (
            ("good", " LIVE ") if daemon is None or is_fine else ("alert", f" {daemon.status} ")
        )
    elif view.retry_in is None:
        state = ("alert", " CONNECTING ")
    else:
        state = ("alert", f" NEXT TRY IN {max(0, math.ceil(view.retry_in))} s ")
    return [
        [
            ("bar", part) if isinstance(part, str) else part
            for part in spread(left, [state, ("bar", f" {clock(now)} ")], width)
        ]
    ]


def banner(view: View, now: datetime, width: int) -> list[Markup]:
    """What must not be missed: no connection, no file, a lockout, a daemon in trouble; what flashes.

    The line for what flashes is always there, so that nothing below it jumps.
    """
    lines: list[Markup] = []
    if view.source is not Source.LIVE:
        lines += wrapped("alert", view.trouble or "Connecting to daemon", width)
    if view.source is Source.LAST_KNOWN:
        lines += wrapped("warning", f"Last known state, {_when(view.known_at, now)}", width)
    lines += wrapped("warning", view.file_trouble, width, _LINES_FOR_FILE_TROUBLE)
    lockout = view.account.lockout
    if lockout is not None:
        if lockout.locked_until is None:
            end = "until an operator unlocks it"
        else:
            left = countdown((lockout.locked_until - now).total_seconds())
            end = f"until {until(lockout.locked_until, now)} ({left} left)"
        lines += wrapped("alert", f"LOCKED OUT {end}: {lockout.reason}", width)
    daemon = view.daemon
    if daemon is not None and daemon.status is Status.ERROR:
        # It stands until the daemon says otherwise: what is on the screen may be wrong meanwhile.
        lines += wrapped("alert", f"Daemon {daemon.status}: {daemon.message}", width)
    if is_stopping(daemon) and view.source is Source.LIVE:
        lines += wrapped("alert", "The daemon is stopping", width)
    flash = view.flash
    return lines + (wrapped(flash.style, flash.text, width) if flash is not None else [[]])


def pnl(view: View, now: datetime, width: int) -> list[Markup]:
    """Realized, unrealized and total P&L, and the number of trades."""
    if view.source is Source.NOTHING:
        return [_title("P&L", "", width), [("dim", f"{UNKNOWN}  not connected yet")]]
    since = view.seen_since
    title = "P&L of the day" if since is None else f"P&L seen since {clock(since)}"
    account = view.account
    unrealized = _unrealized(view, now)
    total = None if unrealized.amount is None else account.realized_pnl + unrealized.amount
    figures: Markup = []
    is_fresh = all(_is_fresh(view, position, now) for position in account.open_positions)
    for name, amount, is_certain in (
        ("Realized", account.realized_pnl, True),
        ("Unrealized", unrealized.amount, is_fresh),
        ("Total", total, is_fresh),
    ):
        figures += [("dim", f"{name} "), _amount(view, amount, is_certain=is_certain), "   "]
    figures += [("dim", "Trades "), (_style(view, "strong"), str(account.trade_count))]
    if unrealized.unknown:
        figures += [("dim", f"  ({unrealized.unknown})")]
    return [_title(title, "", width), figures]


def positions(view: View, now: datetime, width: int) -> list[Markup]:
    """Open positions with their P&L at the last price."""
    held = view.account.open_positions
    contracts = sum(position.size for position in held)
    count = (
        _count(view, contracts)
        if len(held) == contracts
        else f"({len(held)}, {contracts} contracts)"
    )
    lines = [_title("Positions", count, width)]
    for position in held:
        value = _open_pnl(view, position, now)
        quote = view.account.quotes.get(position.contract_id)
        is_fresh = _is_fresh(view, position, now)
        style = signed_style(value.amount or Decimal(0)) if is_fresh else "dim"
        shown = money(value.amount) if value.amount is not None else f"{UNKNOWN} {value.unknown}"
        last = contract_price(view.account, position.contract_id, quote.last) if quote else UNKNOWN
        average = average_price(view.account, position)
        lines.append(
            row(
                [
                    (_style(view, "strong"), contract_name(view.account, position.contract_id), 8),
                    (_style(view, "text"), position_side(position), 5),
                    (_style(view, "text"), str(position.size), -3),
                    ("dim", "avg", 3),
                    (_style(view, "text"), average, -10),
                    ("dim", "last", 4),
                    (_style(view, "text"), last, -10),
                    (_style(view, style), shown, -20),
                    _protection(view, position),
                ]
            )
        )
    return lines


def _protection(view: View, position: GatewayUserPosition) -> tuple[str, str, int]:
    """Return the cell that says whether working stops would close the whole position."""
    exit_side = OrderSide.SELL if position.type is PositionType.LONG else OrderSide.BUY
    stopped = sum(
        order.size
        for order in view.account.working_orders
        if order.contract_id == position.contract_id
        and order.side is exit_side
        and order.type in (OrderType.STOP, OrderType.STOP_LIMIT)
    )
    if stopped >= position.size:
        return ("dim", "stop", 7)
    return (_style(view, "loss"), "NO STOP" if not stopped else f"stop {stopped}", 7)


def orders(view: View, _now: datetime, width: int) -> list[Markup]:
    """Working orders."""
    working = view.account.working_orders
    lines = [_title("Working orders", _count(view, len(working)), width)]
    for order in working:
        prices = [
            contract_price(view.account, order.contract_id, value)
            for value in (order.stop_price, order.limit_price)
            if value is not None
        ]
        terms = f"{order_type_name(order.type)} {' limit '.join(prices)}"
        lines.append(
            row(
                [
                    (_style(view, "strong"), contract_name(view.account, order.contract_id), 10),
                    (_style(view, "text"), side_name(order.side), 5),
                    (_style(view, "text"), str(order.size), -4),
                    (_style(view, "text"), terms, max(40, width - 30)),
                ]
            )
        )
    return lines


def quotes(view: View, now: datetime, width: int) -> list[Markup]:
    """The market of each contract, and how old each quote is."""
    known = sorted(view.account.quotes.values(), key=lambda quote: quote.contract_id)
    lines = [_title("Quotes", _count(view, len(known)), width)]
    for quote in known:
        seconds = _age(quote, now)
        prices = [
            contract_price(view.account, quote.contract_id, value)
            for value in (quote.bid, quote.ask, quote.last)
        ]
        # What is last known stands, dimmed and with its age; of a market that is live, silence is news.
        is_silent = view.source is Source.LIVE and seconds > _SILENT_SECONDS
        if is_silent:
            prices = [UNKNOWN] * len(prices)
        is_fresh = seconds <= _STALE_SECONDS
        # Quotes that nobody watches end with the position or the order that they were for.
        is_over = is_silent and not view.account.holds_or_works(quote.contract_id)
        style = _style(view, "text" if is_fresh else "dim")
        told = (
            f"no quote for {age(seconds)}"
            if is_silent
            else age(seconds)
            if is_fresh
            else f"stale {age(seconds)}"
        )
        lines.append(
            row(
                [
                    (_style(view, "strong"), contract_name(view.account, quote.contract_id), 10),
                    ("dim", "bid", 3),
                    (style, prices[0], -11),
                    ("dim", "ask", 3),
                    (style, prices[1], -11),
                    ("dim", "last", 4),
                    (style, prices[2], -11),
                    ("dim" if is_fresh or is_over else "warning", told, 19),
                ]
            )
        )
    return lines


def activity(view: View, _now: datetime, width: int) -> list[Markup]:
    """What happened, newest first."""
    lines = [_title("Activity", "", width)]
    lines.extend(
        [("dim", f"{clock(line.at)} "), (line.style, line.text)] for line in reversed(view.lines)
    )
    return lines


def _open_pnl(view: View, position: GatewayUserPosition, now: datetime) -> OpenPnl:
    """Return a position's P&L; unknown when the market has been silent for too long to say so."""
    quote = view.account.quotes.get(position.contract_id)
    if view.source is Source.LIVE and quote is not None and _age(quote, now) > _SILENT_SECONDS:
        return OpenPnl(None, f"no quote for {age(_age(quote, now))}")
    return position_pnl(view.account, position)


def _unrealized(view: View, now: datetime) -> OpenPnl:
    total = Decimal(0)
    for position in view.account.open_positions:
        pnl = _open_pnl(view, position, now)
        if pnl.amount is None:
            return pnl
        total += pnl.amount
    return OpenPnl(total)


def _is_fresh(view: View, position: GatewayUserPosition, now: datetime) -> bool:
    """Tell whether the position's P&L is that of a moment ago."""
    quote = view.account.quotes.get(position.contract_id)
    return quote is not None and _age(quote, now) <= _STALE_SECONDS


def _age(quote: MarketQuote, now: datetime) -> float:
    return (now - quote.timestamp).total_seconds()


def _when(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "of unknown age"
    return f"{clock(moment)}, {age((now - moment).total_seconds())} ago"


def wrapped(style: str, text: str, width: int, most: int = 2) -> list[Markup]:
    """Return ``text`` in full-width lines, ``most`` of them at the most; none for no text."""
    lines = textwrap.wrap(printable(text), max(1, width - 2), max_lines=most, placeholder="…")
    return [[(style, f" {line} ".ljust(width))] for line in lines]


def _title(text: str, aside: str, width: int) -> Markup:
    head = f"{text} {aside}".strip()
    return [("title", head), ("dim", " " + "─" * max(0, width - len(head) - 1))]


def _count(view: View, number: int) -> str:
    """Return how many there are; without the file, that none was seen is all one can say."""
    if number:
        return f"({number})"
    if view.source is Source.NOTHING:
        return "(not connected yet)"
    return "(none)" if view.seen_since is None else "(none seen)"


def _amount(view: View, amount: Decimal | None, *, is_certain: bool) -> tuple[str, str]:
    if amount is None:
        return ("dim", UNKNOWN)
    return (_style(view, signed_style(amount)) if is_certain else "dim", money(amount))


def _style(view: View, style: str) -> str:
    """Return ``style`` while the numbers are live, and a dimmed one when they are not."""
    return style if view.source is Source.LIVE else "dim"
