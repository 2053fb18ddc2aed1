"""Asking a gateway, but not for ever."""

from __future__ import annotations

from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IReactorTime

from riskd.gateway.interface import GatewayUnansweredError

_T = TypeVar("_T")

CALL_SECONDS: Final = 2.0
"""How long a gateway may take to answer a request."""


async def in_time(request: str, answer: Deferred[_T], clock: IReactorTime) -> _T:
    """Wait for the answer to a request.

    :raises GatewayError: the gateway refused, or did not answer in time.
    """
    try:
        return await answer.addTimeout(CALL_SECONDS, clock)
    except DeferredTimeoutError:
        raise GatewayUnansweredError(request, f"nothing in {CALL_SECONDS} s") from None
