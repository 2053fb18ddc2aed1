"""The broker's REST side: one request at a time, answered in time or not at all.

A read is repeated until it is answered or too late.  A change is sent once; after no answer, the caller
looks up what became of it.  Only a full close and a cancel are repeated, and only when their connection was
lost: what they end is ended by either of two.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from http import HTTPStatus
from random import Random
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from riskd.gateway.broker_text import broker_text
from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayError, GatewayRefusedError, GatewayUnansweredError
from riskd.gateway.projectx.http_body import Body, BodyError, TooLargeError
from riskd.gateway.projectx.http_date import read_http_date
from riskd.gateway.projectx.login import Login
from riskd.gateway.projectx.long_answer import LONG_BYTES, LongAnswer
from riskd.gateway.projectx.rate_limit import RateLimit, TooManyRequestsError
from riskd.gateway.projectx.responses import (
    AnswerTooLargeError,
    TokenRefusedError,
    UnsoundAnswerError,
    checked,
    read_answer,
    unsound,
)
from riskd.gateway.projectx.tls_words import tls_reason
from riskd.gateway.timeouts import answer_in_time
from riskd.host.secrets import Secret
from riskd.host.timing import in_turns
from riskd.model.exact_json import JsonError, encode_json

_T = TypeVar("_T")

ClockReported = Callable[[datetime, float, float], None]
"""Receives the broker's clock: the time that it stated when it answered a request, aware; the precision of
that time in seconds, by which the clock may have been further; and the seconds since the request was sent.
"""

DATE_PRECISION: Final = 1.0
"""An HTTP date has whole seconds."""

ANSWER_SECONDS: Final = 8.0
"""How long a request may take, with all the tries of a read."""

CHANGE_SECONDS: Final = 4.0
"""How long a change may take to be answered; then the caller looks up what became of it."""

READ_SECONDS: Final = (2.5, 5.0)
"""How long each try of a read may take: the first one, and the later ones.

The first may go into a connection that is dead and does not show it yet; the others open a new one.
"""

PING: Final = "Status/ping"
_PONG: Final = b"pong"

SAFE_TO_REPEAT: Final = frozenset(("Position/closeContract", "Order/cancel"))
"""The changes of which the second does nothing: the broker answers that nothing is left to close or cancel.

