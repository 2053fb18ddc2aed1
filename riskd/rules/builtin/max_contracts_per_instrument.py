"""RULE-002: at most so many contracts of one root, all its expiries together.

The rule sets no lock: the trader may open new positions within the limit.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.formatting import counted
from riskd.rules.interface import Command, Flatten, Gauge, Kind, Rule, RuleResult, Trigger
from riskd.rules.positions import by_root, opened_at, reduce_largest, total_size
from riskd.rules.settings import Contracts, RuleSettings, Ticker
from riskd.rules.tightness import tighter_by, tightest_last

_ALLOW_WITH_LIMIT: Final = re.compile(r"allow_with_limit:(?P<limit>[1-9][0-9]{0,3})")

_TIME_TO_LEARN: Final = timedelta(seconds=5)
"""How long a position's root may stay unknown before the position counts as one of an unlisted root.

The gateway usually describes a new contract within this time.
"""


class Enforcement(StrEnum):
    """What the rule closes: the excess of a root, or all of the root."""

    REDUCE_TO_LIMIT = "reduce_to_limit"
    CLOSE_ALL = "close_all"


def _limit_as_much(new: Any, old: Any, _key: str) -> bool:
    """Return whether no root, listed or not, may have more contracts than before."""
    # No root is empty: it stands for those that are not listed.
    pairs = [(new.limit(root), old.limit(root)) for root in (*new.limits, *old.limits, "")]
    return all(was is None or (now is not None and now <= was) for now, was in pairs)


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``max_contracts_per_instrument``.

    :ivar limits: contracts, by root in upper or lower case.
    :ivar enforcement: whether the rule closes only the excess, from the largest position first.
    :ivar unknown_symbol_action: the limit of roots that are not listed: ``block`` for none,
        ``allow_unlimited``, or ``allow_with_limit:2`` for 2 contracts of each.
    """

    limits: Annotated[dict[Ticker, Contracts], tighter_by(_limit_as_much)] = msgspec.field(
        default_factory=dict
    )
    enforcement: Annotated[
        Enforcement, tightest_last(Enforcement.REDUCE_TO_LIMIT, Enforcement.CLOSE_ALL)
    ] = Enforcement.REDUCE_TO_LIMIT
    unknown_symbol_action: Annotated[str, tighter_by(_limit_as_much)] = "block"

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = {root.upper(): limit for root, limit in self.limits.items()}
        if len(limits) < len(self.limits):
            raise ValueError(f"limits: expected each root once, got {', '.join(self.limits)}")
        msgspec.structs.force_setattr(self, "limits", limits)
        _limit_of_unlisted(self.unknown_symbol_action)

    def limit(self, root: str) -> int | None:
        """Return how many contracts of ``root`` the account may hold.

        ``None`` means any number.
        """
        if root in self.limits:
            return self.limits[root]
        return _limit_of_unlisted(self.unknown_symbol_action)


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close the excess of each root, or all of it."""
    waits = _waits(state, trigger.now)
    commands: list[Command] = []
    for root, positions in by_root(state).items():
        size, limit = total_size(positions), settings.limit(root)
        if positions[0].contract_id in waits or limit is None or size <= limit:
            continue
        closes_all = settings.enforcement is Enforcement.CLOSE_ALL
        excess = size if closes_all else size - limit
        held = f"{counted(size, 'contract')} of {root} held"
        reason = f"Too many contracts: {held} (limit {limit}), {excess} to be closed"
        if limit == 0:
            reason = f"{root} may not be held: {held}"
        commands.append(Flatten(reason=reason, keep=reduce_largest(positions, excess)))
    return RuleResult(
        commands=tuple(commands),
        wake_at=min(waits.values(), default=None),
        warnings=tuple(
            f"{contract_id}: not known yet, no limit is applied" for contract_id in waits
        ),
    )


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return the number of contracts held of each root that is listed or held."""
    held = {root: total_size(positions) for root, positions in by_root(state).items()}
    limits = {root: settings.limit(root) for root in dict.fromkeys([*settings.limits, *held])}
    return tuple(
        Gauge(
            name=f"{root} contracts",
            limit=Decimal(limit) if limit else None,
            current=Decimal(held.get(root, 0)),
            unit="contracts",
            words={None: "no limit", 0: "may not be held"}.get(limit, ""),
        )
        for root, limit in limits.items()
    )


def _waits(state: AccountState, now: datetime) -> dict[str, datetime]:
    """Return the contracts whose roots the gateway may still report, with deadlines."""
    ends = {
        position.contract_id: opened + _TIME_TO_LEARN
        for position in state.open_positions
        if state.root(position.contract_id) is None and (opened := opened_at(position)) is not None
    }
    return {contract_id: end for contract_id, end in ends.items() if end > now}


def _limit_of_unlisted(action: str) -> int | None:
    """Return how many contracts of an unlisted root may be held.

    ``None`` means any number.

    :raises ValueError: ``action`` is none of the possible values.
    """
    if action in {"block", "allow_unlimited"}:
        return 0 if action == "block" else None
    match = _ALLOW_WITH_LIMIT.fullmatch(action)
    if match is None:
        raise ValueError(
            "unknown_symbol_action: expected block, allow_unlimited or allow_with_limit:N "
            f"with N from 1 to 9999, got {action!r}"
        )
    return int(match["limit"])


RULE: Final = Rule(
    "RULE-002", "max_contracts_per_instrument", Settings, frozenset({Kind.POSITION}), check, gauges
)
