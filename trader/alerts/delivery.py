"""Send what an outbox has to its target, in a thread, until the target has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from riskd.host.timing import done_within
from riskd.model.formatting import counted
from riskd.model.safe_text import printable
from trader.alerts.alert import Alert
from trader.alerts.attachments import Attach, no_attachment
from trader.alerts.outbox import Outbox
from trader.alerts.targets import SendError
from trader.alerts.words import Attachment, Message, Words, compose

STOP_SECONDS: Final = 5.0
"""How long the end of the program waits for the last messages."""

_log = Logger()

InThread = Callable[[Callable[[], None]], Deferred[None]]
"""Runs a blocking call in a thread."""


class ITarget(Protocol):
    """A service that shows messages."""

    name: str
    room: int

    def send(self, message: Message) -> None:
        """Send a message; block until that is done.

        :raises SendError: the target does not have it.
        """


class Delivery:
    """The way of alerts to one target; at most one message is under way.

    :param clock: a reactor with a steady clock.
    :param attach: makes what is attached to a message; it is called in the thread.
    """

    def __init__(
        self,
        clock: Any,
        target: ITarget,
        words: Words,
        in_thread: InThread,
        attach: Attach = no_attachment,
    ) -> None:
        self._attach = attach
        self._clock = clock
        self._target = target
        self._words = words
        self._in_thread = in_thread
        self._outbox = Outbox()
        self._call: IDelayedCall | None = None
        self._is_failing = self._is_ending = False
        self._done: list[Deferred[None]] = []

    def add(self, alert: Alert) -> None:
        """Send an alert soon."""
        self._outbox.add(alert, self._clock.seconds())
        self._schedule()

    def finish(self) -> Deferred[None]:
        """Send at once what waits, and try nothing again; fires when that is done."""
        self._is_ending = True
        self._outbox.hurry()
        done: Deferred[None] = Deferred()
        self._done.append(done)
        self._schedule()
        return done

    def _schedule(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        wait = self._outbox.due_in(self._clock.seconds())
        if wait is not None:
            self._call = self._clock.callLater(wait, self._send)
        elif self._is_ending and not self._outbox.is_under_way:
            done, self._done = self._done, []
            for each in done:
                each.callback(None)

    def _send(self) -> None:
        alerts, dropped = self._outbox.take(self._clock.seconds())
        # Whatever fails, the alerts wait again: a message under way for ever would be the last one.
        sending = maybeDeferred(self._begin_to_send, alerts, dropped)
        sending.addCallbacks(self._sent, self._failed, callbackArgs=(len(alerts),))
        sending.addErrback(lambda failure: _log.failure("internal error", failure=failure))

    def _begin_to_send(self, alerts: Sequence[Alert], dropped: int) -> Deferred[None]:
        message = compose(alerts, self._words, self._target.room, dropped)
        return self._in_thread(partial(self._send_in_thread, message, alerts))

    def _send_in_thread(self, message: Message, alerts: Sequence[Alert]) -> None:
        """Send a message with what belongs to its alerts; block until that is done.

        :raises SendError: the target does not have it.
        """
        made = [found for alert in alerts if (found := self._attach(alert))]
        # A sentence in place of a file is part of the message, where that has room.
        sentences = [each for each in made if isinstance(each, str)]
        lines = [message.body, *map(printable, sentences)]
        self._target.send(
            msgspec.structs.replace(
                message,
                body="\n".join(lines)[: max(self._target.room, len(message.body))],
                attachments=tuple(each for each in made if isinstance(each, Attachment)),
            )
        )

    def _sent(self, _result: None, number: int) -> None:
        again = " again" if self._is_failing else ""
        self._is_failing = False
        _log.info(
            "{target} has {alerts}{again}",
            target=self._target.name,
            alerts=counted(number, "alert"),
            again=again,
        )
        self._outbox.sent()
        self._schedule()

    def _failed(self, failure: Failure) -> None:
        why = failure.getErrorMessage()
        if failure.check(SendError) is None:
            why = f"internal error: {failure.type.__name__}" if failure.type else "internal error"
        wait = self._outbox.failed(self._clock.seconds())
        if self._is_ending:
            _log.error(
                "{target} did not get the last alerts: {why}", target=self._target.name, why=why
            )
            self._outbox.discard()
        else:
            self._is_failing = True
            _log.error(
                "{target} did not get the alerts: {why}; the next attempt is in {wait:.0f} s",
                target=self._target.name,
                why=why,
                wait=wait,
            )
        self._schedule()


class Deliveries:
    """All targets, each on its own: a slow one delays no other."""

    def __init__(
        self,
        reactor: Any,
        targets: Sequence[ITarget],
        words: Words,
        attach: Attach = no_attachment,
    ) -> None:
        self._reactor = reactor
        # Each target has a thread, and the reactor's own pool stays free to resolve names.
        self._pool = ThreadPool(0, len(targets), "alerts")
        self._all = [
            Delivery(reactor, target, words, self._in_thread, attach) for target in targets
        ]

    def start(self) -> None:
        """Start the threads."""
        self._pool.start()

    def add(self, alert: Alert) -> None:
        """Send an alert to all targets."""
        for each in self._all:
            each.add(alert)

    def finish(self) -> Deferred[bool]:
        """Send what waits; fires within :data:`STOP_SECONDS`, with whether all was sent."""
        if not self._pool.started:
            return succeed(True)
        finished = gatherResults([each.finish() for each in self._all])
        return Deferred.fromCoroutine(done_within(STOP_SECONDS, finished, self._reactor))

    def stop(self) -> None:
        """End the threads."""
        if self._pool.started:
            self._pool.stop()

    def _in_thread(self, act: Callable[[], None]) -> Deferred[None]:
        return deferToThreadPool(self._reactor, self._pool, act)
