"""RULE-001: the largest number of contracts in all.

A micro counts as one contract, as an E-mini does, unless ``weights`` says otherwise.  The rule sets no lock:
the trader may open new positions within the limit.  ``tiers`` are a scaling plan, whose limit follows from the
balance at the end of the last trading day and never changes within a day.  Source: Topstep's help page on scaling
plans, read in November 2026.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.contracts import MICROS
from riskd.model.ended_days import end_of_day_balance
from riskd.model.formatting import counted, dollars
from riskd.rules.interface import Flatten, Gauge, Kind, Rule, RuleResult, Trigger
from riskd.rules.positions import by_root, net_size, reduce_largest, signed_size, total_size
from riskd.rules.settings import (
    AmountFromZero,
    Contracts,
    RuleSettings,
    Table,
    Ticker,
    expect_no_repeats,
)
from riskd.rules.tightness import Lower, WhenFalse, tighter_by, tightest_last

_ONE: Final = Decimal(1)
_TENTH: Final = Decimal("0.1")
_LIGHTEST: Final = Decimal("0.001")
_HEAVIEST: Final = Decimal(1000)


class CountType(StrEnum):
    """What counts: ``net`` offsets long and short of one root, ``gross`` does not."""

    NET = "net"
    GROSS = "gross"


def _weigh_as_much(new: Any, old: Any, _key: str) -> bool:
    """Return whether each contract counts at least as much as before."""
    named = {root.upper() for each in (new, old) for root in each.weights or ()}
    # An empty root stands for all that neither a table nor the micros have.
    return all(new.weight(root) >= old.weight(root) for root in (*named, *MICROS, ""))


def _allow_no_more(new: Any, old: Any, _key: str) -> bool:
    """Return whether each balance allows at most as many contracts as before."""
    # Before a balance is known, the key limit counts.
    tiers = (*(new.tiers or ()), *(old.tiers or ()))
    balances = [Decimal("-Infinity"), *(tier.balance for tier in tiers)]
    return all(new.limit_after(each) <= old.limit_after(each) for each in balances)


class Tier(Table, frozen=True, kw_only=True):
    """An entry of ``tiers``.

    :ivar balance: dollars; from this balance at the end of a trading day on, the next day has this ``limit``.
    """

    FROM_ZERO: ClassVar[tuple[str, ...]] = ("balance",)

    balance: AmountFromZero
    limit: Contracts


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``max_contracts``.

    :ivar limit: contracts; more is a breach.
    :ivar tiers: lower limits by the balance at the end of the last trading day, from the lowest balance on; below
        it the first one counts.  ``None``: the limit is the same at each balance.
    :ivar reduce_to_limit: whether the rule closes only the excess, from the largest position first.
    :ivar weights: what a contract counts, by root in upper or lower case; of other roots a micro counts a
        tenth and any other contract one.  ``None``: each contract counts one.
    """

    limit: Lower[Contracts] = 5
    count_type: Annotated[CountType, tightest_last(CountType.NET, CountType.GROSS)] = CountType.NET
    reduce_to_limit: WhenFalse[bool] = False
    weights: Annotated[dict[Ticker, Decimal] | None, tighter_by(_weigh_as_much)] = None
    tiers: Annotated[
        Annotated[tuple[Tier, ...], msgspec.Meta(min_length=1)] | None,
        tighter_by(_allow_no_more, "or lower tiers"),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for root, weight in (self.weights or {}).items():
            if not _LIGHTEST <= weight <= _HEAVIEST or weight % _LIGHTEST:
                raise ValueError(
                    f"weights.{root}: expected a number from {_LIGHTEST} to {_HEAVIEST} with up to "
                    f"three decimal places, got {weight}"
                )
        expect_no_repeats("weights", "root", [root.upper() for root in self.weights or ()])
        for number, tier in enumerate(self.tiers or ()):
            if tier.limit > self.limit:
                raise ValueError(
                    f"tiers: expected no limit above {self.limit}, the key limit, got {tier.limit}"
                )
            before = self.tiers[number - 1] if self.tiers and number else None
            if before is not None and tier.balance <= before.balance:
                raise ValueError(
                    f"tiers: expected balances that rise, got {tier.balance} after {before.balance}"
                )

    def limit_after(self, balance: Decimal) -> int:
        """Return the limit of a day after one that ended with a balance."""
        if self.tiers is None:
            return self.limit
        reached = [tier.limit for tier in self.tiers if tier.balance <= balance]
        return reached[-1] if reached else self.tiers[0].limit

    def weight(self, root: str) -> Decimal:
        """Return what a contract of ``root``, in upper case, counts."""
        if self.weights is None:
            return _ONE
        own = {name.upper(): weight for name, weight in self.weights.items()}
        return own.get(root, _TENTH if root in MICROS else _ONE)


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close everything, or the excess, when the account holds too many contracts."""
    count = _count(state, settings)
    # Another day may have another tier.
    wake_at = None if settings.tiers is None else trigger.next_reset
    limit, words, warnings = _limit(state, settings)
    excess = count - limit
    if excess <= 0:
        return RuleResult(warnings=warnings, wake_at=wake_at)
    plan = f" {words}" if words else ""
    reason = f"Too many contracts: {_held(count, settings)} held (limit {limit}{plan})"
    if not settings.reduce_to_limit:
        return RuleResult(commands=(Flatten(reason=reason),), warnings=warnings, wake_at=wake_at)
    least = _least(state) if settings.count_type is CountType.NET else {}
    weights = _weights(state, settings)
    keep = reduce_largest(
        state.open_positions, excess, least, lambda each: weights[each.contract_id]
    )
    closed = sum(
        each.size - keep.get(each.contract_id, each.size) for each in state.open_positions
    )
    return RuleResult(
        commands=(Flatten(reason=f"{reason}, {closed} to be closed", keep=keep),),
        warnings=warnings,
        wake_at=wake_at,
    )


def _limit(state: AccountState, settings: Settings) -> tuple[int, str, tuple[str, ...]]:
    """Return the limit of the day, words on what it depends on, and warnings.

    While no balance is known, the highest limit counts: no sound position is closed.
    """
    if settings.tiers is None:
        return settings.limit, "", ()
    balance = end_of_day_balance(state)
    if balance is None:
        return settings.limit, "", ("no balance yet, the tier is unknown",)
    return settings.limit_after(balance), f"after a day that ended at {dollars(balance)}", ()


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return how many contracts the account holds."""
    limit, words, _warnings = _limit(state, settings)
    return (
        Gauge(
            name=f"{settings.count_type} contracts",
            limit=Decimal(limit),
            current=_count(state, settings),
            unit="contracts",
            words=words,
        ),
    )


def _count(state: AccountState, settings: Settings) -> Decimal:
    """Return how many contracts are held, each by its weight."""
    size = total_size if settings.count_type is CountType.GROSS else net_size
    weighted = (
        abs(size(positions)) * settings.weight(root) for root, positions in by_root(state).items()
    )
    return sum(weighted, Decimal(0))


def _held(count: Decimal, settings: Settings) -> str:
    if settings.weights is None:
        return counted(int(count), f"{settings.count_type} contract")
    return f"{count.normalize():f} weighted {settings.count_type} contracts"


def _weights(state: AccountState, settings: Settings) -> dict[str, Decimal]:
    """Return what one contract of each open position counts, by contract id."""
    return {
        each.contract_id: settings.weight(root)
        for root, positions in by_root(state).items()
        for each in positions
    }


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
