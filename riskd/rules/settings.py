"""The types of the values in rules' tables of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

import msgspec

from riskd.rules.interface import Lock, Trigger

Contracts = Annotated[int, msgspec.Meta(gt=0, le=10_000)]
Trades = Annotated[int, msgspec.Meta(gt=0, le=1_000_000)]
Ticks = Annotated[int, msgspec.Meta(gt=0, le=1_000_000)]
Seconds = Annotated[int, msgspec.Meta(gt=0, le=31 * 24 * 3600)]
Minutes = Annotated[int, msgspec.Meta(gt=0, le=31 * 24 * 60)]
Ticker = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?![A-Za-z0-9]+[FGHJKMNQUVXZfghjkmnquvxz][0-9]{1,2}$)[A-Za-z0-9]{1,12}$",
        description='a ticker such as "MNQ", without month and year',
    ),
]
"""A contract's root, such as ``ES``, in upper or lower case.

The name of a single contract, such as ``ESZ6``, is refused: a rule for it would never act.
"""


_MAX_AMOUNT: Final = 10**12
_MAX_PLACES: Final = 9


def _amount_from_zero(value: Any) -> Decimal:
    # True is an int in Python.
    if type(value) not in (int, Decimal) or not (
        0 <= value < _MAX_AMOUNT and round(Decimal(value), _MAX_PLACES) == value
    ):
        raise ValueError
    return Decimal(value)


def _stops_at(value: Any) -> str:
    return value if value in ("start", "never") else str(_amount_from_zero(value))


AmountFromZero = Annotated[
    Decimal,
    msgspec.Meta(
        description="an amount from 0, such as 500 or 0.50, without quotes",
        extra={"convert": _amount_from_zero},
    ),
]
"""An amount in dollars that may be zero."""

StopsAt = Annotated[
    str,
    msgspec.Meta(
        description='"start", "never", or an amount from 0 without quotes',
        extra={"convert": _stops_at},
    ),
]
"""Where a floor stops: ``start``, ``never``, or an amount in dollars as text."""


class LockoutUntil(StrEnum):
    """When a lock ends."""

    DAILY_RESET = "daily_reset"
    PERMANENT = "permanent"

    def lock(self, trigger: Trigger) -> Lock:
        """Return a lock until the next daily reset, or a permanent one."""
        return Lock(until=None if self is LockoutUntil.PERMANENT else trigger.next_reset)


class Scope(StrEnum):
    """Whether a limit applies to each position or to all of them together."""

    PER_POSITION = "per_position"
    TOTAL = "total"


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration; each amount in it is positive.

    :ivar any_amount: the names of amounts that check themselves.
    """

    any_amount: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        # msgspec cannot bound decimals.  All of them are limits, and also a loss limit is positive.
        for name in self.__struct_fields__:
            value = None if name in self.any_amount else getattr(self, name)
            if isinstance(value, Decimal) and not (value.is_finite() and value > 0):
                raise ValueError(f"{name}: expected an amount above zero, got {value}")


class RuleSettings(Table, frozen=True, kw_only=True):
    """The table of a rule.

    :ivar enabled: ``false`` switches the rule off.
    """

    enabled: bool = True


def expect_no_repeats(key: str, kind: str, values: Sequence[object]) -> None:
    """Check that ``values``, the ``kind`` of each entry of ``key``, all differ.

    :raises ValueError: two are equal.
    """
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{key}: expected each {kind} once, got {value} twice")
