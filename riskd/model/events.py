"""The wire: the nine events a console can receive, and how they are written as JSON.

One event is one JSON object: ``type``, ``account_id`` and ``data``, in that order.  Reading is done
in two steps, the envelope first and its data second, so that an event for another account or of an
unknown type costs nothing.  This module knows nothing of sockets, accounts or brokers.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from enum import IntEnum, StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, Final, get_args

import msgspec
from msgspec import UNSET, UnsetType

MAX_MESSAGE_BYTES: Final = 1024
"""Every encoded event is shorter than this."""

_MAX_TEXT_BYTES: Final = 300
"""Bytes a free sentence may take once it is JSON; longer ones are cut, so that none is refused."""

_MAX_DECIMAL_PLACES: Final = 12
_MAX_DIGITS_BEFORE_POINT: Final = 15

ContractId = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,64}$")]
RuleId = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,64}$")]
Identifier = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


class PositionType(IntEnum):
    """Which way a position points."""

    LONG = 1
    SHORT = 2


class OrderType(IntEnum):
    """How an order is to be filled."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    STOP_LIMIT = 4


class OrderSide(IntEnum):
    """Whether an order buys or sells."""

    BUY = 1
    SELL = 2


class OrderState(IntEnum):
    """Where an order stands; every state but ``ACTIVE`` is final."""

    ACTIVE = 1
    FILLED = 2
    CANCELED = 3
    REJECTED = 4


class ClearedBy(StrEnum):
    """What ended a lockout."""

    TIMER_EXPIRY = "TIMER_EXPIRY"
    ADMIN_OVERRIDE = "ADMIN_OVERRIDE"
    DAILY_RESET = "DAILY_RESET"


class Action(StrEnum):
    """What enforcement did."""

    CLOSE_ALL_POSITIONS = "CLOSE_ALL_POSITIONS"
    CLOSE_ALL_AND_LOCKOUT = "CLOSE_ALL_AND_LOCKOUT"
    COOLDOWN = "COOLDOWN"
    REJECT_ORDER = "REJECT_ORDER"
    AUTO_STOP_LOSS = "AUTO_STOP_LOSS"


class Status(StrEnum):
    """How the daemon is."""

    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    ERROR = "ERROR"


DRY_RUN_NOTE: Final = "(dry run: nothing is enforced)"
"""How a RUNNING message of a daemon ends that enforces nothing."""


