"""What the rules that start cooldowns after trades have in common."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

import msgspec

from riskd.model.account import AccountState
from riskd.model.lockouts import locks_in_force
from riskd.model.unlocks import Unlock
from riskd.rules.interface import Flatten, Lock

_Settings = TypeVar("_Settings")

_LATE: Final = timedelta(seconds=10)

_CLOCK_ERROR: Final = timedelta(seconds=1)
"""How far the broker's time by riskd's estimate, as in a lock, may be ahead of that in a trade."""


def was_just_executed(executed: datetime, now: datetime) -> bool:
    """Return whether a trade was executed just now, as far as clocks agree.

    Its cooldown counts from now; that of a trade that is known later, from its execution.
    """
    return now - executed < _LATE


def was_locked(state: AccountState, executed: datetime, now: datetime, *, but: str = "") -> bool:
    """Return whether a lock that is in force was when a trade was executed.

    A trade from before the lock may become known late; what riskd itself closes in a lock starts no cooldown.

    :param but: the rule whose lock does not count.
    """
    return any(
        lock.locked_at - _CLOCK_ERROR < executed
        for lock in locks_in_force(state, now)
        if lock.rule_id != but
    )


def start_cooldown(reason: str, until: datetime, now: datetime) -> Flatten:
    """Return the command that closes everything and locks the account until a moment."""
    # The wire has whole seconds, and a cooldown must not look shorter than it is.
    seconds = math.ceil((until - now).total_seconds())
    return Flatten(reason=reason, lock=Lock(until=until, cooldown_seconds=seconds))


def settings_at(unlock: Unlock, rule_id: str, kind: type[_Settings]) -> _Settings | None:
    """Return the settings of a rule when an operator unlocked the account.

    ``None`` if it was not in force, or if riskd cannot read its settings any more.
    """
    text = unlock.settings.get(rule_id)
    return None if text is None else _decode(text, cast(Any, kind))


# The rules ask for them at every check.
@lru_cache(maxsize=64)
def _decode(text: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, ValueError):
        return None
