"""The ledger of the practice gateway: what lets the paper broker's memory outlive the daemon.

It is a text file, a JSON object a line: every message to a user, as the exchange told it, written before
anybody is told.  What happened together is written together and counts whole or not at all: of each
line, ``left`` says how many more belong with it.

A line is with the operating system when :meth:`Ledger.append` returns.  It survives the death of the
process at any moment; it is not forced to the disk, and need not survive that of the machine.

There is no Twisted here, and nothing raises: what is wrong is returned as a :class:`Note`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, NotRequired, TypedDict

import msgspec

from riskd.gateway.enums import GatewayOrderStatus, GatewayPositionType
from riskd.gateway.interface import Payload
from riskd.practice.exchange import Memory, Message

_MAX_BYTES: Final = 16 * 1024 * 1024
"""A ledger that has grown by so much is written anew, with what still matters only."""

_MAX_UNWRITTEN: Final = 4 * 1024 * 1024
"""Bytes that are kept while the file cannot be written; beyond, it is written anew instead."""

_MAX_NOTES: Final = 20
"""So many unreadable lines are named one by one; of any more, the number."""

_ACCOUNT: Final = "GatewayUserAccount"
_ORDER: Final = "GatewayUserOrder"
_POSITION: Final = "GatewayUserPosition"
_TRADE: Final = "GatewayUserTrade"
_HIGHEST_ID: Final = "HighestId"
"""No message: what is left of the ids of lines that matter no more."""


class Note(NamedTuple):
    """Something to be logged about a ledger: an error, or else a warning."""

    is_error: bool
    text: str


# Lines.

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _AccountPayload(TypedDict):
    id: int
    name: str
    balance: Decimal
    canTrade: bool
    isVisible: bool
    simulated: bool


class _OrderPayload(TypedDict):
    id: _Id
    accountId: int
    contractId: str
    symbolId: str
    creationTimestamp: str
    updateTimestamp: str
    status: Annotated[int, msgspec.Meta(ge=0, le=8)]
    type: Annotated[int, msgspec.Meta(ge=0, le=7)]
    side: Annotated[int, msgspec.Meta(ge=0, le=1)]
    # A rejected order may have been of any size.
    size: int
    fillVolume: _Size
    limitPrice: NotRequired[Decimal]
    stopPrice: NotRequired[Decimal]
    filledPrice: NotRequired[Decimal]
    customTag: NotRequired[str]


class _PositionPayload(TypedDict):
    id: _Id
    accountId: int
    contractId: str
    creationTimestamp: str
    type: Annotated[int, msgspec.Meta(ge=0, le=2)]
    size: _Size
    averagePrice: Decimal


class _TradePayload(TypedDict):
    id: _Id
    accountId: int
    contractId: str
    creationTimestamp: str
    price: Decimal
    profitAndLoss: NotRequired[Decimal]
    fees: Decimal
    side: Annotated[int, msgspec.Meta(ge=0, le=1)]
    size: _Size
    voided: bool
    orderId: _Id


class _HighestId(TypedDict):
    id: _Id


class _Line(msgspec.Struct, frozen=True):
    target: str
    payload: msgspec.Raw
    left: Annotated[int, msgspec.Meta(ge=0)] = 0


_encoder: Final = msgspec.json.Encoder(decimal_format="number")
_line_decoder: Final = msgspec.json.Decoder(_Line)
# Decimals are read from the digits of a number, exactly.
_payload_decoders: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    _ACCOUNT: msgspec.json.Decoder(_AccountPayload),
    _ORDER: msgspec.json.Decoder(_OrderPayload),
    _POSITION: msgspec.json.Decoder(_PositionPayload),
    _TRADE: msgspec.json.Decoder(_TradePayload),
    _HIGHEST_ID: msgspec.json.Decoder(_HighestId),
}

_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
_MAX_EXPONENT: Final = 15


def write_lines(messages: Sequence[Message]) -> tuple[bytes, list[Note]]:
    """Return messages that belong together as lines, and what is wrong with those left out."""
    lines: list[bytes] = []
    notes: list[Note] = []
    for message in reversed(messages):
        try:
            payload = msgspec.Raw(_encoder.encode(message.payload))
            lines.append(_encoder.encode(_Line(message.target, payload, len(lines))) + b"\n")
        except (TypeError, *_UNREADABLE) as error:
            notes.append(Note(True, f"a {message.target} cannot be written: {error}"))
    return b"".join(reversed(lines)), notes


def read_lines(text: bytes, name: str) -> tuple[list[Message], list[Note]]:
    """Return the messages in ``text``, and what is wrong with it.

    Lines at the end that do not have all that belongs with them are dropped: whoever wrote them was
    killed, and had not told anybody.  Any other line that cannot be read is skipped.

    :param name: what to call the file.
    """
    *lines, torn = text.split(b"\n")
    messages: list[Message] = []
    notes: list[Note] = []
    faults = 0
    # How many messages there were, and which line came next, when all that belongs together was there.
    whole, next_line = 0, 1
    end = 0
    for number, line in enumerate(lines, 1):
        try:
            message, left = _read_line(line)
        except _UNREADABLE as error:
            faults += 1
            if faults <= _MAX_NOTES:
                notes.append(Note(True, f"{name}, line {number} is skipped: {error}"))
        else:
            messages.append(message)
            end = number + left
        # Counted by numbers of lines, so that one that cannot be read takes no others with it.
        if number >= end:
            whole, next_line = len(messages), number + 1
    if faults > _MAX_NOTES:
        notes.append(Note(True, f"{name}: {faults - _MAX_NOTES} more lines are skipped"))
    if torn or whole < len(messages):
        notes.append(
            Note(False, f"{name} is torn at its end: line {next_line} and what follows is dropped")
        )
    return messages[:whole], notes


def _read_line(line: bytes) -> tuple[Message, int]:
    read = _line_decoder.decode(line)
    decoder = _payload_decoders.get(read.target)
    if decoder is None:
        raise ValueError(f"its target {read.target!r} is unknown")
    payload: Payload = decoder.decode(read.payload)
    _check(read.target, payload)
    return Message(read.target, None, payload), read.left


def _check(target: str, payload: Payload) -> None:
    """Check what the types of the fields leave open.

    :raises ValueError: a time or a number is not one that the exchange can go on from.
    """
    for key, value in payload.items():
        if key.endswith("Timestamp") and datetime.fromisoformat(value).tzinfo is None:
            raise ValueError(f"its {key} {value!r} is without a time zone")
        if isinstance(value, Decimal) and (
            not value.is_finite() or abs(value.adjusted()) > _MAX_EXPONENT
        ):
            raise ValueError(f"its {key} is {value}")
    is_held = target == _POSITION and payload["size"] > 0
    if is_held and payload["type"] == GatewayPositionType.UNDEFINED:
        raise ValueError("it is a position that is neither long nor short")
    is_working = target == _ORDER and payload["status"] == GatewayOrderStatus.OPEN
    if is_working and payload["size"] <= payload["fillVolume"]:
        raise ValueError("it is a working order for nothing")
    if is_working and payload["fillVolume"] and "filledPrice" not in payload:
        raise ValueError("it is filled in part, at no price")


# What the lines come to.


def recall(messages: Iterable[Message]) -> Memory:
    """Return what messages, in their order, come to."""
    accounts: dict[int, Payload] = {}
    positions: dict[tuple[int, str], Payload] = {}
    orders: dict[int, Payload] = {}
    ended: dict[int, Payload] = {}
    trades: dict[int, Payload] = {}
    highest_id = 0
    for target, _contract, payload in messages:
        if target == _ACCOUNT:
            # Its id is the broker's name for the account, not one that the exchange gave.
            accounts[payload["id"]] = payload
            continue
        highest_id = max(highest_id, payload["id"])
        if target == _ORDER:
            orders.pop(payload["id"], None)
            is_working = payload["status"] == GatewayOrderStatus.OPEN
            (orders if is_working else ended)[payload["id"]] = payload
        elif target == _POSITION:
            key = (payload["accountId"], payload["contractId"])
            positions[key] = payload
            if not payload["size"]:
                del positions[key]
        elif target == _TRADE:
            trades[payload["id"]] = payload
    return Memory(
        accounts=tuple(accounts.values()),
        positions=tuple(sorted(positions.values(), key=_by_id)),
        orders=tuple(sorted(orders.values(), key=_by_id)),
        ended=tuple(ended.values()),
        trades=tuple(trades.values()),
        highest_id=highest_id,
    )


def retell(memory: Memory) -> list[Message]:
    """Return the fewest messages that come to ``memory``."""
    return [
        Message(_HIGHEST_ID, None, {"id": memory.highest_id}),
        *(Message(_ACCOUNT, None, payload) for payload in memory.accounts),
        *(Message(_TRADE, None, payload) for payload in memory.trades),
        *(Message(_ORDER, None, payload) for payload in memory.ended),
        *(Message(_ORDER, None, payload) for payload in memory.orders),
        *(Message(_POSITION, None, payload) for payload in memory.positions),
    ]


def last_prices(memory: Memory) -> dict[str, Decimal]:
    """Return the last price known of each contract, by its id: its last trade, or else a position's."""
    return {
        **{position["contractId"]: position["averagePrice"] for position in memory.positions},
        **{trade["contractId"]: trade["price"] for trade in memory.trades},
    }


