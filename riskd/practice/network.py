"""The simulated network between a program and the practice exchange.

A request is carried out and answered as planned: now or later, with or without an answer.  Events are
delivered as scheduled; without faults, at once and in the order in which they happened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.gateway.payload_listener import PayloadListener
from riskd.practice.event_schedule import EventSchedule
from riskd.practice.fault_injection import RequestPlan
from riskd.practice.records import Message

_log = Logger()
_T = TypeVar("_T")


class Network:
    """Carries out requests, and delivers events to listener and observers.

    While it is stopped, it discards events and delays no request.

    :param clock: times the delays.
    :param schedule: decides when and in what order events arrive.
    :param now: gives the broker's time, aware; the listener gets it with each answer.
    :ivar is_running: whether events are delivered; set by start and stop.
    """

    def __init__(
        self, clock: IReactorTime, schedule: EventSchedule, now: Callable[[], datetime]
    ) -> None:
        self._clock = clock
        self._now = now
        self._schedule = schedule
        self._next_arrival: IDelayedCall | None = None
        self.is_running = False
        self._listener: PayloadListener | None = None
        self._observers: list[Callable[[Message], None]] = []
        self._queue: deque[Message] = deque()
        self._is_delivering = False
        self._late: set[Deferred[Any]] = set()

    def start(self, listener: PayloadListener | None) -> None:
        """Deliver events from now on; earlier ones are discarded."""
        self.is_running = True
        self._listener = listener
        self._report_clock(self._now(), self._clock.seconds())
        self._queue.clear()
        self._schedule.clear()

    def stop(self) -> None:
        """Give up all unanswered requests and stop delivering events."""
        self.is_running = False
        self._schedule.clear()
        self._await_arrival()
        for answer in tuple(self._late):
            answer.cancel()

    def observe(self, observer: Callable[[Message], None]) -> None:
        """Call ``observer`` with each event; if it fails, the failure is logged."""
        self._observers.append(observer)

    # Requests.

    def execute(self, request: str, plan: RequestPlan, act: Callable[[], _T]) -> Deferred[_T]:
        """Return a Deferred of the answer.

        :param request: the gateway's name of the request, such as ``Order/place``.
        :param act: carries the request out; raises :class:`GatewayRefusedError` for a refusal.
        """
        answer = Deferred.fromCoroutine(self._execute(request, plan, act))
        if not answer.called:
            self._late.add(answer)
            answer.addBoth(self._forget, answer)
        return answer

    def _forget(self, result: Any, answer: Deferred[Any]) -> Any:
        self._late.discard(answer)
        return result

    async def _execute(self, request: str, plan: RequestPlan, act: Callable[[], _T]) -> _T:
        error: Exception | None = plan.error
        try:
            await self._wait(plan.done_after)
            shown, shown_at = self._now(), self._clock.seconds()
            if plan.is_done:
                try:
                    result = act()
                except GatewayRefusedError as refusal:
                    # A refusal may get lost as well as a result.
                    error = error or refusal
            await self._wait(plan.answered_after)
        except CancelledError:
            if self.is_running:
                # By the caller, who must not take it for an answer that is missing, and go on.
                raise
            raise GatewayUnansweredError(request, "the gateway has stopped") from None
        # A refusal brings the time as well.
        if not isinstance(error, GatewayUnansweredError):
            self._report_clock(shown, shown_at)
        if error is not None:
            raise error
        return result

    def _report_clock(self, shown: datetime, shown_at: float) -> None:
        if self._listener is not None and self.is_running:
            self._listener.clock_reported(shown, 0.0, self._clock.seconds() - shown_at)

    async def _wait(self, seconds: float) -> None:
        if seconds and self.is_running:
            await deferLater(self._clock, seconds)

    # Events.

    def deliver(self, messages: Iterable[Message]) -> None:
        """Send messages, and deliver those that have arrived by now."""
        if not self.is_running:
            return
        for message in messages:
            self._schedule.add(message, self._clock.seconds())
        self._deliver_arrived()

    def _deliver_arrived(self) -> None:
        self._queue.extend(self._schedule.due(self._clock.seconds()))
        self._await_arrival()
        # A listener may act on a message, which leads back here.  The messages that follow from its act
        # wait their turn: delivered at once, they would overtake what happened before.
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._queue:
                self._deliver_one(self._queue.popleft())
        finally:
            self._is_delivering = False

    def _await_arrival(self) -> None:
        """Come back when the next message arrives."""
        if self._next_arrival is not None and self._next_arrival.active():
            self._next_arrival.cancel()
        self._next_arrival = None
        at = self._schedule.next_at
        if at is not None:
            wait = max(0.0, at - self._clock.seconds())
            self._next_arrival = self._clock.callLater(wait, self._deliver_arrived)

    def _deliver_one(self, message: Message) -> None:
        target, contract_id, payload = message
        # A listener may stop the gateway in the middle of a delivery.
        if not self.is_running:
            return
        if self._listener is not None:
            if contract_id is None:
                self._listener.user_event(target, payload)
            else:
                self._listener.market_event(target, contract_id, payload)
        notify(self._observers, message)


def notify(observers: Iterable[Callable[[Message], None]], message: Message) -> None:
    """Call each observer with a message; if one fails, the failure is logged."""
    for observer in observers:
        try:
            observer(message)
        except Exception:  # noqa: BLE001  # one failing observer must not silence the others
            _log.failure("an observer of the practice gateway failed")
