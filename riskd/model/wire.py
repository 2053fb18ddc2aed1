"""Encode events as JSON messages and decode messages into events.

A message is one JSON object with the keys ``type``, ``account_id`` and ``data``, in that order.
Decoding takes two steps, first the envelope and then its data, so that a client pays nothing for events
of other accounts and of unknown types.
"""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, TypeVar, get_args

import msgspec
from msgspec import UNSET, UnsetType

from riskd.model.broker import BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.events import (
    EVENT_TYPES,
    MAX_DIGITS_BEFORE_POINT,
    ContractId,
    Contracts,
    Count,
    Dollars,
    EnforcementAction,
    EnforcementDetails,
    Event,
    EventData,
    EventError,
    Identifier,
    MarketQuote,
    Price,
    Seconds,
    Timestamp,
    UnknownEventTypeError,
    includes_type,
    plain_number,
)
from riskd.model.exact_json import NOT_JSON, JsonError, decode_json, encode_json

_Reported = TypeVar("_Reported", BrokerPosition, BrokerOrder, BrokerTrade)

MAX_MESSAGE_BYTES: Final = 1024
"""Every encoded event is shorter than this."""


_NUMBER_FIELDS: Final = {
    data_type: tuple(
        field.encode_name
        for field in msgspec.structs.fields(data_type)
        if includes_type(field.type, Decimal)
    )
    for data_type in (
        *EVENT_TYPES.values(),
        EnforcementDetails,
        BrokerPosition,
        BrokerOrder,
        BrokerTrade,
    )
}
"""The fields of each type that hold money or prices, by their name on the wire."""

_ENVELOPE_FIELDS: Final[dict[str, tuple[Any, str]]] = {
    "type": (str, "a string"),
    "account_id": (Identifier | None, "a whole number or null"),
}


class Envelope(msgspec.Struct, frozen=True):
    """A message whose data has not been decoded yet."""

    type: str
    account_id: Identifier | None
    data: msgspec.Raw

    def read_data(self) -> dict[str, Any]:
        """Return the JSON object of ``data``, with each fraction as a ``Decimal``.

        :raises EventError: ``data`` is not a JSON object.
        """
        fields = _read_json(f"{self.type}.data", self.data)
        if not isinstance(fields, dict):
            raise EventError(f"{self.type}.data", fields, "an object")
        return fields


_ENVELOPE_DECODER: Final = msgspec.json.Decoder(Envelope)


_PlainPrice = Annotated[float, msgspec.Meta(ge=1e-6, le=1e12)]


