"""Carrying out requests of the practice gateway as planned: now or later, with or without an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.practice.fault_injection import RequestPlan

_T = TypeVar("_T")


class RequestExecutor:
    """Carries out requests and answers them, late where the plan says so.

    :ivar is_running: whether the gateway runs; a stopped one delays nothing.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.is_running = False
        self._clock = clock
        self._late: set[Deferred[Any]] = set()

    def execute(self, request: str, plan: RequestPlan, act: Callable[[], _T]) -> Deferred[_T]:
        """Return a Deferred of the answer.

        :param request: what is requested, such as ``Order/place``.
        :param act: carries the request out; raises :class:`GatewayRefusedError` for a refusal.
        """
        answer = Deferred.fromCoroutine(self._execute(request, plan, act))
        self._late = {each for each in (*self._late, answer) if not each.called}
        return answer

    def stop(self) -> None:
        """Give up all requests that are not answered yet."""
        self.is_running = False
        for answer in tuple(self._late):
            answer.cancel()

    async def _execute(self, request: str, plan: RequestPlan, act: Callable[[], _T]) -> _T:
        error: Exception | None = plan.error
        try:
            await self._wait(plan.done_after)
            if plan.is_done:
                try:
                    result = act()
                except GatewayRefusedError as refusal:
                    # A refusal may get lost as well as a result.
                    error = error or refusal
            await self._wait(plan.answered_after)
        except CancelledError:
            # By stop(), or by a caller whose own time limit is over.
            raise GatewayUnansweredError(request, "the caller no longer waits for it") from None
        if error is not None:
            raise error
        return result

    async def _wait(self, seconds: float) -> None:
        if seconds and self.is_running:
            await deferLater(self._clock, seconds)
