"""The panels of the overview: P&L, positions, orders, quotes and activity."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Final

from riskd.model.account import AccountState
from riskd.model.equity import net_pnl
from riskd.model.events import (
    GatewayUserOrder,
    GatewayUserPosition,
    MarketQuote,
    OrderSide,
    OrderType,
    PositionType,
)
from riskd.model.formatting import contract_name
from riskd.model.lockouts import is_exit
from trader.model.day_trades import latest_trade
from trader.model.formatting import UNKNOWN, age, clock, countdown, money, price
from trader.model.limit_usage import unknown_open_pnl
from trader.model.same import Same
from trader.model.stop_grace import Unprotected, unprotected
from trader.model.view import (
    SILENT_SECONDS,
    STALE_SECONDS,
    Source,
    View,
    is_empty,
    is_fresh,
    open_pnl,
    quote_age,
    unknown_reason,
    unrealized_pnl,
)
from trader.model.wording import (
    FeedLine,
    average_price,
    contract_price,
    order_prices,
    order_type_name,
    side_name,
)
from trader.ui.disconnected import broker_count, current_style, data_age, unknown_line
from trader.ui.styled_text import StyledLine, length, panel_title, pnl_style, table_row

Panel = Callable[[View, datetime, int], list[StyledLine]]
"""Takes a view, the time and a width in columns; returns a title and rows."""

_NOT_CONNECTED: Final = "not connected yet; twistd -n riskd starts the daemon"

_WIDE: Final = 80
"""Columns from which on there is room for every figure of a row."""

_TERMS: Final = 38
"""Columns for the type and the prices of an order, at least."""

_P_AND_L: Final = 20
_STOP: Final = 9
"""Columns for the P&L of a position, and at least for its stop."""

_P_AND_L_END: Final = 50
"""Where the column of the P&L ends in a narrow row."""

_QUOTE_HEADS: Final = (("bid", 19), ("ask", 30), ("last", 41))
"""The titles of a narrower row's columns, and where each column ends."""


def pnl(view: View, now: datetime, width: int) -> list[StyledLine]:
    """Return realized, unrealized and total P&L, and the number of trades."""
    if view.source is Source.NOTHING:
        return [panel_title("P&L", width), unknown_line(_NOT_CONNECTED)]
    since, account = view.events_only_since, view.account
    name = "P&L of the day" if since is None else f"P&L seen since {clock(since)}"
    reason = unknown_reason(view)
    if since is not None and is_empty(account):
        reason = "no trade or position seen yet"
    if reason:
        return [panel_title(name, width), unknown_line(reason)]
    held = account.open_positions
    unrealized = unrealized_pnl(view, now)
    total = None if unrealized.amount is None else account.realized_pnl + unrealized.amount
    is_certain = all(is_fresh(account, position.contract_id, now) for position in held)
    figures = [
        *_figure(view, "Realized", account.realized_pnl, is_certain=True),
        *_figure(view, "Unrealized", unrealized.amount, is_certain=is_certain),
    ]
    more_figures = [
        *_figure(view, "Total", total, is_certain=is_certain),
        *_net(view, now, is_certain=is_certain),
        ("dim", "Trades "),
        (current_style(view, "strong"), str(account.trade_count)),
    ]
    if unrealized.unknown:
        more_figures.append(("dim", f"  ({unrealized.unknown})"))
    last = latest_trade(Same(account.trades))
    marks = [account.quotes.get(position.contract_id) for position in held]
    moments = [
        *([] if last is None else [last]),
        *(quote.timestamp for quote in marks if quote is not None),
    ]
    title = panel_title(name, width, data_age(view, moments, now))
    if width >= _WIDE and length(figures) + length(more_figures) <= width:
        return [title, [*figures, *more_figures]]
    return [title, figures, more_figures]


def _net(view: View, now: datetime, *, is_certain: bool) -> StyledLine:
    """Return the P&L after fees, by which limits go; nothing if it is unknown."""
    is_known = view.account.balance.agreed is not None and view.events_only_since is None
    if not is_known or unknown_open_pnl(view, now):
        return []
    return _figure(view, "Net", net_pnl(view.account), is_certain=is_certain)


