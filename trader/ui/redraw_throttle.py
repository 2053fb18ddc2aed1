"""How often the screen may be drawn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

MAX_DRAWS_A_SECOND: Final = 20
_QUOTE_DRAWS_A_SECOND: Final = 5


class RedrawThrottle:
    """Limits the screen to 20 draws in any second, 5 of them for quotes.

    Eyes follow no more quotes than that.  The other draws are kept for changes that must be seen at once.

    :param seconds: returns the time of a steady clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._draws: deque[float] = deque(maxlen=MAX_DRAWS_A_SECOND)

    def wait(self, *, important: bool) -> float:
        """Return the seconds until the next draw is allowed; 0 for at once."""
        now = self._seconds()
        wait = 0.0
        if len(self._draws) == MAX_DRAWS_A_SECOND:
            wait = self._draws[0] + 1.0 - now
        if not important and self._draws:
            wait = max(wait, self._draws[-1] + 1.0 / _QUOTE_DRAWS_A_SECOND - now)
        return max(0.0, wait)

    def record(self) -> None:
        """Count a draw that is made now."""
        self._draws.append(self._seconds())
