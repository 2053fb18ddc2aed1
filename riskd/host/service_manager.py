"""Notices to the service manager that started this process, which is systemd.

Source: sd_notify(3) and sd_watchdog_enabled(3); a notice is a datagram of ``NAME=value`` lines.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from riskd.host.timing import lasting_loop

CHECK_SECONDS: Final = 0.25
"""The longest time between two checks of what there is to report."""

MAX_STATUS_BYTES: Final = 2048
"""The longest status.  systemd ignores a notice of more than 4096 bytes."""

_PER_TIMEOUT: Final = 4
"""Signs of life in the time after which systemd ends a service that gives none."""

_log = Logger()


class ServiceManager:
    """The service manager that started this process.

    :param address: the path of its socket, or ``@`` and a name in Linux's abstract namespace.
    :ivar watchdog_seconds: the time within which it expects a sign of life; ``None`` if it expects none.
    """

    def __init__(self, address: str, watchdog_seconds: float | None = None) -> None:
        self.watchdog_seconds = watchdog_seconds
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._started_by = os.getpid()
        self._has_failed = False

    def notify(self, notice: Mapping[str, str]) -> bool:
        """Send a notice; return whether it was sent."""
        lines = {name: " ".join(value.split()) for name, value in notice.items()}
        if "READY" in lines and os.getpid() != self._started_by:
            # twistd has detached.
            lines["MAINPID"] = str(os.getpid())
        text = "\n".join(f"{name}={value}" for name, value in lines.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                # The service manager must not delay the daemon.
                sender.setblocking(False)
                sender.sendto(text.encode(errors="replace"), self._address)
        except OSError as error:
            if not self._has_failed:
                _log.warn("cannot notify the service manager: {error}", error=error)
            self._has_failed = True
            return False
        self._has_failed = False
        return True


def service_manager(environ: Mapping[str, str]) -> ServiceManager | None:
    """Return the service manager of the environment; ``None`` if it names none."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return None
    if address[0] not in "/@":
        _log.warn(
            "NOTIFY_SOCKET={address} is neither a path nor an abstract name: no notices are sent",
            address=address,
        )
        return None
    return ServiceManager(address, _watchdog_seconds(environ))


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    microseconds = environ.get("WATCHDOG_USEC", "")
    # The variables are inherited by processes that they are not meant for.
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if not microseconds.isdecimal() or not int(microseconds):
        return None
    return int(microseconds) / 1_000_000


class NotifyService(Service):
    """Reports that a program is ready, what it does, that it lives, and its stop.

    The signs of life come from the reactor, so they end when it hangs.  A notice that cannot be sent is sent
    later.

    :param clock: the reactor.
    :param is_ready: returns whether the program has started and serves.
    :param sentence: returns what the program does, for a person; an empty text while there is nothing to say.
    """

    def __init__(
        self,
        clock: IReactorTime,
        manager: ServiceManager,
        is_ready: Callable[[], bool],
        sentence: Callable[[], str],
    ) -> None:
        self._clock = clock
        self._manager = manager
        self._is_ready = is_ready
        self._sentence = sentence
        self._reported: dict[str, str] = {}
        self._life_sign_at = clock.seconds()
        timeout = manager.watchdog_seconds
        self._life_sign_seconds = None if timeout is None else timeout / _PER_TIMEOUT
        self._loop = lasting_loop(clock, self._report, _log)

    def startService(self) -> None:
        """Start to report."""
        super().startService()
        due = self._life_sign_seconds
        self._loop.start(CHECK_SECONDS if due is None else min(CHECK_SECONDS, due / 2), now=False)

    def stopService(self) -> None:
        """Report the stop."""
        super().stopService()
        self._loop.stop()
        self._manager.notify({"STOPPING": "1", **self._status()})

    def _report(self) -> None:
        facts = self._status()
        if self._is_ready():
            facts["READY"] = "1"
        notice = {name: fact for name, fact in facts.items() if fact != self._reported.get(name)}
        now = self._clock.seconds()
        due = self._life_sign_seconds
        is_due = due is not None and now >= self._life_sign_at + due
        if is_due:
            notice["WATCHDOG"] = "1"
        if notice and self._manager.notify(notice):
            self._reported.update(facts)
            if is_due:
                self._life_sign_at = now

    def _status(self) -> dict[str, str]:
        sentence = self._sentence().encode(errors="replace")[:MAX_STATUS_BYTES]
        return {"STATUS": sentence.decode(errors="ignore")} if sentence else {}