class EventError(ValueError):
    """A message is not an event.

    :ivar field: the offending field, such as ``MarketQuote.bid`` or ``account_id``.
    :ivar value: what was found there.
    :ivar expected: what should have been.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        super().__init__(f"{field}: expected {expected}, got {reprlib.repr(value)}")


class UnknownEventTypeError(EventError):
    """The envelope is sound, but its type is none of the nine."""


class _Missing:
    """Stands for a value that is not there, and reads so in an error."""

    def __repr__(self) -> str:
        return "nothing"


_MISSING: Final = _Missing()


def to_milliseconds(moment: datetime) -> datetime:
    """Return an aware ``moment`` in UTC, cut to the milliseconds that the wire carries.

    :raises ValueError: in UTC it is before the first year or after the last.
    """
    if moment.tzinfo is not UTC:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise ValueError(f"expected a moment that is in the calendar, got {moment}") from None
    beyond = moment.microsecond % 1000
    return moment.replace(microsecond=moment.microsecond - beyond) if beyond else moment


def plain_number(number: Decimal) -> Decimal:
    """Return ``number`` without an exponent and with no more places than the wire carries.

    :raises ValueError: it is not finite, or has more digits than a price or an account can have.
    """
    text = str(number)
    # Nearly all that come; this costs the least, and what is so short is within both limits.
    if len(text) <= _MAX_DECIMAL_PLACES + len("0.") and "E" not in text and number.is_finite():
        return number
    if not number.is_finite() or number.adjusted() >= _MAX_DIGITS_BEFORE_POINT:
        raise ValueError(f"expected a number below 10^{_MAX_DIGITS_BEFORE_POINT}, got {text}")
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and -_MAX_DECIMAL_PLACES <= exponent <= 0:
        return number
    places = 0 if isinstance(exponent, int) and exponent > 0 else -_MAX_DECIMAL_PLACES
    # Towards zero, so that the largest number stays below its limit.
    return number.quantize(Decimal(1).scaleb(places), ROUND_DOWN)


def _cut(text: str) -> str:
    """Return ``text``, shortened until its JSON fits the bytes a sentence may take."""
    if len(text) * 6 <= _MAX_TEXT_BYTES or _json_size(text) <= _MAX_TEXT_BYTES:
        return text
    text = text[:_MAX_TEXT_BYTES]
    while _json_size(text + "…") > _MAX_TEXT_BYTES:
        text = text[:-1]
    return text + "…"


def _json_size(text: str) -> int:
    return len(msgspec.json.encode(text)) - 2


def _holds(field_type: Any, wanted: Any) -> bool:
    wanted = type(None) if wanted is None else wanted
    return field_type is wanted or any(_holds(part, wanted) for part in get_args(field_type))


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    """A value as the wire carries it: UTC milliseconds, plain numbers, sentences of bounded length."""

    sentences: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for name, normalize in _normalized(type(self)):
            value = getattr(self, name)
            if value is not None and value is not UNSET:
                normal = normalize(value)
                if normal is not value:
                    msgspec.structs.force_setattr(self, name, normal)


@cache
def _normalized(data_type: type[_Wire]) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    """Return the fields that are not taken as they are, and what makes them what the wire carries."""
    fields = [
        (field.name, _normalizer(data_type, field)) for field in msgspec.structs.fields(data_type)
    ]
    return tuple((name, normalize) for name, normalize in fields if normalize is not None)


def _normalizer(
    data_type: type[_Wire], field: msgspec.structs.FieldInfo
) -> Callable[[Any], Any] | None:
    if _holds(field.type, datetime):
        return to_milliseconds
    if _holds(field.type, Decimal):
        return plain_number
    return _cut if field.name in data_type.sentences else None


class GatewayUserTrade(_Wire, frozen=True, rename="camel"):
    """A full-turn trade: contracts were closed and a profit or loss was realized."""

    id: Identifier
    contract_id: ContractId
    profit_and_loss: Decimal
    quantity: Count
    execution_time: Timestamp
    timestamp: Timestamp


class GatewayUserPosition(_Wire, frozen=True, rename="camel"):
    """A position was opened, changed or (``size`` 0) closed."""

    id: Identifier
    contract_id: ContractId
    type: PositionType
    size: Count
    average_price: Decimal
    created_at: Timestamp
    updated_at: Timestamp


class GatewayUserOrder(_Wire, frozen=True, rename="camel"):
    """An order was placed, changed, filled, canceled or rejected."""

    id: Identifier
    contract_id: ContractId
    type: OrderType
    side: OrderSide
    size: Count
    limit_price: Decimal | None
    stop_price: Decimal | None
    state: OrderState
    created_at: Timestamp
    updated_at: Timestamp


class MarketQuote(_Wire, frozen=True, rename="camel"):
    """What a contract is bid, offered and was last traded at."""

    contract_id: ContractId
    bid: Decimal
    ask: Decimal
    last: Decimal
    timestamp: Timestamp

    def __post_init__(self) -> None:
        # Nearly all events are quotes, and nearly all are as they should be: to see that takes half
        # as long where it is spelled out.
        if (
            plain_number(self.bid) is not self.bid
            or plain_number(self.ask) is not self.ask
            or plain_number(self.last) is not self.last
            or to_milliseconds(self.timestamp) is not self.timestamp
        ):
            super().__post_init__()


class LockoutSet(_Wire, frozen=True):
    """The account may not trade until ``locked_until``; ``None`` means until an operator says so."""

    sentences: ClassVar[frozenset[str]] = frozenset({"reason"})

    reason: str
    locked_until: Timestamp | None
    rule_id: RuleId
    locked_at: Timestamp


class LockoutCleared(_Wire, frozen=True):
    """The account may trade again."""

    cleared_at: Timestamp
    cleared_by: ClearedBy


class EnforcementDetails(_Wire, frozen=True):
    """What an enforcement action touched; which of the optional fields are there depends on it.

    :ivar dry_run: true where nothing was done, and this is what would have been touched.
    """

    positions_closed: Count
    orders_canceled: Count
    contract_id: ContractId | UnsetType = msgspec.field(default=UNSET, name="contractId")
    cooldown_seconds: Count | UnsetType = UNSET
    locked_until: Timestamp | UnsetType | None = UNSET
    order_id: Identifier | UnsetType = UNSET
    stop_price: Decimal | UnsetType = msgspec.field(default=UNSET, name="stopPrice")
    size: Count | UnsetType = UNSET
    dry_run: bool | UnsetType = UNSET


class EnforcementAction(_Wire, frozen=True):
    """A rule was breached and something was done about it."""

    sentences: ClassVar[frozenset[str]] = frozenset({"reason"})

    action: Action
    reason: str
    rule_id: RuleId
    success: bool
    timestamp: Timestamp
    details: EnforcementDetails


class DailyReset(_Wire, frozen=True):
    """A new trading day began: realized P&L and trade count start again at zero."""

    reset_time: Timestamp
    previous_pnl: Decimal
    previous_trade_count: Count
    lockouts_cleared: bool


class DaemonStatus(_Wire, frozen=True):
    """The daemon started, is stopping, or is in trouble."""

    sentences: ClassVar[frozenset[str]] = frozenset({"message"})

    status: Status
    message: str
    timestamp: Timestamp


EventData = (
    GatewayUserTrade
    | GatewayUserPosition
    | GatewayUserOrder
    | MarketQuote
    | LockoutSet
    | LockoutCleared
    | EnforcementAction
    | DailyReset
    | DaemonStatus
)

EVENT_TYPES: Final[dict[str, type[EventData]]] = {
    "GatewayUserTrade": GatewayUserTrade,
    "GatewayUserPosition": GatewayUserPosition,
    "GatewayUserOrder": GatewayUserOrder,
    "MarketQuote": MarketQuote,
    "lockout_set": LockoutSet,
    "lockout_cleared": LockoutCleared,
    "enforcement_action": EnforcementAction,
    "daily_reset": DailyReset,
    "daemon_status": DaemonStatus,
}
"""The nine events by their name on the wire."""

_NUMBERS: Final = {
    data_type: tuple(
        field.encode_name
        for field in msgspec.structs.fields(data_type)
        if _holds(field.type, Decimal)
    )
    for data_type in (*EVENT_TYPES.values(), EnforcementDetails)
}
"""The fields of each type that hold money or prices, by their name on the wire."""

_TYPE_NAMES: Final = {data_type: name for name, data_type in EVENT_TYPES.items()}


class Event(msgspec.Struct, frozen=True):
    """Something that happened, and to which account.

    :ivar account_id: the account; ``None`` for :class:`DaemonStatus`, and for nothing else.
    :ivar data: one of the nine event types.
    """

    account_id: Identifier | None
    data: EventData

    def __post_init__(self) -> None:
        if (self.account_id is None) != (type(self.data) is DaemonStatus):
            expected = "a whole number" if self.account_id is None else "null"
            raise EventError("account_id", self.account_id, f"{expected} in {self.type}")

    @property
    def type(self) -> str:
        """The event's name on the wire."""
        return _TYPE_NAMES[type(self.data)]


