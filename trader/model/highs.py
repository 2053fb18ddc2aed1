"""The highs that trailing limits follow, such as an intraday floor.

No event has them: a live account raises them with its quotes, and takes over those of the published copy, which also
follow the quotes that a console has not received.
"""

from __future__ import annotations

import msgspec

from riskd.model.account import AccountState
from riskd.model.balance import Balance, FirmFloor, highest
from riskd.model.equity import with_highs


def with_live_highs(account: AccountState) -> AccountState:
    """Return an account with the highs that its equity reaches now.

    The same object if none is higher, or no balance is known.  Not to be asked for between a trade and the change of
    its position, when its P&L counts twice.
    """
    balance = account.balance
    if balance.agreed is None:
        return account
    # The copy never says that the balance is settled; until it is, the daemon's own highs come with the copy.
    settled = msgspec.structs.replace(balance, is_settled=True)
    known = msgspec.structs.replace(account, balance=settled)
    after = with_highs(known)
    if after is known:
        return account
    raised = msgspec.structs.replace(after.balance, is_settled=balance.is_settled)
    return msgspec.structs.replace(after, balance=raised)


def with_published(account: AccountState, copy: AccountState) -> AccountState:
    """Return a live account with the limits of the copy, and its higher highs."""
    known, published = account.balance, copy.balance
    if known.agreed is not None and account.day_began == copy.day_began:
        known = msgspec.structs.replace(
            known,
            high_realized=max(known.high_realized, published.high_realized),
            high_net=max(known.high_net, published.high_net),
            peak=highest(known.peak, published.peak),
            firm_floor=_firm_floor(known, published.firm_floor),
        )
    return msgspec.structs.replace(account, limits=copy.limits, balance=known)


def _firm_floor(known: Balance, published: FirmFloor | None) -> FirmFloor | None:
    floor = known.firm_floor
    if floor is None or published is None or floor.at != published.at:
        return floor
    return msgspec.structs.replace(floor, peak=highest(floor.peak, published.peak))
