"""SignalR's JSON hub protocol: bytes to records, records to messages, and back.

This module is pure and serves both ends of a hub.  A record is a JSON object and the byte 0x1E, however a
transport cuts the bytes.  The first record of each side is its handshake; all others are messages.

Source: the hub protocol's specification (dotnet/aspnetcore, ``HubProtocol.md``, JSON encoding).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, get_args

import msgspec

from riskd.host.secrets import redacted
from riskd.model.exact_json import NOT_JSON, JsonError, decode_json, encode_json

SEPARATOR: Final = b"\x1e"
"""The byte that ends each record."""

MAX_RECORD_BYTES: Final = 1024 * 1024
"""The longest record; market depth has been seen with tens of kilobytes."""

_MAX_SHOWN: Final = 80
_MAX_READ: Final = 64 * 1024
"""How much of a record is searched for secrets, to show its beginning."""


class SignalRError(Exception):
    """The peer sent what the hub protocol does not allow."""


class _Record(msgspec.Struct, frozen=True, tag_field="type", rename="camel", omit_defaults=True):
    """A message in the form of its record; fields that are not set are left out."""


class Invocation(_Record, frozen=True, tag=1):
    """A call of a method of the other side.

    :ivar invocation_id: names the expected completion; ``None`` if none is expected.
    """

    target: str
    arguments: tuple[Any, ...]
    invocation_id: str | None = None


class Completion(_Record, frozen=True, tag=3):
    """The outcome of an invocation.

    :ivar error: why it failed; ``None`` if it succeeded.
    """

    invocation_id: str
    result: Any = None
    error: str | None = None


class Ping(_Record, frozen=True, tag=6):
    """A sign of life; it needs no answer."""


class Close(_Record, frozen=True, tag=7):
    """The last message of a side.

    :ivar error: why the side closes; ``None`` if there is no error.
    """

    error: str | None = None
    allow_reconnect: bool = False


Message = Invocation | Completion | Ping | Close


HANDSHAKE_REQUEST: Final = b'{"protocol":"json","version":1}' + SEPARATOR
"""The first record of a client."""

_KINDS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(Message))
_DECODER: Final = msgspec.json.Decoder(Message, float_hook=Decimal)


class RecordReader:
    """Assembles records from bytes that arrive in any pieces."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the records that ``data`` completes, without their separators.

        One after the other, so that a message of a million records takes no more memory than itself.  All
        must be taken before more data come.

        :raises SignalRError: a record is longer than :data:`MAX_RECORD_BYTES`.
        """
        begin = 0
        while (end := data.find(SEPARATOR, begin)) >= 0:
            self._check(len(self._begun) + end - begin)
            record = data[begin:end]
            if self._begun:
                record = bytes(self._begun + record)
                self._begun.clear()
            begin = end + 1
            yield record
        self._check(len(self._begun) + len(data) - begin)
        self._begun += data[begin:]

    def _check(self, length: int) -> None:
        if length > MAX_RECORD_BYTES:
            raise SignalRError(f"a record is longer than {MAX_RECORD_BYTES} bytes")


# Records into messages.


def decode(record: bytes) -> Message | None:
    """Return the message of a record; ``None`` for a kind that no hub uses here.

    :raises SignalRError: the record is not a message.
    """
    try:
        message: Message = _DECODER.decode(record)
    except msgspec.ValidationError as error:
        kind = _fields(record).get("type")
        if type(kind) is int and kind not in _KINDS:
            return None
        raise SignalRError(f"a record is not a message ({error}): {_shown(record)}") from None
    except NOT_JSON as error:
        raise SignalRError(f"a record is not JSON ({error}): {_shown(record)}") from None
    return message


def decode_handshake_request(record: bytes) -> None:
    """Check the first record of a client.

    :raises SignalRError: it is not a handshake, or requests another encoding.
    """
    protocol = _fields(record).get("protocol")
    if protocol != "json":
        raise SignalRError(f"the encoding {_shown(str(protocol))} is not spoken here, only json")


def decode_handshake_response(record: bytes) -> None:
    """Check the first record of a server.

    :raises SignalRError: it is not a handshake, or refuses.
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


def encode_handshake_response(error: str | None = None) -> bytes:
    """Return the first record of a server."""
    return encode_json({} if error is None else {"error": error}) + SEPARATOR


def _fields(record: bytes) -> dict[str, Any]:
    try:
        fields = decode_json(record)
    except JsonError as error:
        raise SignalRError(f"a record is not JSON ({error}): {_shown(record)}") from None
    if not isinstance(fields, dict):
        raise SignalRError(f"a record is not an object: {_shown(record)}")
    return fields


def _shown(what: bytes | str) -> str:
    """Return the beginning of what the peer sent, fit for a line of the log."""
    begin = what[:_MAX_READ]
    text = begin.decode(errors="replace") if isinstance(begin, bytes) else begin
    return ascii(redacted(text)[:_MAX_SHOWN])
