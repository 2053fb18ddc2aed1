"""One hub of the broker: a connection that is kept, and its subscriptions.

A new connection knows no subscription.  So after each reconnect all are made again, and the hub counts as
up only when the required ones are accepted.  The engine reconciles after that and never before: what happened
between a read and a later subscription would be lost.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.gateway.interface import GatewayUnansweredError
from riskd.gateway.projectx.backoff import Backoff
from riskd.gateway.projectx.hub_connection import (
    HubConnection,
    HubError,
    HubRefusedError,
    Receive,
    TokenRejectedError,
)
from riskd.gateway.projectx.login import Login
from riskd.gateway.signalr import Invocation
from riskd.gateway.timeouts import answer_in_time
from riskd.host.secrets import Secret

_log = Logger()

ANSWER_SECONDS: Final = 10.0
"""How long the handshake and each subscription may take."""

AGAIN_SECONDS: Final = 30.0
"""How long to wait before a refused subscription is tried again."""

STEADY_SECONDS: Final = 10.0
"""A connection that was up for so long was a success: the next outage begins with short waits."""

HURRY_SECONDS: Final = 2.0
"""The shortest time between two tries, however often the hub is hurried."""

MOST_UNANSWERED: Final = 20
"""How many subscriptions that are not required may be unanswered on a connection.

