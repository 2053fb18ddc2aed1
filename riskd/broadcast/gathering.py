"""Gather quotes for clients that have asked for fewer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import parse_qs

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from riskd.broadcast.frames import Frame, QuoteKey

QUOTE_INTERVAL: Final = "quote_interval_ms"
"""The key in the URL's query for the interval between quotes, in milliseconds."""

LONGEST_MS: Final = 1000
_WHOLE_NUMBER: Final = re.compile("[0-9]{1,4}").fullmatch


def quote_interval(query: str) -> float | None:
    """Return the seconds between quotes that a client asks for; ``None`` for all.

    :param query: of the handshake's URL.
    :raises ValueError: it asks for anything but a whole number of milliseconds from 1 to 1000.
    """
    values = parse_qs(query, keep_blank_values=True).get(QUOTE_INTERVAL)
    if values is None:
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

    Quotes that wait are sent before a later event, which keeps the order of the broadcast.

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

    def add(self, frames: Iterable[Frame]) -> None:
        """Send frames, or let them wait if all are quotes."""
        events = list[Frame]()
        for frame in frames:
            if frame.quote_key is None:
                events += (*self._waiting.values(), frame)
                self._waiting.clear()
                continue
            # Popped first, so that the latest comes last: a dict keeps the place of a key that it has.
            self._waiting.pop(frame.quote_key, None)
            self._waiting[frame.quote_key] = frame
        wait = self._sent_at + self._seconds - self._clock.seconds()
        if events:
            self._send_now([*events, *self.take()])
        elif wait <= 0:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(wait, self.flush)

    def flush(self) -> None:
        """Send what waits."""
        waiting = self.take()
        if waiting:
            self._send_now(waiting)

    def take(self) -> list[Frame]:
        """Remove and return the quotes that wait; cancel the timer."""
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
