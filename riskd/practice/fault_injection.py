"""What can go wrong between a program and its broker, as chances; and the dice that decide.

It is pure: it decides what becomes of a request or of an event, and the practice gateway does it.  The
same seed, settings and requests give the same faults.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Final, NamedTuple

from riskd.config.faults import Faults
from riskd.gateway.interface import GatewayError, GatewayRefusedError, GatewayUnansweredError

_WINDOW_SECONDS: Final = 60.0
_DONE_AT_ONCE: Final = 0.5
"""The chance that what is asked is done at once, although the answer is late."""

_REFUSED: Final = {
    "Order/place": 2,
    "Order/cancel": 3,
    "Order/modify": 3,
    "Position/closeContract": 5,
    "Position/partialCloseContract": 6,
}
"""The code with which each request is refused."""

_PENDING: Final = {
    "Order/cancel": 4,
    "Order/modify": 4,
    "Position/closeContract": 6,
    "Position/partialCloseContract": 7,
}
"""The code that says that something else is still under way, for each request that has one."""


class Fate(NamedTuple):
    """What becomes of a request.

    :ivar is_done: whether what was asked is done.
    :ivar error: what is answered instead of the outcome; ``None`` for the outcome.
    :ivar done_after: seconds until it is done.
    :ivar answered_after: seconds from then until the answer.
    """

    is_done: bool = True
    error: GatewayError | None = None
    done_after: float = 0.0
    answered_after: float = 0.0


class Dice:
    """Decides, at random, what goes wrong.

    :ivar faults: how likely that is; it may be set at any time.
    """

    def __init__(self, faults: Faults, random: Random) -> None:
        self.faults = faults
        self._random = random
        self._answered: deque[float] = deque()

    def fate_of_read(self, request: str, now: float) -> Fate:
        """Return what becomes of a request that only reads.

        :param now: seconds, on any clock that does not go back.
        """
        if self._is_beyond_limit(now):
            return self._late(False, _too_many(request))
        if self._falls(self.faults.failed_reads):
            return self._late(False, GatewayUnansweredError(request, "the answer was lost"))
        return self._late(True, None)

    def fate_of_change(self, request: str, now: float) -> Fate:
        """Return what becomes of a request to change something.

        :param now: seconds, on any clock that does not go back.
        """
        if self._is_beyond_limit(now):
            return self._late(False, _too_many(request))
        if self._falls(self.faults.lost_requests):
            return self._late(False, GatewayUnansweredError(request, "the request was lost"))
        if self._falls(self.faults.refuse):
            error = GatewayRefusedError(request, _REFUSED[request], "not now")
            return self._late(False, error)
        if request in _PENDING and self._falls(self.faults.pending):
            error = GatewayRefusedError(request, _PENDING[request], "something is under way")
            return self._late(False, error)
        if self._falls(self.faults.unanswered):
            return self._late(True, GatewayUnansweredError(request, "the answer was lost"))
        return self._late(True, None)

    def fills_while_cancelled(self) -> bool:
        """Tell whether an order that is being cancelled is filled instead."""
        return self._falls(self.faults.fill_while_cancelled)

    def available(self, size: int) -> int:
        """Return how many of ``size`` contracts the market takes now, at least one."""
        if size > 1 and self._falls(self.faults.partial_fills):
            return self._random.randint(1, size - 1)
        return size

    def times_told(self) -> int:
        """Return how often an event of an account is told."""
        if self._falls(self.faults.lost_events):
            return 0
        return 2 if self._falls(self.faults.doubled_events) else 1

    def _falls(self, chance: float) -> bool:
        return self._random.random() < chance

    def _late(self, is_done: bool, error: GatewayError | None) -> Fate:
        seconds = self._random.uniform(0.0, self.faults.slow_seconds)
        if self._falls(_DONE_AT_ONCE):
            return Fate(is_done, error, 0.0, seconds)
        return Fate(is_done, error, seconds, 0.0)

    def _is_beyond_limit(self, now: float) -> bool:
        """Tell whether one more request would be too many; otherwise it counts."""
        if not self.faults.requests_per_minute:
            return False
        while self._answered and self._answered[0] <= now - _WINDOW_SECONDS:
            self._answered.popleft()
        if len(self._answered) >= self.faults.requests_per_minute:
            return True
        self._answered.append(now)
        return False


def _too_many(request: str) -> GatewayUnansweredError:
    return GatewayUnansweredError(request, "HTTP 429, too many requests")
