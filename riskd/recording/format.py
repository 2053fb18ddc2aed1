"""The format of a recording: its lines, and how they are written and read.

A line is one compact JSON object.  The first line is a :class:`Header`.  Each :class:`Turn` after it is
followed by its outputs: the requests that the daemon made of its gateway and its journal, and the events
that it broadcast.  ``docs/recording.md`` describes the format for other programs; the keys of a line are
part of the format, also where a field has another name here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, BinaryIO, Final, Literal

import msgspec

from riskd.gateway.interface import Found
from riskd.host.errors import UserError
from riskd.model.account import AccountState
from riskd.model.broker import (
    BrokerAccount,
    BrokerNews,
    BrokerOrder,
    BrokerPosition,
    BrokerQuote,
    BrokerTrade,
    Unreadable,
)
from riskd.model.contracts import Contract
from riskd.model.events import Event
from riskd.model.exact_json import NOT_JSON, encode_json
from riskd.model.wire import encode

FORMAT: Final = 2
"""The version of the format; readers refuse any other."""

MAX_LINE_BYTES: Final = 64 * 1024 * 1024

END: Final = b'{"end":true}'
"""The last line of a recording that ended in order."""


class RecordingError(UserError):
    """A recording that cannot be made, read or replayed."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon began.

    :ivar recording: the version of the format.
    :ivar riskd: the version of the daemon.
    :ivar gateway: the kind of gateway that the daemon followed.
    :ivar answer_seconds: how long a response of that gateway may take.
    :ivar at: the time of day.
    :ivar seconds: the steady clock; only differences mean something.
    :ivar configuration: the text of the configuration.
    :ivar operator: the owner of the configuration.
    :ivar key_file: the absolute path of the key file that it names, if any.
    :ivar is_kept_enforcing: whether a commitment kept the daemon from the dry run that it asks for.
    """

    recording: int
    riskd: str
    gateway: str
    answer_seconds: float
    at: datetime
    seconds: float
    configuration: str
    operator: str = ""
    key_file: str | None = None
    is_kept_enforcing: bool = False


# Inputs.


class _Input(msgspec.Struct, frozen=True, tag_field="kind"):
    """One thing that the daemon received."""


class Started(_Input, frozen=True, tag="start"):
    """The daemon was started."""


class Stopped(_Input, frozen=True, tag="stop"):
    """The daemon was asked to stop."""


class TimerFired(_Input, frozen=True, tag="timer"):
    """The timer that is due first fired; of several, the one that was set first."""


class NewsReceived(_Input, frozen=True, kw_only=True, tag="news", omit_defaults=True):
    """The gateway reported one of these of an account."""

    account: int
    position: BrokerPosition | None = None
    order: BrokerOrder | None = None
    trade: BrokerTrade | None = None
    permission: BrokerAccount | None = None
    unreadable: Unreadable | None = None

    @property
    def news(self) -> BrokerNews:
        """What was reported.

        :raises LookupError: nothing was.
        """
        for value in (self.position, self.order, self.trade, self.permission, self.unreadable):
            if value is not None:
                return value
        raise LookupError("news of nothing")


def news_received(account_id: int, news: BrokerNews) -> NewsReceived:
    """Return news of an account as an input."""
    value: dict[str, Any] = {_NEWS_FIELDS[type(news)]: news}
    return NewsReceived(account=account_id, **value)


_NEWS_FIELDS: Final[dict[type, str]] = {
    BrokerPosition: "position",
    BrokerOrder: "order",
    BrokerTrade: "trade",
    BrokerAccount: "permission",
    Unreadable: "unreadable",
}


class QuoteReceived(_Input, frozen=True, tag="quote"):
    """The gateway reported what has changed of a quote."""

    quote: BrokerQuote


class FeedLost(_Input, frozen=True, tag="feed_lost"):
    """From now on, events of accounts may be missing."""

    sentence: str


class FeedRestored(_Input, frozen=True, tag="feed_restored"):
    """The gateway reports events of accounts again."""


class ClockReported(_Input, frozen=True, tag="clock"):
    """The gateway reported what the broker's clock showed; see ``IGatewayListener``."""

    at: datetime
    precision: float
    delay: float


class GatewayProblem(_Input, frozen=True, tag="gateway_trouble"):
    """Another problem of the gateway; an empty sentence ends it."""

    source: str
    sentence: str


