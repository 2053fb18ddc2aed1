"""The types of the values in rules' tables of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Self

import msgspec

from riskd.rules.interface import Lock, Trigger
from riskd.rules.tightness import WhenTrue, tightest_last

Contracts = Annotated[int, msgspec.Meta(gt=0, le=10_000)]
Trades = Annotated[int, msgspec.Meta(gt=0, le=1_000_000)]
Ticks = Annotated[int, msgspec.Meta(gt=0, le=1_000_000)]
Percent = Annotated[int, msgspec.Meta(gt=0, lt=100)]
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


FileName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,1000}$", description='a path such as "news.toml"'
    ),
]
"""The path of a file that a rule reads; a relative one starts at the configuration's directory."""

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


LockUntil = Annotated[
    LockoutUntil, tightest_last(LockoutUntil.DAILY_RESET, LockoutUntil.PERMANENT)
]
"""A key that says when a lock ends."""


class Scope(StrEnum):
    """Whether a limit applies to each position or to all of them together."""

    PER_POSITION = "per_position"
    TOTAL = "total"


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration; each amount in it is positive."""

    FROM_ZERO: ClassVar[tuple[str, ...]] = ()
    """The amounts that may be zero; see :data:`AmountFromZero`."""

    def __post_init__(self) -> None:
        # msgspec cannot bound decimals.  All of them are limits, and also a loss limit is positive.
        for name in self.__struct_fields__:
            value = None if name in self.FROM_ZERO else getattr(self, name)
            if isinstance(value, Decimal) and not (value.is_finite() and value > 0):
                raise ValueError(f"{name}: expected an amount above zero, got {value}")


class RuleSettings(Table, frozen=True, kw_only=True):
    """The table of a rule.

    The type of each key declares which value is the tighter one; see :mod:`riskd.rules.tightness`.

    :ivar enabled: ``false`` switches the rule off.
    """

    FROM_FILES: ClassVar[tuple[str, ...]] = ()
    """The fields that :meth:`with_files` sets; they are no keys of the table."""

    enabled: WhenTrue[bool] = True

    @property
    def needs_quotes(self) -> bool:
        """Whether a quote can change what a rule that listens to quotes decides."""
        return True

    def with_files(self, _read: Callable[[str], str]) -> Self:
        """Return the settings with the content of the files that they name, if any.

        It is called when the configuration is read: at the start and at each reload.

        :param _read: returns the text of the file with a name, and raises a
            :exc:`~riskd.host.errors.UserError` if it cannot be read.
        """
        return self


def expect_no_repeats(key: str, kind: str, values: Sequence[object]) -> None:
    """Check that ``values``, the ``kind`` of each entry of ``key``, all differ.

    :raises ValueError: two are equal.
    """
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{key}: expected each {kind} once, got {value} twice")
