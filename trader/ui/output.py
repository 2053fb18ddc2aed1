"""Output to a terminal that may take none for a while.

A terminal stops taking output when its window is frozen, its connection hangs or its owner holds it with
Ctrl-S.  A program that waits for it then does nothing else, and what its screen shows is no longer true.
"""

from __future__ import annotations

import os
import select
import termios
import time
from collections.abc import Callable
from typing import Final, TextIO

SETTLE_SECONDS: Final = 1.0
"""How long the program's end waits for the terminal to take the last of its output."""


class TerminalOutput:
    """Writes as much as the terminal takes at once, and keeps the rest.

    :param file: the terminal; it is opened a second time, because "do not block" is a property of the
        opened file, which the program shares with the shell that started it.
    :ivar on_congested: called when the terminal takes no more; :meth:`flush` must be called again once it
        may take more.
    :ivar on_lost: called when the terminal is gone.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._descriptor: int | None = None
        self._pending = bytearray()
        self._is_congested = False
        self._is_lost = False
        self.on_congested: Callable[[], object] = lambda: None
        self.on_lost: Callable[[], object] = lambda: None

    @property
    def is_congested(self) -> bool:
        """Whether the terminal has not taken all that was flushed."""
        return self._is_congested

    def fileno(self) -> int:
        """Return the file descriptor of the terminal."""
        return self._file.fileno()

    def write(self, text: str) -> None:
        """Keep ``text`` for the next :meth:`flush`."""
        if not self._is_lost:
            self._pending += text.encode(self._file.encoding or "utf-8", "replace")

    def flush(self) -> None:
        """Write what the terminal takes now."""
        descriptor = self._opened()
        try:
            while self._pending:
                del self._pending[: os.write(descriptor, self._pending)]
        except BlockingIOError:
            if not self._is_congested:
                self._is_congested = True
                self.on_congested()
        except OSError:
            self._lose()
        else:
            self._is_congested = False

    def settle(self) -> None:
        """Write the rest within :data:`SETTLE_SECONDS`, and discard what is left then.

        What is discarded makes room for the few bytes that give the terminal back.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        self.flush()
        while self._is_congested and (left := deadline - time.monotonic()) > 0:
            # A terminal that has room again is not always reported as such.
            select.select([], [self._opened()], [], min(left, 0.05))
            self.flush()
        if self._is_congested:
            self._pending.clear()
            self._is_congested = False
            try:
                termios.tcflush(self._opened(), termios.TCOFLUSH)
            except termios.error:
                self._lose()

    def close(self) -> None:
        """Close what was opened; the terminal itself stays open."""
        if self._descriptor is not None and self._descriptor != self.fileno():
            os.close(self._descriptor)
        self._descriptor = None

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = _open_again(self.fileno())
        return self._descriptor

    def _lose(self) -> None:
        self._pending.clear()
        self._is_congested = False
        if not self._is_lost:
            self._is_lost = True
            self.on_lost()


def _open_again(descriptor: int) -> int:
    """Return a descriptor of the same terminal that never blocks.

    If the terminal cannot be opened again, return ``descriptor`` itself.
    """
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(os.ttyname(descriptor), flags)
    except OSError:
        # After a change of user the terminal may belong to another one; the controlling terminal may be
        # opened all the same.
        pass
    try:
        # This fails if the descriptor's terminal is not the controlling one.
        os.tcgetpgrp(descriptor)
        return os.open("/dev/tty", flags)
    except OSError:
        return descriptor
