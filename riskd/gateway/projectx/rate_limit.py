"""The broker's rate limit, and what follows from HTTP 429, too many requests.

**Budget.**  The broker answers 200 requests a minute.  riskd counts its own, and delays each request that
would be one too many.

**Order.**  Enforcement never waits for reads, and closes wait for nothing else.  Each kind of request is made
only while fewer than so many of the 200 are used, so that those above it find room:

================================================  ===
closing positions, placing stops                  200
reading what is open, to enforce a limit          190
whatever is made once an order, such as a cancel  170
all other reads                                   140
pings, which only keep connections open            60
================================================  ===

Reads and pings also leave room for as many changes a minute as there were lately: a bot that enters a locked
account every second is held, with a close and a cancel each second.

**HTTP 429** comes all the same when other programs share the login.  It becomes a
:class:`TooManyRequestsError` with the seconds of the header ``Retry-After``; so does a 503 that has one.  For
so long, requests that are not urgent wait.  Urgent ones go on: the time is a guess where the header is
missing, and a position that must be closed cannot wait for it.

**Repeats.**  What became of a change is unknown after a 429, so it is not sent again; the caller looks up
what became of it.  A read is repeated unless it would have to wait longer than reads do between two tries.

The market data has a second limit, see :data:`riskd.gateway.projectx.market_data.MAX_BARS`.

This module is pure; :class:`riskd.gateway.projectx.rest.BrokerRequests` waits and sends by it, and passes
the seconds of a steady clock.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from http import HTTPStatus
from typing import Final

from riskd.gateway.interface import GatewayUnansweredError
from riskd.gateway.projectx.http_date import read_http_date

REQUESTS: Final = 200
WINDOW_SECONDS: Final = 60.0
"""The broker answers so many requests in so many seconds, all kinds together.

Source: the ProjectX Gateway API documentation, rate limits.
"""

RESERVED: Final = 60
"""Of these, so many are kept for enforcement."""

KEPT_FOR_CLOSING: Final = 30
"""Of these in turn, so many are kept to close positions, however many orders must be canceled."""

KEPT_FROM_READS: Final = 10
"""Of these in turn, so many are kept for the closes themselves, however often enforcement reads."""

KEPT_FROM_PINGS: Final = 140
"""So many are kept for everything but pings.

A connection can be replaced instead, which takes no request; and many requests keep connections open anyway.
"""

ONCE_AN_ORDER: Final = frozenset(
    ("Order/cancel", "Order/modify", "Order/search", "Order/searchById")
)
"""The requests that are made once an order: a locked account may place any number of orders."""

FIRST: Final = frozenset(
    ("Position/closeContract", "Position/partialCloseContract", "Order/place")
)
"""The requests that may use the whole budget."""

CHANGES: Final = FIRST | {"Order/cancel", "Order/modify"}

LATELY_SECONDS: Final = 15.0
"""As many changes are expected in the next seconds as there were in the latest ones, so many of them."""

KEPT_FOR_CHANGES: Final = 10
"""So many more than these are kept for changes."""

RETRY_SECONDS: Final = 1.0
"""How long a read waits for changes to become fewer, before it is considered again."""

MAX_RETRY_AFTER: Final = 60.0
"""The longest wait after HTTP 429, in seconds: by then, the whole window has passed."""

_DEFAULT_RETRY_AFTER: Final = 10.0


class TooManyRequestsError(GatewayUnansweredError):
    """The broker refuses requests for a while: there were too many.

    :ivar seconds: how long.
    """

    def __init__(
        self, request: str, seconds: float, status: HTTPStatus = HTTPStatus.TOO_MANY_REQUESTS
    ) -> None:
        self.seconds = seconds
        phrase = status.phrase.lower()
        super().__init__(request, f"HTTP {status:d}, {phrase}, {seconds:g} s to wait")


def retry_after_seconds(header: str | None, answered_at: datetime | None, now: datetime) -> float:
    """Return the seconds to wait: those of ``Retry-After``, or else 10 s.

    :param header: seconds, or the HTTP date at which to try again; RFC 9110, 10.2.3.
    :param answered_at: when the broker answered, by the clock that set the date; ``None`` if it did not say.
    :param now: the time of this machine, which may be off.
    """
    if header is not None and header.strip().isdecimal():
        return min(float(header), MAX_RETRY_AFTER)
    until = read_http_date(header)
    if until is None or (answered_at is None and until <= now):
        # A date that has passed by another clock than its own says nothing.
        return _DEFAULT_RETRY_AFTER
    return min(max(0.0, (until - (answered_at or now)).total_seconds()), MAX_RETRY_AFTER)


class RateLimit:
    """Counts the requests of the last minute, and says when the next one may be sent."""

    def __init__(self) -> None:
        # The documentation does not say how the broker's window moves; here, no window has too many.
        self._made: deque[float] = deque()
        self._changes: deque[float] = deque()
        self._held_until = 0.0

    def spend(self, now: float, request: str = "") -> None:
        """Count a request."""
        self._made.append(now)
        if request in CHANGES:
            self._changes.append(now)

    def hold(self, now: float, seconds: float) -> None:
        """Hold requests that are not urgent for so many seconds, after HTTP 429."""
        self._held_until = max(self._held_until, now + seconds)

    def has_room(self, now: float, requests: int) -> bool:
        """Return whether so many requests that are not urgent can be made now."""
        self._forget(now)
        return (
            self._held_until <= now
            and len(self._made) + requests <= REQUESTS - RESERVED
            and self._leaves_room_for_changes(now, requests)
        )

    def may_ping(self, now: float) -> bool:
        """Return whether a ping can be made now; no ping waits."""
        return self.has_room(now, 1) and len(self._made) < REQUESTS - KEPT_FROM_PINGS

    def wait(self, now: float, request: str, *, urgent: bool) -> float:
        """Return the seconds until a request can be made; 0 if it can be made now."""
        self._forget(now)
        allowed, held = REQUESTS - RESERVED, max(0.0, self._held_until - now)
        if urgent:
            allowed, held = _allowed(request), 0.0
        elif not self._leaves_room_for_changes(now, 1):
            held = max(held, RETRY_SECONDS)
        if len(self._made) < allowed:
            return held
        # The wait ends when the oldest request that is one too many leaves the window.
        return max(held, self._made[len(self._made) - allowed] + WINDOW_SECONDS - now)

    def _leaves_room_for_changes(self, now: float, requests: int) -> bool:
        lately = sum(moment > now - LATELY_SECONDS for moment in self._changes)
        expected = lately * WINDOW_SECONDS / LATELY_SECONDS + KEPT_FOR_CHANGES if lately else 0
        others = len(self._made) - len(self._changes)
        return others + requests + expected <= REQUESTS - KEPT_FOR_CLOSING

    def _forget(self, now: float) -> None:
        for moments in (self._made, self._changes):
            while moments and moments[0] <= now - WINDOW_SECONDS:
                moments.popleft()


def _allowed(request: str) -> int:
    """Return how many requests a window may have with an urgent one."""
    if request in FIRST:
        return REQUESTS
    if request in ONCE_AN_ORDER:
        return REQUESTS - KEPT_FOR_CLOSING
    return REQUESTS - KEPT_FROM_READS
