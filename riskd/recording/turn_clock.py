"""A clock that stands still within a turn; timers fire one by one, on request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer


@implementer(IReactorTime)
class TurnClock:
    """Orders timers by the time they are due, then by the time they were set.

    So a daemon and its replay fire them in the same order; a reactor promises no order for timers that are
    due together.

    :param seconds: the time that the clock shows.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: list[DelayedCall] = []

    def set(self, seconds: float) -> None:
        """Show another time; no timer fires."""
        self._seconds = seconds

    def seconds(self) -> float:
        """Return the time that the clock shows."""
        return self._seconds

    def callLater(  # Twisted's name
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002  # Twisted's name
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        """Set a timer."""
        call = DelayedCall(
            self._seconds + delay,
            callable,
            args,
            kw,
            self._calls.remove,
            lambda _call: None,
            self.seconds,
        )
        self._calls.append(call)
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:  # noqa: N802  # Twisted's name
        """Return the timers that have not fired."""
        return list(self._calls)

    @property
    def next_due(self) -> float | None:
        """The time at which the first timer is due; ``None`` if there is none."""
        return min(map(DelayedCall.getTime, self._calls), default=None)

    def fire_first(self) -> None:
        """Fire the timer that is due first, whatever time it is.

        :raises LookupError: there is no timer.
        """
        # min() returns the first of equals in the list, the one that was set first.
        call = min(self._calls, key=DelayedCall.getTime, default=None)
        if call is None:
            raise LookupError("there is no timer")
        self._calls.remove(call)
        call.called = 1
        call.func(*call.args, **call.kw)
