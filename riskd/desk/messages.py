"""What travels between an uplink and a relay: subjects, numbers and payloads.

Four kinds of messages, and no command:

=============================================  ==========================================================
subject                                        payload
=============================================  ==========================================================
``risk.DESK.INSTANCE.ACCOUNT.ev.TYPE``         an event, as on riskd's own wire; its header ``Nats-Msg-Id``
                                               has its :class:`Number`
``risk.DESK.INSTANCE.ACCOUNT.q.TICKER``        a ``MarketQuote``, as on the wire; not stored
``risk.DESK.INSTANCE.ACCOUNT.state``           a :class:`PublishedState`, compressed; the last one is kept
``risk.DESK.INSTANCE.beat``                    a :class:`Heartbeat`; the last one is kept
=============================================  ==========================================================

An event may come twice, and after a lost connection out of order: its number says which one it is.

DESK and INSTANCE are names (:data:`NAME`); ACCOUNT is an account id, or ``all`` for a ``daemon_status``.
"""

from __future__ import annotations

import re
import zlib
from datetime import datetime
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec

from riskd.model.event_number import Number, read_number
from riskd.model.events import Event, MarketQuote, Status
from riskd.model.exact_json import NOT_JSON

_Struct = TypeVar("_Struct", bound=msgspec.Struct)

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
"""The name of a desk, or of an instance: one riskd at the desk."""

RELAY: Final = "relay"
"""The name of the relay among the users of a desk's server; no instance has it."""

ALL_ACCOUNTS: Final = "all"
"""In place of an account id, in the subject of what is about the daemon."""

MAX_STATE_BYTES: Final = 32 * 1024 * 1024
"""A state that is longer than this, decompressed, is refused."""

_DIGEST_BYTES: Final = 16

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")


class MessageError(ValueError):
    """A message is not one of an uplink; the text says why."""


class PublishedState(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one account in the published copy.

    :ivar schema: the version of the copy's schema.
    :ivar epoch: with ``seq``, the number of the last event that the copy has.
    :ivar facts: the copy's facts.
    :ivar tables: the rows of each table that is about accounts, or about contracts; each row has the table's columns.
    """

    schema: int
    epoch: int
    seq: int
    facts: dict[str, str]
    tables: dict[str, list[list[int | float | str | None]]]

    @property
    def number(self) -> Number:
        """The number of the last event that the copy has."""
        return Number(self.epoch, self.seq)


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """How an uplink and its riskd are.

    :ivar epoch: with ``seq``, the number of the last event in the outbox; 0 before the first.
    :ivar at: when it was sent, by the clock of the trader's machine.
    :ivar status: of the daemon; ``None`` while there is none.
    :ivar message: why it has that status.
    :ivar clock_offset: the seconds by which the broker's clock is ahead of that machine's; ``None`` if unknown.
    :ivar feed_age: the seconds since the uplink received an event of the daemon; ``None`` before the first.
    :ivar dropped: how many events the outbox has dropped because it was full.
    :ivar accounts: the ids of the daemon's accounts.
    """

    epoch: int = 0
    seq: int = 0
    at: datetime
    status: Status | None = None
    message: str = ""
    clock_offset: float | None = None
    feed_age: float | None = None
    dropped: int = 0
    accounts: tuple[int, ...] = ()

    @property
    def number(self) -> Number:
        """The number of the last event in the outbox."""
        return Number(self.epoch, self.seq)


def event_subject(desk: str, instance: str, event_type: str, account_id: int | None) -> str:
    """Return the subject of an event that is no quote."""
    return f"{account_subject(desk, instance, account_id)}.ev.{event_type}"


def quote_subject(desk: str, instance: str, account_id: int, ticker: str) -> str:
    """Return the subject of an account's quotes of a contract.

    :param ticker: the contract's name; what a subject may not have becomes ``_``.
    """
    token = _UNSAFE.sub("_", ticker) or "_"
    return f"{account_subject(desk, instance, account_id)}.q.{token}"


def state_subject(desk: str, instance: str, account_id: int) -> str:
    """Return the subject of an account's published state."""
    return f"{account_subject(desk, instance, account_id)}.state"


def beat_subject(desk: str, instance: str) -> str:
    """Return the subject of an instance's heartbeat."""
    return f"risk.{desk}.{instance}.beat"


def events_stream(desk: str) -> str:
    """Return the name of the stream that stores events."""
    return f"RISK_{desk}_EVENTS"


def last_stream(desk: str) -> str:
    """Return the name of the stream of last states and heartbeats."""
    return f"RISK_{desk}_LAST"


def account_subject(desk: str, instance: str, account_id: int | None) -> str:
    """Return what the subjects of an account begin with."""
    return f"risk.{desk}.{instance}.{ALL_ACCOUNTS if account_id is None else account_id}"


def inbox_prefix(name: str) -> str:
    """Return what the subjects of the answers to a user begin with."""
    return f"_INBOX_{name}"


def message_id(instance: str, account_id: int | None, number: Number, secret: bytes) -> str:
    """Return the id by which the server drops an event that is published again.

    :param secret: known to the instance alone.  An id that others can guess they could publish first, and the server
        would drop the event.
    """
    place = f"{instance}.{ALL_ACCOUNTS if account_id is None else account_id}.{number}"
    return f"{blake2b(place.encode(), key=secret, digest_size=_DIGEST_BYTES).hexdigest()}.{place}"


def number_of(id_: str) -> Number:
    """Return the number in a message id.

    :raises MessageError: it is not such an id.
    """
    try:
        return read_number(".".join(id_.rsplit(".", 2)[1:]))
    except ValueError:
        raise MessageError(
            f"expected an id that ends with epoch and number, got {id_[:60]!r}"
        ) from None


def is_quote(event: Event) -> bool:
    """Return whether an event travels unstored."""
    return isinstance(event.data, MarketQuote)


def encode_state(state: PublishedState) -> bytes:
    """Return a state as a payload."""
    return zlib.compress(msgspec.json.encode(state), 1)


def decode_state(payload: bytes) -> PublishedState:
    """Return the state of a payload.

    :raises MessageError: it is none, or longer than :data:`MAX_STATE_BYTES`.
    """
    expand = zlib.decompressobj()
    try:
        text = expand.decompress(payload, MAX_STATE_BYTES)
    except zlib.error as error:
        raise MessageError(f"expected a compressed state: {error}") from None
    if not expand.eof:
        raise MessageError(f"expected a state of at most {MAX_STATE_BYTES} bytes")
    return _decoded(text, PublishedState)


def encode_beat(beat: Heartbeat) -> bytes:
    """Return a heartbeat as a payload."""
    return msgspec.json.encode(beat)


def decode_beat(payload: bytes) -> Heartbeat:
    """Return the heartbeat of a payload.

    :raises MessageError: it is none.
    """
    return _decoded(payload, Heartbeat)


def _decoded(text: bytes, kind: type[_Struct]) -> _Struct:
    try:
        return msgspec.json.decode(text, type=kind)
    except NOT_JSON as error:
        raise MessageError(f"expected a {kind.__name__}: {error}") from None
