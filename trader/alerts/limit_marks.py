"""When the use of a limit is news.

Each mark is news once, and again after the use has fallen clearly below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

Limit = tuple[str, str]
"""The rule's id and the name of its gauge."""

AGAIN_AFTER: Final = timedelta(hours=1)
"""A limit that goes to and fro is news again after this time at the earliest."""

_FALL: Final = Decimal("0.2")
"""By how much the share must fall below a mark before that can be reached again."""


class LimitMarks:
    """Remembers the marks that the limits of an account have reached.

    :param marks: shares of a limit, 1 at the limit.
    """

    def __init__(self, marks: Sequence[Decimal]) -> None:
        self._marks = sorted(marks)
        # The marks that were reached, when, and whether the share has fallen again since then.
        self._reached: dict[tuple[Limit, Decimal], tuple[datetime, bool]] = {}

    def begin_day(self) -> None:
        """Forget all: the limits begin again."""
        self._reached.clear()

    def reach(self, limit: Limit, share: Decimal, now: datetime) -> bool:
        """Return whether ``share`` is news."""
        is_news = False
        for mark in self._marks:
            known = self._reached.get((limit, mark))
            if share >= mark:
                if known is None or (known[1] and _is_past(known[0], now)):
                    self._reached[limit, mark] = (now, False)
                    is_news = True
            elif known is not None and share <= mark - _FALL:
                self._reached[limit, mark] = (known[0], True)
        return is_news


def _is_past(moment: datetime, now: datetime) -> bool:
    # After a clock was set back, the moment lies ahead.
    return not timedelta() <= now - moment < AGAIN_AFTER