def _by_id(payload: Payload) -> int:
    identifier: int = payload["id"]
    return identifier


# The file.


class Ledger:
    """A ledger's file, which may fail at any time and is tried again with every message.

    :ivar path: the file; its directory is made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._size = 0
        self._limit = _MAX_BYTES
        self._unwritten = b""
        self._is_failing = False

    def read(self) -> tuple[Memory, list[Note]]:
        """Return what the file comes to; nothing when there is none or it cannot be read."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return Memory(), []
        except OSError as error:
            # Set aside, for the next to be written must not replace what somebody may yet mend.
            with suppress(OSError):
                if self.path.is_file():
                    self.path.rename(self.path.with_suffix(".unreadable"))
            return Memory(), self._failed("read", error)
        messages, notes = read_lines(text, str(self.path))
        return recall(messages), notes

    def append(self, messages: Sequence[Message], memory: Callable[[], Memory]) -> list[Note]:
        """Write messages that belong together at the end of the file.

        :param memory: gives what all messages, these among them, come to, for when the file has to be
            written anew.
        """
        if self._descriptor is None or len(self._unwritten) > _MAX_UNWRITTEN:
            return self.rewrite(memory())
        lines, notes = write_lines(messages)
        self._unwritten += lines
        try:
            self._write_unwritten(self._descriptor)
        except OSError as error:
            return notes + self._failed("written", error)
        notes += self._recovered()
        if self._size > self._limit:
            notes += self.rewrite(memory())
            # Also when that failed: it is not tried with every message.
            self._limit = self._size + _MAX_BYTES
        return notes

    def rewrite(self, memory: Memory) -> list[Note]:
        """Replace the file, whole or not at all, with one that says no more than ``memory``."""
        temporary = self.path.with_suffix(".tmp")
        descriptor = None
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(
                temporary,
                os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW,
                0o600,
            )
            # One that a killed daemon left there may have had another mode.
            os.fchmod(descriptor, 0o600)
            pieces = [write_lines([message]) for message in retell(memory)]
            text = b"".join(lines for lines, _notes in pieces)
            _write(descriptor, text)
            temporary.replace(self.path)
        except OSError as error:
            if descriptor is not None:
                os.close(descriptor)
                with suppress(OSError):
                    temporary.unlink()
            return self._failed("written", error)
        self.close()
        self._descriptor, self._size = descriptor, len(text)
        self._limit = self._size + _MAX_BYTES
        self._unwritten = b""
        notes = [note for _lines, found in pieces for note in found]
        return notes + self._recovered()

    def close(self) -> None:
        """Let go of the file; the next message opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write_unwritten(self, descriptor: int) -> None:
        try:
            _write(descriptor, self._unwritten)
        except OSError:
            try:
                os.ftruncate(descriptor, self._size)
            except OSError:
                # Half a line is there, and nothing may be written behind it.
                self.close()
            raise
        self._size += len(self._unwritten)
        self._unwritten = b""

    def _failed(self, what: str, error: OSError) -> list[Note]:
        """Return what to say of a failure: nothing while it lasts and has been said."""
        if self._is_failing:
            return []
        self._is_failing = True
        reason = error.strerror or str(error)
        return [
            Note(
                True,
                f"{self.path} cannot be {what}: {reason}; "
                "trading goes on without it, and it is tried again with the next message",
            )
        ]

    def _recovered(self) -> list[Note]:
        if not self._is_failing:
            return []
        self._is_failing = False
        return [Note(False, f"{self.path} is written again")]


def _write(descriptor: int, text: bytes) -> None:
    """Write all of ``text``.

    :raises OSError: it cannot be; part of it may be there.
    """
    view = memoryview(text)
    while view:
        view = view[os.write(descriptor, view) :]
