"""One hub of the broker: a connection that is kept, and what is subscribed on it.

:class:`HubConnection` is the conversation, without sockets; :class:`Hub` sees to it that there always is
one.  A reconnect is a new connection that knows of no subscription, so all are made again before anybody
is told that the hub is up.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.gateway.projectx.backoff import Backoff
from riskd.gateway.projectx.credentials import Secret
from riskd.gateway.projectx.login import Session
from riskd.gateway.projectx.responses import words
from riskd.gateway.signalr import (
    Close,
    Completion,
    Invocation,
    Ping,
    RecordReader,
    SignalRError,
    decode,
    decode_handshake_response,
    encode,
    encode_handshake_request,
)

_log = Logger()

PING_SECONDS: Final = 15.0
"""After so long without a word of ours we ping: the broker's side pings only whoever does."""

SILENCE_SECONDS: Final = 30.0
"""After so long without a word of the broker the connection is dead, whatever TCP says."""

ANSWER_SECONDS: Final = 10.0
"""How long the handshake and each subscription may take."""

AGAIN_SECONDS: Final = 30.0
"""When a subscription that was refused is tried again."""

STEADY_SECONDS: Final = 10.0
"""A connection that was up for so long was a success, and the waits begin anew after it."""

HURRY_SECONDS: Final = 2.0
"""The least time between two tries, whatever speaks for the next."""

_BEAT_SECONDS: Final = 1.0

Subscription = tuple[str, tuple[Any, ...]]
"""A method of the hub and its arguments."""


class HubError(Exception):
    """A hub's connection could not be made, or is no more; the text says why."""


class TokenRejectedError(HubError):
    """The hub does not accept the token."""


class HubRefusedError(HubError):
    """The hub has answered an invocation with an error."""


class HubConnection:
    """A conversation with a hub, from the handshake to its end.

    :param clock: times pings and silence.
    :param send: sends bytes.
    :param drop: ends the connection at once.
    :param heard: given each invocation of the hub.
    :ivar handshaken: fires when the hub has answered the handshake.
    :ivar ended: fires with why the conversation has ended.
    """

    def __init__(
        self,
        clock: IReactorTime,
        send: Callable[[bytes], None],
        drop: Callable[[], None],
        heard: Callable[[Invocation], None],
    ) -> None:
        self._clock = clock
        self._send = send
        self._drop = drop
        self._heard = heard
        self._reader = RecordReader()
        self._last_id = 0
        self._asked: dict[str, Deferred[Any]] = {}
        self._sent_at = self._received_at = clock.seconds()
        self._has_ended = False
        self.handshaken: Deferred[None] = Deferred()
        self.ended: Deferred[str] = Deferred()
        self._beat = LoopingCall(self._look_at_clock)
        self._beat.clock = clock

    def begin(self) -> None:
        """Shake hands."""
        self._say(encode_handshake_request())
        self._beat.start(_BEAT_SECONDS, now=False).addErrback(self._failed)

    def received(self, data: bytes) -> None:
        """Take bytes; such as the protocol does not allow end the conversation."""
        self._received_at = self._clock.seconds()
        try:
            for record in self._reader.feed(data):
                if self._has_ended:
                    break
                self._take(record)
        except SignalRError as error:
            self.end(f"the broker sent what cannot be read: {error}")

    def invoke(self, target: str, *arguments: Any) -> Deferred[Any]:
        """Call a method of the hub; fire with its result, or with :class:`HubError`."""
        if self._has_ended:
            return fail(HubError("the connection has ended"))
        self._last_id += 1
        invocation_id = str(self._last_id)
        answer: Deferred[Any] = Deferred(lambda _: self._forget(invocation_id))
        self._asked[invocation_id] = answer
        self._say(encode(Invocation(target, arguments, invocation_id)))
        return answer

    def _forget(self, invocation_id: str) -> None:
        self._asked.pop(invocation_id, None)

    def end(self, why: str) -> None:
        """End the conversation, and whatever carries it."""
        if self._has_ended:
            return
        self._has_ended = True
        if self._beat.running:
            self._beat.stop()
        self._drop()
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            answer.errback(HubError(why))
        if not self.handshaken.called:
            self.handshaken.errback(HubError(why))
        self.ended.callback(why)

    def _take(self, record: bytes) -> None:
        if not self.handshaken.called:
            decode_handshake_response(record)
            self.handshaken.callback(None)
            return
        message = decode(record)
        if isinstance(message, Invocation):
            self._heard(message)
        elif isinstance(message, Completion):
            self._answered(message)
        elif isinstance(message, Close):
            why = f": {words(message.error)}" if message.error else ""
            self.end(f"the broker closed the connection{why}")

    def _answered(self, completion: Completion) -> None:
        answer = self._asked.pop(completion.invocation_id, None)
        if answer is None:
            return
        if completion.error is None:
            answer.callback(completion.result)
        else:
            answer.errback(HubRefusedError(words(completion.error)))

    def _say(self, record: bytes) -> None:
        self._sent_at = self._clock.seconds()
        self._send(record)

    def _look_at_clock(self) -> None:
        now = self._clock.seconds()
        if now - self._received_at >= SILENCE_SECONDS:
            self.end(f"not a word for {SILENCE_SECONDS:g} s")
        elif now - self._sent_at >= PING_SECONDS and self.handshaken.called:
            self._say(encode(Ping()))

    def _failed(self, failure: Failure) -> None:
        _log.failure("a mistake in riskd, on a hub", failure)
        self.end("a mistake in riskd")


