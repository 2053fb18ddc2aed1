"""How long to wait before the broker is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from random import Random
from typing import Final

QUICK_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 3.0)
"""The waits of an outage's first minutes; the last one repeats.

Most outages are short, and an account without its feed is guarded less closely.
"""

QUICK_UNTIL: Final = 120.0
"""After so many seconds of an outage the waits grow."""

SLOW_SECONDS: Final = (5.0, 10.0, 20.0, 30.0)
"""The waits of a longer outage; the last one repeats."""

_JITTER: Final = 0.2


class Backoff:
    """The waits between tries, one outage after another.

    :param random: spreads the tries, so that clients that lost the broker together do not return
        together.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._began: float | None = None
        self._quick = self._slow = _steps(QUICK_SECONDS)

    def succeeded(self) -> None:
        """End the outage."""
        self._began = None

    def next_wait(self, now: float) -> float:
        """Return the seconds to wait after a try that failed at ``now``."""
        if self._began is None:
            self._began = now
            self._quick, self._slow = _steps(QUICK_SECONDS), _steps(SLOW_SECONDS)
        waits = self._quick if now - self._began < QUICK_UNTIL else self._slow
        return next(waits) * self._random.uniform(1 - _JITTER, 1.0)


def _steps(waits: tuple[float, ...]) -> Iterator[float]:
    return chain(waits, repeat(waits[-1]))
