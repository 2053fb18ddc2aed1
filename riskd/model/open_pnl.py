"""The open P&L of positions, and how far its quotes can be relied on.

Gateways send only changes, so a quiet market looks as old as a lost one.  An old quote is still the best
known price: rules against losses use it and warn, rules that take profits wait for a fresh one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserPosition, MarketQuote, PositionType
from riskd.model.formatting import contract_name
from riskd.model.money import ZERO, profit

STALE_AFTER: Final = timedelta(seconds=10)
"""A quote older than this may be outdated."""


class OpenPnl(msgspec.Struct, frozen=True):
    """The open P&L of a position, or why it is unknown.

    :ivar amount: dollars, to the cent; ``None`` while it is unknown.
    :ivar unknown: why it is unknown; empty otherwise.
    """

    amount: Decimal | None
    unknown: str = ""


def position_pnl(state: AccountState, position: GatewayUserPosition) -> OpenPnl:
    """Return the P&L of ``position`` if it were closed at its contract's mark.

    The mark is the last price.  Until there is one, it is the bid for a long position and the ask for a
    short one.
    """
    contract = state.contract(position.contract_id)
    if contract is None:
        return OpenPnl(None, "tick size unknown")
    mark = _mark(state, position)
    if mark is None:
        return OpenPnl(None, "no quote yet")
    return OpenPnl(
        profit(
            side=position.type.sign,
            size=position.size,
            entry=position.average_price,
            exit_=mark,
            tick_size=contract.tick_size,
            tick_value=contract.tick_value,
        )
    )


def _mark(state: AccountState, position: GatewayUserPosition) -> Decimal | None:
    quote = state.quotes.get(position.contract_id)
    if quote is not None:
        return quote.last
    best = state.risk.best_bid_asks.get(position.contract_id)
    if best is None:
        return None
    return best.bid if position.type is PositionType.LONG else best.ask


def total_pnl(state: AccountState) -> Decimal:
    """Return the dollars that all open positions make; an unknown P&L counts as zero."""
    amounts = (position_pnl(state, position).amount for position in state.open_positions)
    return sum([amount for amount in amounts if amount is not None], ZERO)


def is_stale(quote: MarketQuote, now: datetime) -> bool:
    """Return whether ``quote`` is too old to be relied on."""
    return now - quote.timestamp > STALE_AFTER


def has_stale_quote(state: AccountState, position: GatewayUserPosition, now: datetime) -> bool:
    """Return whether the position's contract has a quote, and that quote is stale."""
    quote = state.quotes.get(position.contract_id)
    return quote is not None and is_stale(quote, now)


def pnl_warnings(state: AccountState, now: datetime) -> tuple[str, ...]:
    """Return a sentence for each position whose P&L is unknown or may be outdated.

    The sentences hold no figures, so that each stays the same for as long as it is true.
    """
    return tuple(
        [
            f"{contract_name(state, position.contract_id)}: {warning}"
            for position in state.positions.values()
            if position.size and (warning := _pnl_warning(state, position, now))
        ]
    )


def _pnl_warning(state: AccountState, position: GatewayUserPosition, now: datetime) -> str:
    quote = state.quotes.get(position.contract_id)
    # A fresh quote of a known contract settles it, and this is asked about every quote.
    if quote is not None and state.contract(position.contract_id) is not None:
        is_old = is_stale(quote, now)
        return f"the last quote is more than {STALE_AFTER.seconds} s old" if is_old else ""
    unknown = position_pnl(state, position).unknown
    return f"{unknown}, its P&L is unknown" if unknown else ""
