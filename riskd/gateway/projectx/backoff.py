"""How long to wait before the broker is tried again."""

from __future__ import annotations

from random import Random
from typing import Final

QUICK_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 3.0)
"""The waits of an outage's first minutes; the last is repeated.

Most outages are short, and an account without its feed is watched less closely.
"""

QUICK_UNTIL: Final = 120.0
"""Seconds into an outage from which the waits grow."""

SLOW_SECONDS: Final = (5.0, 10.0, 20.0, 30.0)
"""The waits of a longer outage; the last is repeated."""

_JITTER: Final = 0.2


class Backoff:
    """The waits between tries, one outage after another.

    :param random: spreads the tries, lest all that lost the broker at once come back at once.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._began: float | None = None
        self._tries = 0
        self._slow_tries = 0

    def succeeded(self) -> None:
        """Begin anew with the next outage."""
        self._began = None
        self._tries = self._slow_tries = 0

    def next_wait(self, now: float) -> float:
        """Return the seconds to wait after a try that failed at ``now``."""
        if self._began is None:
            self._began = now
        if now - self._began < QUICK_UNTIL:
            wait = QUICK_SECONDS[min(self._tries, len(QUICK_SECONDS) - 1)]
            self._tries += 1
        else:
            wait = SLOW_SECONDS[min(self._slow_tries, len(SLOW_SECONDS) - 1)]
            self._slow_tries += 1
        return wait * self._random.uniform(1 - _JITTER, 1.0)
