"""Run a command in the reactor, and return its result to code without one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python.failure import Failure

from riskd.host.errors import UserError
from riskd.host.timing import use_steady_clock

_T = TypeVar("_T")


def in_reactor(
    act: Callable[[Any], Coroutine[Any, Any, _T]], interrupted: UserError | None = None
) -> _T:
    """Run a coroutine in the reactor, once in a process, and return its result.

    :param act: makes the coroutine; receives the reactor, on a steady clock.
    :param interrupted: what is raised if a signal ends the reactor before there is a result.
    :raises UserError: likewise.
    """
    results: list[_T | Failure] = []
    is_interrupted = False

    def end() -> None:
        nonlocal is_interrupted
        is_interrupted = not results

    def begin(reactor: Any) -> Deferred[None]:
        use_steady_clock(reactor)
        # Before the connections are closed, which would be taken for the reason.
        reactor.addSystemEventTrigger("before", "shutdown", end)
        # Its failure is raised below; react would log a traceback.
        return Deferred.fromCoroutine(act(reactor)).addBoth(results.append)

    # react always exits; the caller has yet to write the result.
    with suppress(SystemExit):
        react(begin, ())
    if is_interrupted or not results:
        raise interrupted or UserError("interrupted")
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result
