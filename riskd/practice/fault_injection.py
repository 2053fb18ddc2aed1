"""What goes wrong between a program and the practice broker, decided at random.

It is pure: it plans what happens to a request or an event, and :mod:`.network` does it.  The same seed,
settings and requests give the same faults.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final, NamedTuple

from riskd.config.settings import Faults
from riskd.gateway.interface import GatewayError, GatewayUnansweredError
from riskd.practice.refusals import can_be_pending, refusal
from riskd.practice.request_limit import RequestLimit

_DONE_AT_ONCE: Final = 0.5
"""The chance that a request with a late answer is carried out at once."""

_EARLY: Final = timedelta(milliseconds=50)
"""How much earlier than the last change an end may be stamped."""

_EMPTY_DATE: Final = datetime.min.replace(tzinfo=UTC)
"""What .NET writes for a date that is not set."""


class RequestPlan(NamedTuple):
    """What the network does with a request.

    :ivar is_done: whether the request is carried out.
    :ivar error: the answer in place of the result; ``None`` for the result.
    :ivar done_after: seconds until it is carried out.
    :ivar answered_after: seconds from then until the answer.
    """

    is_done: bool = True
    error: GatewayError | None = None
    done_after: float = 0.0
    answered_after: float = 0.0


class FaultInjector:
    """Decides what goes wrong.

    :ivar faults: how likely that is; may be set at any time.
    """

    def __init__(self, faults: Faults, random: Random) -> None:
        self.faults = faults
        self._random = random
        self._limit = RequestLimit(faults.requests_per_minute, 60.0)

    def plan_read(self, request: str, now: float) -> RequestPlan:
        """Return the plan for a request that only reads.

        :param now: seconds, on any clock that does not go back.
        """
        error = self._excess(request, now)
        if error is None and self._happens(self.faults.failed_reads):
            error = GatewayUnansweredError(request, "the answer was lost")
        return self._timed(error is None, error)

    def plan_change(self, request: str, now: float) -> RequestPlan:
        """Return the plan for a request to change something.

        :param now: seconds, on any clock that does not go back.
        """
        excess = self._excess(request, now)
        if excess is not None:
            return self._timed(False, excess)
        if self._happens(self.faults.lost_requests):
            return self._timed(False, GatewayUnansweredError(request, "the request was lost"))
        if self._happens(self.faults.refuse):
            return self._timed(False, refusal(request, "Rejected", "not now"))
        if can_be_pending(request) and self._happens(self.faults.pending):
            return self._timed(False, refusal(request, "Pending", "something is under way"))
        if self._happens(self.faults.unanswered):
            return self._timed(True, GatewayUnansweredError(request, "the answer was lost"))
        return self._timed(True, None)

    def fills_while_canceled(self) -> bool:
        """Return whether the market fills an order that is being canceled."""
        return self._happens(self.faults.fill_while_cancelled)

    def available(self, size: int) -> int:
        """Return how many of ``size`` contracts the market takes now, at least one."""
        if size > 1 and self._happens(self.faults.partial_fills):
            return self._random.randint(1, size - 1)
        return size

    def parts(self, size: int) -> list[int]:
        """Return the sizes in which the market fills ``size`` contracts at once."""
        is_split = self._happens(self.faults.split_fills)
        parts = []
        while is_split and size > 1:
            parts.append(self._random.randint(1, size - 1))
            size -= parts[-1]
        return [*parts, size]

    def end_stamp(self, last_change: datetime, now: datetime) -> datetime:
        """Return the time with which the end of an order is stamped.

        :param last_change: the stamp of what was reported of the order before.
        """
        return last_change - _EARLY if self._happens(self.faults.ends_stamped_early) else now

    def position_date(self, now: datetime) -> datetime:
        """Return the time at which a position is said to be created."""
        is_ahead = self._happens(self.faults.positions_dated_ahead)
        if self._happens(self.faults.positions_without_date):
            return _EMPTY_DATE
        return now + timedelta(days=1) if is_ahead else now

    def copies_of_event(self) -> int:
        """Return how often an event of an account is delivered; 0 if it is lost."""
        if self._happens(self.faults.lost_events):
            return 0
        return 2 if self._happens(self.faults.doubled_events) else 1

    def plan_round_trip(self) -> RequestPlan:
        """Return the plan for a request that nothing happens to on its way."""
        return self._travel()

    def _happens(self, chance: float) -> bool:
        # Drawn even for a chance of 0, so that setting one fault keeps the sequence of the others.
        return self._random.random() < chance

    def _timed(self, is_done: bool, error: GatewayError | None) -> RequestPlan:
        seconds = self._random.uniform(0.0, self.faults.slow_seconds)
        # A late answer does not show when the request was carried out, so both extremes occur.
        is_done_at_once = self._happens(_DONE_AT_ONCE)
        _done, _error, there, back = self._travel()
        if is_done_at_once:
            return RequestPlan(is_done, error, there, back + seconds)
        return RequestPlan(is_done, error, there + seconds, back)

    def _travel(self) -> RequestPlan:
        """Return a plan with the time that a request and its answer are under way."""
        faults, uniform = self.faults, self._random.uniform
        return RequestPlan(
            done_after=faults.latency_seconds + uniform(0.0, faults.jitter_seconds),
            answered_after=faults.latency_seconds + uniform(0.0, faults.jitter_seconds),
        )

    def _excess(self, request: str, now: float) -> GatewayUnansweredError | None:
        """Return the error for a request beyond the limit; otherwise the request counts."""
        self._limit.count = self.faults.requests_per_minute
        if self._limit.count and self._limit.wait(now):
            return GatewayUnansweredError(request, "HTTP 429, too many requests")
        return None
