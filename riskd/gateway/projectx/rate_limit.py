"""How many requests the broker answers, and how many of them are kept for enforcement.

It is pure; seconds come in, on a clock that does not go back.
"""

from __future__ import annotations

from collections import deque
from typing import Final

REQUESTS: Final = 200
WINDOW_SECONDS: Final = 60.0
"""So many requests in so long are answered, all kinds together; one more is answered with 429.

Source: the ProjectX Gateway API documentation, rate limits.
"""

RESERVED: Final = 60
"""Of these, so many are made for nothing but enforcement."""

KEPT_FOR_CLOSING: Final = 30
"""Of these in turn, so many are made to close positions, however many orders are to be canceled."""


class RequestBudget:
    """Counts requests, so that none is made in vain and enforcement always has some left."""

    def __init__(self) -> None:
        # How the broker's window moves is not documented; no window of that length sees too many.
        self._made: deque[float] = deque()
        self._held_until = 0.0

    def spend(self, now: float) -> None:
        """Count a request that is made."""
        self._made.append(now)

    def hold(self, now: float, seconds: float) -> None:
        """Make no request that is not urgent for so long: the broker has answered that it is too many."""
        self._held_until = max(self._held_until, now + seconds)

    def has_room(self, now: float, requests: int) -> bool:
        """Tell whether so many requests that are not urgent can be made now."""
        self._forget(now)
        return self._held_until <= now and len(self._made) + requests <= REQUESTS - RESERVED

    def wait(self, now: float, *, urgent: bool, kept: int = 0) -> float:
        """Return the seconds until one more request can be made; 0 if it can be now.

        :param kept: how many must then be left for others that are urgent.
        """
        self._forget(now)
        allowed = REQUESTS - kept if urgent else REQUESTS - RESERVED
        held = 0.0 if urgent else max(0.0, self._held_until - now)
        if len(self._made) < allowed:
            return held
        # When the request that is one too many falls out of the window.
        return max(held, self._made[len(self._made) - allowed] + WINDOW_SECONDS - now)

    def _forget(self, now: float) -> None:
        while self._made and self._made[0] <= now - WINDOW_SECONDS:
            self._made.popleft()
