"""The writer of a recording's file.

A thread writes once a second, so that no disk delays the daemon.
A full disk, a disk that hangs or a value that cannot be written ends the recording and nothing else.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.host.disk_thread import DiskThread
from riskd.recording.format import (
    END,
    AnswerTypes,
    Header,
    RecordingError,
    Request,
    RoomCheck,
    Turn,
    encode_line,
)

_log = Logger()

FLUSH_SECONDS: Final = 1.0
"""How long a line may wait before it is written."""

MAX_UNWRITTEN_BYTES: Final = 64 * 1024 * 1024
"""More unwritten bytes than these, while a disk does not answer, end the recording."""

_UNWRITABLE: Final = (
    msgspec.MsgspecError,
    TypeError,
    ValueError,
    ArithmeticError,
    RecursionError,
)
"""The errors of an encoder or decoder about a value that is not JSON."""


class RecordingWriter:
    """Writes lines to a new file.

    :param path: the file; it must not exist yet, and only its owner may read it.
    :param clock: times the writing.
    :param disk: the thread that waits for the disk; it serves this writer alone.
    :raises RecordingError: the file cannot be created.
    """

    def __init__(self, path: Path, clock: IReactorTime, disk: DiskThread) -> None:
        self.path = path.absolute()
        self._clock = clock
        self._disk = disk
        self._answers = AnswerTypes()
        self._unwritten = bytearray()
        self._last_write: Deferred[None] = succeed(None)
        self._is_over = False
        self._timer: IDelayedCall | None = None
        try:
            # O_EXCL: never overwrite another recording, never follow a link that another user put there.
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise RecordingError(
                f"the recording {self.path} exists already (--record takes another file)"
            ) from None
        except OSError as error:
            raise RecordingError(
                f"the recording {self.path} cannot be created: {error.strerror}"
            ) from None
        self._file = os.fdopen(handle, "wb")

    def start(self) -> None:
        """Start to write, also the lines that were recorded before."""
        self._disk.start()
        _log.info("recording to {path}", path=self.path)

    def write(self, line: Header | Request | RoomCheck) -> None:
        """Record a line."""
        try:
            self.write_bytes(encode_line(line))
            if isinstance(line, Request):
                self._answers.note(line)
        except _UNWRITABLE as error:
            self._give_up(f"{type(line).__name__} cannot be written: {error}")

    def write_turn(self, turn: Turn) -> Turn:
        """Record a turn; return it as a replay will read it, for the daemon to handle.

        A turn that would be read as something else ends the recording: the daemon must handle nothing
        that a replay does not see.
        """
        try:
            line = encode_line(turn)
            # The daemon handles what the replay will read: numbers may change their type in JSON.
            read = self._answers.decode_turn(line)
            if read != turn:
                raise ValueError("it would be read as something else")
        except _UNWRITABLE as error:
            self._give_up(f"{type(turn.input).__name__} cannot be written: {error}")
            return turn
        self.write_bytes(line)
        return read

    def write_bytes(self, line: bytes) -> None:
        """Record an encoded line."""
        if self._is_over:
            return
        self._unwritten += line + b"\n"
        if self._timer is None:
            self._timer = self._clock.callLater(FLUSH_SECONDS, self._flush)

    def close(self) -> None:
        """Write all lines that are left, and wait until they are written."""
        self.write_bytes(END)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unwritten:
            self._write_behind()
        self._is_over = True
        self._disk.stop()
        # If the disk failed, that was logged, and closing the file fails the same way.
        with suppress(OSError):
            self._file.close()

    def _flush(self) -> None:
        self._timer = None
        # One write at a time, so that a slow disk is noticed by the lines that wait.
        if self._last_write.called:
            self._write_behind()
        elif len(self._unwritten) > MAX_UNWRITTEN_BYTES:
            self._unwritten = bytearray()
            self._give_up("the disk does not answer")
        else:
            self._timer = self._clock.callLater(FLUSH_SECONDS, self._flush)

    def _write_behind(self) -> None:
        lines, self._unwritten = self._unwritten, bytearray()
        self._last_write = self._disk.run(lambda: self._append(lines)).addErrback(self._failed)

    def _append(self, lines: bytearray) -> None:
        self._file.write(lines)
        self._file.flush()

    def _failed(self, failure: Failure) -> None:
        failure.trap(OSError)
        error: Any = failure.value
        self._unwritten = bytearray()
        self._give_up(error.strerror or str(error))

    def _give_up(self, why: str) -> None:
        if not self._is_over:
            self._is_over = True
            _log.error("the recording {path} ends here: {why}", path=self.path, why=why)
