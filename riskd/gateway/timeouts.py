"""A time limit for the answers of a gateway."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IReactorTime

from riskd.gateway.interface import GatewayUnansweredError

_T = TypeVar("_T")


async def answer_in_time(
    request: str, answer: Deferred[_T], clock: IReactorTime, seconds: float
) -> _T:
    """Return the answer to a request; cancel the request when the time is up.

    :raises GatewayError: the gateway refused the request, or did not answer it in time.
    """
    try:
        return await answer.addTimeout(seconds, clock)
    except DeferredTimeoutError:
        raise GatewayUnansweredError(request, f"nothing in {seconds:g} s") from None
