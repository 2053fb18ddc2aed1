"""One conversation with a hub, from its handshake to its end, without sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.gateway.projectx.responses import reason_of
from riskd.gateway.signalr import (
    HANDSHAKE_REQUEST,
    Close,
    Completion,
    Invocation,
    Ping,
    RecordReader,
    SignalRError,
    decode,
    decode_handshake_response,
    encode,
)
from riskd.host.timing import SharedLoop

_log = Logger()

PING_SECONDS: Final = 15.0
"""We ping when we have sent nothing for so long: the broker pings only clients that ping."""

SILENCE_SECONDS: Final = 30.0
"""When nothing has arrived for so long the connection is dead, whatever TCP reports."""

TURN_SECONDS: Final = 0.001
"""How long a hub's records are handled in one turn of the reactor.

A flood of quotes comes on one connection, and the breach of a limit on another one.
"""

_CHECK_SECONDS: Final = 1.0

Receive = Callable[[Invocation], Iterator[None] | None]


class HubError(Exception):
    """A hub's connection cannot be made or has ended; the text says why."""


class TokenRejectedError(HubError):
    """The hub does not accept the token."""


class HubRefusedError(HubError):
    """The hub answered an invocation with an error."""


class HubConnection:
    """A conversation with a hub.

    :param clock: times pings and silence.
    :param send: sends bytes.
    :param drop: ends the connection at once.
    :param receive: receives each invocation of the hub; it may return an iterator, each step of which handles
        a part.
    :param hold: called with whether to hold back what arrives, because there is enough to handle.
    :ivar has_ended: whether the conversation has ended, or is just ending.
    :ivar handshaken: fires when the hub has answered the handshake.
    :ivar ended: fires with the reason when the conversation has ended.
    """

    def __init__(
        self,
        clock: IReactorTime,
        send: Callable[[bytes], None],
        drop: Callable[[], None],
        receive: Receive,
        hold: Callable[[bool], None] = lambda _is_held: None,
    ) -> None:
        self._clock = clock
        self._send = send
        self._drop = drop
        self._receive = receive
        self._hold = hold
        self._reader = RecordReader()
        self._unread: deque[bytes] = deque()
        self._steps: Iterator[None] | None = None
        self._is_working = False
        self._later: IDelayedCall | None = None
        self._last_id = 0
        self._invocations: dict[str, Deferred[Any]] = {}
        self._sent_at = self._received_at = clock.seconds()
        self.has_ended = False
        self.handshaken: Deferred[None] = Deferred()
        self.ended: Deferred[str] = Deferred()
        self._check = SharedLoop(self._check_clock)
        self._check.clock = clock

    def begin(self) -> None:
        """Send the handshake."""
        self._send_record(HANDSHAKE_REQUEST)
        self._check.start(_CHECK_SECONDS, now=False).addErrback(self._failed)

    def received(self, data: bytes) -> None:
        """Receive bytes; a violation of the protocol ends the conversation.

        What takes longer than :data:`TURN_SECONDS` goes on in the next turns of the reactor.
        """
        if self.has_ended:
            return
        self._received_at = self._clock.seconds()
        self._unread.append(data)
        if not self._is_working and self._later is None:
            self._work()

    def _work(self) -> None:
        was_held, self._later = self._later is not None, None
        self._is_working = True
        until = self._clock.seconds() + TURN_SECONDS
        try:
            self._steps = self._steps or self._all_steps()
            for _ in self._steps:
                if self._clock.seconds() >= until and not self.has_ended:
                    self._later = self._clock.callLater(0, self._work)
                    break
            else:
                self._steps = None
        except SignalRError as error:
            self.end(f"the broker sent what cannot be read: {error}")
        except Exception:  # noqa: BLE001  # events may be lost; another connection begins with all of them
            self._failed(Failure())
        finally:
            self._is_working = False
        is_held = self._later is not None
        if is_held is not was_held and not self.has_ended:
            self._hold(is_held)

    def _all_steps(self) -> Iterator[None]:
        while self._unread:
            for record in self._reader.feed(self._unread.popleft()):
                for _ in self._handle(record):
                    # The receiver of a record may end the conversation.
                    if self.has_ended:
                        return
                    yield

    def invoke(self, target: str, *arguments: Any) -> Deferred[Any]:
        """Call a method of the hub; return a Deferred of its result, or a HubError."""
        if self.has_ended:
            return fail(HubError("the connection has ended"))
        # Without an id there would be no completion, and so no word whether a subscription is made.
        self._last_id += 1
        invocation_id = str(self._last_id)
        answer: Deferred[Any] = Deferred()
        self._invocations[invocation_id] = answer
        self._send_record(encode(Invocation(target, arguments, invocation_id)))
        return answer

    def end(self, why: str) -> None:
        """End the conversation and its connection."""
        if self.has_ended:
            return
        self.has_ended = True
        if self._check.running:
            self._check.stop()
        if self._later is not None:
            self._later.cancel()
        self._unread.clear()
        self._drop()
        # Taken away first: a failed invocation may start another one.
        invocations, self._invocations = self._invocations, {}
        for answer in invocations.values():
            answer.errback(HubError(why))
        if not self.handshaken.called:
            self.handshaken.errback(HubError(why))
        self.ended.callback(why)

    def _handle(self, record: bytes) -> Iterator[None]:
        """Handle a record in at least one step."""
        # The answer and the first events may share a message, so each record is checked by itself.
        if not self.handshaken.called:
            decode_handshake_response(record)
            self.handshaken.callback(None)
            yield
            return
        message = decode(record)
        if isinstance(message, Invocation):
            yield from self._receive(message) or ()
        elif isinstance(message, Completion):
            self._complete(message)
        elif isinstance(message, Close):
            why = f": {reason_of(message.error)}" if message.error else ""
            self.end(f"the broker closed the connection{why}")
        yield

    def _complete(self, completion: Completion) -> None:
        answer = self._invocations.pop(completion.invocation_id, None)
        if answer is not None and completion.error is None:
            answer.callback(completion.result)
        elif answer is not None:
            answer.errback(HubRefusedError(reason_of(completion.error)))

    def _send_record(self, record: bytes) -> None:
        self._sent_at = self._clock.seconds()
        self._send(record)

    def _check_clock(self) -> None:
        now = self._clock.seconds()
        if now - self._received_at >= SILENCE_SECONDS:
            self.end(f"nothing received for {SILENCE_SECONDS:g} s")
        # Before its answer to the handshake, a hub accepts nothing.
        elif now - self._sent_at >= PING_SECONDS and self.handshaken.called:
            self._send_record(encode(Ping()))

    def _failed(self, failure: Failure) -> None:
        _log.failure("internal error on a hub", failure)
        self.end("internal error")
