"""What the tests of the broker's client are built of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import jwt
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from riskd.gateway.credentials import Credentials, Secret
from riskd.gateway.interface import Payload

THURSDAY = datetime(2025, 7, 17, 14, 0, tzinfo=UTC)
"""A moment at which futures are traded."""

API_KEY = "the-API-key"
CREDENTIALS = Credentials("trader", Secret(API_KEY))


class Upper(Random):
    """Luck that always picks the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


class TimeOfDay:
    """The time of day, which goes as the clock does."""

    def __init__(self, clock: Clock, begins: datetime = THURSDAY) -> None:
        self._clock = clock
        self._begins = begins

    def __call__(self) -> datetime:
        return self._begins + timedelta(seconds=self._clock.seconds())


def make_token(name: str, ends: datetime | None = THURSDAY + timedelta(hours=24)) -> str:
    """Return a token that says when it ends, if it does."""
    claims: dict[str, Any] = {"name": name}
    if ends is not None:
        claims["exp"] = int(ends.timestamp())
    return jwt.encode(claims, "a key that is long enough for nobody", algorithm="HS256")


class Asked(NamedTuple):
    """A request that waits for its answer."""

    request: str
    body: Payload | None
    token: Secret | None
    seconds: float
    answer: Deferred[Payload]


class MemoryPost:
    """Sends requests nowhere, and answers them when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.count = 0
        self.given_up = 0

    async def __call__(
        self, request: str, body: Payload | None, token: Secret | None, seconds: float
    ) -> Payload:
        answer: Deferred[Payload] = Deferred(self._give_up)
        self.count += 1
        self.asked.append(Asked(request, body, token, seconds, answer))
        return await answer

    def _give_up(self, answer: Deferred[Payload]) -> None:
        self.given_up += 1
        self.asked = [asked for asked in self.asked if asked.answer is not answer]

    @property
    def waiting(self) -> list[str]:
        """What waits for an answer."""
        return [asked.request for asked in self.asked]

    def answer(self, **fields: Any) -> Asked:
        asked = self.asked.pop(0)
        asked.answer.callback({"success": True, "errorCode": 0, **fields})
        return asked

    def fail(self, error: Exception) -> Asked:
        asked = self.asked.pop(0)
        asked.answer.errback(error)
        return asked


def observed(test: Any) -> list[LogEvent]:
    """Return the events that are logged from now on, at any level, until the test ends."""
    events: list[LogEvent] = []
    observe: Callable[[LogEvent], None] = events.append
    globalLogPublisher.addObserver(observe)
    test.addCleanup(globalLogPublisher.removeObserver, observe)
    return events


def logged(events: list[LogEvent]) -> str:
    """Return all that a reader of the log could see of ``events``: their words, and their fields."""
    return "\n".join(f"{formatEvent(event)} {event!r}" for event in events)