class Outcome(_Input, frozen=True):
    """What became of a :class:`Request`.

    :ivar number: the request's.
    """

    number: int


class Answered(Outcome, frozen=True, tag="answer"):
    """A request was answered.

    :ivar value: of the type that :data:`ANSWERS` has for the request.
    """

    value: Any


class Refused(Outcome, frozen=True, tag="refusal"):
    """The gateway refused a request."""

    request: str
    code: int
    message: str


class Unanswered(Outcome, frozen=True, tag="no_answer"):
    """The gateway did not answer a request, or the outcome is unknown."""

    request: str
    why: str


class Failed(Outcome, frozen=True, tag="failure"):
    """A request failed in another way.

    :ivar of: ``gateway``: another failure that the gateway knows; ``canceled``: the request was
        canceled; ``riskd``: an internal error.
    """

    message: str
    of: Literal["gateway", "canceled", "riskd"]


class CopyRead(Outcome, frozen=True, tag="copy"):
    """The journal's published copy was read, as requested."""

    accounts: dict[int, AccountState]


class Recovered(_Input, frozen=True, tag="recovery"):
    """The journal was opened and gave the states that it holds."""

    accounts: dict[int, AccountState]
    problem: str


class JournalProblem(_Input, frozen=True, tag="journal_trouble"):
    """A problem of the journal; an empty sentence ends it."""

    sentence: str


class DaemonProblem(_Input, frozen=True, tag="trouble"):
    """A problem elsewhere in the daemon; an empty sentence ends it."""

    source: str
    sentence: str


class Reloaded(_Input, frozen=True, tag="reload"):
    """The configuration was read again.

    See :class:`Header` for its fields.
    """

    configuration: str
    operator: str = ""
    key_file: str | None = None


class OperatorActed(_Input, frozen=True, tag="operator"):
    """An operator acted on an account.

    :ivar until: when a lock ends; ``None``: when an operator unlocks.
    :ivar amount: the firm's figure for a floor, in dollars.
    """

    command: Literal["unlock", "withdraw", "lock", "flatten", "set_floor"]
    account: int
    reason: str
    operator: str
    until: datetime | None = None
    amount: Decimal | None = None


Input = (
    QuoteReceived
    | TimerFired
    | NewsReceived
    | Answered
    | Refused
    | Unanswered
    | Failed
    | CopyRead
    | Started
    | Stopped
    | FeedLost
    | FeedRestored
    | GatewayProblem
    | ClockReported
    | Recovered
    | JournalProblem
    | DaemonProblem
    | Reloaded
    | OperatorActed
)


class Turn(msgspec.Struct, frozen=True):
    """One input; both clocks stood still while the daemon handled it.

    :ivar at: the time of day.
    :ivar seconds: the steady clock.
    """

    at: datetime
    seconds: float
    input: Input = msgspec.field(name="came")


# Outputs.


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request that the daemon made of its gateway or its journal.

    :ivar number: counts requests from 1; the answer names it.
    :ivar name: ``gateway.`` or ``journal.``, and the name of the method.
    :ivar arguments: by name.
    """

    number: int = msgspec.field(name="asked")
    name: str = msgspec.field(name="request")
    arguments: dict[str, Any]


class RoomCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon checked whether the gateway has room for some reads.

    Unlike a :class:`Request`, it is answered within the turn.
    """

    has_room: bool = msgspec.field(name="room")
    requests: int


ANSWERS: Final[dict[str, Any]] = {
    "gateway.search_account": BrokerAccount,
    "gateway.search_open_positions": Found[BrokerPosition],
    "gateway.search_open_orders": Found[BrokerOrder],
    "gateway.search_orders": Found[BrokerOrder],
    "gateway.search_order": BrokerOrder,
    "gateway.search_trades": Found[BrokerTrade],
    "gateway.search_contract": Contract,
    "gateway.carry_out": int | None,
}
"""The type of each answer of the gateway that has content."""

_TURN: Final = b'{"at":'
_BROADCAST: Final = b'{"told":'
_REQUEST: Final = b'{"asked":'
_ROOM_CHECK: Final = b'{"room":'

# Fractions stay exact, as in riskd.model.exact_json.
_headers = msgspec.json.Decoder(Header)
_turns = msgspec.json.Decoder(Turn, float_hook=Decimal)
_requests = msgspec.json.Decoder(Request, float_hook=Decimal)
_room_checks = msgspec.json.Decoder(RoomCheck)


