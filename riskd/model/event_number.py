"""The number of an event among all events of its daemon."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_DIGITS: Final = re.compile("[0-9]{1,15}")
_MAX_TEXT: Final = 60


class Number(NamedTuple):
    """The place of an event among all events of its daemon.

    Numbers are ordered, and each is greater than all before it.

    :ivar epoch: of the daemon's run; it rises at every start.
    :ivar seq: within the run, from 1.
    """

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"


def read_number(text: str) -> Number:
    """Return the number that was written as ``epoch.seq``.

    :raises ValueError: ``text`` is none, or has more than 15 digits in a part.
    """
    parts = text[:_MAX_TEXT].split(".")
    if len(parts) == 2 and all(_DIGITS.fullmatch(part) for part in parts):  # noqa: PLR2004
        return Number(int(parts[0]), int(parts[1]))
    raise ValueError(f"expected a number such as 12.345, got {text[:_MAX_TEXT]!r}")
