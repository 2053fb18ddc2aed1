"""Asking a gateway, but not for ever."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IReactorTime

from riskd.gateway.interface import GatewayUnansweredError

_T = TypeVar("_T")


async def in_time(request: str, answer: Deferred[_T], clock: IReactorTime, seconds: float) -> _T:
    """Wait for the answer to a request, but no longer than ``seconds``.

    :raises GatewayError: the gateway refused, or did not answer in time.
    """
    try:
        return await answer.addTimeout(seconds, clock)
    except DeferredTimeoutError:
        raise GatewayUnansweredError(request, f"nothing in {seconds:g} s") from None
