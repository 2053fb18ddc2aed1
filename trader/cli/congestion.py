"""A terminal that takes no output: the rest is written later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.host.timing import lasting_loop
from trader.ui.output import TerminalOutput

_RETRY_SECONDS: Final = 0.1
"""How often the terminal is tried.  Linux does not always report that one has room again."""

_log = Logger()


@implementer(IWriteDescriptor)
class Congestion:
    """Writes what is left of an output whenever the terminal takes some.

    :param reactor: watches the terminal.
    :param output: the output; its ``on_congested`` is set.
    :param on_end: called when the terminal has taken all of it.
    """

    def __init__(self, reactor: Any, output: TerminalOutput, on_end: Callable[[], object]) -> None:
        self._reactor = reactor
        self._output = output
        self._on_end = on_end
        self._retries = lasting_loop(reactor, self.doWrite, _log)
        output.on_congested = self._begin

    def fileno(self) -> int:
        """Return the file descriptor of the terminal."""
        return self._output.fileno()

    def logPrefix(self) -> str:  # noqa: N802  # the name of IFileDescriptor
        """Return the name for messages of the reactor."""
        return "terminal"

    def doWrite(self) -> None:  # noqa: N802  # the name of IWriteDescriptor
        """Write what the terminal takes now."""
        self._output.flush()
        if not self._output.is_congested:
            self._stop()
            self._on_end()

    def connectionLost(self, _reason: Failure) -> None:  # the name of IFileDescriptor
        """Stop: the terminal is gone, or the reactor ends."""
        self._stop()

    def _begin(self) -> None:
        if not self._retries.running:
            self._reactor.addWriter(self)
            self._retries.start(_RETRY_SECONDS, now=False)

    def _stop(self) -> None:
        self._reactor.removeWriter(self)
        if self._retries.running:
            self._retries.stop()
