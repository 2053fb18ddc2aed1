"""The alarm on lockouts and enforcement: the terminal's bell, and a command of the trader's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.model.events import EnforcementAction, Event, LockoutSet
from riskd.model.wire import encode

BELL_SECONDS: Final = 1.0
"""The bell rings no more often than this."""

HOOK_SECONDS: Final = 10.0
"""For enforcement the hook runs no more often than this; and it is ended when it runs for longer."""

_MAX_SAID: Final = 200

_log = Logger()


class Alarm:
    """Rings the bell and runs the hook.

    A mute silences enforcement, and lockouts never.  Nor is the hook ever left out for a lockout.

    :param reactor: runs processes, and has a clock.
    :param ring: rings the bell; ``None`` for no bell.
    :param hook: a command and its arguments, run without a shell; the event comes to its standard input
        as one JSON object, as it is on the wire.  Empty for none.
    """

    def __init__(
        self, reactor: Any, ring: Callable[[], object] | None, hook: Sequence[str]
    ) -> None:
        self._reactor: IReactorTime = reactor
        self._processes: IReactorProcess = reactor
        self._ring = ring
        self._hook = tuple(hook)
        self._rung_at: float | None = None
        self._hooked_at: float | None = None

    def handle(self, event: Event, *, is_muted: bool) -> None:
        """Alarm about ``event`` if it is one to alarm about."""
        is_lockout = isinstance(event.data, LockoutSet)
        if not is_lockout and (is_muted or not isinstance(event.data, EnforcementAction)):
            return
        now = self._reactor.seconds()
        if self._ring is not None and _is_due(self._rung_at, now, BELL_SECONDS):
            self._rung_at = now
            self._ring()
        if self._hook and (is_lockout or _is_due(self._hooked_at, now, HOOK_SECONDS)):
            if not is_lockout:
                self._hooked_at = now
            self._run(event)

    def _run(self, event: Event) -> None:
        process = _Hook(self._reactor, self._hook[0], encode(event))
        try:
            self._processes.spawnProcess(process, self._hook[0], self._hook, env=os.environ)
        except OSError as error:
            _log.warn(
                "the hook {hook} cannot be started: {error}",
                hook=self._hook[0],
                error=error.strerror,
            )


def _is_due(last: float | None, now: float, seconds: float) -> bool:
    return last is None or now - last >= seconds


class _Hook(ProcessProtocol):
    """One run of the hook: it is given the event, and ended when it takes too long."""

    def __init__(self, clock: IReactorTime, name: str, message: bytes) -> None:
        self._clock = clock
        self._name = name
        self._message = message
        self._said = b""
        self._deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._deadline = self._clock.callLater(HOOK_SECONDS, self._end)
        if self.transport is not None:
            self.transport.write(self._message + b"\n")
            self.transport.closeStdin()

    def errReceived(self, data: bytes) -> None:
        self._said = (self._said + data)[-_MAX_SAID:]

    def processEnded(self, reason: Failure) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        if reason.check(ProcessDone) is None:
            lines = self._said.decode(errors="replace").strip().splitlines()
            _log.warn(
                "the hook {hook} failed: {why}",
                hook=self._name,
                why=lines[-1] if lines else reason.getErrorMessage(),
            )

    def _end(self) -> None:
        _log.warn(
            "the hook {hook} runs for {seconds:.0f} s, and is ended",
            hook=self._name,
            seconds=HOOK_SECONDS,
        )
        if self.transport is not None:
            self.transport.signalProcess("KILL")
