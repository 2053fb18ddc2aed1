"""The rows of all accounts, made again a few at a time between events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

ROWS_AT_ONCE: Final = 2
"""A row takes a quarter of a millisecond, and an event waits no longer than a few of them take."""

_PAUSE_SECONDS: Final = 0.05
"""So at most 40 rows are made a second: of 200 accounts, one in sight each 1.4 s and another each 8 s."""


class RowWork:
    """Makes rows again while any wait for it.

    :param reactor: schedules calls.
    :param work: makes :data:`ROWS_AT_ONCE` rows again.
    :param is_needed: returns whether any wait for it.
    """

    def __init__(
        self, reactor: Any, work: Callable[[], object], is_needed: Callable[[], bool]
    ) -> None:
        self._reactor = reactor
        self._work = work
        self._is_needed = is_needed
        self._call: IDelayedCall | None = None

    def begin(self) -> None:
        """Make the rows again that wait for it, soon."""
        if self._call is None and self._is_needed():
            self._call = self._reactor.callLater(_PAUSE_SECONDS, self._go_on)

    def stop(self) -> None:
        """Leave the rows as they are."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _go_on(self) -> None:
        self._call = None
        if self._is_needed():
            self._work()
            self.begin()
