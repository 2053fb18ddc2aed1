"""The broker's REST side: one request at a time, answered in time or not at all.

A read is repeated until it is answered or too late.  What changes something is sent once: whoever asked
looks up what became of it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, TypeVar

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from riskd.gateway.exact_json import encode_json
from riskd.gateway.interface import GatewayError, Payload
from riskd.gateway.projectx.credentials import Secret
from riskd.gateway.projectx.login import Session
from riskd.gateway.projectx.rate_limit import KEPT_FOR_CLOSING, RequestBudget
from riskd.gateway.projectx.responses import (
    BrokerFaultError,
    TokenRefusedError,
    TooManyRequestsError,
    read_answer,
)

_T = TypeVar("_T")

ANSWER_SECONDS: Final = 8.0
"""How long a request may take, with all the tries of a read."""

CHANGE_SECONDS: Final = 4.0
"""How long a change may take to be answered; then it is looked up what became of it."""

READ_SECONDS: Final = (2.5, 5.0)
"""How long a read's tries may take; the first is short, for its connection may be dead."""

LEAST_SECONDS: Final = 0.5
"""How long a try must have; with less left there is none."""

READ_AGAIN_SECONDS: Final = (0.2, 0.5, 1.0)
"""The waits before a read is asked again; after these it has failed."""

_ABOUT_ONE_ORDER: Final = frozenset(
    ("Order/cancel", "Order/modify", "Order/search", "Order/searchById")
)
"""What is asked as often as there are orders: a locked account may place any number."""


class Rest:
    """Sends requests and reads their answers.

    :param client: sends HTTP requests.
    :param base_url: where the API is, without a slash at the end.
    :param clock: ends what takes too long.
    """

    def __init__(self, client: HTTPClient, base_url: str, clock: IReactorTime) -> None:
        self._client = client
        self._base_url = base_url
        self._clock = clock

    async def post(
        self, request: str, body: Payload | None, token: Secret | None, seconds: float
    ) -> Payload:
        """Return the fields of the answer to a request.

        :param request: such as ``Order/place``.
        :param token: shown to the broker; a login has none.
        :param seconds: how long all of it may take.
        :raises GatewayError: it was refused, or not answered.
        """
        answer = _cancellable(Deferred.fromCoroutine(self._exchange(request, body, token)))
        late = self._clock.callLater(seconds, answer.cancel)
        try:
            return await answer
        except GatewayError:
            raise
        except CancelledError:
            if late.active():
                raise
            raise BrokerFaultError(request, f"nothing in {seconds:g} s") from None
        except Exception as error:  # noqa: BLE001  # whatever goes wrong on the way, nobody knows the outcome
            raise BrokerFaultError(request, _why(error)) from None
        finally:
            if late.active():
                late.cancel()

    async def _exchange(self, request: str, body: Payload | None, token: Secret | None) -> Payload:
        headers = Headers({"Content-Type": ["application/json"], "Accept": ["application/json"]})
        if token is not None:
            headers.setRawHeaders("Authorization", [f"Bearer {token.reveal()}"])
        response = await self._client.post(
            f"{self._base_url}/api/{request}",
            data=b"" if body is None else encode_json(body),
            headers=headers,
            # A token is shown to nobody but the broker.
            allow_redirects=False,
            unbuffered=True,
        )
        content = _Body()
        response.deliverBody(content)
        return read_answer(request, response.code, _retry_after(response), await content.whole)


