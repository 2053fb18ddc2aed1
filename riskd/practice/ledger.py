"""The file that keeps the practice gateway's trading over a restart.

It holds positions, orders, trades and balances.

A line is with the operating system when :meth:`Ledger.append` returns.  So it survives a kill of the process
at any moment.  It is not forced to the disk, so a power failure may lose it.

Nothing here raises: trading goes on without a ledger, and a problem is reported as a :class:`Note`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from riskd.host.files import write_whole
from riskd.practice.account_store import ExchangeState
from riskd.practice.ledger_format import (
    Note,
    Report,
    messages_for,
    read_lines,
    state_after,
    write_lines,
)
from riskd.practice.records import Message

_MAX_BYTES: Final = 16 * 1024 * 1024
"""A file that has grown by so many bytes is replaced by one that holds only what still matters."""

_MAX_UNWRITTEN: Final = 4 * 1024 * 1024
"""So many bytes are kept while the file cannot be written; beyond that, the file is replaced."""


class Ledger:
    """A ledger's file; after a failure, every message tries again to write it.

    :ivar path: the file; its directory is created if it is missing.
    :param report: called with what belongs in the log.
    """

    def __init__(self, path: Path, report: Report) -> None:
        self.path = path
        self._report = report
        self._descriptor: int | None = None
        self._size = 0
        self._limit = _MAX_BYTES
        self._unwritten = b""
        self._is_failing = False

    def read(self) -> ExchangeState:
        """Return the state in the file; an empty one if it is missing or unreadable."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return ExchangeState()
        except OSError as error:
            # Set the file aside: the next one must not replace what a person may still repair.
            with suppress(OSError):
                if self.path.is_file():
                    self.path.rename(self.path.with_suffix(".unreadable"))
            self._report_failure("read", error)
            return ExchangeState()
        return state_after(read_lines(text, str(self.path), self._report))

    def append(self, messages: Sequence[Message], state: Callable[[], ExchangeState]) -> None:
        """Write a batch of messages at the end of the file.

        :param state: returns what all messages, including these, add up to; called if the file has to be
            replaced.
        """
        # Without an open file, nothing says how the old one ends; a new file is safe.
        if self._descriptor is None or len(self._unwritten) > _MAX_UNWRITTEN:
            self.rewrite(state())
            return
        self._unwritten += write_lines(messages, self._report)
        try:
            self._write_unwritten(self._descriptor)
        except OSError as error:
            self._report_failure("written", error)
            return
        self._report_recovery()
        if self._size > self._limit:
            self.rewrite(state())
            # Also after a failure, so that not every message tries to replace the file.
            self._limit = self._size + _MAX_BYTES

    def rewrite(self, state: ExchangeState) -> None:
        """Replace the file, whole or not at all, with one that holds only ``state``."""
        temporary = self.path.with_suffix(".tmp")
        descriptor = None
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A symbolic link is refused: it could point at a file of another program.
            descriptor = os.open(
                temporary,
                os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW,
                0o600,
            )
            # A file that a killed daemon left there may have had another mode.
            os.fchmod(descriptor, 0o600)
            # Each message is a batch of its own, so that a damaged line costs only that message.
            text = b"".join(
                write_lines([message], self._report) for message in messages_for(state)
            )
            write_whole(descriptor, text)
            temporary.replace(self.path)
        except OSError as error:
            if descriptor is not None:
                os.close(descriptor)
                with suppress(OSError):
                    temporary.unlink()
            self._report_failure("written", error)
            return
        self.close()
        self._descriptor, self._size = descriptor, len(text)
        self._limit = self._size + _MAX_BYTES
        self._unwritten = b""
        self._report_recovery()

    def close(self) -> None:
        """Close the file; the next message opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write_unwritten(self, descriptor: int) -> None:
        try:
            write_whole(descriptor, self._unwritten)
        except OSError:
            try:
                os.ftruncate(descriptor, self._size)
            except OSError:
                # The file ends in half a line, so nothing may be written behind it.
                self.close()
            raise
        self._size += len(self._unwritten)
        self._unwritten = b""

    def _report_failure(self, what: str, error: OSError) -> None:
        """Report a failure once for as long as it lasts."""
        if self._is_failing:
            return
        self._is_failing = True
        self._report(
            Note(
                True,
                f"{self.path} cannot be {what}: {error.strerror or error}; "
                "trading goes on without it, and the next message tries again",
            )
        )

    def _report_recovery(self) -> None:
        if self._is_failing:
            self._is_failing = False
            self._report(Note(False, f"{self.path} is written again"))
