"""Merge the state in the journal into what this run has gathered since."""

from __future__ import annotations

import msgspec

from riskd.model.account import AccountState, Flattening, RiskState, with_trades
from riskd.model.lockouts import with_locks


def merge(known: AccountState, since: AccountState) -> AccountState:
    """Return the two states as one.

    Where both know something, the later state counts.

    :param known: the state that an earlier run of the daemon wrote to the journal.
    :param since: the state that this run has gathered without that knowledge.
    """
    resets = [state.last_reset for state in (known, since) if state.last_reset]
    starts = [state.day_began for state in (known, since) if state.day_began]
    orders = {**known.orders, **since.orders}
    merged = msgspec.structs.replace(
        since,
        limits=since.limits or known.limits,
        contracts={**known.contracts, **since.contracts},
        positions={**known.positions, **since.positions},
        orders={key: order for key, order in orders.items() if key not in since.final_orders},
        quotes={**known.quotes, **since.quotes},
        lockouts=with_locks(known.lockouts, since.lockouts.values()),
        enforcement=tuple(dict.fromkeys((*known.enforcement, *since.enforcement))),
        last_reset=max(resets, key=lambda reset: reset.reset_time, default=None),
        day_began=max(starts, default=None),
        daemon=since.daemon or known.daemon,
        risk=_merge_risk(known.risk, since.risk),
    )
    return with_trades(merged, {**known.trades, **since.trades})


def _merge_risk(known: RiskState, since: RiskState) -> RiskState:
    # Order details and the log are of this run alone: the gateway reports the former again, and the
    # journal has the latter.
    return msgspec.structs.replace(
        since,
        can_trade=known.can_trade if since.can_trade is None else since.can_trade,
        charges={**known.charges, **since.charges},
        earlier_trades={**known.earlier_trades, **since.earlier_trades},
        memory={**known.memory, **since.memory},
        flattening=_merge_flattenings(known.flattening, since.flattening),
        day_key=max((key for key in (known.day_key, since.day_key) if key), default=None),
    )


def _merge_flattenings(known: Flattening | None, since: Flattening | None) -> Flattening | None:
    if known is None or since is None:
        return since or known
    # Neither run has weighed one against the other, so everything is closed and all locks begin.
    return msgspec.structs.replace(
        since, keep=None, locks=(*known.locks, *since.locks), is_announced=False
    )
