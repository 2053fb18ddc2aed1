"""The log of clients' connections, limited so that no client can flood it."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

LINES: Final = 200
"""The most lines within :data:`SECONDS`."""

SECONDS: Final = 60

_log = Logger()


class ConnectionLog:
    """Logs lines about clients, up to a limit per minute.

    :param clock: the reactor.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._began_at = 0.0
        self._lines = 0

    def info(self, text: str, **fields: Any) -> None:
        """Log that a client came or left."""
        self._write(LogLevel.info, text, fields)

    def warn(self, text: str, **fields: Any) -> None:
        """Log a refusal or a closed connection."""
        self._write(LogLevel.warn, text, fields)

    def _write(self, level: Any, text: str, fields: dict[str, Any]) -> None:
        now = self._clock.seconds()
        if now - self._began_at >= SECONDS:
            if self._lines > LINES:
                _log.warn("{count} lines about clients were left out", count=self._lines - LINES)
            self._began_at, self._lines = now, 0
        self._lines += 1
        if self._lines <= LINES:
            _log.emit(level, text, **fields)
        elif self._lines == LINES + 1:
            _log.warn(
                "more than {lines} lines about clients within {seconds} s, the rest is left out",
                lines=LINES,
                seconds=SECONDS,
            )
