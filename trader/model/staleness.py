"""How old a quote is, and what that says of it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from riskd.model.account import AccountState
from riskd.model.events import MarketQuote

STALE_SECONDS: Final = 5
"""A quote that is older than this may no longer be so."""

SILENT_SECONDS: Final = 30
"""A market of which nothing was heard for longer than this has no quote."""


def quote_age(quote: MarketQuote, now: datetime) -> float:
    """Return the age of a quote in seconds."""
    return (now - quote.timestamp).total_seconds()


def is_fresh(state: AccountState, contract_id: str, now: datetime) -> bool:
    """Tell whether a contract's quote is that of a moment ago."""
    quote = state.quotes.get(contract_id)
    return quote is not None and quote_age(quote, now) <= STALE_SECONDS


def silence(state: AccountState, contract_id: str, now: datetime) -> float | None:
    """Return for how many seconds the market of a contract has been silent; ``None`` if it is not."""
    quote = state.quotes.get(contract_id)
    if quote is None:
        return None
    seconds = quote_age(quote, now)
    return seconds if seconds > SILENT_SECONDS else None
