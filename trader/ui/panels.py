"""The panels of the overview: each turns a view into lines of styled text, and knows nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Final

from riskd.model.events import (
    GatewayUserPosition,
    MarketQuote,
    OrderSide,
    OrderType,
    PositionType,
)
from riskd.model.open_pnl import OpenPnl, position_pnl
from trader.model.activity import (
    FeedLine,
    average_price,
    contract_name,
    contract_price,
    order_type_name,
    position_side,
    side_name,
)
from trader.model.formatting import UNKNOWN, age, clock, money
from trader.model.staleness import STALE_SECONDS, is_fresh, quote_age, silence
from trader.model.view import Source, View, is_empty, unknown_reason
from trader.ui.disconnected import count, freshness, shade
from trader.ui.styled_text import Markup, row, signed_style, title

Panel = Callable[[View, datetime, int], list[Markup]]
"""Takes a view, the time and a width in columns; returns lines."""

_NOT_YET: Final = "not connected yet; twistd -n riskd starts the daemon"

_WIDE: Final = 80
"""From so many columns on there is room for every figure of a row."""


def pnl(view: View, now: datetime, width: int) -> list[Markup]:
    """Realized, unrealized and total P&L, and the number of trades."""
    if view.source is Source.NOTHING:
        return [title("P&L", width), [("dim", f"{UNKNOWN}  {_NOT_YET}")]]
    if reason := unknown_reason(view):
        return [title("P&L of the day", width), [("dim", f"{UNKNOWN}  {reason}")]]
    since = view.events_only_since
    head = "P&L of the day" if since is None else f"P&L seen since {clock(since)}"
    account = view.account
    if since is not None and is_empty(account):
        return [title(head, width), [("dim", f"{UNKNOWN}  no trade and no position was seen yet")]]
    unrealized = _unrealized(view, now)
    total = None if unrealized.amount is None else account.realized_pnl + unrealized.amount
    held = account.open_positions
    is_certain = all(is_fresh(account, position.contract_id, now) for position in held)
    figures = [
        _figure(view, "Realized", account.realized_pnl, is_certain=True),
        _figure(view, "Unrealized", unrealized.amount, is_certain=is_certain),
        _figure(view, "Total", total, is_certain=is_certain),
    ]
    trades: Markup = [("dim", "Trades "), (shade(view, "strong"), str(account.trade_count))]
    if unrealized.unknown:
        trades.append(("dim", f"  ({unrealized.unknown})"))
    moments = [trade.timestamp for trade in account.trades.values()]
    top = title(head, width, freshness(view, [*moments, *_quoted(view, held)], now))
    if width >= _WIDE:
        return [top, [*figures[0], *figures[1], *figures[2], *trades]]
    return [top, [*figures[0], *figures[1]], [*figures[2], *trades]]


def positions(view: View, now: datetime, width: int) -> list[Markup]:
    """Open positions with their P&L at the last price."""
    held = view.account.open_positions
    contracts = sum(position.size for position in held)
    number = (
        count(view, contracts)
        if len(held) == contracts
        else f"({len(held)}, {contracts} contracts)"
    )
    moments = [position.updated_at for position in view.account.positions.values()]
    lines = [title(f"Positions {number}", width, freshness(view, moments, now))]
    return lines + [_position(view, position, now, width) for position in held]


def _position(view: View, position: GatewayUserPosition, now: datetime, width: int) -> Markup:
    account = view.account
    value = _open_pnl(view, position, now)
    quote = account.quotes.get(position.contract_id)
    is_certain = is_fresh(account, position.contract_id, now)
    style = signed_style(value.amount or Decimal(0)) if is_certain else "dim"
    shown = money(value.amount) if value.amount is not None else f"{UNKNOWN} {value.unknown}"
    last = contract_price(account, position.contract_id, quote.last) if quote else UNKNOWN
    entry = [("dim", "avg", 3), (shade(view, "text"), average_price(account, position), -10)]
    return row(
        [
            (shade(view, "strong"), contract_name(account, position.contract_id), 8),
            (shade(view, "text"), position_side(position), 5),
            (shade(view, "text"), str(position.size), -3),
            *(entry if width >= _WIDE else []),
            *([("dim", "last", 4)] if width >= _WIDE else []),
            (shade(view, "text"), last, -10),
            (shade(view, style), shown, -20),
            _protection(view, position),
        ]
    )


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
        return ("dim", "stop", 9)
    if not stopped and view.events_only_since is not None:
        # One that was placed before the connection was made has not been heard of.
        return ("dim", f"stop {UNKNOWN}", 9)
    partly = f"STOP {stopped}/{position.size}"
    return (shade(view, "loss"), partly if stopped else "NO STOP", 9)


def orders(view: View, now: datetime, width: int) -> list[Markup]:
    """Working orders."""
    working = view.account.working_orders
    # An order that has ended is news of this panel, too.
    moments = [*(order.updated_at for order in working), *view.account.final_orders.values()]
    head = f"Working orders {count(view, len(working))}"
    lines = [title(head, width, freshness(view, moments, now))]
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
                    (shade(view, "strong"), contract_name(view.account, order.contract_id), 10),
                    (shade(view, "text"), side_name(order.side), 5),
                    (shade(view, "text"), str(order.size), -4),
                    (shade(view, "text"), terms, max(38, width - 30)),
                ]
            )
        )
    return lines


def quotes(view: View, now: datetime, width: int) -> list[Markup]:
    """The market of each contract, and how old each quote is."""
    known = sorted(view.account.quotes.values(), key=lambda quote: quote.contract_id)
    head = f"Quotes {count(view, len(known))}"
    moments = [quote.timestamp for quote in known]
    lines = [title(head, width, freshness(view, moments, now))]
    return lines + [_quote(view, quote, now, width) for quote in known]


def _quote(view: View, quote: MarketQuote, now: datetime, width: int) -> Markup:
    seconds = quote_age(quote, now)
    account = view.account
    prices = [
        contract_price(account, quote.contract_id, value)
        for value in (quote.bid, quote.ask, quote.last)
    ]
    # What is last known stands, dimmed and with its age; of a market that is live, silence is news.
    is_silent = view.source is Source.LIVE and silence(account, quote.contract_id, now) is not None
    if is_silent:
        prices = [UNKNOWN] * len(prices)
    is_new = seconds <= STALE_SECONDS
    told = f"no quote for {age(seconds)}" if is_silent else age(seconds)
    if not is_silent and not is_new:
        told = f"stale {age(seconds)}"
    style = shade(view, "text" if is_new else "dim")
    cells: list[tuple[str, str, int]] = [
        (shade(view, "strong"), contract_name(account, quote.contract_id), 8)
    ]
    for name, price in zip(("bid", "ask", "last"), prices, strict=True):
        if width >= _WIDE:
            cells += [("dim", name, len(name)), (style, price, -11)]
        else:
            cells.append((style, price, -10))
    # Quotes that nobody watches end with the position or the order that they were for.
    is_over = is_silent and not account.holds_or_works(quote.contract_id)
    told_style = "dim" if is_new or is_over else "warning"
    return row([*cells, (told_style, told, len(told))])


def activity(view: View, now: datetime, width: int, rows: int) -> list[Markup]:
    """What happened, newest first, as much as there are rows for."""
    head = title("Activity", width, freshness(view, [line.at for line in view.feed[-1:]], now))
    newest = islice(reversed(view.feed), max(0, rows - 1))
    return [head, *(feed_line(line) for line in newest)][: max(0, rows)]


def feed_line(line: FeedLine) -> Markup:
    """Return a line of the feed."""
    return [("dim", f"{clock(line.at)} "), (line.style, line.text)]


def _open_pnl(view: View, position: GatewayUserPosition, now: datetime) -> OpenPnl:
    """Return a position's P&L; unknown when the market has been silent for too long to say so."""
    silent = silence(view.account, position.contract_id, now)
    if view.source is Source.LIVE and silent is not None:
        return OpenPnl(None, f"no quote for {age(silent)}")
    return position_pnl(view.account, position)


def _unrealized(view: View, now: datetime) -> OpenPnl:
    total = Decimal(0)
    for position in view.account.open_positions:
        pnl = _open_pnl(view, position, now)
        if pnl.amount is None:
            return pnl
        total += pnl.amount
    return OpenPnl(total)


def _quoted(view: View, held: tuple[GatewayUserPosition, ...]) -> list[datetime]:
    """Return when what is held was quoted."""
    known = [view.account.quotes.get(position.contract_id) for position in held]
    return [quote.timestamp for quote in known if quote is not None]


def _figure(view: View, name: str, amount: Decimal | None, *, is_certain: bool) -> Markup:
    if amount is None:
        return [("dim", f"{name} "), ("dim", UNKNOWN), "   "]
    style = shade(view, signed_style(amount)) if is_certain else "dim"
    return [("dim", f"{name} "), (style, money(amount)), "   "]
