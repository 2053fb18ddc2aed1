"""RULE-001: the largest number of contracts in all.

A micro counts as one contract, as an E-mini does.  The rule sets no lock: the trader may open new
positions within the limit.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from riskd.model.account import AccountState
from riskd.model.formatting import counted
from riskd.rules.interface import NOTHING, Flatten, Gauge, Kind, Rule, RuleResult, Trigger
from riskd.rules.positions import by_root, net_size, reduce_largest, signed_size, total_size
from riskd.rules.settings import Contracts, RuleSettings


class CountType(StrEnum):
    """What counts: ``net`` offsets long and short of one root, ``gross`` does not."""

    NET = "net"
    GROSS = "gross"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``max_contracts``.

    :ivar limit: contracts; more is a breach.
    :ivar reduce_to_limit: whether the rule closes only the excess, from the largest position first.
    """

    limit: Contracts = 5
    count_type: CountType = CountType.NET
    reduce_to_limit: bool = False


def check(state: AccountState, settings: Settings, _trigger: Trigger) -> RuleResult:
    """Close everything, or the excess, when the account holds too many contracts."""
    count = _count(state, settings)
    excess = count - settings.limit
    if excess <= 0:
        return NOTHING
    held = counted(count, f"{settings.count_type} contract")
    reason = f"Too many contracts: {held} held (limit {settings.limit})"
    if not settings.reduce_to_limit:
        return RuleResult(commands=(Flatten(reason=reason),))
    least = _least(state) if settings.count_type is CountType.NET else {}
    keep = reduce_largest(state.open_positions, excess, least)
    return RuleResult(commands=(Flatten(reason=f"{reason}, {excess} to be closed", keep=keep),))


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return how many contracts the account holds."""
    return (
        Gauge(
            name=f"{settings.count_type} contracts",
            limit=Decimal(settings.limit),
            current=Decimal(_count(state, settings)),
            unit="contracts",
        ),
    )


def _count(state: AccountState, settings: Settings) -> int:
    if settings.count_type is CountType.GROSS:
        return total_size(state.open_positions)
    return sum(abs(net_size(positions)) for positions in by_root(state).values())


def _least(state: AccountState) -> dict[str, int]:
    """Return how many contracts of each position must stay for the net count to sink.

    Of a calendar spread only the heavier side may be reduced, and only down to the lighter one.
    """
    least = {position.contract_id: position.size for position in state.open_positions}
    for positions in by_root(state).values():
        balance = net_size(positions)
        heavier = [each for each in positions if signed_size(each) * balance > 0]
        least |= reduce_largest(heavier, abs(balance))
    return least


RULE: Final = Rule(
    "RULE-001", "max_contracts", Settings, frozenset({Kind.POSITION}), check, gauges
)
