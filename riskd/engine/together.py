"""Run coroutines at the same time."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList

_T = TypeVar("_T")


async def together(*acts: Coroutine[Any, Any, _T]) -> list[_T]:
    """Run coroutines at the same time; return their results in order.

    :raises Exception: that of the first in the order of the arguments that failed.
    """
    running = [Deferred.fromCoroutine(act) for act in acts]
    ended: list[tuple[bool, Any]] = await DeferredList(running, consumeErrors=True)
    for is_done, result in ended:
        if not is_done:
            result.raiseException()
    return [result for _is_done, result in ended]
