"""The lines of a recording: what each of them holds, and how it is written and read.

A line is one compact JSON object.  The first is a :class:`Header`; then each :class:`Turn` is followed by
what came of it: what the daemon asked of its gateway and its journal, and what it told its consoles.
``docs/recording.md`` describes the format for those who read it with other programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, BinaryIO, Final, Literal, NamedTuple

import msgspec

from riskd.gateway.interface import Payload
from riskd.host.errors import UserError
from riskd.model.account import AccountState
from riskd.model.events import Event
from riskd.model.wire import encode

FORMAT: Final = 1
"""The version of the format; readers refuse any other."""

MAX_LINE_BYTES: Final = 64 * 1024 * 1024

END: Final = b'{"end":true}'
"""The last line of a recording that ended in order."""


class RecordingError(UserError):
    """A recording that cannot be made, read or played; the text says why, in a sentence."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon began.

    :ivar recording: the version of the format.
    :ivar riskd: the version of the daemon.
    :ivar gateway: what kind of gateway it followed.
    :ivar answer_seconds: how long an answer of that gateway may take.
    :ivar at: the time of day.
    :ivar seconds: the clock's seconds, which only their differences mean something of.
    :ivar configuration: the text of the configuration.
    """

    recording: int
    riskd: str
    gateway: str
    answer_seconds: float
    at: datetime
    seconds: float
    configuration: str


# What comes in.


class Started(msgspec.Struct, frozen=True, tag_field="kind", tag="start"):
    """The daemon was started."""


class Stopped(msgspec.Struct, frozen=True, tag_field="kind", tag="stop"):
    """The daemon was told to stop."""


class TimerFired(msgspec.Struct, frozen=True, tag_field="kind", tag="timer"):
    """The timer that is due first was due; of several, the one that was set first."""


class UserEvent(msgspec.Struct, frozen=True, tag_field="kind", tag="user_event"):
    """The gateway told what happened to an account."""

    target: str
    payload: Payload


class MarketEvent(msgspec.Struct, frozen=True, tag_field="kind", tag="market_event"):
    """The gateway told what happened in a market."""

    target: str
    contract: str
    payload: Payload


class FeedLost(msgspec.Struct, frozen=True, tag_field="kind", tag="feed_lost"):
    """From now on events of accounts may be missing."""

    sentence: str


class FeedRestored(msgspec.Struct, frozen=True, tag_field="kind", tag="feed_restored"):
    """Events of accounts are told again."""


class GatewayTrouble(msgspec.Struct, frozen=True, tag_field="kind", tag="gateway_trouble"):
    """Something else is wrong at the gateway; an empty sentence says that it is over."""

    source: str
    sentence: str


class Answered(msgspec.Struct, frozen=True, tag_field="kind", tag="answer"):
    """A request was answered; see :class:`Asked`."""

    number: int
    value: Any


class Refused(msgspec.Struct, frozen=True, tag_field="kind", tag="refusal"):
    """The gateway refused a request."""

    number: int
    request: str
    code: int
    message: str


class Unanswered(msgspec.Struct, frozen=True, tag_field="kind", tag="no_answer"):
    """The gateway did not answer a request, or said nothing that helps."""

    number: int
    request: str
    why: str


class Failed(msgspec.Struct, frozen=True, tag_field="kind", tag="failure"):
    """A request failed in another way.

    :ivar of: whether the gateway knows such failures, the request was canceled, or it is a mistake in
        riskd.
    """

    number: int
    message: str
    of: Literal["gateway", "canceled", "riskd"]


class CopyRead(msgspec.Struct, frozen=True, tag_field="kind", tag="copy"):
    """The journal's published copy was read, as it was asked."""

    number: int
    accounts: dict[int, AccountState]


class Recovered(msgspec.Struct, frozen=True, tag_field="kind", tag="recovery"):
    """The journal could be opened; this is what it knows."""

    accounts: dict[int, AccountState]
    problem: str


class JournalTrouble(msgspec.Struct, frozen=True, tag_field="kind", tag="journal_trouble"):
    """Something is wrong with the journal; an empty sentence says that it is over."""

    sentence: str


class Trouble(msgspec.Struct, frozen=True, tag_field="kind", tag="trouble"):
    """Something else in the daemon is wrong; an empty sentence says that it is over."""

    source: str
    sentence: str


class Reloaded(msgspec.Struct, frozen=True, tag_field="kind", tag="reload"):
    """The configuration was read again; this is its text."""

    configuration: str


class Operated(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="operator"):
    """An operator acted on an account.

    :ivar until: when a lock is to end; ``None`` leaves that to an operator.
    """

    command: Literal["unlock", "lock", "flatten"]
    account: int
    reason: str
    operator: str
    until: datetime | None = None


Came = (
    MarketEvent
    | TimerFired
    | UserEvent
    | Answered
    | Refused
    | Unanswered
    | Failed
    | CopyRead
    | Started
    | Stopped
    | FeedLost
    | FeedRestored
    | GatewayTrouble
    | Recovered
    | JournalTrouble
    | Trouble
    | Reloaded
    | Operated
)


