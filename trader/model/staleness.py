"""The age of quotes, and the open P&L that they allow to be shown.

These bounds are for the eyes of a trader.  Rules have one of their own, because an old quote is still the best
that they have: :data:`riskd.model.open_pnl.STALE_AFTER`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserPosition, MarketQuote
from riskd.model.money import ZERO
from riskd.model.open_pnl import OpenPnl, position_pnl
from trader.model.formatting import age
from trader.model.view import View

STALE_SECONDS: Final = 5
"""A quote older than this may be outdated."""

SILENT_SECONDS: Final = 30
"""A connected daemon's market without a quote for longer than this has no quote."""


def quote_age(quote: MarketQuote, now: datetime) -> float:
    """Return the age of a quote in seconds."""
    return (now - quote.timestamp).total_seconds()


def is_fresh(state: AccountState, contract_id: str, now: datetime) -> bool:
    """Return whether a contract has a quote that is not stale."""
    quote = state.quotes.get(contract_id)
    return quote is not None and quote_age(quote, now) <= STALE_SECONDS


def open_pnl(view: View, position: GatewayUserPosition, now: datetime) -> OpenPnl:
    """Return a position's P&L; unknown if its last quote is too old.

    Without a connection no quotes can arrive, and the last known price stands.
    """
    quote = view.account.quotes.get(position.contract_id)
    if view.is_live and quote is not None and quote_age(quote, now) > SILENT_SECONDS:
        return OpenPnl(None, f"no quote for {age(quote_age(quote, now))}")
    return position_pnl(view.account, position)


def unrealized_pnl(view: View, now: datetime) -> OpenPnl:
    """Return the P&L of all open positions; unknown if that of one position is."""
    total = ZERO
    for position in view.account.open_positions:
        pnl = open_pnl(view, position, now)
        if pnl.amount is None:
            return pnl
        total += pnl.amount
    return OpenPnl(total)
