"""The reduce-only stage: near a limit, an account may only close what it holds.

It is no lock.  Like an unlock, it is kept among the limits in force: there the journal, the published copy and
the consoles find it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec

from riskd.model.account import AccountState, Limit

REDUCE_ONLY: Final = "REDUCE_ONLY"
"""The name of the stage among the limits in force, in the place of a rule's id."""

REDUCE_ONLY_KEY: Final = "reduce_only"


class ReduceOnly(msgspec.Struct, frozen=True, kw_only=True):
    """The stage of an account.

    :ivar since: when it began.
    :ivar reasons: why the rules ask for it, by their ids; the first rule enforces it.
    :ivar held: the contracts that may be held, short ones negative, by contract id: what was held when the
        stage began, less what was closed since.
    :ivar is_dry_run: whether it is only reported.
    """

    since: datetime
    reasons: Mapping[str, str]
    held: Mapping[str, int] = {}
    is_dry_run: bool = False

    @property
    def reason(self) -> str:
        """Why the stage is in force, in a sentence without a full stop."""
        return next(iter(self.reasons.values()))

    @property
    def rule_id(self) -> str:
        """The rule that enforces it."""
        return next(iter(self.reasons))

    @property
    def limit(self) -> Limit:
        """The stage, as the journal keeps it."""
        return Limit(REDUCE_ONLY_KEY, msgspec.json.encode(self).decode())


def reduce_only_stage(state: AccountState) -> ReduceOnly | None:
    """Return the stage of an account; ``None`` if it may open positions."""
    limit = state.limits.get(REDUCE_ONLY)
    return None if limit is None else _decode(limit.settings)


# Screens ask for it each time that they are drawn, and it seldom changes.
@lru_cache(maxsize=64)
def _decode(text: str) -> ReduceOnly | None:
    try:
        stage = msgspec.json.decode(text, type=ReduceOnly)
    except (msgspec.MsgspecError, ValueError):
        return None
    return stage if stage.reasons else None
