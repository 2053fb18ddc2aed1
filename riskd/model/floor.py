"""The floor of an account: whose figure it is, and what a close does to it."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from riskd.model.formatting import dollars


class FloorSource(StrEnum):
    """Whose figure a floor is."""

    FIRM = "firm"
    ESTIMATE = "estimate"

    @property
    def words(self) -> str:
        """Whose figure it is, in words."""
        return "the firm's figure" if self is FloorSource.FIRM else "riskd's estimate"


def if_closed(after_close: Decimal | None) -> str:
    """Return the floor after a close as the end of a sentence."""
    return "" if after_close is None else f"; {dollars(after_close)} if the day ended now"
