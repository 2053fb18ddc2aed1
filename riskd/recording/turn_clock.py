"""A clock that stands still within a turn, and whose timers wait until somebody fires them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer


@implementer(IReactorTime)
class TurnClock:
    """Keeps timers in an order of its own: by when they are due, and then by when they were set.

    So a daemon and its replay have them in the very same order, whatever the reactor does.

    :param seconds: what the clock shows.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: list[DelayedCall] = []

    def set(self, seconds: float) -> None:
        """Show ``seconds``; no timer is fired."""
        self._seconds = seconds

    def seconds(self) -> float:
        """Return what the clock shows."""
        return self._seconds

    def callLater(  # noqa: N802  # Twisted's name
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
        """Return the timers that wait."""
        return list(self._calls)

    @property
    def next_due(self) -> float | None:
        """When the first timer is due; ``None`` if there is none."""
        return min(map(DelayedCall.getTime, self._calls), default=None)

    def fire_first(self) -> bool:
        """Fire the timer that is due first, whatever the clock shows; return whether there was one."""
        # Of several the first in the list, which is the one that was set first.
        call = min(self._calls, key=DelayedCall.getTime, default=None)
        if call is None:
            return False
        self._calls.remove(call)
        call.called = 1
        call.func(*call.args, **call.kw)
        return True
