"""How long a position may still be without a stop, before riskd closes it.

The time begins when a position is opened, and again when a stop that it had is gone.  Only the daemon's own memory has
the latter, so a session keeps the same windows from the events that it receives.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from riskd.model.account import AccountState
from riskd.model.formatting import contract_name
from riskd.rules.builtin.no_stop_loss_grace import RULE, Settings, Window, windows
from riskd.rules.interface import recall, remember
from trader.model.limit_usage import settings_in_force
from trader.model.view import View, is_stopping


class Unprotected(msgspec.Struct, frozen=True, kw_only=True):
    """A position that riskd closes unless it gets a stop for all its contracts.

    :ivar name: of its contract.
    :ivar closes_at: when riskd closes it; ``None`` if only the daemon knows since when it has none.
    :ivar grace: how long it may have none, in seconds.
    """

    contract_id: str
    name: str
    closes_at: datetime | None
    grace: int

    @property
    def why(self) -> str:
        """What riskd does about it, in words without the time left."""
        when = "" if self.closes_at else f" within {self.grace} s"
        return f"riskd closes {self.name}{when} unless a stop covers it"


def with_windows(account: AccountState, known: AccountState, now: datetime) -> AccountState:
    """Return an account that remembers since when positions have no stop.

    :param known: the account before, whose windows go on.
    """
    settings = settings_in_force(account, RULE.key, Settings)
    if settings is None:
        return account
    memory = {**known.risk.memory, **account.risk.memory}
    risk = msgspec.structs.replace(account.risk, memory=memory)
    state = msgspec.structs.replace(account, risk=risk) if memory else account
    remembered = recall(state, RULE.rule_id, dict[str, Window])
    changed = remember(windows(state, settings, now), remembered)
    if changed is None:
        return account if memory == account.risk.memory else state
    risk = msgspec.structs.replace(account.risk, memory={**memory, RULE.rule_id: changed})
    return msgspec.structs.replace(account, risk=risk)


def unprotected(view: View, now: datetime) -> dict[str, Unprotected]:
    """Return the positions that riskd is about to close, by contract id.

    Nothing while it does not enforce its limits, or while that is not known.
    """
    account = view.account
    is_enforced = view.is_live and view.events_only_since is None and not view.is_dry_run
    if not is_enforced or view.has_daemon_error or is_stopping(view.daemon):
        return {}
    settings = settings_in_force(account, RULE.key, Settings)
    if settings is None:
        return {}
    found = {}
    for contract_id, window in windows(account, settings, now).items():
        ends = window.began + settings.grace
        if not window.is_covered:
            found[contract_id] = Unprotected(
                contract_id=contract_id,
                name=contract_name(account, contract_id),
                closes_at=ends if ends > now else None,
                grace=settings.grace_period_seconds,
            )
    return found


def soonest(positions: dict[str, Unprotected]) -> Unprotected | None:
    """Return the position that riskd closes first; one that is overdue may be it."""
    return min(
        positions.values(),
        key=lambda each: (each.closes_at is not None, each.closes_at),
        default=None,
    )
