"""Waiting for something, but not for ever."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime


async def done_within(seconds: float, awaited: Deferred[Any], clock: IReactorTime) -> bool:
    """Wait for ``awaited``, which goes on either way; return whether it was done in time."""
    late: Deferred[None] = Deferred()
    timer = clock.callLater(seconds, late.callback, None)
    await DeferredList([awaited, late], fireOnOneCallback=True)
    if timer.active():
        timer.cancel()
        return True
    return False