class Envelope(msgspec.Struct, frozen=True):
    """A message whose data has not been looked at yet."""

    type: str
    account_id: Identifier | None
    data: msgspec.Raw

    def read_data(self) -> dict[str, Any]:
        """Return the data as it was sent: a JSON object, with every fraction as a ``Decimal``.

        :raises EventError: it is not an object, or not JSON after all.
        """
        fields = _read_json(f"{self.type}.data", self.data)
        if not isinstance(fields, dict):
            raise EventError(f"{self.type}.data", fields, "an object")
        return fields


_PLAIN_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)
_ENVELOPE_DECODER: Final = msgspec.json.Decoder(Envelope)
_ENCODER: Final = msgspec.json.Encoder()
_NUMBER_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
"""Writes numbers below a millionth with an exponent, and of times all microseconds."""
_ENVELOPE_FIELDS: Final[dict[str, tuple[Any, str]]] = {
    "type": (str, "a string"),
    "account_id": (Identifier | None, "a whole number or null"),
}


def encode(event: Event) -> bytes:
    """Return ``event`` as compact JSON in UTF-8, its keys in the documented order."""
    if type(event.data) is MarketQuote:
        # Most events are quotes, and this way one costs a third.
        message = _NUMBER_ENCODER.encode(
            {"type": "MarketQuote", "account_id": event.account_id, "data": event.data}
        )
        # The first of these is nearly always enough, and takes a fifth of the second's time.
        if b"E" not in message or b"E-" not in message:
            # The time comes last, in microseconds if it is of no whole second.
            return message[:-7] + b'Z"}}' if event.data.timestamp.microsecond else message
    return _ENCODER.encode(
        {"type": event.type, "account_id": event.account_id, "data": _wire_fields(event.data)}
    )


