"""Doing something again and again, whatever comes of it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger


def lasting_loop(clock: IReactorTime, act: Callable[[], None], log: Logger) -> LoopingCall:
    """Return a loop that goes on after a mistake in ``act``; the mistake is written down.

    Twisted's own ends with the first one, and then nobody looks any more.
    """

    def act_once() -> None:
        try:
            act()
        except Exception:  # noqa: BLE001  # the next time it may go well
            log.failure("a mistake in riskd, in what is done again and again")

    loop = LoopingCall(act_once)
    loop.clock = clock
    return loop
