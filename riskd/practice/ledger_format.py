"""The lines of the practice ledger, and the state that they add up to.

A line is a JSON object with one message about an account, as the exchange reported it.  Messages that the
exchange reported together are a batch, which counts as a whole or not at all: ``left`` in each line is the
number of lines of its batch that follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from operator import itemgetter
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.fields import Payload
from riskd.gateway.targets import ACCOUNT, ORDER, POSITION, TRADE
from riskd.model.exact_json import NOT_JSON, encode_json
from riskd.practice.account_store import ExchangeState
from riskd.practice.records import Message, without_nulls

_HIGHEST_ID: Final = "HighestId"
"""A line beside the messages: it keeps the highest id when the message that had it is dropped."""

_MAX_NAMED_PROBLEMS: Final = 20
"""So many unreadable lines are reported one by one; the others are only counted."""

_MAX_EXPONENT: Final = 15

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Note(NamedTuple):
    """A sentence about the ledger for the log: an error, or else a warning."""

    is_error: bool
    text: str


Report = Callable[[Note], None]


class _Line(msgspec.Struct, frozen=True):
    target: str
    payload: msgspec.Raw
    left: Annotated[int, msgspec.Meta(ge=0)] = 0


_COMMON: Final = (("id", _Count), ("accountId", int), ("contractId", str))
_FIELDS: Final[dict[str, tuple[Any, ...]]] = {
    ACCOUNT: (
        ("id", int),
        ("name", str),
        ("balance", Decimal),
        ("canTrade", bool),
        ("isVisible", bool),
        ("simulated", bool),
    ),
    ORDER: (
        *_COMMON,
        ("symbolId", str),
        ("creationTimestamp", str),
        ("updateTimestamp", str),
        ("status", GatewayOrderStatus),
        ("type", GatewayOrderType),
        ("side", GatewayOrderSide),
        # A rejected order may have had any size.
        ("size", int),
        ("fillVolume", _Count),
        ("limitPrice", Decimal | None, None),
        ("stopPrice", Decimal | None, None),
        ("filledPrice", Decimal | None, None),
        ("customTag", str | None, None),
    ),
    POSITION: (
        *_COMMON,
        ("creationTimestamp", str),
        ("type", GatewayPositionType),
        ("size", _Count),
        ("averagePrice", Decimal),
    ),
    TRADE: (
        *_COMMON,
        ("creationTimestamp", str),
        ("side", GatewayOrderSide),
        ("voided", bool),
        ("orderId", _Count),
        ("price", Decimal),
        ("size", _Count),
        ("profitAndLoss", Decimal | None, None),
        ("fees", Decimal),
        ("commissions", Decimal | None, None),
    ),
    _HIGHEST_ID: (("id", _Count),),
}
"""The fields of each kind of line: name, type and, if the field may be missing, its default."""

_line_decoder: Final = msgspec.json.Decoder(_Line)
# They read decimals from the digits of a number, exactly.
_payload_decoders: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    target: msgspec.json.Decoder(msgspec.defstruct(target, fields, kw_only=True))
    for target, fields in _FIELDS.items()
}


def write_lines(messages: Sequence[Message], report: Report) -> bytes:
    """Return the lines of a batch, without messages that cannot be written."""
    lines: list[bytes] = []
    # From the last line back, so that the lines so far are those that follow.
    for message in reversed(messages):
        try:
            payload = msgspec.Raw(encode_json(message.payload))
            lines.append(encode_json(_Line(message.target, payload, len(lines))) + b"\n")
        except (TypeError, *NOT_JSON) as error:
            report(Note(True, f"a {message.target} cannot be written: {error}"))
    return b"".join(reversed(lines))


def read_lines(text: bytes, name: str, report: Report) -> list[Message]:
    """Return the messages in ``text``.

    The last batch is dropped unless it is complete: the process that wrote it was killed before it
    delivered any of it.  Any other unreadable line is skipped.

    :param name: the name of the file, for notes.
    """
    *lines, torn = text.split(b"\n")
    messages: list[Message] = []
    problems = 0
    # After the last complete batch: how many messages there were, and the number of the next line.
    complete, next_line = 0, 1
    end = 0
    for number, line in enumerate(lines, 1):
        try:
            message, left = _read_line(line)
        except NOT_JSON as error:
            problems += 1
            if problems <= _MAX_NAMED_PROBLEMS:
                report(Note(True, f"{name}, line {number} is skipped: {error}"))
        else:
            messages.append(message)
            end = number + left
        # By line numbers, so that an unreadable line takes no other line of its batch with it.
        if number >= end:
            complete, next_line = len(messages), number + 1
    if problems > _MAX_NAMED_PROBLEMS:
        report(Note(True, f"{name}: {problems - _MAX_NAMED_PROBLEMS} more lines are skipped"))
    if torn or complete < len(messages):
        report(
            Note(False, f"{name} is torn at its end: line {next_line} and what follows is dropped")
        )
    return messages[:complete]


def _read_line(line: bytes) -> tuple[Message, int]:
    read = _line_decoder.decode(line)
    decoder = _payload_decoders.get(read.target)
    if decoder is None:
        raise ValueError(f"target {read.target!r} is unknown")
    payload = without_nulls(msgspec.structs.asdict(decoder.decode(read.payload)))
    _check(read.target, payload)
    return Message(read.target, None, payload), read.left


def _check(target: str, payload: Payload) -> None:
    """Check what the types of the fields leave open.

    :raises ValueError: the exchange could not go on from the payload.
    """
    for key, value in payload.items():
        if key.endswith("Timestamp") and datetime.fromisoformat(value).tzinfo is None:
            raise ValueError(f"{key} {value!r} is without a time zone")
        if isinstance(value, Decimal) and (
            not value.is_finite() or abs(value.adjusted()) > _MAX_EXPONENT
        ):
            raise ValueError(f"{key} is {value}")
    is_open = target == POSITION and payload["size"] > 0
    if is_open and payload["type"] == GatewayPositionType.UNDEFINED:
        raise ValueError("an open position is neither long nor short")
    is_working = target == ORDER and payload["status"] == GatewayOrderStatus.OPEN
    if is_working and payload["size"] <= payload["fillVolume"]:
        raise ValueError("a working order has nothing left to fill")
    if is_working and payload["fillVolume"] and "filledPrice" not in payload:
        raise ValueError("a partly filled order has no filledPrice")


def state_after(messages: Iterable[Message]) -> ExchangeState:
    """Return the state of an exchange that reported ``messages``, in their order."""
    accounts: dict[int, Payload] = {}
    positions: dict[tuple[int, str], Payload] = {}
    orders: dict[int, Payload] = {}
    ended: dict[int, Payload] = {}
    trades: dict[int, Payload] = {}
    highest_id = 0
    for target, _contract, payload in messages:
        if target == ACCOUNT:
            # The id of an account is not one of the ids that the exchange counts up.
            accounts[payload["id"]] = payload
            continue
        highest_id = max(highest_id, payload["id"])
        if target == ORDER:
            orders.pop(payload["id"], None)
            is_working = payload["status"] == GatewayOrderStatus.OPEN
            (orders if is_working else ended)[payload["id"]] = payload
        elif target == POSITION:
            key = (payload["accountId"], payload["contractId"])
            positions[key] = payload
            if not payload["size"]:
                del positions[key]
        elif target == TRADE:
            trades[payload["id"]] = payload
    return ExchangeState(
        accounts=tuple(accounts.values()),
        positions=tuple(sorted(positions.values(), key=itemgetter("id"))),
        orders=tuple(sorted(orders.values(), key=itemgetter("id"))),
        ended=tuple(ended.values()),
        trades=tuple(trades.values()),
        highest_id=highest_id,
    )


def messages_for(state: ExchangeState) -> list[Message]:
    """Return the fewest messages that add up to ``state``."""
    return [
        Message(_HIGHEST_ID, None, {"id": state.highest_id}),
        *(Message(ACCOUNT, None, payload) for payload in state.accounts),
        *(Message(TRADE, None, payload) for payload in state.trades),
        *(Message(ORDER, None, payload) for payload in (*state.ended, *state.orders)),
        *(Message(POSITION, None, payload) for payload in state.positions),
    ]