@cache
def _answer_decoder(wanted: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(wanted)


def encode_line(line: Header | Turn | Request | RoomCheck) -> bytes:
    """Return a line, without its end."""
    return encode_json(line)


def encode_broadcast(event: Event) -> bytes:
    """Return the line of a broadcast, with the very bytes that clients receive."""
    return b"%b%b}" % (_BROADCAST, encode(event))


class AnswerTypes:
    """Gives each answer the type of its request, which its line alone does not say."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def note(self, request: Request) -> None:
        """Remember a request until it is answered."""
        if request.name in ANSWERS:
            self._names[request.number] = request.name

    def decode_turn(self, line: bytes) -> Turn:
        """Return the turn that :func:`encode_line` has written.

        :raises msgspec.MsgspecError: the line is not a turn.
        """
        turn = _turns.decode(line)
        if not isinstance(turn.input, Outcome):
            return turn
        name = self._names.pop(turn.input.number, None)
        if name is None or not isinstance(turn.input, Answered):
            return turn
        value = _answer_decoder(ANSWERS[name]).decode(encode_json(turn.input.value))
        return msgspec.structs.replace(turn, input=Answered(turn.input.number, value))


# Reading.


class RecordedTurn(msgspec.Struct):
    """A turn and its outputs.

    :ivar number: the number of its line, from 1.
    :ivar outputs: the lines that follow it; the next three hold their content by kind.
    :ivar broadcasts: the messages that clients received, byte for byte.
    :ivar is_cut: whether the recording breaks off here, so that outputs may be missing.
    """

    number: int
    turn: Turn
    outputs: list[bytes] = []
    broadcasts: list[bytes] = []
    requests: list[Request] = []
    room_checks: list[RoomCheck] = []
    is_cut: bool = False


class Recording:
    """A recording that is read once, from its beginning to its end.

    :param file: read line by line, whatever its size.
    :param name: names the file in errors.
    :raises RecordingError: the file is not a recording, or has another format.
    :ivar header: how the daemon began.
    :ivar broke_off: after all turns are read, the line after which the recording breaks off; 0 if it
        ended in order.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self._number = 0
        self._answers = AnswerTypes()
        self.broke_off = 0
        try:
            self.header = _headers.decode(self._next_line() or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise RecordingError(f"{name} is not a recording of riskd") from None
        if self.header.recording != FORMAT:
            raise RecordingError(
                f"{name} is a recording of format {self.header.recording}; "
                f"this riskd reads format {FORMAT}"
            )

    def turns(self) -> Iterator[RecordedTurn]:
        """Yield the turns with their outputs.

        :raises RecordingError: a line is damaged.
        """
        current: RecordedTurn | None = None
        while (line := self._next_line()) is not None:
            if line.startswith(_TURN) or line == END:
                if current is not None:
                    yield current
                if line == END:
                    return
                current = RecordedTurn(self._number, self._decode_turn(line))
            elif current is not None:
                self._add_output(current, line)
            else:
                raise self.damaged(self._number, "an output before the first turn")
        self.broke_off = self._number
        if current is not None:
            current.is_cut = True
            yield current

    def damaged(self, number: int, why: object) -> RecordingError:
        """Return the error for a damaged line."""
        return RecordingError(f"{self.name}, line {number} is damaged: {why}")

    def _add_output(self, current: RecordedTurn, line: bytes) -> None:
        current.outputs.append(line)
        if line.startswith(_BROADCAST):
            current.broadcasts.append(line[len(_BROADCAST) : -1])
        elif line.startswith(_REQUEST):
            request = self._decode(_requests, line)
            current.requests.append(request)
            self._answers.note(request)
        elif line.startswith(_ROOM_CHECK):
            current.room_checks.append(self._decode(_room_checks, line))
        else:
            raise self.damaged(self._number, "it is neither a turn nor an output of one")

    def _decode_turn(self, line: bytes) -> Turn:
        try:
            return self._answers.decode_turn(line)
        except NOT_JSON as error:
            raise self.damaged(self._number, error) from None

    def _decode(self, decoder: msgspec.json.Decoder[Any], line: bytes) -> Any:
        try:
            return decoder.decode(line)
        except NOT_JSON as error:
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
