"""When the screen may be drawn: at once as long as that is seldom, and seldom enough for eyes and processor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

MAX_DRAWS_A_SECOND: Final = 20
_QUOTE_DRAWS_A_SECOND: Final = 5


class RedrawThrottle:
    """Says how long a draw must wait, so that the screen is drawn at most 20 times in any second.

    Quotes may use a quarter of the draws, as many as eyes can follow; the rest is for what must be seen at
    once.

    :param seconds: a clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._draws: deque[float] = deque(maxlen=MAX_DRAWS_A_SECOND)

    def wait(self, *, important: bool) -> float:
        """Return the seconds until the next draw may be made; 0 for at once."""
        now = self._seconds()
        wait = 0.0
        if len(self._draws) == MAX_DRAWS_A_SECOND:
            wait = self._draws[0] + 1.0 - now
        if not important and self._draws:
            wait = max(wait, self._draws[-1] + 1.0 / _QUOTE_DRAWS_A_SECOND - now)
        return max(0.0, wait)

    def spend(self) -> None:
        """Count a draw."""
        self._draws.append(self._seconds())
