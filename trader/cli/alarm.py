"""The alarm: the bell, and the trader's own command.

It is raised on lockouts and enforcement, and when the daemon stops guarding or guards again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.model.events import DaemonStatus, EnforcementAction, Event, LockoutSet
from riskd.model.safe_text import json_text
from riskd.model.wire import encode
from trader.client import CONNECTION_STATUS
from trader.model.guard_watch import ConnectionChange, GuardChange

BELL_SECONDS: Final = 1.0
"""The least time between two rings of the bell."""

HOOK_SECONDS: Final = 10.0
"""The least time between two runs for enforcement, or for the daemon, and the longest run."""

_MAX_ERROR_OUTPUT: Final = 200

_log = Logger()


class Alarm:
    """Rings the bell and runs the hook.

    Lockouts are never muted, and every one of them runs the hook.  Of what the daemon does meanwhile, the hook
    learns the last change when it may run again, so that it does not take a daemon that is back for a lost one.

    :param reactor: runs processes and schedules calls.
    :param ring: rings the bell; ``None`` for no bell.
    :param hook: a command and its arguments, run without a shell; its standard input is the event as one
        JSON object, as on the wire.  Empty for none.
    """

    def __init__(
        self, reactor: Any, ring: Callable[[], object] | None, hook: Sequence[str]
    ) -> None:
        self._reactor = reactor
        self._ring = ring
        self._hook = tuple(hook)
        # So long ago that the first ring and the first run are due at once.
        self._last_ring = -BELL_SECONDS
        self._last_hook = -HOOK_SECONDS
        self._last_change = -HOOK_SECONDS
        self._waiting: GuardChange | None = None

    def handle(self, change: GuardChange, *, is_muted: bool) -> None:
        """Ring and run the hook if ``change`` is worth an alarm."""
        data = change if isinstance(change, ConnectionChange) else change.data
        is_lockout = isinstance(data, LockoutSet)
        is_of_daemon = isinstance(data, (ConnectionChange, DaemonStatus))
        if not (is_lockout or is_of_daemon or isinstance(data, EnforcementAction)):
            return
        if is_muted and not is_lockout:
            return
        now = self._reactor.seconds()
        if self._ring is not None and now - self._last_ring >= BELL_SECONDS:
            self._last_ring = now
            self._ring()
        if not self._hook:
            return
        if is_lockout:
            # Lockouts neither wait for enforcement nor delay it.
            self._run_hook(change)
        elif is_of_daemon:
            self._run_hook_of_daemon(change)
        elif now - self._last_hook >= HOOK_SECONDS:
            self._last_hook = now
            self._run_hook(change)

    def _run_hook_of_daemon(self, change: GuardChange) -> None:
        if self._waiting is None:
            wait = self._last_change + HOOK_SECONDS - self._reactor.seconds()
            if wait <= 0:
                self._last_change = self._reactor.seconds()
                self._run_hook(change)
                return
            self._reactor.callLater(wait, self._run_waiting)
        self._waiting = change

    def _run_waiting(self) -> None:
        change, self._waiting = self._waiting, None
        self._last_change = self._reactor.seconds()
        if change is not None:
            self._run_hook(change)

    def _run_hook(self, change: GuardChange) -> None:
        name = self._hook[0]
        process = _Hook(self._reactor, name, _message(change))
        try:
            self._reactor.spawnProcess(process, name, self._hook, env=os.environ)
        except OSError as error:
            _log.warn("cannot start the hook {hook}: {error}", hook=name, error=error.strerror)


def _message(change: GuardChange) -> bytes:
    """Return a change as one JSON object: an event, or a ``connection_status``."""
    if isinstance(change, Event):
        return encode(change)
    status = msgspec.structs.asdict(change)
    return json_text({"type": CONNECTION_STATUS, "account_id": None, "data": status}).encode()


class _Hook(ProcessProtocol):
    """One run of the hook, which is killed after :data:`HOOK_SECONDS`."""

    def __init__(self, clock: IReactorTime, name: str, message: bytes) -> None:
        self._clock = clock
        self._name = name
        self._message = message
        self._error_output = b""
        self._deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._deadline = self._clock.callLater(HOOK_SECONDS, self._kill)
        if self.transport is not None:
            self.transport.write(self._message + b"\n")
            # A hook that reads its input to the end must find one.
            self.transport.closeStdin()

    def errReceived(self, data: bytes) -> None:
        self._error_output = (self._error_output + data)[-_MAX_ERROR_OUTPUT:]

    def processEnded(self, reason: Failure) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        if reason.check(ProcessDone) is None:
            # The last line of a program's errors usually says most.
            lines = self._error_output.decode(errors="replace").strip().splitlines()
            _log.warn(
                "the hook {hook} failed: {why}",
                hook=self._name,
                why=lines[-1] if lines else reason.getErrorMessage(),
            )

    def _kill(self) -> None:
        _log.warn(
            "the hook {hook} has run for {seconds:.0f} s and is killed",
            hook=self._name,
            seconds=HOOK_SECONDS,
        )
        if self.transport is not None:
            # KILL, because a hook that hangs may ignore TERM.
            self.transport.signalProcess("KILL")
