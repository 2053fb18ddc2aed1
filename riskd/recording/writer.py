"""The file of a recording, written behind the daemon's back.

A disk that hangs or is full holds nothing up: lines are handed to a thread once a second.  What cannot be
written ends the recording and nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.host.disk_thread import DiskThread
from riskd.recording.format import (
    END,
    Asked,
    Header,
    RecordingError,
    Room,
    Turn,
    decode_turn,
    encode_line,
)

_log = Logger()

FLUSH_SECONDS: Final = 1.0
"""How long a line may wait before it is written."""

MAX_UNWRITTEN_BYTES: Final = 64 * 1024 * 1024
"""What may wait for a disk that does not answer; more ends the recording."""

_UNWRITABLE: Final = (
    msgspec.MsgspecError,
    TypeError,
    ValueError,
    ArithmeticError,
    RecursionError,
)
"""What goes wrong with a value that is no JSON."""


class Recorder:
    """Writes lines to a new file.

    :param path: the file; it must not be there yet, and is readable for its owner alone.
    :param clock: times the writing.
    :param disk: waits for the disk; it is this recorder's alone.
    :raises RecordingError: the file cannot be made.
    """

    def __init__(self, path: Path, clock: IReactorTime, disk: DiskThread) -> None:
        self.path = path.absolute()
        self._clock = clock
        self._disk = disk
        self._unwritten: list[bytes] = []
        self._unwritten_bytes = 0
        self._is_writing = False
        self._is_over = False
        self._timer: IDelayedCall | None = None
        try:
            # Never over another recording, and never through a link that somebody has put there.
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise RecordingError(
                f"the recording {self.path} exists already (--record takes another file)"
            ) from None
        except OSError as error:
            raise RecordingError(
                f"the recording {self.path} cannot be made: {error.strerror}"
            ) from None
        self._file = os.fdopen(handle, "wb")

    def start(self) -> None:
        """Begin to write what was recorded up to now, and what will be."""
        self._disk.start()
        _log.info("recording to {path}", path=self.path)

    def write(self, line: Header | Asked | Room) -> None:
        """Record a line."""
        if not self._is_over:
            try:
                self.write_bytes(encode_line(line))
            except _UNWRITABLE as error:
                self._give_up(f"{type(line).__name__} cannot be written: {error}")

    def write_turn(self, turn: Turn) -> Turn:
        """Record a turn; return it as a replay will read it.

        What would be read as something else ends the recording: nothing that a replay does not see may
        come in.
        """
        if self._is_over:
            return turn
        try:
            line = encode_line(turn)
            read = decode_turn(line)
            is_same = read == turn
        except _UNWRITABLE as error:
            self._give_up(f"{type(turn.came).__name__} cannot be written: {error}")
            return turn
        if not is_same:
            self._give_up(f"{type(turn.came).__name__} would be read as something else")
            return turn
        self.write_bytes(line)
        return read

    def write_bytes(self, line: bytes) -> None:
        """Record a line that is written already."""
        if self._is_over:
            return
        self._unwritten.append(line)
        self._unwritten_bytes += len(line) + 1
        if self._timer is None:
            self._timer = self._clock.callLater(FLUSH_SECONDS, self._flush)

    def close(self) -> None:
        """Write all that is left, and wait for it."""
        self.write_bytes(END)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unwritten:
            self._write_behind()
        self._is_over = True
        self._disk.stop()
        self._close_file()

    def _flush(self) -> None:
        self._timer = None
        if not self._is_writing:
            self._write_behind()
        elif self._unwritten_bytes > MAX_UNWRITTEN_BYTES:
            self._unwritten = []
            self._give_up("the disk does not answer")
        else:
            self._timer = self._clock.callLater(FLUSH_SECONDS, self._flush)

    def _write_behind(self) -> None:
        lines, self._unwritten, self._unwritten_bytes = self._unwritten, [], 0
        self._is_writing = True
        self._disk.run(lambda: self._append(lines)).addCallbacks(self._written, self._failed)

    def _append(self, lines: list[bytes]) -> None:
        lines.append(b"")
        self._file.write(b"\n".join(lines))
        self._file.flush()

    def _written(self, _result: object) -> None:
        self._is_writing = False

    def _failed(self, failure: Failure) -> None:
        failure.trap(OSError)
        error: Any = failure.value
        self._unwritten = []
        self._give_up(error.strerror or str(error))

    def _give_up(self, why: str) -> None:
        """Record no more; the daemon goes on."""
        if not self._is_over:
            self._is_over = True
            _log.error("the recording {path} ends here: {why}", path=self.path, why=why)

    def _close_file(self) -> None:
        try:
            self._file.close()
        except OSError:
            # What it could not write before, which has been said.
            return
