"""How a follower of the stream applies an event to an account.

A follower has the published copy and the events since; the daemon, which makes both, has more.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from riskd.model.account import AccountState, apply
from riskd.model.balance import with_change
from riskd.model.events import Event, GatewayUserPosition, GatewayUserTrade, MarketQuote


def after_event(account: AccountState, event: Event) -> AccountState:
    """Return the account after an event, as :func:`riskd.model.account.apply` does.

    A new trade counts in the balance at once; its fees come with the next copy.
    """
    after, trade = apply(account, event), event.data
    if not isinstance(trade, GatewayUserTrade) or after.balance.agreed is None:
        return after
    # One that was known or voided changes nothing.
    if trade.id in account.trades or trade.id not in after.trades:
        return after
    return msgspec.structs.replace(
        after, balance=with_change(after.balance, trade.profit_and_loss)
    )


def after_quotes(account: AccountState, quotes: Iterable[MarketQuote]) -> AccountState:
    """Return the account after quotes.

    It is what :func:`after_event` returns for one after the other, in the order of receipt.
    """
    known = {**account.quotes}
    is_new = False
    for quote in quotes:
        before = known.get(quote.contract_id)
        # As in apply_quote().
        if before is not None and (quote.timestamp < before.timestamp or quote == before):
            continue
        known[quote.contract_id] = quote
        is_new = True
    return msgspec.structs.replace(account, quotes=known) if is_new else account


def in_order_of_arrival(account: AccountState, event: Event) -> Event:
    """Return ``event`` so that it applies if it is final, whatever its stamp."""
    position = event.data
    if not isinstance(position, GatewayUserPosition) or position.size:
        return event
    known = account.positions.get(position.contract_id)
    if known is None or known.id != position.id or known.updated_at <= position.updated_at:
        return event
    closed = msgspec.structs.replace(position, updated_at=known.updated_at)
    return Event(event.account_id, closed)