Two partial closes would close twice as much, and two orders are two.
"""

LEAST_SECONDS: Final = 0.5
"""The time that a try needs; with less left, the read has failed."""

READ_AGAIN_SECONDS: Final = (0.2, 0.5, 1.0)
"""The waits between the tries of a read; after these the read has failed."""


class ConnectionLostError(GatewayUnansweredError):
    """The connection was lost after the request was sent, and before it was answered."""


@implementer(IBodyProducer)
class _Sent:
    """The body of a request, written at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: it is written."""

    resumeProducing = stopProducing = pauseProducing


class Rest:
    """Sends requests and reads their responses.

    :param agent: sends HTTP requests.
    :param base_url: the URL of the API, without a slash at the end.
    :param clock: ends requests that take too long.
    :param clock_reported: receives the ``Date`` of each answer.
    """

    def __init__(
        self,
        agent: IAgent,
        base_url: str,
        clock: IReactorTime,
        clock_reported: ClockReported | None = None,
    ) -> None:
        self._agent = agent
        self._base_url = base_url
        self._clock = clock
        self._clock_reported = clock_reported

    async def post(
        self, request: str, body: Payload | None, token: Secret | None, seconds: float
    ) -> Payload:
        """Return the fields of the response to a request.

        :param request: its name, such as ``Order/place``.
        :param token: shown to the broker; ``None`` for a login.
        :param seconds: how long everything may take.
        :raises GatewayError: the request was refused, or not answered.
        """
        return await self._in_time(request, self._exchange(request, body, token), seconds)

    async def ping(self, seconds: float) -> float:
        """Return how many seconds an answer to ``Status/ping`` takes, without a token.

        :param seconds: how long it may take.
        :raises GatewayUnansweredError: there was no answer, or not the broker's.
        """
        sent_at = self._clock.seconds()
        await self._in_time(PING, self._exchange_ping(sent_at), seconds)
        return self._clock.seconds() - sent_at

    async def _exchange_ping(self, sent_at: float) -> None:
        url = f"{self._base_url}/api/{PING}".encode()
        response = await self._agent.request(b"GET", url, Headers(), None)
        self.report_clock(response, sent_at)
        body = await Body().read(response)
        if response.code != HTTPStatus.OK:
            raise GatewayUnansweredError(PING, f"HTTP {response.code}")
        if _PONG not in body[: 2 * len(_PONG)]:
            raise GatewayUnansweredError(PING, "the answer is not the broker's")

    async def _in_time(self, request: str, asked: Coroutine[Any, Any, _T], seconds: float) -> _T:
        answer = _cancellable(Deferred.fromCoroutine(asked))
        try:
            return await answer_in_time(request, answer, self._clock, seconds)
        except (GatewayError, CancelledError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever fails on the way, the outcome is unknown
            # Errors with reasons are those of a connection that was made.
            is_lost = isinstance(error, ConnectionClosed) or hasattr(error, "reasons")
            kind = ConnectionLostError if is_lost else GatewayUnansweredError
            raise kind(request, _reason(error)) from None

    async def _exchange(self, request: str, body: Payload | None, token: Secret | None) -> Payload:
        headers = Headers(
            {
                "Content-Type": ["application/json"],
                "Accept": ["application/json"],
                "Accept-Encoding": ["gzip"],
            }
        )
        if token is not None:
            headers.setRawHeaders("Authorization", [f"Bearer {token.reveal()}"])
        sent_at = self._clock.seconds()
        # The agent follows no redirect, which could show the token to another server.
        response = await self._agent.request(
            b"POST",
            f"{self._base_url}/api/{request}".encode(),
            headers,
            None if body is None else _Sent(encode_json(body)),
        )
        self.report_clock(response, sent_at)
        date, retry_after = _header(response, "Date"), _header(response, "Retry-After")
        content = Body()
        try:
            whole = await content.read(response)
            if response.code == HTTPStatus.OK and len(whole) > LONG_BYTES:
                return await self._read_long(request, LongAnswer(whole))
            return read_answer(request, response.code, retry_after, whole, date)
        except TooLargeError as error:
            raise AnswerTooLargeError(request, str(error)) from None
        except BodyError as error:
            raise UnsoundAnswerError(request, str(error)) from None
        except UnsoundAnswerError:
            # Whatever sent it may go on in the same way.
            content.drop()
            raise

    async def _read_long(self, request: str, answer: LongAnswer) -> Payload:
        try:
            await in_turns(answer.read(), self._clock)
        except JsonError as error:
            raise unsound(request, error) from None
        return checked(request, answer.fields)

    def report_clock(self, response: IResponse, sent_at: float) -> None:
        """Report the time that a response states.

        :param sent_at: when its request was sent, in steady seconds.
        """
        if response.code != HTTPStatus.OK:
            # A proxy in between may send any other status, and date it by its own clock.
            return
        stated = read_http_date(_header(response, "Date"))
        if stated is not None and self._clock_reported is not None:
            self._clock_reported(stated, DATE_PRECISION, self._clock.seconds() - sent_at)


def _header(response: IResponse, name: str) -> str | None:
    first: str | None
    first, *_ = response.headers.getRawHeaders(name, [None])
    return first


class BrokerRequests:
    """Makes requests with a token, within the broker's rate limit.

    :param rest: sends requests.
    :param login: has the token.
    :param clock: times the tries.
    :param random: spreads the tries.
    :param answered: called whenever the broker has executed or refused a request.
    :param urgent_rest: sends urgent requests, whose connections come first; ``None`` for the same as others.
    :ivar clock: see the parameter.
    """

    def __init__(
        self,
        rest: Rest,
        login: Login,
        clock: IReactorTime,
        random: Random,
        answered: Callable[[], None],
        urgent_rest: Rest | None = None,
    ) -> None:
        self._rest = rest
        self._urgent_rest = urgent_rest or rest
        self._login = login
        self.clock = clock
        self._random = random
        self._answered = answered
        self._rate_limit = RateLimit()

    def has_room(self, requests: int) -> bool:
        """Return whether so many reads that are not urgent can be made now."""
        return self._rate_limit.has_room(self.clock.seconds(), requests)

    def may_ping(self) -> bool:
        """Count a ping, and return whether it may be sent now."""
        now = self.clock.seconds()
        if not self._rate_limit.may_ping(now):
            return False
        self._rate_limit.spend(now)
        return True

    async def read(self, request: str, body: Payload, *, urgent: bool = False) -> Payload:
        """Return the fields of the response to a read.

        :raises GatewayError: the request was refused, or not answered.
        """
        # The caller gives up by then, so a later answer would be useless.
        deadline = self.clock.seconds() + ANSWER_SECONDS
        waits = iter(READ_AGAIN_SECONDS)
        seconds, later_seconds = READ_SECONDS
        has_logged_in = False
        while True:
            try:
                return await self._send(request, body, seconds, urgent=urgent)
            except TokenRefusedError:
                # One login, one more try: a broker that refuses fresh tokens must not be hammered.
                if has_logged_in or self._left(deadline) < LEAST_SECONDS:
                    raise
                has_logged_in = True
            except AnswerTooLargeError:
                # The next one would be as large.
                raise
            except GatewayUnansweredError as error:
                wait = next(waits, None)
                least = error.seconds if isinstance(error, TooManyRequestsError) else 0.0
                if wait is None or wait < least or self._left(deadline) < wait + LEAST_SECONDS:
                    raise
                await deferLater(self.clock, wait * self._random.uniform(0.6, 1.0))
            seconds = max(LEAST_SECONDS, min(later_seconds, self._left(deadline)))

    def _left(self, deadline: float) -> float:
        return deadline - self.clock.seconds()

    async def change(self, request: str, body: Payload) -> Payload:
        """Return the fields of the response to a change, which is sent once.

        A second try could place a second order.  A full close and a cancel are sent again, at once, when
        their connection was lost: the broker may have closed it just before they arrived.

        :raises GatewayRefusedError: the broker refused it.
        :raises GatewayUnansweredError: what became of it is unknown.
        """
        deadline = self.clock.seconds() + CHANGE_SECONDS
        try:
            return await self._send(request, body, CHANGE_SECONDS, urgent=True)
        except ConnectionLostError as lost:
            left = self._left(deadline)
            if request not in SAFE_TO_REPEAT or left < LEAST_SECONDS:
                raise
            try:
                return await self._send(request, body, left, urgent=True)
            except GatewayRefusedError:
                # What is gone may be gone because the first one was carried out.
                raise lost from None

    async def _send(self, request: str, body: Payload, seconds: float, *, urgent: bool) -> Payload:
        token = await self._login.token()
        while wait := self._rate_limit.wait(self.clock.seconds(), request, urgent=urgent):
            await deferLater(self.clock, wait)
            # The broker may have ended the token meanwhile.
            token = await self._login.token()
        self._rate_limit.spend(self.clock.seconds(), request)
        try:
            rest = self._urgent_rest if urgent else self._rest
            fields = await rest.post(request, body, token, seconds)
        except TokenRefusedError:
            self._login.discard(token)
            raise
        except TooManyRequestsError as error:
            self._rate_limit.hold(self.clock.seconds(), error.seconds)
            raise
        except GatewayRefusedError:
            self._answered()
            raise
        self._answered()
        return fields


def _cancellable(answer: Deferred[_T]) -> Deferred[_T]:
    """Return a Deferred of ``answer`` that fails with CancelledError if canceled.

    The HTTP client would fail with errors of its own, depending on the stage of the request.
    """

    def cancel(outer: Deferred[_T]) -> None:
        outer.errback(CancelledError())
        answer.cancel()

    def forward(result: _T | Failure) -> None:
        if not outer.called:
            outer.callback(result)

    outer: Deferred[_T] = Deferred(cancel)
    answer.addBoth(forward)
    return outer


def _reason(error: BaseException | None) -> str:
    """Return what failed on the way, without names of classes."""
    if isinstance(error, DNSLookupError):
        return "the broker's name cannot be looked up"
    if isinstance(error, ConnectError):
        return "no connection"
    if tls := tls_reason(error):
        return tls
    if isinstance(error, ConnectionClosed):
        return "the connection was lost"
    reasons: list[Failure] = getattr(error, "reasons", [])
    if reasons:
        # One loss has several reasons, some of them without a text.
        return "; ".join(dict.fromkeys(_reason(one.value) for one in reasons if str(one.value)))
    return broker_text(error) or "something went wrong on the way"
