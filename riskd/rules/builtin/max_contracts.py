"""RULE-001: the largest number of contracts in all.

A micro counts as one contract, as an E-mini does, unless ``weights`` says otherwise.  The rule sets no lock:
the trader may open new positions within the limit.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final

from riskd.model.account import AccountState
from riskd.model.contracts import MICROS
from riskd.model.formatting import counted
from riskd.rules.interface import NOTHING, Flatten, Gauge, Kind, Rule, RuleResult, Trigger
from riskd.rules.positions import by_root, net_size, reduce_largest, signed_size, total_size
from riskd.rules.settings import Contracts, RuleSettings, Ticker, expect_no_repeats
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


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``max_contracts``.

    :ivar limit: contracts; more is a breach.
    :ivar reduce_to_limit: whether the rule closes only the excess, from the largest position first.
    :ivar weights: what a contract counts, by root in upper or lower case; of other roots a micro counts a
        tenth and any other contract one.  ``None``: each contract counts one.
    """

    limit: Lower[Contracts] = 5
    count_type: Annotated[CountType, tightest_last(CountType.NET, CountType.GROSS)] = CountType.NET
    reduce_to_limit: WhenFalse[bool] = False
    weights: Annotated[dict[Ticker, Decimal] | None, tighter_by(_weigh_as_much)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for root, weight in (self.weights or {}).items():
            if not _LIGHTEST <= weight <= _HEAVIEST or weight % _LIGHTEST:
                raise ValueError(
                    f"weights.{root}: expected a number from {_LIGHTEST} to {_HEAVIEST} with up to "
                    f"three decimal places, got {weight}"
                )
        expect_no_repeats("weights", "root", [root.upper() for root in self.weights or ()])

    def weight(self, root: str) -> Decimal:
        """Return what a contract of ``root``, in upper case, counts."""
        if self.weights is None:
            return _ONE
        own = {name.upper(): weight for name, weight in self.weights.items()}
        return own.get(root, _TENTH if root in MICROS else _ONE)


def check(state: AccountState, settings: Settings, _trigger: Trigger) -> RuleResult:
    """Close everything, or the excess, when the account holds too many contracts."""
    count = _count(state, settings)
    excess = count - settings.limit
    if excess <= 0:
        return NOTHING
    reason = f"Too many contracts: {_held(count, settings)} held (limit {settings.limit})"
    if not settings.reduce_to_limit:
        return RuleResult(commands=(Flatten(reason=reason),))
    least = _least(state) if settings.count_type is CountType.NET else {}
    weights = _weights(state, settings)
    keep = reduce_largest(
        state.open_positions, excess, least, lambda each: weights[each.contract_id]
    )
    closed = sum(
        each.size - keep.get(each.contract_id, each.size) for each in state.open_positions
    )
    return RuleResult(commands=(Flatten(reason=f"{reason}, {closed} to be closed", keep=keep),))


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return how many contracts the account holds."""
    return (
        Gauge(
            name=f"{settings.count_type} contracts",
            limit=Decimal(settings.limit),
            current=_count(state, settings),
            unit="contracts",
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