class _Body(Protocol):
    """Puts a body together; whoever waits for it no more ends its connection.

    :ivar whole: fires with it.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._is_wanted = True
        self.whole: Deferred[bytes] = Deferred(self._give_up)

    def dataReceived(self, data: bytes) -> None:
        if self._is_wanted:
            self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._is_wanted:
            return
        # Of a body that ends with its connection, JSON tells whether it is whole.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)

    def _give_up(self, _whole: Deferred[bytes]) -> None:
        self._is_wanted = False
        if self.transport is not None:
            self.transport.loseConnection()


class BrokerRequests:
    """Makes requests with a token, within what the broker answers.

    :param rest: sends them.
    :param session: has the token.
    :param clock: times the tries.
    :param random: spreads them.
    :param answered: called whenever the broker has done what was asked, or refused it.
    """

    def __init__(
        self,
        rest: Rest,
        session: Session,
        clock: IReactorTime,
        random: Random,
        answered: Callable[[], None],
    ) -> None:
        self._rest = rest
        self._session = session
        self._clock = clock
        self._random = random
        self._answered = answered
        self._budget = RequestBudget()

    def has_room(self, requests: int) -> bool:
        """Tell whether so many reads that are not urgent can be made now."""
        return self._budget.has_room(self._clock.seconds(), requests)

    async def read(self, request: str, body: Payload, *, urgent: bool = False) -> Payload:
        """Return the fields of the answer to a request that changes nothing.

        :raises GatewayError: it was refused, or not answered.
        """
        deadline = self._clock.seconds() + ANSWER_SECONDS
        waits = iter(READ_AGAIN_SECONDS)
        seconds, later_seconds = READ_SECONDS
        has_logged_in = False
        while True:
            try:
                return await self._ask(request, body, seconds, urgent=urgent)
            except TokenRefusedError:
                if has_logged_in or self._left(deadline) < LEAST_SECONDS:
                    raise
                has_logged_in = True
            except (TooManyRequestsError, BrokerFaultError) as error:
                wait = next(waits, None)
                if wait is None or _least_wait(error) > wait:
                    raise
                if self._left(deadline) < wait + LEAST_SECONDS:
                    raise
                await self._sleep(wait)
            seconds = max(LEAST_SECONDS, min(later_seconds, self._left(deadline)))

    def _left(self, deadline: float) -> float:
        return deadline - self._clock.seconds()

    async def change(self, request: str, body: Payload) -> Payload:
        """Return the fields of the answer to a request that changes something; it is sent once.

        :raises GatewayRefusedError: it was refused.
        :raises GatewayUnansweredError: nobody knows what became of it.
        """
        return await self._ask(request, body, CHANGE_SECONDS, urgent=True)

    async def _ask(self, request: str, body: Payload, seconds: float, *, urgent: bool) -> Payload:
        token = await self._session.token()
        kept = KEPT_FOR_CLOSING if request in _ABOUT_ONE_ORDER else 0
        while wait := self._budget.wait(self._clock.seconds(), urgent=urgent, kept=kept):
            await deferLater(self._clock, wait)
            # It may have ended meanwhile.
            token = await self._session.token()
        self._budget.spend(self._clock.seconds())
        try:
            fields = await self._rest.post(request, body, token, seconds)
        except TokenRefusedError:
            self._session.discard(token)
            raise
        except TooManyRequestsError as error:
            self._budget.hold(self._clock.seconds(), error.seconds)
            raise
        except BrokerFaultError:
            raise
        except GatewayError:
            self._answered()
            raise
        self._answered()
        return fields

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._clock, seconds * self._random.uniform(0.6, 1.0))


def _least_wait(error: TooManyRequestsError | BrokerFaultError) -> float:
    return error.seconds if isinstance(error, TooManyRequestsError) else 0.0


def _retry_after(response: IResponse) -> str | None:
    values = response.headers.getRawHeaders("Retry-After")
    return values[0] if values else None


def _cancellable(answer: Deferred[_T]) -> Deferred[_T]:
    """Return ``answer``, so that who cancels it is told nothing else, whatever stage it was in."""
    is_wanted = True

    def cancel(_outer: Deferred[_T]) -> None:
        nonlocal is_wanted
        is_wanted = False
        answer.cancel()

    def hand_on(result: _T | Failure) -> None:
        if is_wanted:
            outer.callback(result)

    outer: Deferred[_T] = Deferred(cancel)
    answer.addBoth(hand_on)
    return outer


def _why(error: BaseException | None) -> str:
    """Return what went wrong on the way, in words without the names of classes."""
    if isinstance(error, DNSLookupError):
        return "the broker's name cannot be looked up"
    if isinstance(error, ConnectError):
        return "no connection"
    if isinstance(error, (ConnectionDone, ConnectionLost)):
        return "the connection was lost"
    reasons: list[Failure] = getattr(error, "reasons", [])
    if reasons:
        # One loss has several reasons, of which some have no words.
        return "; ".join(dict.fromkeys(_why(one.value) for one in reasons if str(one.value)))
    return str(error) or "something went wrong on the way"
