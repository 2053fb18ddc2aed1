"""Whether the daemon guards the account, and each change of that.

It does not while it has an error.  Without a connection to it, that is unknown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from riskd.model.events import DaemonStatus, Event, Status

_REMEMBERED: Final = 20
"""The errors of one trouble that are remembered, each to be reported once."""


class ConnectionChange(msgspec.Struct, frozen=True):
    """The daemon is gone, or back.

    :ivar connected: whether it is back.
    :ivar reason: why it is gone, in the client's words.
    """

    connected: bool
    reason: str


GuardChange = Event | ConnectionChange
"""A ``daemon_status`` that begins or ends an error, or a change of the connection."""


class GuardWatch:
    """Reports when the daemon stops guarding, and when it guards again.

    A daemon with several troubles reports the gravest, and that may change to and fro; each is reported once.

    :param report: receives each change.
    :param from_start: whether to report that the first connection cannot be made, or finds an error.
    """

    def __init__(
        self, report: Callable[[GuardChange], object], *, from_start: bool = False
    ) -> None:
        self._report = report
        self._from_start = from_start
        self._is_connected = self._was_connected = self._is_gone = False
        self._errors: deque[str] = deque(maxlen=_REMEMBERED)

    def connection(
        self, daemon: DaemonStatus | None, *, is_connected: bool, reason: str = ""
    ) -> None:
        """Handle a connection that is made or lost, or an attempt that failed.

        :param daemon: the last status of the daemon, which may have been published before the connection.
        """
        self._is_connected = is_connected
        if is_connected:
            if self._is_gone:
                self._report(ConnectionChange(connected=True, reason=reason))
            is_first, self._is_gone, self._was_connected = not self._was_connected, False, True
            self.status(daemon, is_known=is_first and not self._from_start)
        elif not self._is_gone and (self._was_connected or self._from_start):
            self._is_gone = True
            self._report(ConnectionChange(connected=False, reason=reason))

    def status(self, daemon: DaemonStatus | None, *, is_known: bool = False) -> None:
        """Handle the status of a connected daemon.

        :param is_known: whether the trader can see it anyway, so that it is no news.
        """
        if daemon is None or not self._is_connected:
            return
        is_news = False
        if daemon.status is Status.ERROR and daemon.message not in self._errors:
            self._errors.append(daemon.message)
            is_news = True
        elif daemon.status is Status.RUNNING and self._errors:
            self._errors.clear()
            is_news = True
        if is_news and not is_known:
            self._report(Event(None, daemon))
