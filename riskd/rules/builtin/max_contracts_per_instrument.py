"""RULE-002: no more than so many contracts of one root, all its expiries together.

The rule locks nothing: to open again is legal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserPosition
from riskd.model.formatting import counted
from riskd.rules.interface import Flatten, Gauge, RuleResult, Trigger
from riskd.rules.reduction import by_root, reduced, total_size
from riskd.rules.settings import Contracts, RuleSettings, Ticker

_BLOCK: Final = "block"
_ALLOW_UNLIMITED: Final = "allow_unlimited"
_ALLOW_WITH_LIMIT: Final = re.compile(r"allow_with_limit:(?P<limit>[1-9][0-9]{0,3})")
_MOST: Final = 9999

_TIME_TO_LEARN: Final = timedelta(seconds=5)
"""How long the gateway may take to say what a contract is, before that contract counts as unlisted."""


class Enforcement(StrEnum):
    """What is done about too many contracts of a root."""

    REDUCE_TO_LIMIT = "reduce_to_limit"
    CLOSE_ALL = "close_all"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """How many contracts of each root may be held.

    :ivar limits: contracts, by root; upper and lower case are the same.
    :ivar enforcement: close only what is too much, the largest position first, or all of the root.
    :ivar unknown_symbol_action: what of roots that are not listed: ``block``, ``allow_unlimited``, or
        ``allow_with_limit:2`` for at most 2 contracts of each.
    """

    limits: dict[Ticker, Contracts] = msgspec.field(default_factory=dict)
    enforcement: Enforcement = Enforcement.REDUCE_TO_LIMIT
    unknown_symbol_action: str = _BLOCK

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = {root.upper(): limit for root, limit in self.limits.items()}
        if len(limits) < len(self.limits):
            raise ValueError(f"limits: expected each root once, got {', '.join(self.limits)}")
        msgspec.structs.force_setattr(self, "limits", limits)
        _limit_of_unlisted(self.unknown_symbol_action)

    def limit(self, root: str) -> int | None:
        """Return how many contracts of ``root`` may be held; ``None`` means any number."""
        if root in self.limits:
            return self.limits[root]
        return _limit_of_unlisted(self.unknown_symbol_action)


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close what is too much of each root."""
    waits = _waits(state, trigger.now)
    breaches = (
        _breach(root, positions, settings)
        for root, positions in by_root(state).items()
        if positions[0].contract_id not in waits
    )
    return RuleResult(
        commands=tuple(breach for breach in breaches if breach),
        wake_at=min(waits.values(), default=None),
        warnings=tuple(
            f"{contract_id}: not known yet, no limit is applied" for contract_id in waits
        ),
    )


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Say how many contracts are held of each root that is listed or held."""
    held = {root: total_size(positions) for root, positions in by_root(state).items()}
    roots = dict.fromkeys([*settings.limits, *held])
    return tuple(_gauge(root, settings.limit(root), held.get(root, 0)) for root in roots)


def _waits(state: AccountState, now: datetime) -> dict[str, datetime]:
    """Return the contracts that the gateway may still say the roots of, and how long it may."""
    ends = {
        position.contract_id: position.created_at + _TIME_TO_LEARN
        for position in state.open_positions
        if state.root(position.contract_id) is None
    }
    return {contract_id: end for contract_id, end in ends.items() if end > now}


def _breach(
    root: str, positions: Sequence[GatewayUserPosition], settings: Settings
) -> Flatten | None:
    size, limit = total_size(positions), settings.limit(root)
    if limit is None or size <= limit:
        return None
    held = f"{counted(size, 'contract')} of {root} held"
    if limit == 0:
        reason = f"{root} may not be held: {held}"
        return Flatten(reason=reason, keep=reduced(positions, size))
    excess = size if settings.enforcement is Enforcement.CLOSE_ALL else size - limit
    reason = f"Too many contracts: {held} (limit {limit}), {excess} to be closed"
    return Flatten(reason=reason, keep=reduced(positions, excess))


def _gauge(root: str, limit: int | None, size: int) -> Gauge:
    return Gauge(
        name=f"{root} contracts",
        limit=Decimal(limit) if limit else None,
        current=Decimal(size),
        unit="contracts",
        words={None: "no limit", 0: "may not be held"}.get(limit, ""),
    )


def _limit_of_unlisted(action: str) -> int | None:
    """Return how many contracts of an unlisted root may be held; ``None`` means any number.

    :raises ValueError: ``action`` is no way to treat them.
    """
    if action == _BLOCK:
        return 0
    if action == _ALLOW_UNLIMITED:
        return None
    match = _ALLOW_WITH_LIMIT.fullmatch(action)
    if match is None:
        raise ValueError(
            f"unknown_symbol_action: expected {_BLOCK}, {_ALLOW_UNLIMITED} or allow_with_limit:N "
            f"with N from 1 to {_MOST}, got {action!r}"
        )
    return int(match["limit"])
