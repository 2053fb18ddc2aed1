"""Playing a recording again, exactly: the same turns, and to the byte the same that comes of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

import msgspec
from twisted.logger import Logger

from riskd import __version__
from riskd.config.loader import parse_settings
from riskd.config.settings import Settings
from riskd.config.toml import ConfigError
from riskd.model.events import Event
from riskd.recording.format import (
    Asked,
    RecordedTurn,
    Recording,
    RecordingError,
    Room,
    TimerFired,
    encode_line,
    room_in,
    told_in,
    told_line,
)
from riskd.recording.sandbox import Stage
from riskd.rules.interface import IRule

_log = Logger()


class DifferenceError(RecordingError):
    """A replay in which something else came of a turn than was recorded.

    :ivar line: the number of the line.
    :ivar recorded: what it says; ``None`` if it is not there.
    :ivar replayed: what came instead; ``None`` if nothing did.
    """

    def __init__(
        self, recording: Recording, line: int, recorded: bytes | None, replayed: bytes | None
    ) -> None:
        self.line = line
        self.recorded = recorded
        self.replayed = replayed
        version = recording.header.riskd
        by = "" if version == __version__ else f", which riskd {version} wrote,"
        super().__init__(
            f"{recording.name}, line {line}{by} is replayed to something else:\n"
            f"recorded: {_text(recorded)}\nreplayed: {_text(replayed)}"
        )


def _text(line: bytes | None) -> str:
    return "nothing" if line is None else line.decode(errors="replace")


class Played(NamedTuple):
    """What came of a turn.

    :ivar is_timer: whether it was a timer's.
    :ivar told: what consoles were told, byte for byte.
    """

    is_timer: bool
    told: list[bytes]


def recorded_settings(recording: Recording, catalogue: Mapping[str, IRule]) -> Settings:
    """Return the settings that the daemon began with.

    :raises RecordingError: they cannot be read.
    """
    name = f"{recording.name}, the recorded configuration"
    try:
        return parse_settings(recording.header.configuration, name, catalogue)
    except ConfigError as error:
        raise RecordingError(str(error)) from None


def replay(recording: Recording, catalogue: Mapping[str, IRule]) -> Iterator[Played]:
    """Play a recording again, and yield what comes of each turn.

    :param catalogue: all rules there are, by key.
    :raises DifferenceError: it is not what was recorded.
    :raises RecordingError: the recording is damaged.
    """
    outside = _ExactOutside()
    header = recording.header
    stage = Stage(
        outside,
        gateway_name=header.gateway,
        answer_seconds=header.answer_seconds,
        settings=recorded_settings(recording, catalogue),
        catalogue=catalogue,
        at=header.at,
        seconds=header.seconds,
    )
    for recorded in recording.turns():
        outside.begin(_rooms(recording, recorded))
        perform(stage, recording, recorded)
        _compare(recording, recorded, outside.outgoing)
        told = [told_in(line) for line in recorded.outgoing]
        yield Played(
            isinstance(recorded.turn.came, TimerFired), [line for line in told if line is not None]
        )


def perform(stage: Stage, recording: Recording, recorded: RecordedTurn) -> None:
    """Let the stage handle a recorded turn.

    :raises RecordingError: it cannot be, for it is about something that is not there.
    """
    try:
        stage.perform(recorded.turn)
    except (LookupError, ConfigError) as error:
        raise recording.damaged(recorded.number, error) from None
    except Exception:  # noqa: BLE001  # as it went in the daemon
        _log.failure("a mistake in riskd, line {number}", number=recorded.number)


def _rooms(recording: Recording, recorded: RecordedTurn) -> deque[Room]:
    try:
        rooms = [room_in(line) for line in recorded.outgoing]
    except msgspec.MsgspecError as error:
        raise recording.damaged(recorded.number, error) from None
    return deque(room for room in rooms if room is not None)


def _compare(recording: Recording, recorded: RecordedTurn, replayed: list[bytes]) -> None:
    if recorded.outgoing == replayed:
        return
    if recorded.is_cut:
        replayed = replayed[: len(recorded.outgoing)]
    for place, (was, came) in enumerate(zip_longest(recorded.outgoing, replayed)):
        if was != came:
            raise DifferenceError(recording, recorded.number + 1 + place, was, came)


class _ExactOutside:
    """Notes what comes of a turn, as the recording does."""

    def __init__(self) -> None:
        self.outgoing: list[bytes] = []
        self._rooms: deque[Room] = deque()

    def begin(self, rooms: deque[Room]) -> None:
        """Begin a turn."""
        self.outgoing = []
        self._rooms = rooms

    def asked(self, number: int, request: str, arguments: dict[str, Any]) -> None:
        """Note a request; the recording answers it."""
        self.outgoing.append(
            encode_line(Asked(asked=number, request=request, arguments=arguments))
        )

    def left(self, number: int) -> None:
        """Do nothing: the recording does not say who has left."""

    def told(self, event: Event) -> None:
        """Note an event."""
        self.outgoing.append(told_line(event))

    def has_room(self, requests: int) -> bool:
        """Answer as it was answered."""
        # If it was not asked, the comparison tells.
        room = self._rooms.popleft().room if self._rooms else False
        self.outgoing.append(encode_line(Room(room=room, requests=requests)))
        return room

    def changed(self, *, only_quotes: bool) -> None:
        """Do nothing: there is no journal."""
