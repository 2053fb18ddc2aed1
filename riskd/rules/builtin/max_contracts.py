"""RULE-001: no more than so many contracts in all.

A micro counts as one contract, like its big sister.  The rule locks nothing: to open again is legal.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from riskd.model.account import AccountState
from riskd.model.formatting import counted
from riskd.rules.interface import NOTHING, Flatten, Gauge, RuleResult, Trigger
from riskd.rules.reduction import by_root, net_size, reduced, signed_size, total_size
from riskd.rules.settings import Contracts, RuleSettings


class CountType(StrEnum):
    """What is counted: ``net`` sets long against short within a root, ``gross`` does not."""

    NET = "net"
    GROSS = "gross"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """How many contracts may be held.

    :ivar limit: contracts; more is a breach.
    :ivar reduce_to_limit: close only what is too much, the largest position first, instead of all.
    """

    limit: Contracts = 5
    count_type: CountType = CountType.NET
    reduce_to_limit: bool = False


def check(state: AccountState, settings: Settings, _trigger: Trigger) -> RuleResult:
    """Close what is too much, or everything, when more contracts are held than allowed."""
    count = _count(state, settings)
    if count <= settings.limit:
        return NOTHING
    held = counted(count, f"{settings.count_type} contract")
    reason = f"Too many contracts: {held} held (limit {settings.limit})"
    if not settings.reduce_to_limit:
        return RuleResult(commands=(Flatten(reason=reason),))
    excess = count - settings.limit
    keep = _keep(state, settings, excess)
    return RuleResult(commands=(Flatten(reason=f"{reason}, {excess} to be closed", keep=keep),))


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Say how many contracts are held."""
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


def _keep(state: AccountState, settings: Settings, excess: int) -> dict[str, int]:
    """Return what may stay of each position that loses some of the ``excess`` contracts."""
    least = {} if settings.count_type is CountType.GROSS else _least(state)
    return reduced(state.open_positions, excess, least)


def _least(state: AccountState) -> dict[str, int]:
    """Return what has to stay of each position, or closing would not lower the net count.

    Of a calendar spread only the heavier side may be reduced, and no further than to the lighter one.
    """
    least = {position.contract_id: position.size for position in state.open_positions}
    for positions in by_root(state).values():
        balance = net_size(positions)
        heavier = [each for each in positions if signed_size(each) * balance > 0]
        least |= reduced(heavier, abs(balance))
    return least
