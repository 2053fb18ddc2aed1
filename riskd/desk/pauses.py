"""The pauses between two connections to a desk's servers."""

from __future__ import annotations

import random
from typing import Final

UNREACHABLE_SECONDS: Final = 2.0
"""The longest time from an attempt that fails to the next: a link that returns is used soon."""

SHORTEST_SECONDS: Final = 0.5
"""The longest pause after an attempt that has lasted longer than that."""

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 30.0
"""The longest pauses, at first and at last, while servers are reached and do not do what they should."""

GOOD_SECONDS: Final = 30.0
"""A connection that has lasted so long was good, and the next pause is short."""


class Pauses:
    """Says how long to wait for the next attempt.

    Pauses are random: a server that comes back has every trader's uplink to serve.
    """

    def __init__(self) -> None:
        self._longest = FIRST_SECONDS

    def after_attempt(self, seconds: float) -> float:
        """Return the pause after an attempt that failed.

        :param seconds: how long it has lasted.  Where packets vanish it hangs, and the link may return meanwhile.
        """
        return _random(max(UNREACHABLE_SECONDS - seconds, SHORTEST_SECONDS))

    def after_connection(self, seconds: float, *, is_lost: bool) -> float:
        """Return the pause after a connection.

        :param seconds: how long it has lasted.
        :param is_lost: whether it was lost.  A link that comes and goes is no fault of the servers.
        """
        if is_lost or seconds >= GOOD_SECONDS:
            self._longest = FIRST_SECONDS
        longest, self._longest = self._longest, min(2 * self._longest, LONGEST_SECONDS)
        return _random(longest)


def _random(longest: float) -> float:
    return longest * random.uniform(0.5, 1.0)
