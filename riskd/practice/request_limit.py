"""A limit of requests: at most a number of them in any stretch of time."""

from __future__ import annotations

from collections import deque


class RequestLimit:
    """Admits ``count`` requests in any ``seconds``; refused requests do not count.

    :ivar count: may be changed at any time.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self.count = count
        self._seconds = seconds
        self._admitted: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Admit a request and return 0, or return the seconds until there is room.

        :param now: seconds, on any clock that does not go back.
        """
        while self._admitted and self._free_in(now) <= 0:
            self._admitted.popleft()
        if len(self._admitted) < self.count:
            self._admitted.append(now)
            return 0.0
        return self._free_in(now)

    def _free_in(self, now: float) -> float:
        """Return the seconds until the oldest request no longer counts."""
        return self._admitted[0] + self._seconds - now
