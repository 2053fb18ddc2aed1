"""The quotes of a desk on their way to the broadcast, which hold up nothing else.

Quotes are nine of ten messages.  If there are more than can be passed on, those of a subject that wait are replaced by
the latest one, so that events and heartbeats are not late behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

SLICE_SECONDS: Final = 0.01
"""The longest that quotes are passed on at a time."""

PAUSE_SECONDS: Final = 0.02
"""The pause after that: quotes take a third of a core at most."""


class LatestQuotes:
    """Quotes that wait, the latest of each subject.

    :param take: called with subject and payload of one.
    """

    def __init__(self, reactor: Any, take: Callable[[str, bytes], None]) -> None:
        self._reactor = reactor
        self._take = take
        self._waiting: dict[str, bytes] = {}
        self._pause: IDelayedCall | None = None

    def receive(self, subject: str, payload: bytes) -> None:
        """Take a quote; pass it on soon, unless a later one comes before."""
        self._waiting[subject] = payload
        if self._pause is None:
            self._pass_on()

    def stop(self) -> None:
        """Pass on no more."""
        self._waiting.clear()
        if self._pause is not None and self._pause.active():
            self._pause.cancel()

    def _pass_on(self) -> None:
        self._pause = self._reactor.callLater(PAUSE_SECONDS, self._go_on)
        end = self._reactor.seconds() + SLICE_SECONDS
        while self._waiting:
            # Who waits for longest; a later quote has taken the place of the one before.
            subject = next(iter(self._waiting))
            self._take(subject, self._waiting.pop(subject))
            if self._reactor.seconds() >= end:
                return

    def _go_on(self) -> None:
        self._pause = None
        if self._waiting:
            self._pass_on()
