"""How many requests are answered: so many in any stretch of time."""

from __future__ import annotations

from collections import deque
from typing import Final

BARS: Final = (50, 30.0)
"""Requests for bars that are answered, and in how many seconds."""

ALL_ELSE: Final = (200, 60.0)
"""The same for all others together.  Source of both: the ProjectX Gateway API documentation."""


class RequestLimit:
    """Answers ``count`` requests in any ``seconds``; those that are refused do not count."""

    def __init__(self, count: int, seconds: float) -> None:
        self._count = count
        self._seconds = seconds
        self._answered: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Return 0 and count a request, or the seconds after which there is room for one.

        :param now: seconds, on any clock that does not go back.
        """
        while self._answered and self._free_in(now) <= 0:
            self._answered.popleft()
        if len(self._answered) < self._count:
            self._answered.append(now)
            return 0.0
        return self._free_in(now)

    def _free_in(self, now: float) -> float:
        """Return the seconds until the first request counts no more."""
        return self._answered[0] + self._seconds - now