def _figure(view: View, name: str, amount: Decimal | None, *, is_certain: bool) -> StyledLine:
    return [("dim", f"{name} "), _amount(view, amount, is_certain=is_certain), (None, "   ")]


def _amount(view: View, amount: Decimal | None, *, is_certain: bool) -> tuple[str, str]:
    """Return style and text of a P&L.

    :param is_certain: whether its quotes are fresh; otherwise it is dimmed.
    """
    if amount is None:
        return ("dim", UNKNOWN)
    style = current_style(view, pnl_style(amount)) if is_certain else "dim"
    return (style, money(amount))


def positions(view: View, now: datetime, width: int) -> list[StyledLine]:
    """Return the open positions with their P&L at the last price."""
    held = view.account.open_positions
    contracts = sum(position.size for position in held)
    count = broker_count(view, contracts)
    if len(held) != contracts:
        count = f"({len(held)}, {contracts} contracts)"
    moments = [position.updated_at for position in view.account.positions.values()]
    # One without a stop must be in sight.
    shown = sorted(held, key=lambda position: _stopped(view, position) >= position.size)
    bare = unprotected(view, now)
    stops = [_protection(view, each, bare.get(each.contract_id), now) for each in shown]
    # Seconds to act in take the room of the reason for an unknown P&L, which stands above the tables as well.
    stop_width = max([_STOP, *(len(words) for _, words in stops)])
    # Rows that have room name each figure themselves.
    heads = [("last", 29), ("open P&L", _P_AND_L_END + _STOP - stop_width)]
    title = panel_title(
        f"Positions {count}",
        width,
        data_age(view, moments, now),
        heads if held and width < _WIDE else (),
    )
    return [
        title,
        *(
            _position(view, position, now, width, (*stop, stop_width))
            for position, stop in zip(shown, stops, strict=True)
        ),
    ]


def _position(
    view: View,
    position: GatewayUserPosition,
    now: datetime,
    width: int,
    stop: tuple[str, str, int],
) -> StyledLine:
    account, contract_id = view.account, position.contract_id
    unrealized = open_pnl(view, position, now)
    is_certain = is_fresh(account, contract_id, now)
    style, amount = _amount(view, unrealized.amount, is_certain=is_certain)
    quote = account.quotes.get(contract_id)
    last = contract_price(account, contract_id, quote.last) if quote else UNKNOWN
    text = current_style(view, "text")
    room, result = _P_AND_L + _STOP - stop[2], f"{amount} {unrealized.unknown}".rstrip()
    entry = [("dim", "avg", 3), (text, average_price(account, position), -10), ("dim", "last", 4)]
    return table_row(
        [
            (current_style(view, "strong"), contract_name(account, contract_id), 8),
            (text, side_name(position.type), 5),
            (text, str(position.size), -3),
            *(entry if width >= _WIDE else []),
            (text, last, -10),
            (style, result if len(result) <= room else amount, -room),
            stop,
        ]
    )


def _protection(
    view: View, position: GatewayUserPosition, bare: Unprotected | None, now: datetime
) -> tuple[str, str]:
    """Return whether stops would close the whole position, or when riskd does."""
    stopped = _stopped(view, position)
    if stopped >= position.size and bare is None:
        return "dim", "stop"
    if not stopped and view.events_only_since is not None:
        # Without the state file, a stop that was placed before the connection is not known.
        return "dim", f"stop {UNKNOWN}"
    words = f"STOP {stopped}/{position.size}" if stopped else "NO STOP"
    if bare is not None and bare.closes_at is not None:
        words = f"{words} {countdown((bare.closes_at - now).total_seconds())}"
    return current_style(view, "loss"), words


def _stopped(view: View, position: GatewayUserPosition) -> int:
    """Return how many contracts working stops would close."""
    exit_side = OrderSide.SELL if position.type is PositionType.LONG else OrderSide.BUY
    return sum(
        order.size
        for order in view.account.working_orders
        if order.contract_id == position.contract_id
        and order.side is exit_side
        and order.type in (OrderType.STOP, OrderType.STOP_LIMIT)
    )