def encode_data(data: EventData) -> str:
    """Return the data of an event alone, as :func:`encode` writes it."""
    return _ENCODER.encode(_wire_fields(data)).decode()


def decode(message: bytes | str) -> Event:
    """Return the event that ``message`` carries.

    Unknown keys are ignored.

    :raises UnknownEventTypeError: the type is none of the nine.
    :raises EventError: anything else is wrong; it names field, value and expectation.
    """
    envelope = open_envelope(message)
    return from_fields(envelope.type, envelope.account_id, envelope.read_data())


def decode_data(event_type: str, account_id: int | None, data: str) -> Event:
    """Return the event of ``data`` as :func:`encode_data` wrote it.

    :raises EventError: it is not that.
    """
    return from_fields(
        event_type, account_id, Envelope(event_type, account_id, msgspec.Raw(data)).read_data()
    )


def open_envelope(message: bytes | str) -> Envelope:
    """Read the envelope of ``message`` and leave its data alone.

    :raises EventError: it is not JSON, not an object, or lacks a key.
    """
    try:
        return _ENVELOPE_DECODER.decode(message)
    except msgspec.ValidationError:
        raise _envelope_error(message) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise EventError("message", message, f"JSON ({error})") from None


def _read_json(place: str, message: bytes | str | msgspec.Raw) -> Any:
    try:
        return _PLAIN_DECODER.decode(message)
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError) as error:
        raise EventError(place, message, f"JSON ({error})") from None


def from_fields(event_type: str, account_id: int | None, fields: dict[str, Any]) -> Event:
    """Check the ``fields`` of an event's data, as :meth:`Envelope.read_data` gives them.

    :raises UnknownEventTypeError: ``event_type`` is none of the nine.
    :raises EventError: a field is missing or wrong.
    """
    data_type = EVENT_TYPES.get(event_type)
    if data_type is None:
        raise UnknownEventTypeError("type", event_type, "one of " + ", ".join(EVENT_TYPES))
    return Event(account_id, _convert(event_type, data_type, fields))


