"""What open positions are worth by their quotes, and how far those quotes can be relied on.

Gateways send what changed, so a quiet market looks as old as a lost one.  An old quote is the best
there is: rules against losses go by it and say so, rules that take profits wait for a fresh one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from riskd.model.account import AccountState, position_pnl
from riskd.model.events import GatewayUserPosition, MarketQuote
from riskd.model.formatting import name_of
from riskd.model.money import ZERO
from riskd.rules.interface import Trigger

STALE_AFTER: Final = timedelta(seconds=10)
"""A quote that is older than this may no longer be so."""


def is_stale(quote: MarketQuote, now: datetime) -> bool:
    """Tell whether ``quote`` is too old to be relied on."""
    return now - quote.timestamp > STALE_AFTER


class Scope(StrEnum):
    """Whether a limit is each position's own, or that of all of them together."""

    PER_POSITION = "per_position"
    TOTAL = "total"


def concerned(state: AccountState, trigger: Trigger) -> tuple[GatewayUserPosition, ...]:
    """Return the open positions whose P&L may have changed: a quote moves only its own contract's."""
    if not isinstance(trigger.subject, MarketQuote):
        return state.open_positions
    position = state.positions.get(trigger.subject.contract_id)
    return (position,) if position and position.size else ()


def has_stale_quote(state: AccountState, position: GatewayUserPosition, now: datetime) -> bool:
    """Tell whether the quote of a position's contract, if there is one, is too old."""
    quote = state.quotes.get(position.contract_id)
    return quote is not None and is_stale(quote, now)


def total_pnl(state: AccountState) -> Decimal:
    """Return the dollars that all open positions would make; what is unknown counts as nothing."""
    amounts = (position_pnl(state, position).amount for position in state.open_positions)
    return sum([amount for amount in amounts if amount is not None], ZERO)


def doubts(state: AccountState, now: datetime) -> tuple[str, ...]:
    """Return a sentence for each open position whose P&L is unknown or may have changed.

    The sentences hold no figures, so that they stay the same for as long as they are true.
    """
    return tuple(
        [
            f"{name_of(state, position.contract_id)}: {doubt}"
            for position in state.positions.values()
            if position.size and (doubt := _doubt(state, position, now))
        ]
    )


def _doubt(state: AccountState, position: GatewayUserPosition, now: datetime) -> str:
    quote = state.quotes.get(position.contract_id)
    if state.contract(position.contract_id) is None:
        return "tick size unknown, its P&L is unknown"
    if quote is None:
        unknown = position_pnl(state, position).unknown
        return f"{unknown}, its P&L is unknown" if unknown else ""
    if is_stale(quote, now):
        return f"the last quote is more than {STALE_AFTER.seconds} s old"
    return ""
