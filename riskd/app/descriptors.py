"""Raise the limit of file descriptors, and report a problem before they run out."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from riskd.host.timing import lasting_loop

ALARM_SHARE: Final = 0.8
"""The share of the limit in use from which the problem is reported."""

END_SHARE: Final = 0.7
"""The share of the limit in use at which the problem ends; lower, so that it does not come and go."""

CHECK_SECONDS: Final = 1.0

_OPEN_FILES: Final = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
_OWN_USE: Final = 384
"""Descriptors for everything but clients of the stream.

They are the journal, the log, the broker, operators, metrics and the clients of the practice gateway.
"""

_log = Logger()


def raise_limit(wanted: int) -> int:
    """Raise the soft limit of descriptors to ``wanted``, or as far as the hard limit.

    A higher soft limit stays.

    :returns: the soft limit in force.
    """
    soft, hard = (
        sys.maxsize if limit == resource.RLIM_INFINITY else limit
        for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    # Only root may raise the hard limit.
    allowed = min(wanted, hard)
    if soft >= allowed:
        return soft
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (allowed, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    return allowed


def open_descriptors() -> int:
    """Return how many descriptors this process has in use.

    Source: proc(5); since Linux 6.2 it is the size of ``/proc/self/fd``.  Elsewhere they are listed.
    """
    return os.stat(_OPEN_FILES).st_size or len(os.listdir(_OPEN_FILES))  # noqa: PTH208, PTH116


class DescriptorService(Service):
    """Raises the limit at the start; reports a problem while few are free.

    :param max_clients: the most clients of the daemon.
    :param report_problem: takes a source and a sentence; an empty sentence ends the problem of that source.
    """

    def __init__(
        self, clock: IReactorTime, max_clients: int, report_problem: Callable[[str, str], None]
    ) -> None:
        # As many connections may be pending as there are clients.
        self._needed = 2 * max_clients + _OWN_USE
        self._report_problem = report_problem
        self._limit = 0
        self._is_alarmed = False
        self._loop = lasting_loop(clock, self._check, _log)

    def startService(self) -> None:
        """Raise the limit and start checking."""
        super().startService()
        self._limit = raise_limit(self._needed)
        if self._limit < self._needed:
            _log.warn(
                "the limit of open files is {limit}, and max_clients may need {needed}; "
                "raise the hard limit (ulimit -Hn, or LimitNOFILE of systemd)",
                limit=self._limit,
                needed=self._needed,
            )
        self._loop.start(CHECK_SECONDS, now=False)

    def stopService(self) -> None:
        """Stop checking."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    def _check(self) -> None:
        try:
            used = open_descriptors()
        except OSError:
            # To list them takes a descriptor, and none is left.
            used = self._limit
        if not self._is_alarmed and used >= ALARM_SHARE * self._limit:
            self._is_alarmed = True
            _log.warn(
                "{used} of {limit} file descriptors are in use", used=used, limit=self._limit
            )
            self._report_problem(
                "descriptors",
                f"riskd has used most of its {self._limit} file descriptors; "
                "new consoles may not get in",
            )
        elif self._is_alarmed and used < END_SHARE * self._limit:
            self._is_alarmed = False
            _log.info(
                "{used} of {limit} file descriptors are in use again",
                used=used,
                limit=self._limit,
            )
            self._report_problem("descriptors", "")