Connect = Callable[[Secret, Callable[[Invocation], None]], Coroutine[Any, Any, HubConnection]]
"""Makes a connection whose WebSocket is open, with a token, for whoever hears; raises HubError."""


class Hub:
    """A hub that is connected again whenever it is not, for as long as the daemon runs.

    :param name: for the log.
    :param connect: makes a connection.
    :param session: has the token.
    :param clock: times the tries.
    :param backoff: says how long to wait between them.
    :param heard: given each invocation, and the token of the connection that it came on.
    :param came_up: called when all is subscribed.
    :param went_down: told why, when a connection has ended or could not be made.
    :param refused: told of a subscription that the broker refuses and why; with an empty text, that it
        has accepted it after all.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        session: Session,
        clock: IReactorTime,
        backoff: Backoff,
        heard: Callable[[Invocation, Secret], None],
        came_up: Callable[[], None],
        went_down: Callable[[str], None],
        refused: Callable[[Subscription, str], None],
    ) -> None:
        self._name = name
        self._connect = connect
        self._session = session
        self._clock = clock
        self._backoff = backoff
        self._required: dict[Subscription, None] = {}
        self._wanted: dict[Subscription, None] = {}
        self._heard = heard
        self._came_up = came_up
        self._went_down = went_down
        self._refused = refused
        self._last_why = ""
        self._refusals: set[Subscription] = set()
        self._tried_at: float | None = None
        self._connection: HubConnection | None = None
        self._life: Deferred[None] | None = None
        self._is_stopped = False
        self._pause: Deferred[None] | None = None
        self.is_up = False

    def start(self) -> None:
        """Connect, and keep connecting."""
        if self._is_stopped:
            return
        self._life = Deferred.fromCoroutine(self._live())
        self._life.addErrback(self._failed)

    def stop(self) -> None:
        """Connect no more, and end the connection there is."""
        self._is_stopped = True
        self.is_up = False
        if self._life is not None:
            self._life.cancel()
        self._end("riskd is stopping")

    def require(self, target: str, *arguments: Any) -> None:
        """Subscribe as :meth:`subscribe` does, but before the hub counts as up."""
        self._add((target, arguments), self._required)

    def subscribe(self, target: str, *arguments: Any) -> None:
        """Subscribe now, if the hub is up, and after each reconnect."""
        self._add((target, arguments), self._wanted)

    def _add(self, subscription: Subscription, known: dict[Subscription, None]) -> None:
        if subscription not in known:
            known[subscription] = None
            if self.is_up and self._connection is not None:
                self._go_on(self._connection, subscription)

    def reconnect(self, why: str) -> None:
        """End the connection there is, and make another at once."""
        self._end(why)
        self._wait_no_longer()

    def hurry(self) -> None:
        """Try at once, unless a try was just made: the broker seems to be back."""
        now = self._clock.seconds()
        if self._tried_at is None or now - self._tried_at >= HURRY_SECONDS:
            self._wait_no_longer()

    def _wait_no_longer(self) -> None:
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.cancel()

    def _end(self, why: str) -> None:
        if self._connection is not None:
            self._connection.end(why)

    async def _live(self) -> None:
        while not self._is_stopped:
            self._lost(await self._one_connection())
            await self._wait_for_next_try()

    def _lost(self, why: str) -> None:
        self.is_up = False
        self._connection = None
        if self._is_stopped:
            return
        if why != self._last_why:
            # A long outage is not a line of the log every few seconds.
            _log.warn("{hub} hub: {why}", hub=self._name, why=why)
        self._last_why = why
        self._went_down(why)

    async def _wait_for_next_try(self) -> None:
        # Whoever was told that it is up, or down, may have stopped it.
        if self._is_stopped:
            return
        pause: Deferred[None] = deferLater(
            self._clock, self._backoff.next_wait(self._clock.seconds())
        )
        self._pause = pause
        try:
            await pause
        except CancelledError:
            # Whoever hurries has taken it away; whoever stops has not.
            if self._pause is pause:
                raise
        self._pause = None

    async def _one_connection(self) -> str:
        """Live through a connection; return why it has ended, or could not be made."""
        token = await self._session.token()
        self._tried_at = self._clock.seconds()
        try:
            connection = await self._opened(token)
        except TokenRejectedError as error:
            self._session.discard(token)
            return str(error)
        except HubError as error:
            return str(error)
        self.is_up = True
        self._last_why = ""
        came_up_at = self._clock.seconds()
        _log.info("{hub} hub: connected", hub=self._name)
        for subscription in self._wanted:
            self._go_on(connection, subscription)
        self._came_up()
        why = await connection.ended
        if self._clock.seconds() - came_up_at >= STEADY_SECONDS:
            self._backoff.succeeded()
        return why

    async def _opened(self, token: Secret) -> HubConnection:
        """Return a connection on which all is subscribed that must be.

        :raises HubError: there is none.
        """
        connection = await self._connect(token, lambda said: self._heard(said, token))
        self._connection = connection
        try:
            await self._answer(connection.handshaken, "the handshake")
            self._check_token(token)
            done: set[Subscription] = set()
            # One may be added meanwhile.
            while missing := [one for one in self._required if one not in done]:
                done.add(missing[0])
                await self._subscribe(connection, missing[0])
        except Exception:
            connection.end("it could not be used")
            raise
        return connection

    def _check_token(self, token: Secret) -> None:
        if not self._session.is_current(token):
            # The broker may accept it all the same, and then tell nothing.
            raise HubError("the token was replaced while it was opened")

    async def _answer(self, answer: Deferred[Any], what: str) -> None:
        try:
            await answer.addTimeout(ANSWER_SECONDS, self._clock)
        except DeferredTimeoutError:
            raise HubError(f"{what} was not answered in {ANSWER_SECONDS:g} s") from None

    async def _subscribe(self, connection: HubConnection, subscription: Subscription) -> None:
        """Subscribe; what the broker refuses is tried again later, as long as the connection lasts.

        :raises HubError: there was no answer.
        """
        target, arguments = subscription
        try:
            await self._answer(connection.invoke(target, *arguments), target)
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
            # On a connection that has ended by then, it is nothing.
            self._clock.callLater(AGAIN_SECONDS, self._go_on, connection, subscription)

    def _go_on(self, connection: HubConnection, subscription: Subscription) -> None:
        """Subscribe beside all else; without an answer, the connection is of no use."""
        asked = Deferred.fromCoroutine(self._subscribe(connection, subscription))
        asked.addErrback(self._could_not_subscribe, connection)

    def _could_not_subscribe(self, failure: Failure, connection: HubConnection) -> None:
        if failure.check(HubError) is None:
            _log.failure("{hub} hub: a mistake in riskd", failure, hub=self._name)
        connection.end(failure.getErrorMessage())

    def _failed(self, failure: Failure) -> None:
        """Begin anew after a mistake of ours: a hub that nobody keeps is a feed that is lost for good."""
        if failure.check(CancelledError) is not None:
            return
        _log.failure("{hub} hub: a mistake in riskd", failure, hub=self._name)
        self._end("a mistake in riskd")
        self.is_up = False
        self._connection = None
        self._went_down("a mistake in riskd")
        self._clock.callLater(self._backoff.next_wait(self._clock.seconds()), self.start)
