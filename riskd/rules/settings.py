"""The types of the values in rules' tables of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

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
    """A table of the configuration; each amount in it is positive."""

    def __post_init__(self) -> None:
        # msgspec cannot bound decimals.  All of them are limits, and also a loss limit is positive.
        for name in self.__struct_fields__:
            value = getattr(self, name)
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
