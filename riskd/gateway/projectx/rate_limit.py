"""The broker's rate limit, of which a part is kept for enforcement.

It is pure; the caller passes seconds of a steady clock.
"""

from __future__ import annotations

from collections import deque
from typing import Final

REQUESTS: Final = 200
WINDOW_SECONDS: Final = 60.0
"""The broker answers so many requests in so many seconds, all kinds together; then HTTP 429.

Source: the ProjectX Gateway API documentation, rate limits.
"""

RESERVED: Final = 60
"""Of these, so many are kept for enforcement: looking around must wait, closing must not."""

KEPT_FOR_CLOSING: Final = 30
"""Of these in turn, so many are kept to close positions, however many orders must be canceled."""


class RateLimit:
    """Counts requests; none is made in vain, and enforcement always has some left."""

    def __init__(self) -> None:
        # The documentation does not say how the broker's window moves; here, no window has too many.
        self._made: deque[float] = deque()
        self._held_until = 0.0

    def spend(self, now: float) -> None:
        """Count a request."""
        self._made.append(now)

    def hold(self, now: float, seconds: float) -> None:
        """Hold requests that are not urgent for so many seconds, after HTTP 429."""
        self._held_until = max(self._held_until, now + seconds)

    def has_room(self, now: float, requests: int) -> bool:
        """Return whether so many requests that are not urgent can be made now."""
        self._forget(now)
        return self._held_until <= now and len(self._made) + requests <= REQUESTS - RESERVED

    def wait(self, now: float, *, urgent: bool, kept: int = 0) -> float:
        """Return the seconds until one more request can be made; 0 if it can be now.

        :param kept: how many must be left for other urgent requests.
        """
        self._forget(now)
        allowed = REQUESTS - kept if urgent else REQUESTS - RESERVED
        held = 0.0 if urgent else max(0.0, self._held_until - now)
        if len(self._made) < allowed:
            return held
        # The wait ends when the oldest request that is one too many leaves the window.
        return max(held, self._made[len(self._made) - allowed] + WINDOW_SECONDS - now)

    def _forget(self, now: float) -> None:
        while self._made and self._made[0] <= now - WINDOW_SECONDS:
            self._made.popleft()