class Turn(msgspec.Struct, frozen=True):
    """One thing that came in; time stood still while it was handled.

    :ivar at: the time of day.
    :ivar seconds: the clock's seconds.
    """

    at: datetime
    seconds: float
    came: Came


# What goes out.


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon asked something of its gateway or its journal.

    :ivar asked: the number of the request; they are counted from 1.
    :ivar request: ``gateway.`` or ``journal.``, and what was asked of it.
    :ivar arguments: by name.
    """

    asked: int
    request: str
    arguments: dict[str, Any]


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon asked its gateway for room for so many reads, and this was the answer."""

    room: bool
    requests: int


_TURN: Final = b'{"at":'
_TOLD: Final = b'{"told":'
_ASKED: Final = b'{"asked":'
_ROOM: Final = b'{"room":'
_OUTGOING: Final = (_TOLD, _ASKED, _ROOM)

_encoder = msgspec.json.Encoder(decimal_format="number")
# Fractions of the gateway's payloads are exact, as they are in riskd.gateway.exact_json.
_headers = msgspec.json.Decoder(Header)
_turns = msgspec.json.Decoder(Turn, float_hook=Decimal)
_asked = msgspec.json.Decoder(Asked, float_hook=Decimal)
_rooms = msgspec.json.Decoder(Room)


def encode_line(line: Header | Turn | Asked | Room) -> bytes:
    """Return a line, without its end."""
    return _encoder.encode(line)


def told_line(event: Event) -> bytes:
    """Return the line that says that consoles were told an event; it holds the very bytes they got."""
    return b"%b%b}" % (_TOLD, encode(event))


def told_in(line: bytes) -> bytes | None:
    """Return what consoles were told; ``None`` if the line says something else."""
    return line[len(_TOLD) : -1] if line.startswith(_TOLD) else None


def asked_in(line: bytes) -> Asked | None:
    """Return what was asked; ``None`` if the line says something else.

    :raises msgspec.MsgspecError: the line cannot be read.
    """
    return _asked.decode(line) if line.startswith(_ASKED) else None


def room_in(line: bytes) -> Room | None:
    """Return whether there was room; ``None`` if the line says something else.

    :raises msgspec.MsgspecError: the line cannot be read.
    """
    return _rooms.decode(line) if line.startswith(_ROOM) else None


def decode_turn(line: bytes) -> Turn:
    """Return the turn of a line that :func:`encode_line` has written.

    :raises msgspec.MsgspecError: it is none.
    """
    return _turns.decode(line)


# Reading.


class RecordedTurn(NamedTuple):
    """A turn, and what came of it.

    :ivar number: the number of its line, from 1.
    :ivar outgoing: the lines that follow it.
    :ivar is_cut: whether the recording breaks off here, so that lines may be missing.
    """

    number: int
    turn: Turn
    outgoing: list[bytes]
    is_cut: bool = False


class Recording:
    """A recording that is read once, from its beginning to its end.

    :param file: it is read line by line, however large it is.
    :param name: what it is called, for the messages.
    :raises RecordingError: it is none.
    :ivar header: how the daemon began.
    :ivar broke_off: the line after which it breaks off, once all of it has been read; 0 if it does not.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self._number = 0
        self.broke_off = 0
        line = self._next_line()
        try:
            self.header = _headers.decode(line or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise RecordingError(f"{name} is no recording of riskd") from None
        if self.header.recording != FORMAT:
            raise RecordingError(
                f"{name} is a recording of format {self.header.recording}; "
                f"this riskd reads format {FORMAT}"
            )

    def turns(self) -> Iterator[RecordedTurn]:
        """Yield the turns, each with what came of it.

        :raises RecordingError: a line is damaged.
        """
        current: RecordedTurn | None = None
        while (line := self._next_line()) is not None:
            if line.startswith(_TURN) or line == END:
                if current is not None:
                    yield current
                if line == END:
                    return
                current = RecordedTurn(self._number, self._turn(line), [])
            elif current is not None and line.startswith(_OUTGOING):
                current.outgoing.append(line)
            else:
                raise self.damaged(self._number, "it is neither a turn nor what came of one")
        self.broke_off = self._number
        if current is not None:
            yield current._replace(is_cut=True)

    def damaged(self, number: int, why: object) -> RecordingError:
        """Return the error that says what is wrong with a line."""
        return RecordingError(f"{self.name}, line {number} is damaged: {why}")

    def _turn(self, line: bytes) -> Turn:
        try:
            return decode_turn(line)
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
            raise self.damaged(self._number, error) from None

    def _next_line(self) -> bytes | None:
        """Return the next whole line; ``None`` at the end, and where a line breaks off."""
        line = self._file.readline(MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            if len(line) == MAX_LINE_BYTES:
                raise self.damaged(self._number + 1, f"it is longer than {MAX_LINE_BYTES} bytes")
            return None
        self._number += 1
        return line[:-1]