def orders(view: View, now: datetime, width: int) -> list[StyledLine]:
    """Return the working orders; on a wide screen each is an exit or an entry."""
    account, working = view.account, view.account.working_orders
    # The end of an order is a change of this panel, too.
    moments = [*(order.updated_at for order in working), *account.final_orders.values()]
    name = f"Working orders {broker_count(view, len(working))}"
    strong, text = current_style(view, "strong"), current_style(view, "text")
    # Without the state file, positions from before the connection are not known.
    has_effect = width >= _WIDE and view.events_only_since is None
    return [
        panel_title(name, width, data_age(view, moments, now)),
        *(
            table_row(
                [
                    (strong, contract_name(account, order.contract_id), 10),
                    (text, side_name(order.side), 5),
                    (text, str(order.size), -4),
                    (
                        text,
                        f"{order_type_name(order.type)} {order_prices(order, account)}",
                        max(_TERMS, width - 36),
                    ),
                    *([("dim", _effect(account, order), 5)] if has_effect else []),
                ]
            )
            for order in working
        ),
    ]


def _effect(account: AccountState, order: GatewayUserOrder) -> str:
    """Return ``exit`` for an order that would only close contracts.

    A stop that is left of a closed position is an entry, as one for more contracts than are held.
    """
    held = account.positions.get(order.contract_id)
    is_whole = held is not None and order.size <= held.size
    return "exit" if is_whole and is_exit(account, order) else "entry"


def quotes(view: View, now: datetime, width: int) -> list[StyledLine]:
    """Return the quote of each contract, and its age."""
    known = sorted(view.account.quotes.values(), key=lambda quote: quote.contract_id)
    name = f"Quotes {broker_count(view, len(known))}"
    moments = [quote.timestamp for quote in known]
    heads = _QUOTE_HEADS if known and width < _WIDE else ()
    title = panel_title(name, width, data_age(view, moments, now), heads)
    return [title, *(_quote(view, quote, now, width) for quote in known)]


def _quote(view: View, quote: MarketQuote, now: datetime, width: int) -> StyledLine:
    account, contract = view.account, view.account.contract(quote.contract_id)
    places = contract.price_places if contract else None
    seconds = quote_age(quote, now)
    # A last known quote stays, dimmed and with its age; a live market that is silent has no quote.
    is_silent = view.is_live and seconds > SILENT_SECONDS
    is_new = seconds <= STALE_SECONDS
    if is_silent:
        state = f"no quote for {age(seconds)}"
    else:
        state = age(seconds) if is_new else f"stale {age(seconds)}"
    style = current_style(view, "text" if is_new else "dim")
    contract_words = contract.name if contract else quote.contract_id
    cells = [(current_style(view, "strong"), contract_words, 8)]
    for name, value in (("bid", quote.bid), ("ask", quote.ask), ("last", quote.last)):
        shown = UNKNOWN if is_silent else price(value, places)
        if width >= _WIDE:
            cells += [("dim", name, len(name)), (style, shown, -11)]
        else:
            cells.append((style, shown, -10))
    # The daemon subscribes only to contracts with a position or a working order; other quotes just end.
    is_expected = is_silent and not account.holds_or_works(quote.contract_id)
    state_style = "dim" if is_new or is_expected else "warning"
    return table_row([*cells, (state_style, state, len(state))])


def activity(view: View, now: datetime, width: int, rows: int) -> list[StyledLine]:
    """Return the newest lines of the feed, ``rows`` lines with the title."""
    title = panel_title(
        "Activity", width, data_age(view, [line.at for line in view.feed[-1:]], now)
    )
    newest = islice(reversed(view.feed), max(0, rows - 1))
    return [title, *map(feed_line, newest)][: max(0, rows)]


def feed_line(line: FeedLine) -> StyledLine:
    """Return a line of the feed with its time."""
    return [("dim", f"{clock(line.at)} "), (line.style, line.text)]
