"""Fetch the URL of a watchdog elsewhere, which reports when the fetches stop.

It is the one alert that also works when this machine is dead, or its network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from riskd.host.timing import done_within
from riskd.model.safe_text import printable

EVERY_SECONDS: Final = 60.0

_TIMEOUT_SECONDS: Final = 10.0
_REFUSED: Final = 400

_log = Logger()

Fetch = Callable[[], Deferred[int]]
"""Fetches the URL; fires with the HTTP status."""


class Heartbeat:
    """Fetches a URL each minute, as long as all is well.

    :param clock: a reactor with a steady clock.
    :param fetch: fetches the URL.
    :param trouble: returns why there is to be no sign of life now; empty if all is well.
    """

    def __init__(self, clock: Any, fetch: Fetch, trouble: Callable[[], str]) -> None:
        self._clock = clock
        self._fetch = fetch
        self._trouble = trouble
        self._next_at = float("-inf")
        self._known_trouble: str | None = None
        self._problem = ""
        self._fetching: Deferred[int] | None = None

    def tick(self) -> None:
        """Fetch the URL if it is time, and all is well; to be called each second."""
        trouble = self._trouble()
        if trouble != self._known_trouble:
            self._known_trouble = trouble
            words = f"waits: {trouble}" if trouble else "beats"
            _log.info("the heartbeat {words}", words=words)
        now = self._clock.seconds()
        if trouble or now < self._next_at or self._fetching is not None:
            return
        self._next_at = now + EVERY_SECONDS
        self._fetching = fetching = self._fetch()
        awaited = Deferred.fromCoroutine(self._wait(fetching))
        awaited.addErrback(lambda failure: _log.failure("internal error", failure=failure))

    async def _wait(self, fetching: Deferred[int]) -> None:
        fetching.addCallbacks(self._answered, self._failed)
        if not await done_within(_TIMEOUT_SECONDS, fetching, self._clock):
            fetching.cancel()
        self._fetching = None

    def _answered(self, status: int) -> None:
        self._report("" if status < _REFUSED else f"the answer is HTTP status {status}")

    def _failed(self, failure: Failure) -> None:
        # The text may not have the URL, which is the key to the watchdog.
        self._report(f"{failure.type.__name__ if failure.type else 'error'}")

    def _report(self, problem: str) -> None:
        """Log a problem when it begins, changes or ends."""
        if problem and problem != self._problem:
            _log.error(
                "the heartbeat URL cannot be fetched, so the watchdog will report: {problem}",
                problem=printable(problem),
            )
        elif self._problem and not problem:
            _log.info("the heartbeat URL is fetched again")
        self._problem = problem


def fetcher(reactor: Any, url: str) -> Fetch:
    """Return a function that fetches ``url``; the content of the answer is not read."""
    agent = Agent(reactor, connectTimeout=_TIMEOUT_SECONDS)

    def fetch() -> Deferred[int]:
        headers = Headers({"User-Agent": ["trader-alerts"]})
        asked = agent.request(b"GET", url.encode("ascii"), headers)
        fetched: Deferred[int] = asked.addCallback(_status)
        return fetched

    return fetch


def _status(response: Any) -> int:
    response.deliverBody(_Hangup())
    return int(response.code)


class _Hangup(Protocol):
    """Ends the connection: the watchdog may answer with as much as it likes."""

    def connectionMade(self) -> None:
        abort = getattr(self.transport, "abortConnection", None)
        if abort is not None:
            abort()
        elif self.transport is not None:
            self.transport.loseConnection()
