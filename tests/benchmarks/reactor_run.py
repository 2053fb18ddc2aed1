"""A coroutine on the reactor of a process that does nothing else."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_T = TypeVar("_T")


def run_reactor(begin: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run the reactor until a coroutine has returned; return its result, or raise its error."""
    results: list[_T | Failure] = []

    def started() -> None:
        running = Deferred.fromCoroutine(begin())
        running.addBoth(results.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(started)
    reactor.run()
    if not results:
        raise SystemExit("stopped by a signal")
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result
