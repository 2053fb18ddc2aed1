"""SignalR's JSON hub protocol: records out of bytes, messages out of records, and back.

It is pure, and the same for both ends of a hub.  A record is a JSON object and the byte 0x1E; how a
transport cuts the bytes is of no consequence.  The first record of each side is the handshake's, and all
that follow are messages.

Source: the hub protocol's specification (dotnet/aspnetcore, ``HubProtocol.md``, JSON encoding).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from riskd.gateway.exact_json import JsonError, decode_json, encode_json

SEPARATOR: Final = b"\x1e"
"""What ends each record."""

MAX_RECORD_BYTES: Final = 1024 * 1024
"""A longer record is none; market depth has been seen with tens of kilobytes."""

_INVOCATION: Final = 1
_COMPLETION: Final = 3
_PING: Final = 6
_CLOSE: Final = 7

_MAX_SHOWN: Final = 80


class SignalRError(Exception):
    """The peer sent what the hub protocol does not allow."""


class Invocation(msgspec.Struct, frozen=True):
    """A call of one of the other side's methods.

    :ivar invocation_id: names the completion that is expected; ``None`` if none is.
    """

    target: str
    arguments: tuple[Any, ...] = ()
    invocation_id: str | None = None


class Completion(msgspec.Struct, frozen=True):
    """What came of an invocation.

    :ivar error: why it failed; ``None`` if it did not.
    """

    invocation_id: str
    result: Any = None
    error: str | None = None


class Ping(msgspec.Struct, frozen=True):
    """A sign of life; it needs no answer."""


class Close(msgspec.Struct, frozen=True):
    """The last message of a side.

    :ivar error: why; ``None`` if all is well.
    """

    error: str | None = None
    allow_reconnect: bool = False


Message = Invocation | Completion | Ping | Close


class RecordReader:
    """Puts records together from bytes that come in any pieces."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the records that ``data`` completes, without their separators.

        :raises SignalRError: a record is longer than :data:`MAX_RECORD_BYTES`.
        """
        *records, rest = data.split(SEPARATOR)
        if records and self._begun:
            records[0] = bytes(self._begun + records[0])
            self._begun.clear()
        self._begun += rest
        if max(map(len, (self._begun, *records))) > MAX_RECORD_BYTES:
            raise SignalRError(f"a record is longer than {MAX_RECORD_BYTES} bytes")
        return records


# Records into messages.


def decode(record: bytes) -> Message | None:
    """Return the message of a record; ``None`` for a kind of message that is to be passed over.

    :raises SignalRError: it is none.
    """
    fields = _fields(record)
    kind = fields.get("type")
    if not isinstance(kind, int) or isinstance(kind, bool):
        raise SignalRError(f"a message has no type: {_shown(record)}")
    if kind == _INVOCATION:
        arguments = fields.get("arguments")
        if not isinstance(arguments, list):
            raise SignalRError(f"an invocation has no list of arguments: {_shown(record)}")
        target = _text(fields, "target", record)
        return Invocation(target, tuple(arguments), _optional_text(fields, "invocationId", record))
    if kind == _COMPLETION:
        return Completion(
            _text(fields, "invocationId", record),
            fields.get("result"),
            _optional_text(fields, "error", record),
        )
    if kind == _PING:
        return Ping()
    if kind == _CLOSE:
        return Close(_optional_text(fields, "error", record), fields.get("allowReconnect") is True)
    return None


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
    error = _optional_text(fields, "error", record)
    if error is not None:
        raise SignalRError(f"the handshake was refused: {_shown(error)}")


# Messages into records.


def encode(message: Message) -> bytes:
    """Return the record of a message, its separator included; what is not there is left out."""
    match message:
        case Invocation(target, arguments, invocation_id):
            fields = {"type": _INVOCATION, "target": target, "arguments": list(arguments)}
            if invocation_id is not None:
                fields["invocationId"] = invocation_id
        case Completion(invocation_id, result, error):
            fields = {"type": _COMPLETION, "invocationId": invocation_id}
            fields |= {"result": result} if error is None else {"error": error}
        case Ping():
            fields = {"type": _PING}
        case Close(error, allow_reconnect):
            fields = {"type": _CLOSE}
            if error is not None:
                fields["error"] = error
            if allow_reconnect:
                fields["allowReconnect"] = True
    return _record(fields)


def encode_handshake_request() -> bytes:
    """Return the first record of a client."""
    return _record({"protocol": "json", "version": 1})


def encode_handshake_response(error: str | None = None) -> bytes:
    """Return the first record of a server."""
    return _record({} if error is None else {"error": error})


def _record(fields: dict[str, Any]) -> bytes:
    return encode_json(fields) + SEPARATOR


def _fields(record: bytes) -> dict[str, Any]:
    try:
        fields = decode_json(record)
    except JsonError as error:
        raise SignalRError(f"a record is no JSON ({error}): {_shown(record)}") from None
    if not isinstance(fields, dict):
        raise SignalRError(f"a record is no object: {_shown(record)}")
    return fields


def _text(fields: dict[str, Any], name: str, record: bytes) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise SignalRError(f"{name} is no text: {_shown(record)}")
    return value


def _optional_text(fields: dict[str, Any], name: str, record: bytes) -> str | None:
    return None if fields.get(name) is None else _text(fields, name, record)


def _shown(what: bytes | str) -> str:
    """Return what a peer sent, fit for a line of the log."""
    text = what.decode(errors="replace") if isinstance(what, bytes) else what
    return ascii(text[:_MAX_SHOWN])
