"""Waiting for something, but not for ever."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


async def done_within(seconds: float, awaited: Deferred[Any], clock: IReactorTime) -> bool:
    """Wait for ``awaited``, which goes on either way; return whether it was done in time."""
    # Not the awaited itself: who is canceled here stops to wait, and nothing else stops.
    waited: Deferred[bool] = Deferred()
    timer = clock.callLater(seconds, waited.callback, False)

    def done(result: Any) -> Any:
        if not waited.called:
            waited.callback(True)
        return result

    awaited.addCallback(done)
    try:
        return await waited
    finally:
        if timer.active():
            timer.cancel()
