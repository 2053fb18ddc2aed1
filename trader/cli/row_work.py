"""The rows of all accounts, made again a few at a time between events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

_PAUSE_SECONDS: Final = 0.05

_LEAST: Final = 2
_SHARE: Final = 300
"""Of so many rows that wait, one more is made at once."""


def rows_at_once(waiting: int) -> int:
    """Return how many rows to make in a turn; each takes a quarter of a millisecond.

    An event waits for them.  Of 200 accounts that are all quoted, a row in sight is made again each 1.5 s and another
    each 14 s at the latest.
    """
    return _LEAST + waiting // _SHARE


class RowWork:
    """Makes rows again while any wait for it.

    :param reactor: schedules calls.
    :param work: makes some rows again.
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
