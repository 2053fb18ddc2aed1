"""Read the messages of uplinks.

A trader may have forged those of their own subjects.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

import msgspec

from riskd.desk.messages import ALL_ACCOUNTS, NAME, Heartbeat, MessageError, decode_beat, number_of
from riskd.model.event_number import Number
from riskd.model.events import Event, EventError
from riskd.model.wire import decode

_BEAT_TOKENS: Final = 4
_STATE_TOKENS: Final = 5
_EVENT_TOKENS: Final = 6

MOST_COUNTED: Final = 2**53
"""No number of a riskd is as great."""

_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_MAX_OFFSET: Final = timedelta(days=1).total_seconds()


class Kind(Enum):
    """The kinds of messages."""

    EVENT = "ev"
    QUOTE = "q"
    STATE = "state"
    BEAT = "beat"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a subject says.

    :ivar account_id: ``None`` for what is about the daemon.
    :ivar last: the event's type, or the ticker; empty for a state and a heartbeat.
    """

    instance: str
    kind: Kind
    account_id: int | None = None
    last: str = ""


def read_subject(desk: str, text: str) -> Subject:
    """Return what the subject of a message says.

    :raises MessageError: it is none of an uplink of this desk.
    """
    tokens = text.split(".")
    if tokens[:2] == ["risk", desk] and len(tokens) > 2 and NAME.fullmatch(tokens[2]):  # noqa: PLR2004
        instance = tokens[2]
        if len(tokens) == _BEAT_TOKENS and tokens[3] == Kind.BEAT.value:
            return Subject(instance=instance, kind=Kind.BEAT)
        account = tokens[3] if len(tokens) > _BEAT_TOKENS else ""
        if account == ALL_ACCOUNTS or _is_number(account):
            account_id = None if account == ALL_ACCOUNTS else int(account)
            if len(tokens) == _STATE_TOKENS and tokens[4] == Kind.STATE.value:
                return Subject(instance=instance, kind=Kind.STATE, account_id=account_id)
            if len(tokens) == _EVENT_TOKENS and tokens[4] in (Kind.EVENT.value, Kind.QUOTE.value):
                kind = Kind(tokens[4])
                return Subject(instance=instance, kind=kind, account_id=account_id, last=tokens[5])
    raise MessageError(f"expected a subject of the desk {desk}, got {text[:100]!r}")


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 20  # noqa: PLR2004  # 64 bits


def read_id(id_: str) -> Number:
    """Return the number in the id of a message.

    :raises MessageError: it has none, or one that no riskd has.
    """
    return checked(number_of(id_))


def checked(number: Number) -> Number:
    """Return a number that a riskd may have.

    :raises MessageError: it is none.
    """
    if not all(0 <= part < MOST_COUNTED for part in number):
        raise MessageError(f"expected the number of an event, got {str(number)[:60]}")
    return number


def read_beat(payload: bytes) -> Heartbeat:
    """Return the heartbeat of a message.

    :raises MessageError: it is none that an uplink sends.
    """
    beat = decode_beat(payload)
    checked(beat.number)
    if beat.at.tzinfo is None or not _FIRST <= beat.at <= _LAST:
        raise MessageError(f"expected a heartbeat of these years, got {beat.at.isoformat()}")
    # What is no number is not below the bound either.
    if beat.clock_offset is not None and not abs(beat.clock_offset) < _MAX_OFFSET:
        raise MessageError(f"expected the offset of a clock, got {beat.clock_offset}")
    return beat


def read_event(subject: Subject, payload: bytes) -> Event:
    """Return the event of a message.

    :raises MessageError: it is none, or not the one that its subject says.
    """
    try:
        event = decode(payload)
    except EventError as error:
        raise MessageError(f"an event of {subject.instance} is left out: {error}") from None
    is_quote = event.type == "MarketQuote"
    if event.account_id != subject.account_id or is_quote is not (subject.kind is Kind.QUOTE):
        raise MessageError(
            f"an event of {subject.instance} is left out: it is of account {event.account_id} and of the "
            f"type {event.type}, and its subject says another"
        )
    if subject.kind is Kind.EVENT and event.type != subject.last:
        raise MessageError(
            f"an event of {subject.instance} is left out: its type is {event.type}, and its subject says "
            f"{subject.last[:40]!r}"
        )
    return event