One takes a tenth of a millisecond, and so does its failure when the connection ends.  A broker may list a thousand
contracts: to request their quotes in one turn of the reactor, or to fail as many, would hold it for that long.
"""

_INTERNAL_ERROR: Final = "internal error"

Subscription = tuple[str, tuple[Any, ...]]
"""A method of the hub and its arguments."""

Connect = Callable[[Secret, Receive], Coroutine[Any, Any, HubConnection]]
"""Opens a connection with a token, for a receiver of invocations; raises HubError."""


class _Background:
    """The subscriptions of one connection that nothing waits for, a few at a time.

    :param connection: the connection; when it has ended, nothing is requested any more.
    :param start: requests a subscription; its Deferred fires when that was answered, or has failed.
    """

    def __init__(
        self, connection: HubConnection, start: Callable[[Subscription], Deferred[None]]
    ) -> None:
        self._connection = connection
        self._start = start
        self._waiting: deque[Subscription] = deque()
        self._unanswered = 0
        self._is_starting = False

    def add(self, *subscriptions: Subscription) -> None:
        """Request subscriptions, as soon as those before them are answered."""
        self._waiting.extend(subscriptions)
        # Within a start: that one goes on with what is waiting.
        if self._is_starting:
            return
        self._is_starting = True
        while (
            self._waiting and self._unanswered < MOST_UNANSWERED and not self._connection.has_ended
        ):
            self._unanswered += 1
            self._start(self._waiting.popleft()).addCallback(self._answered)
        self._is_starting = False

    def _answered(self, _result: None) -> None:
        self._unanswered -= 1
        self.add()


class Hub:
    """A hub that reconnects whenever its connection ends.

    :param name: names the hub in the log.
    :param connect: opens a connection.
    :param login: has the token.
    :param clock: times the tries.
    :param backoff: gives the waits between the tries.
    :param receive: receives each invocation, with the token of its connection; see :class:`HubConnection`.
    :param came_up: called when all required subscriptions are made.
    :param went_down: called with the reason when a connection has ended or could not be opened.
    :param refused: called with a subscription that the broker refuses, and the reason; with an empty
        reason when the broker accepts it after all.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        login: Login,
        clock: IReactorTime,
        backoff: Backoff,
        receive: Callable[[Invocation, Secret], Iterator[None] | None],
        came_up: Callable[[], None],
        went_down: Callable[[str], None],
        refused: Callable[[Subscription, str], None],
    ) -> None:
        self._name = name
        self._connect = connect
        self._login = login
        self._clock = clock
        self._backoff = backoff
        self._required: list[Subscription] = []
        self._optional: list[Subscription] = []
        self._receive = receive
        self._came_up = came_up
        self._went_down = went_down
        self._refused = refused
        self._last_reason = ""
        self._refusals: set[Subscription] = set()
        self._tried_at = -math.inf
        self._connection: HubConnection | None = None
        self._background: _Background | None = None
        self._staying_connected: Deferred[None] = succeed(None)
        self._is_stopped = False
        self._pause: Deferred[None] = succeed(None)
        self.is_up = False

    def start(self) -> None:
        """Connect, and keep connecting."""
        self._staying_connected = Deferred.fromCoroutine(self._stay_connected())

    def stop(self) -> None:
        """Close the connection and stop reconnecting."""
        # First of all: what ends below must not be reported or tried again.
        self._is_stopped = True
        self.is_up = False
        self._staying_connected.cancel()
        self._end("riskd is stopping")

    def require(self, target: str, *arguments: Any) -> None:
        """Subscribe as :meth:`subscribe` does, but before the hub counts as up."""
        self._add((target, arguments), self._required)

    def subscribe(self, target: str, *arguments: Any) -> None:
        """Subscribe now, if the hub is up, and after each reconnect."""
        self._add((target, arguments), self._optional)

    def _add(self, subscription: Subscription, known: list[Subscription]) -> None:
        if subscription not in known:
            known.append(subscription)
            if self.is_up and self._connection is not None:
                self._subscribe_later(self._connection, subscription)

    def reconnect(self, why: str) -> None:
        """End the connection, and open another one at once."""
        self._end(why)
        self._pause.cancel()

    def hurry(self) -> None:
        """Try again now, unless a try was just made: the broker seems to be back."""
        if self._clock.seconds() - self._tried_at >= HURRY_SECONDS:
            self._pause.cancel()

    def _end(self, why: str) -> None:
        if self._connection is not None:
            self._connection.end(why)

    async def _stay_connected(self) -> None:
        """Open one connection after another, until the hub is stopped."""
        while not self._is_stopped:
            try:
                self._lost(await self._one_connection())
            except CancelledError:
                break
            except Exception:  # noqa: BLE001  # without another try the feed would be lost for good
                _log.failure("{hub} hub: internal error", hub=self._name)
                self._end(_INTERNAL_ERROR)
                self._lost(_INTERNAL_ERROR)
            # The receiver of went_down may have stopped the hub.
            if not self._is_stopped:
                await self._wait_for_next_try()

    def _lost(self, why: str) -> None:
        self.is_up = False
        self._connection = self._background = None
        if self._is_stopped:
            return
        if why != self._last_reason:
            # A long outage must not log a line every few seconds.
            _log.warn("{hub} hub: {why}", hub=self._name, why=why)
        self._last_reason = why
        self._went_down(why)

    async def _wait_for_next_try(self) -> None:
        self._pause = deferLater(self._clock, self._backoff.next_wait(self._clock.seconds()))
        # Canceled to try at once, or to stop: the caller's loop knows which.
        with suppress(CancelledError):
            await self._pause

    async def _one_connection(self) -> str:
        """Live through one connection; return why it ended, or could not be opened."""
        token = await self._login.token()
        self._tried_at = self._clock.seconds()
        try:
            connection = await self._open(token)
        except TokenRejectedError as error:
            self._login.discard(token)
            return str(error)
        except (HubError, GatewayUnansweredError) as error:
            return str(error)
        self.is_up = True
        self._last_reason = ""
        came_up_at = self._clock.seconds()
        _log.info("{hub} hub: connected", hub=self._name)
        self._subscribe_later(connection, *self._optional)
        # Last, when what is required is subscribed: the listener reads what it has missed.
        self._came_up()
        why = await connection.ended
        # A hub that accepts clients and drops them at once must not be hurried.
        if self._clock.seconds() - came_up_at >= STEADY_SECONDS:
            self._backoff.succeeded()
        return why

    async def _open(self, token: Secret) -> HubConnection:
        """Return a connection with all required subscriptions.

        :raises HubError: it could not be opened, or has ended.
        :raises GatewayUnansweredError: the handshake or a subscription was not answered.
        """
        connection = await self._connect(token, lambda sent: self._receive(sent, token))
        self._connection = connection
        self._background = _Background(connection, partial(self._start_subscribing, connection))
        try:
            await answer_in_time(
                "the handshake", connection.handshaken, self._clock, ANSWER_SECONDS
            )
            self._check_token(token)
            # Subscriptions that are added meanwhile are included: the list may grow.
            for subscription in self._required:
                await self._subscribe(connection, subscription)
        except Exception:
            connection.end("it could not be used")
            raise
        return connection

    def _check_token(self, token: Secret) -> None:
        # The broker may accept a token that was replaced meanwhile, and then send nothing.
        if not self._login.is_current(token):
            raise HubError("the token was replaced while it was opened")

    async def _subscribe(self, connection: HubConnection, subscription: Subscription) -> None:
        """Subscribe; while the connection lasts, a refusal is followed by another try.

        :raises HubError: the connection has ended.
        :raises GatewayUnansweredError: there was no answer in time.
        """
        target, arguments = subscription
        try:
            await answer_in_time(
                target, connection.invoke(target, *arguments), self._clock, ANSWER_SECONDS
            )
            if subscription in self._refusals:
                self._refusals.discard(subscription)
                self._refused(subscription, "")
        except HubRefusedError as refusal:
            self._refusals.add(subscription)
            _log.error(
                "{hub} hub: {target} {arguments} is refused: {refusal}",
                hub=self._name,
                target=target,
                arguments=", ".join(map(str, arguments)),
                refusal=refusal,
            )
            self._refused(subscription, str(refusal))
            self._clock.callLater(AGAIN_SECONDS, self._subscribe_later, connection, subscription)

    def _subscribe_later(self, connection: HubConnection, *subscriptions: Subscription) -> None:
        """Subscribe in the background, unless the connection has ended."""
        if connection is self._connection and self._background is not None:
            self._background.add(*subscriptions)

    def _start_subscribing(
        self, connection: HubConnection, subscription: Subscription
    ) -> Deferred[None]:
        """Subscribe; without an answer, the connection ends.

        The Deferred does not fail.
        """
        subscribing = Deferred.fromCoroutine(self._subscribe(connection, subscription))
        return subscribing.addErrback(self._could_not_subscribe, connection)

    def _could_not_subscribe(self, failure: Failure, connection: HubConnection) -> None:
        if failure.check(HubError, GatewayUnansweredError) is None:
            _log.failure("{hub} hub: internal error", failure, hub=self._name)
        connection.end(failure.getErrorMessage())