def _convert(path: str, data_type: Any, fields: dict[str, Any]) -> Any:
    """Make a ``data_type`` of ``fields``, whose place in the message is ``path``."""
    try:
        # Naming Decimal as built in refuses a number that is written as a JSON string.
        return msgspec.convert(
            _with_decimals(data_type, fields), data_type, builtin_types=(Decimal,)
        )
    except msgspec.ValidationError as error:
        _blame_field(path, data_type, fields)
        raise EventError(path, fields, str(error)) from None


def _with_decimals(data_type: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """Return ``fields`` with the whole numbers among prices and money as ``Decimal`` too."""
    exact: dict[str, Any] = {
        name: Decimal(fields[name])
        for name in _NUMBERS[data_type]
        if type(fields.get(name)) is int
    }
    details = fields.get("details")
    if data_type is EnforcementAction and isinstance(details, dict):
        exact["details"] = _with_decimals(EnforcementDetails, details)
    return {**fields, **exact} if exact else fields


def _blame_field(path: str, data_type: Any, fields: dict[str, Any]) -> None:
    """Raise the error that names the first wrong field of ``fields``, if it is a single one's fault."""
    for field in msgspec.structs.fields(data_type):
        value = fields.get(field.encode_name, _MISSING)
        place = f"{path}.{field.encode_name}"
        if value is _MISSING and not field.required:
            continue
        if field.type is EnforcementDetails and isinstance(value, dict):
            _convert(place, EnforcementDetails, value)
        elif not _is_valid(field.type, value):
            raise EventError(place, value, _expectation(field.type))


def _is_valid(field_type: Any, value: Any) -> bool:
    try:
        if _holds(field_type, Decimal) and type(value) in (int, Decimal):
            plain_number(Decimal(value))
        else:
            msgspec.convert(value, field_type, builtin_types=(Decimal,))
    except (msgspec.ValidationError, ValueError):
        return False
    return True


def _expectation(field_type: Any) -> str:
    """Say in words what a field of ``field_type`` may hold."""
    if field_type is type(None):
        return "null"
    if isinstance(field_type, type) and issubclass(field_type, (IntEnum, StrEnum)):
        return "one of " + ", ".join(f"{member.value} ({member.name})" for member in field_type)
    simple = {
        int: "a whole number",
        Identifier: "a whole number of 64 bits",
        Decimal: f"a number below 10^{_MAX_DIGITS_BEFORE_POINT}",
        str: "a string",
        bool: "true or false",
        EnforcementDetails: "an object",
        ContractId: "1 to 64 printable ASCII characters",
        Count: "a whole number from 0 to 2^53",
        Timestamp: "an RFC 3339 timestamp with an offset",
    }
    if field_type in simple:
        return simple[field_type]
    return " or ".join(
        _expectation(part) for part in get_args(field_type) if part is not UnsetType
    )


def _envelope_error(message: bytes | str) -> EventError:
    """Say what is wrong with a message that is JSON but no envelope."""
    content = _read_json("message", message)
    if not isinstance(content, dict):
        return EventError("message", content, "an object")
    for key, (key_type, expected) in _ENVELOPE_FIELDS.items():
        if key not in content:
            return EventError(key, _MISSING, expected)
        try:
            msgspec.convert(content[key], key_type)
        except msgspec.ValidationError:
            return EventError(key, content[key], expected)
    return EventError("data", _MISSING, "an object")


def _wire_fields(data: EventData) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(data, builtin_types=(datetime, Decimal))
    _write_values(fields)
    return fields


def _write_values(fields: dict[str, Any]) -> None:
    """Write times and numbers as the wire wants them: ``Z`` and milliseconds if any, no exponents."""
    for key, value in fields.items():
        if isinstance(value, datetime):
            precision = "milliseconds" if value.microsecond else "seconds"
            fields[key] = value.isoformat(timespec=precision).removesuffix("+00:00") + "Z"
        elif isinstance(value, Decimal):
            fields[key] = msgspec.Raw(f"{value:f}".encode())
        elif isinstance(value, dict):
            _write_values(value)
