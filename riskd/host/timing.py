"""Time: a steady clock, loops that survive errors, waits with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""``CLOCK_BOOTTIME`` goes on while the machine sleeps: what fell due meanwhile runs when it wakes up."""


TURN_SECONDS: Final = 0.005
"""How long one turn of the reactor may be kept busy by what can as well go on in the next one."""


def use_steady_clock(reactor: Any) -> None:
    """Make ``reactor`` schedule by a clock that only goes forward.

    Twisted's reactors schedule by the time of day.  When a person or a time server sets that back by an
    hour, no delayed call runs for an hour.  Call this before anything is scheduled.
    """
    # Delayed calls read the same attribute.  A turn asks four times.
    reactor.seconds = partial(time.clock_gettime, _CLOCK)


class SharedLoop(LoopingCall):
    """A loop whose calls are due at whole multiples of its interval by the clock.

    So all loops of one interval are due together, and wake an idle program once.
    """

    def start(self, interval: float, now: bool = True) -> Deferred[LoopingCall]:
        """Begin; the first wait is as long as the rest of an interval."""
        ended = super().start(interval, now)
        if self.call is not None:
            wait = until_next(interval, self.clock)
            self.call.reset(wait)
            # The loop counts its intervals from there.
            self.starttime = self.call.getTime() - interval
        return ended


def until_next(interval: float, clock: IReactorTime) -> float:
    """Return the seconds until the next whole multiple of an interval by the clock."""
    return interval - clock.seconds() % interval


def lasting_loop(clock: IReactorTime, act: Callable[[], None], log: Logger) -> SharedLoop:
    """Return a loop that logs an exception of ``act`` and goes on.

    A plain :class:`LoopingCall` stops at the first exception, and the check that it makes would never
    run again.
    """

    def act_once() -> None:
        try:
            act()
        except Exception:  # noqa: BLE001  # the next call may succeed
            log.failure("internal error in a repeated check, which goes on")

    loop = SharedLoop(act_once)
    loop.clock = clock
    return loop


async def in_turns(steps: Iterator[object], clock: IReactorTime) -> None:
    """Take all steps, in each turn of the reactor for :data:`TURN_SECONDS`."""
    until = clock.seconds() + TURN_SECONDS
    for _ in steps:
        if clock.seconds() >= until:
            await deferLater(clock, 0)
            until = clock.seconds() + TURN_SECONDS


async def done_within(seconds: float, awaited: Deferred[Any], clock: IReactorTime) -> bool:
    """Return whether ``awaited`` fires within so many seconds; it goes on either way."""
    # A Deferred of its own: canceling the wait must not cancel ``awaited``.
    waited: Deferred[bool] = Deferred()
    timer = clock.callLater(seconds, waited.callback, False)

    def done(result: Any) -> Any:
        if not waited.called:
            waited.callback(True)
        return result

    # Only a result ends the wait: a failure of ``awaited`` is left to the code that handles it.
    awaited.addCallback(done)
    try:
        return await waited
    finally:
        if timer.active():
            timer.cancel()