class PlainQuote(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A quote that is checked but not decoded: its prices are no exact numbers."""

    contract_id: ContractId
    bid: _PlainPrice
    ask: _PlainPrice
    last: _PlainPrice
    timestamp: Timestamp


_PLAIN_QUOTE_DECODER: Final = msgspec.json.Decoder(PlainQuote)
_QUOTE_DECODER: Final = msgspec.json.Decoder(MarketQuote)


def plain_quote(envelope: Envelope) -> PlainQuote | None:
    """Return the data of a quote if it is well-formed and in no way unusual.

    ``None`` says nothing of the quote.
    """
    if envelope.account_id is None:
        # A quote is always of an account.
        return None
    try:
        quote = _PLAIN_QUOTE_DECODER.decode(envelope.data)
    except NOT_JSON:
        return None
    # At the ends of the calendar a time may not exist in UTC.
    return quote if MINYEAR < quote.timestamp.year < MAXYEAR else None


def exact_quote(envelope: Envelope) -> Event:
    """Return the event of a quote for which :func:`plain_quote` has returned one.

    It is what :func:`decode` returns.  Nearly all quotes are plain, and decoding them straight into the struct takes half
    the time.
    """
    return Event(envelope.account_id, _QUOTE_DECODER.decode(envelope.data))


def encode(event: Event) -> bytes:
    """Return ``event`` as compact JSON in UTF-8, its keys in the documented order."""
    data = event.data
    if type(data) is MarketQuote and event.account_id is not None:
        # Many accounts may be told of the same quote, one after the other.
        known, body = _latest.quote
        if known is not data:
            body = _quote_data(data)
            _latest.quote = data, body
        return b'{"type":"MarketQuote","account_id":%d,"data":%b}' % (event.account_id, body)
    raw = msgspec.Raw(encode_data(data))
    return encode_json({"type": event.type, "account_id": event.account_id, "data": raw})


def encode_data(data: EventData) -> str:
    """Return an event's data alone, as :func:`encode` writes it."""
    return (_quote_data(data) if type(data) is MarketQuote else _encoded(data)).decode()


class _Latest:
    """The quote that was encoded last, and its data on the wire."""

    # One value for both: two threads encode.
    quote: tuple[MarketQuote | None, bytes] = (None, b"")


_latest: Final = _Latest()


def _quote_data(quote: MarketQuote) -> bytes:
    """Return a quote's data.

    Most events are quotes, and leaving the numbers to msgspec takes a third of the time.  It is right unless
    msgspec writes an exponent, as it does for numbers below a millionth.
    """
    data = encode_json(quote)
    # The search for one byte nearly always settles it, in a fifth of the time of the other search.
    if b"E" in data and b"E-" in data:
        return _encoded(quote)
    # msgspec writes microseconds, which the wire does not have; the timestamp comes last.
    return data[:-6] + b'Z"}' if quote.timestamp.microsecond else data


def _encoded(data: EventData) -> bytes:
    fields = msgspec.to_builtins(data, builtin_types=(datetime, Decimal))
    return encode_json(_wire_value(fields))


def _wire_value(value: Any) -> Any:
    """Return a value as on the wire: times with ``Z``, numbers without exponents."""
    if isinstance(value, datetime):
        precision = "milliseconds" if value.microsecond else "seconds"
        return value.isoformat(timespec=precision).removesuffix("+00:00") + "Z"
    if isinstance(value, Decimal):
        return msgspec.Raw(f"{value:f}")
    if isinstance(value, dict):
        return {key: _wire_value(each) for key, each in value.items()}
    return value


def decode(message: bytes | str) -> Event:
    """Return the event that ``message`` carries; unknown keys are ignored.

    :raises UnknownEventTypeError: the type is none of the nine.
    :raises EventError: a key or a field is missing or wrong; the error names it.
    """
    envelope = open_envelope(message)
    return from_fields(envelope.type, envelope.account_id, envelope.read_data())


def decode_data(event_type: str, account_id: int | None, data: str) -> Event:
    """Return the event whose data :func:`encode_data` has written.

    :raises EventError: ``data`` is not that of such an event.
    """
    envelope = Envelope(event_type, account_id, msgspec.Raw(data))
    return from_fields(event_type, account_id, envelope.read_data())


def decode_reported(kind: type[_Reported], data: str) -> _Reported:
    """Return the value that :func:`encode_data` wrote; wire fields suffice.

    :raises EventError: ``data`` is not that of such a value.
    """
    fields = _read_json(kind.__name__, data)
    if not isinstance(fields, dict):
        raise EventError(kind.__name__, fields, "an object")
    reported: _Reported = _convert(kind.__name__, kind, fields)
    return reported


def open_envelope(message: bytes | str) -> Envelope:
    """Decode the envelope of ``message`` but not its data.

    :raises EventError: the message is not JSON, not an object, or lacks a key.
    """
    try:
        return _ENVELOPE_DECODER.decode(message)
    except msgspec.ValidationError:
        raise _envelope_error(message) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise EventError("message", message, f"JSON ({error})") from None


def from_fields(event_type: str, account_id: int | None, fields: dict[str, Any]) -> Event:
    """Return the event of the ``fields`` that :meth:`Envelope.read_data` returns.

    :raises UnknownEventTypeError: ``event_type`` is none of the nine.
    :raises EventError: a field is missing or wrong.
    """
    data_type = EVENT_TYPES.get(event_type)
    if data_type is None:
        raise UnknownEventTypeError("type", event_type, "one of " + ", ".join(EVENT_TYPES))
    return Event(account_id, _convert(event_type, data_type, fields))


def _read_json(path: str, message: bytes | str | msgspec.Raw) -> Any:
    try:
        return decode_json(message)
    except JsonError as error:
        raise EventError(path, message, f"JSON ({error})") from None


def _convert(path: str, data_type: Any, fields: dict[str, Any]) -> Any:
    """Return a ``data_type`` made of ``fields``, found at ``path`` in the message."""
    try:
        # With Decimal as a builtin type, msgspec rejects numbers that are written as JSON strings.
        return msgspec.convert(
            _with_decimals(data_type, fields), data_type, builtin_types=(Decimal,)
        )
    except msgspec.ValidationError as error:
        _raise_for_wrong_field(path, data_type, fields)
        raise EventError(path, fields, str(error)) from None


def _with_decimals(data_type: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """Return ``fields`` with prices and money as ``Decimal``, whole ones included."""
    exact: dict[str, Any] = {
        name: Decimal(fields[name])
        for name in _NUMBER_FIELDS[data_type]
        if type(fields.get(name)) is int
    }
    details = fields.get("details")
    if data_type is EnforcementAction and isinstance(details, dict):
        exact["details"] = _with_decimals(EnforcementDetails, details)
    return {**fields, **exact} if exact else fields


def _raise_for_wrong_field(path: str, data_type: Any, fields: dict[str, Any]) -> None:
    """Raise an error that names the first field that is wrong by itself."""
    for field in msgspec.structs.fields(data_type):
        value = fields.get(field.encode_name, UNSET)
        field_path = f"{path}.{field.encode_name}"
        if value is UNSET and not field.required:
            continue
        if field.type is EnforcementDetails and isinstance(value, dict):
            _convert(field_path, EnforcementDetails, value)
        elif not _is_valid(field.type, value):
            raise EventError(field_path, value, _expectation(field.type))


def _is_valid(field_type: Any, value: Any) -> bool:
    try:
        if includes_type(field_type, Decimal) and type(value) in (int, Decimal):
            plain_number(Decimal(value))
        else:
            msgspec.convert(value, field_type, builtin_types=(Decimal,))
    except (msgspec.ValidationError, ValueError):
        return False
    return True


def _expectation(field_type: Any) -> str:
    """Return what a field of ``field_type`` may hold, in words."""
    if field_type is type(None):
        return "null"
    if isinstance(field_type, type) and issubclass(field_type, (IntEnum, StrEnum)):
        return "one of " + ", ".join(f"{member.value} ({member.name})" for member in field_type)
    number = f"a number below 10^{MAX_DIGITS_BEFORE_POINT}"
    count = "a whole number from 0 to 2^53"
    simple = {
        int: "a whole number",
        Identifier: "a whole number of 64 bits",
        Decimal: number,
        Dollars: number,
        Price: number,
        str: "a string",
        bool: "true or false",
        EnforcementDetails: "an object",
        ContractId: "1 to 64 printable ASCII characters",
        Count: count,
        Contracts: count,
        Seconds: count,
        Timestamp: "an RFC 3339 timestamp with an offset",
    }
    if field_type in simple:
        return simple[field_type]
    return " or ".join(
        _expectation(part) for part in get_args(field_type) if part is not UnsetType
    )


def _envelope_error(message: bytes | str) -> EventError:
    """Return what is wrong with a message that is JSON but no envelope."""
    content = _read_json("message", message)
    if not isinstance(content, dict):
        return EventError("message", content, "an object")
    for key, (key_type, expected) in _ENVELOPE_FIELDS.items():
        value = content.get(key, UNSET)
        if not _is_valid(key_type, value):
            return EventError(key, value, expected)
    return EventError("data", UNSET, "an object")
