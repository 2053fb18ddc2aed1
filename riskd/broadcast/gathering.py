"""Quotes that wait for a client which does not want to wake up for each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from riskd.broadcast.frames import Frame, QuoteKey

QUOTE_INTERVAL: Final = "quote_interval_ms"
"""The name in the query of the URL by which a client asks for it."""

LONGEST_MS: Final = 1000
_WHOLE_NUMBER: Final = re.compile("[0-9]{1,4}").fullmatch


def quote_interval(values: Sequence[str]) -> float | None:
    """Return the seconds that a client asks for; ``None`` if it does not.

    :param values: those of :data:`QUOTE_INTERVAL` in the query of the URL.
    :raises ValueError: they are not one whole number of milliseconds from 1 to 1000.
    """
    if not values:
        return None
    (*others, text) = values
    milliseconds = int(text) if _WHOLE_NUMBER(text) else 0
    if others or not 0 < milliseconds <= LONGEST_MS:
        raise ValueError(
            f"{QUOTE_INTERVAL}: expected one whole number from 1 to {LONGEST_MS},"
            f" got {', '.join(values)[:40]!r}"
        )
    return milliseconds / 1000


class Gathering:
    """Sends the latest quotes once an interval, and all other events at once.

    What waits is sent before an event that came later, so that the client sees the order in which all was broadcast.

    :param seconds: the interval.
    :param send: takes frames, and sends them in this order.
    """

    def __init__(
        self, clock: IReactorTime, seconds: float, send: Callable[[list[Frame]], object]
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._send = send
        self._waiting: dict[QuoteKey, Frame] = {}
        self._sent_at = -math.inf
        self._timer: IDelayedCall | None = None

    def add(self, frames: Iterable[Frame]) -> int:
        """Send frames now or later; return how many quotes newer ones have replaced."""
        replaced, is_urgent = 0, False
        arrived = list[Frame]()
        for frame in frames:
            arrived.append(frame)
            if frame.quote_key is None:
                is_urgent = True
            else:
                replaced += self._waiting.pop(frame.quote_key, None) is not None
        if is_urgent:
            self._send_now([*self.take(), *arrived])
            return replaced
        for frame in arrived:
            assert frame.quote_key is not None  # noqa: S101  # else it is urgent
            # The latest comes last: a dict would keep the place of a key that it has.
            replaced += self._waiting.pop(frame.quote_key, None) is not None
            self._waiting[frame.quote_key] = frame
        wait = self._sent_at + self._seconds - self._clock.seconds()
        if wait <= 0:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(wait, self.flush)
        return replaced

    def flush(self) -> None:
        """Send what waits."""
        waiting = self.take()
        if waiting:
            self._send_now(waiting)

    def take(self) -> list[Frame]:
        """Return what waits, which is not sent any more."""
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None
        waiting = [*self._waiting.values()]
        self._waiting.clear()
        return waiting

    def _send_now(self, frames: list[Frame]) -> None:
        self._sent_at = self._clock.seconds()
        self._send(frames)
