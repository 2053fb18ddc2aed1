"""The open P&L of positions, and how far their marks can be relied on.

Gateways send only changes, so a quiet market looks as old as a lost one.  An old quote is still the best
known price: rules against losses use it and warn, rules that take profits wait for a fresh one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from operator import is_
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserPosition
from riskd.model.formatting import contract_name
from riskd.model.marks import Mark, mark
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
    """Return the P&L of a position at its mark; see :mod:`riskd.model.marks`."""
    contract = state.contract(position.contract_id)
    if contract is None:
        return OpenPnl(None, "tick size unknown")
    found = mark(state, position)
    if found is None:
        return OpenPnl(None, "no quote yet")
    return OpenPnl(
        profit(
            side=position.type.sign,
            size=position.size,
            entry=position.average_price,
            exit_=found.price,
            tick_size=contract.tick_size,
            tick_value=contract.tick_value,
        )
    )


def total_pnl(state: AccountState) -> Decimal:
    """Return the dollars that all open positions make; an unknown P&L counts as zero."""
    amounts = (position_pnl(state, position).amount for position in state.open_positions)
    return sum([amount for amount in amounts if amount is not None], ZERO)


def has_stale_quote(state: AccountState, position: GatewayUserPosition, now: datetime) -> bool:
    """Return whether the position has a mark, and that mark is stale."""
    found = mark(state, position)
    return found is not None and _is_stale_mark(found, now)


def _is_stale_mark(found: Mark, now: datetime) -> bool:
    return found.at is not None and now - found.at > STALE_AFTER


def fresh_mark(
    state: AccountState, position: GatewayUserPosition, now: datetime
) -> Decimal | None:
    """Return the price of a position's mark; ``None`` without one, or a stale one."""
    found = mark(state, position)
    return None if found is None or _is_stale_mark(found, now) else found.price


def pnl_warnings(state: AccountState, now: datetime) -> tuple[str, ...]:
    """Return a sentence for each position whose P&L is unknown or may be outdated.

    The sentences hold no figures, so that each stays the same for as long as it is true.
    """
    # Most rules of an evaluation ask; what it depends on is replaced and never changed, so identity tells.
    if state is _latest.state and now is _latest.parts[-1]:
        return _latest.warnings
    parts = (
        *(state.positions, state.quotes, state.outdated_quotes, state.contracts),
        *(state.risk.best_bid_asks, now),
    )
    if not all(map(is_, parts, _latest.parts)):
        _latest.warnings = tuple(
            [
                f"{contract_name(state, position.contract_id)}: {warning}"
                for position in state.positions.values()
                if position.size and (warning := _pnl_warning(state, position, now))
            ]
        )
        _latest.parts = parts
    _latest.state = state
    return _latest.warnings


class _Latest:
    """What :func:`pnl_warnings` has found last, and from which parts of a state."""

    state: AccountState | None = None
    parts: tuple[object, ...] = (None,) * 6
    warnings: tuple[str, ...] = ()


_latest: Final = _Latest()


def _pnl_warning(state: AccountState, position: GatewayUserPosition, now: datetime) -> str:
    if state.contract(position.contract_id) is None:
        return "tick size unknown, its P&L is unknown"
    # This is evaluated with every quote, so it does not compute the P&L.
    found = mark(state, position)
    if found is None:
        return "no quote yet, its P&L is unknown"
    is_stale = _is_stale_mark(found, now)
    return f"the last quote is more than {STALE_AFTER.seconds} s old" if is_stale else ""
