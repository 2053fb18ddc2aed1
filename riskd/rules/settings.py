"""The kinds of value that rules are configured with."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec

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
"""A contract's root, such as ``ES``; upper and lower case are the same.

One of its contracts, such as ``ESZ6``, is none: a rule that named it would never act.
"""


class LockoutUntil(StrEnum):
    """When a lock ends."""

    DAILY_RESET = "daily_reset"
    PERMANENT = "permanent"


class Scope(StrEnum):
    """Whether a limit applies to each position or to all of them together."""

    PER_POSITION = "per_position"
    TOTAL = "total"


class RuleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every rule's table may say.

    :ivar enabled: ``false`` switches off a rule that the configuration names.
    """

    enabled: bool = True

    def __post_init__(self) -> None:
        # msgspec cannot bound decimals.  All of a rule's are limits, and a loss limit is positive too.
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Decimal) and not (value.is_finite() and value > 0):
                raise ValueError(f"{name}: expected an amount above zero, got {value}")
