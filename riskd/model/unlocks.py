"""What an operator's unlock leaves in force: a baseline for the rules.

An operator may unlock an account beyond a limit.  What led to the lock must not lock it again by itself, so
the unlock is kept until the trading day ends, among the limits in force: there the journal, the published
copy and the rules find it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from riskd.model.account import AccountState, Limit

UNLOCKED: Final = "UNLOCKED"
"""The name of the unlock among the limits in force, in the place of a rule's id."""

UNLOCKED_KEY: Final = "unlocked"

TICK: Final = timedelta(milliseconds=1)
"""What is later by so much is later in the journal, too, which cuts times to milliseconds."""


class Unlock(msgspec.Struct, frozen=True, kw_only=True):
    """The last time that an operator unlocked the account in the trading day.

    :ivar beyond: the ids of the rules whose limits were exceeded then and that have not locked since.
    :ivar excused: those of them whose limits have been exceeded ever since.
    :ivar settings: the settings of the rules in force then, as JSON, by rule id.
    :ivar held: the contracts that were held, short ones negative, by contract id.
    :ivar working: the ids of the working orders.
    """

    at: datetime
    beyond: tuple[str, ...] = ()
    excused: tuple[str, ...] = ()
    settings: Mapping[str, str] = {}
    held: Mapping[str, int] = {}
    working: tuple[int, ...] = ()

    @property
    def limit(self) -> Limit:
        """The unlock, as the journal keeps it."""
        return Limit(UNLOCKED_KEY, msgspec.json.encode(self, order="deterministic").decode())


def last_unlock(state: AccountState) -> Unlock | None:
    """Return the last unlock of the trading day; ``None`` if there was none."""
    limit = state.limits.get(UNLOCKED)
    return None if limit is None else _decode(limit.settings)


def time_after(unlock: Unlock | None, now: datetime) -> datetime:
    """Return the time of what happens now: after an unlock it is a later one.

    Just after a start the broker's time is known to a second only, and may be before the unlock's.
    """
    return now if unlock is None else max(now, unlock.at + TICK)


# Rules ask for it at every check, and it seldom changes.
@lru_cache(maxsize=64)
def _decode(text: str) -> Unlock | None:
    try:
        return msgspec.json.decode(text, type=Unlock)
    except (msgspec.MsgspecError, ValueError):
        return None
