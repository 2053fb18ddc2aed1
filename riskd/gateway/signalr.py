"""SignalR's JSON hub protocol: records out of bytes, messages out of records, and back.

It is pure, and the same for both ends of a hub.  A record is a JSON object and the byte 0x1E; how a
transport cuts the bytes is of no consequence.  The first record of each side is the handshake's, and all
that follow are messages.

Source: the hub protocol's specification (dotnet/aspnetcore, ``HubProtocol.md``, JSON encoding).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, get_args

import msgspec

from riskd.gateway.exact_json import NOT_JSON, JsonError, decode_json, encode_json

SEPARATOR: Final = b"\x1e"
"""What ends each record."""

MAX_RECORD_BYTES: Final = 1024 * 1024
"""A longer record is none; market depth has been seen with tens of kilobytes."""

_MAX_SHOWN: Final = 80


class SignalRError(Exception):
    """The peer sent what the hub protocol does not allow."""


class _Record(msgspec.Struct, frozen=True, tag_field="type", rename="camel", omit_defaults=True):
    """A message as its record has it; what is not there is left out."""


class Invocation(_Record, frozen=True, tag=1):
    """A call of one of the other side's methods.

    :ivar invocation_id: names the completion that is expected; ``None`` if none is.
    """

    target: str
    arguments: tuple[Any, ...]
    invocation_id: str | None = None


class Completion(_Record, frozen=True, tag=3):
    """What came of an invocation.

    :ivar error: why it failed; ``None`` if it did not.
    """

    invocation_id: str
    result: Any = None
    error: str | None = None


class Ping(_Record, frozen=True, tag=6):
    """A sign of life; it needs no answer."""


class Close(_Record, frozen=True, tag=7):
    """The last message of a side.

    :ivar error: why; ``None`` if all is well.
    """

    error: str | None = None
    allow_reconnect: bool = False


Message = Invocation | Completion | Ping | Close


class _Kind(msgspec.Struct, frozen=True):
    type: int


_KINDS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(Message))
_DECODER: Final = msgspec.json.Decoder(Message, float_hook=Decimal)
_KIND_DECODER: Final = msgspec.json.Decoder(_Kind)


class RecordReader:
    """Puts records together from bytes that come in any pieces."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the records that ``data`` completes, without their separators.

        :raises SignalRError: a record is longer than :data:`MAX_RECORD_BYTES`.
        """
        records = data.split(SEPARATOR)
        rest = records.pop()
        if records and self._begun:
            records[0] = bytes(self._begun + records[0])
            self._begun.clear()
        if rest:
            self._begun += rest
        if (
            max(map(len, records), default=0) > MAX_RECORD_BYTES
            or len(self._begun) > MAX_RECORD_BYTES
        ):
            raise SignalRError(f"a record is longer than {MAX_RECORD_BYTES} bytes")
        return records


# Records into messages.


def decode(record: bytes) -> Message | None:
    """Return the message of a record; ``None`` for a kind of message that is to be passed over.

    :raises SignalRError: it is none.
    """
    try:
        message: Message = _DECODER.decode(record)
    except msgspec.ValidationError as error:
        if _is_of_another_kind(record):
            return None
        raise SignalRError(f"a record is no message ({error}): {_shown(record)}") from None
    except NOT_JSON as error:
        raise SignalRError(f"a record is no JSON ({error}): {_shown(record)}") from None
    return message


def _is_of_another_kind(record: bytes) -> bool:
    try:
        return _KIND_DECODER.decode(record).type not in _KINDS
    except NOT_JSON:
        return False


def decode_handshake_request(record: bytes) -> None:
    """Take the first record of a client.

    :raises SignalRError: it is none, or asks for another encoding.
    """
    protocol = _fields(record).get("protocol")
    if protocol != "json":
        raise SignalRError(f"the encoding {_shown(str(protocol))} is not spoken here, only json")


def decode_handshake_response(record: bytes) -> None:
    """Take the first record of a server.

    :raises SignalRError: it is none, or a refusal.
    """
    fields = _fields(record)
    if "type" in fields:
        raise SignalRError(f"a message came before the handshake's answer: {_shown(record)}")
    error = fields.get("error")
    if error is not None:
        raise SignalRError(f"the handshake was refused: {_shown(str(error))}")


# Messages into records.


def encode(message: Message) -> bytes:
    """Return the record of a message, its separator included."""
    return encode_json(message) + SEPARATOR


def encode_handshake_request() -> bytes:
    """Return the first record of a client."""
    return encode_json({"protocol": "json", "version": 1}) + SEPARATOR


def encode_handshake_response(error: str | None = None) -> bytes:
    """Return the first record of a server."""
    return encode_json({} if error is None else {"error": error}) + SEPARATOR


def _fields(record: bytes) -> dict[str, Any]:
    try:
        fields = decode_json(record)
    except JsonError as error:
        raise SignalRError(f"a record is no JSON ({error}): {_shown(record)}") from None
    if not isinstance(fields, dict):
        raise SignalRError(f"a record is no object: {_shown(record)}")
    return fields


def _shown(what: bytes | str) -> str:
    """Return what a peer sent, fit for a line of the log."""
    text = what.decode(errors="replace") if isinstance(what, bytes) else what
    return ascii(text[:_MAX_SHOWN])
