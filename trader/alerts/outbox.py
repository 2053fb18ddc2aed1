"""What is sent to one target, and when.

Alerts of one moment become one message.  A few messages may follow each other quickly; after that, a flood becomes
a few messages a minute.  What could not be sent is sent again later, with all that has come meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Final

from trader.alerts.alert import PRESSING, Alert

COLLAPSE_SECONDS: Final = 1.0
"""How long an alert waits for others to share its message."""

SPACING_SECONDS: Final = 3.0
"""The least time between two messages: one trouble often has several sentences."""

BURST: Final = 10
"""Messages that may follow each other so soon."""

RESERVE: Final = 6
"""Those of them that only pressing news may use, so that a flood of other news never delays it."""

REFILL_SECONDS: Final = 20.0
"""The time after which one message more may be sent."""

RETRY_SECONDS: Final = (2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""The waits after messages that failed; the last one is repeated."""

MAX_ALERTS: Final = 200
"""Alerts that wait; of more, the least grave and oldest are dropped and counted."""


class Outbox:
    """The alerts that wait for one target; all times are seconds of a steady clock."""

    def __init__(self) -> None:
        self._waiting: list[Alert] = []
        self._under_way: list[Alert] = []
        self._dropped_under_way = 0
        self.dropped = 0
        self._oldest_at, self._free_at = 0.0, float("-inf")
        self._allowance, self._allowance_at = float(BURST), 0.0
        self._retry_at = 0.0
        self._begin_retries()

    def add(self, alert: Alert, now: float) -> None:
        """Let an alert wait to be sent."""
        if not self._waiting:
            self._oldest_at = now
        self._waiting.append(alert)
        if len(self._waiting) > MAX_ALERTS:
            places = range(len(self._waiting))
            del self._waiting[max(places, key=lambda i: (self._waiting[i].gravity, -i))]
            self.dropped += 1

    def due_in(self, now: float) -> float | None:
        """Return the seconds until a message may be taken; ``None`` while none can be."""
        if self._under_way or not self._waiting:
            return None
        is_pressing = any(alert.kind in PRESSING for alert in self._waiting)
        needed = 1 if is_pressing else 1 + RESERVE
        missing = max(0.0, needed - self._allowance_by(now)) * REFILL_SECONDS
        begin = max(self._oldest_at + COLLAPSE_SECONDS, self._free_at, self._retry_at)
        return max(0.0, begin - now, missing)

    def take(self, now: float) -> tuple[Sequence[Alert], int]:
        """Return all that waits and the number of alerts dropped, to be sent now.

        :meth:`sent` or :meth:`failed` must follow.
        """
        self._allowance, self._allowance_at = self._allowance_by(now) - 1, now
        self._free_at = now + SPACING_SECONDS
        self._under_way, self._waiting = self._waiting, []
        self._dropped_under_way, self.dropped = self.dropped, 0
        return tuple(self._under_way), self._dropped_under_way

    def sent(self) -> None:
        """Forget what was taken: the target has it."""
        self._under_way, self._dropped_under_way = [], 0
        self._begin_retries()

    def failed(self, now: float) -> float:
        """Let wait again what was taken; return the seconds until the next attempt."""
        later, self._waiting = self._waiting, []
        self.dropped += self._dropped_under_way
        under_way, self._under_way, self._dropped_under_way = self._under_way, [], 0
        for alert in (*under_way, *later):
            self.add(alert, now)
        # It has waited already.
        self._oldest_at = now - COLLAPSE_SECONDS
        # What was not received is no flood.
        self._allowance = min(float(BURST), self._allowance + 1)
        self._free_at = now
        wait = next(self._retries)
        self._retry_at = now + wait
        return wait

    @property
    def is_under_way(self) -> bool:
        """Whether it is not known yet if the target has what was taken."""
        return bool(self._under_way)

    def discard(self) -> None:
        """Forget all that waits: there is no time to send it."""
        self._waiting = []

    def hurry(self) -> None:
        """Let nothing wait any more: the program ends."""
        self._oldest_at = self._free_at = self._retry_at = float("-inf")
        self._allowance = float(BURST)

    def _allowance_by(self, now: float) -> float:
        return min(float(BURST), self._allowance + (now - self._allowance_at) / REFILL_SECONDS)

    def _begin_retries(self) -> None:
        self._retries = chain(RETRY_SECONDS, repeat(RETRY_SECONDS[-1]))
