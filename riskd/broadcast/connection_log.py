"""What is written down of clients' comings and goings, which they cannot flood."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

LINES: Final = 200
"""So many lines are written within :data:`SECONDS`, and no more."""

SECONDS: Final = 60

_log = Logger()


class ConnectionLog:
    """Writes lines about clients, as long as there are not too many.

    :param clock: the reactor.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._began_at = 0.0
        self._lines = 0

    def info(self, text: str, **fields: Any) -> None:
        """Write what is as it should be."""
        self._write(LogLevel.info, text, fields)

    def warn(self, text: str, **fields: Any) -> None:
        """Write what should not be."""
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
                "more than {lines} lines about clients within {seconds} s, what follows is left out",
                lines=LINES,
                seconds=SECONDS,
            )
