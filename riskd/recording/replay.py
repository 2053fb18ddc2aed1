"""Exact replay of a recording: the same inputs must give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest

from twisted.logger import Logger

from riskd import __version__
from riskd.config.settings import Settings
from riskd.config.toml import ConfigError
from riskd.model.events import Event
from riskd.recording.format import (
    RecordedTurn,
    Recording,
    RecordingError,
    Request,
    RoomCheck,
    Turn,
    encode_broadcast,
    encode_line,
)
from riskd.recording.sandbox import Environment, Sandbox, read_settings
from riskd.rules.interface import IRule

_log = Logger()


class DifferenceError(RecordingError):
    """A turn whose replayed outputs are not the recorded ones.

    :param line: the number of the first line that differs.
    :param recorded: the recorded line, or ``nothing``.
    :param replayed: the replayed line, or ``nothing``.
    """

    def __init__(self, recording: Recording, line: int, recorded: bytes, replayed: bytes) -> None:
        self.line = line
        version = recording.header.riskd
        by = "" if version == __version__ else f", which riskd {version} wrote,"
        super().__init__(
            f"{recording.name}, line {line}{by} replays differently:\n"
            f"recorded: {recorded.decode(errors='replace')}\n"
            f"replayed: {replayed.decode(errors='replace')}"
        )


def recorded_settings(recording: Recording, catalogue: Mapping[str, IRule]) -> Settings:
    """Return the settings that the daemon began with.

    :raises RecordingError: this riskd cannot read them.
    """
    name = f"{recording.name}, the recorded configuration"
    try:
        return read_settings(recording.header, name, catalogue)
    except ConfigError as error:
        raise RecordingError(str(error)) from None


def replay(recording: Recording, catalogue: Mapping[str, IRule]) -> Iterator[RecordedTurn]:
    """Replay a recording; yield each turn that gave the recorded outputs.

    :param catalogue: all rules, by key.
    :raises DifferenceError: the replayed outputs are not the recorded ones.
    :raises RecordingError: the recording is damaged.
    """
    outputs = _Outputs()
    settings = recorded_settings(recording, catalogue)
    sandbox = Sandbox(outputs, recording.header, settings, catalogue)
    for recorded in recording.turns():
        outputs.begin(recorded.room_checks)
        perform(sandbox, recording, recorded.number, recorded.turn)
        _compare(recording, recorded, outputs.lines)
        yield recorded


def perform(sandbox: Sandbox, recording: Recording, number: int, turn: Turn) -> None:
    """Let the sandbox handle a turn, as in the daemon.

    :param number: the line of the recording, for errors.
    :raises RecordingError: the turn is about something that does not exist.
    """
    try:
        sandbox.perform(turn)
    except (LookupError, ConfigError) as error:
        raise recording.damaged(number, error) from None
    except Exception:  # noqa: BLE001  # in the daemon, too, the next turn followed
        _log.failure("internal error, line {number}", number=number)


def _compare(recording: Recording, recorded: RecordedTurn, replayed: list[bytes]) -> None:
    if recorded.outputs == replayed:
        return
    # The outputs after the cut are unknown, not missing.
    if recorded.is_cut:
        replayed = replayed[: len(recorded.outputs)]
    pairs = zip_longest(recorded.outputs, replayed, fillvalue=b"nothing")
    for line, (was, now) in enumerate(pairs, recorded.number + 1):
        if was != now:
            raise DifferenceError(recording, line, was, now)


class _Outputs(Environment):
    """Keeps the outputs of a turn as lines of a recording."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._room_checks: list[RoomCheck] = []

    def begin(self, room_checks: list[RoomCheck]) -> None:
        """Begin a turn in which the gateway gave these answers at once."""
        self.lines = []
        self._room_checks = room_checks

    def request(self, request: Request) -> None:
        """Keep a request; the recording answers it."""
        self.lines.append(encode_line(request))

    def broadcast(self, event: Event) -> None:
        """Keep a broadcast."""
        self.lines.append(encode_broadcast(event))

    def has_room(self, requests: int) -> bool:
        """Answer as recorded."""
        # A check that the daemon did not make shows in the comparison.
        has_room = self._room_checks.pop(0).has_room if self._room_checks else False
        self.lines.append(encode_line(RoomCheck(has_room=has_room, requests=requests)))
        return has_room
