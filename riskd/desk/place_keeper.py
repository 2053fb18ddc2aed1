"""Keeps how far the server's stream of events was read, over a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from riskd.desk.position import Position, first_to_read, read_position, write_position

_log = Logger()


class PlaceKeeper:
    """Keeps the position in a file.

    :param directory: the relay's state directory.
    :param make_durable: fires once the journal is on the disk, with why it is not.
    :ivar place: of the last message that was read.
    """

    def __init__(self, directory: Path, make_durable: Callable[[], Deferred[str]]) -> None:
        self.place = 0
        self._directory = directory
        self._make_durable = make_durable
        self._stream = ""
        self._position: Position | None = None
        self._is_saving = False

    def begin(self) -> None:
        """Go on from the file."""
        self._position = read_position(self._directory)

    def note(self, place: int) -> None:
        """Note a message that was read."""
        self.place = max(self.place, place)

    def first_place(self, stream: str, last: int) -> int:
        """Return the place of the first event to read.

        :param stream: identifies the stream.
        :param last: the place of its last message.
        """
        first = first_to_read(self._position, stream, last)
        self._stream, self.place = stream, first - 1
        # The next connection goes on from there, even if nothing is written until then.
        self._position = Position(stream=stream, sequence=first - 1)
        return first

    def save(self, place: int) -> None:
        """Write that no message up to a place needs to be read again."""
        position = Position(stream=self._stream, sequence=place)
        if self._stream and position != self._position and not self._is_saving:
            self._is_saving = True
            Deferred.fromCoroutine(self._save(position))

    async def _save(self, position: Position) -> None:
        try:
            # What is not on the disk must be read again after a kill.
            if not await self._make_durable():
                await deferToThread(write_position, self._directory, position)
                self._position = position
        except OSError as error:
            _log.warn("the position cannot be written: {error}", error=error.strerror)
        finally:
            self._is_saving = False
