"""The nine events that riskd broadcasts, as values that already fit the wire.

Times are UTC milliseconds, money and prices plain decimals, sentences of bounded length: an event that
was made can be encoded, and decodes to an equal one.  :mod:`riskd.model.wire` encodes and decodes.
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

_MAX_TEXT_BYTES: Final = 300
"""Bytes that a free sentence may take as JSON.

Longer sentences are cut rather than rejected: no event is lost because its reason is long.
"""

_MAX_DECIMAL_PLACES: Final = 12
_CENT_PLACES: Final = 2
MAX_DIGITS_BEFORE_POINT: Final = 15

ContractId = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,64}$")]
RuleId = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,64}$")]
Identifier = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Contracts = Annotated[Count, msgspec.Meta(extra_json_schema={"x-unit": "contracts"})]
Seconds = Annotated[Count, msgspec.Meta(extra_json_schema={"x-unit": "seconds"})]
Dollars = Annotated[Decimal, msgspec.Meta(extra_json_schema={"x-unit": "USD"})]
Price = Annotated[Decimal, msgspec.Meta(extra_json_schema={"x-unit": "points"})]
"""Points are what the exchange quotes the contract in."""
Timestamp = Annotated[
    datetime,
    msgspec.Meta(
        tz=True,
        extra_json_schema={
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$",
        },
    ),
]
"""On the wire always in UTC with ``Z``, with milliseconds unless they are zero."""


class PositionType(IntEnum):
    """The side of a position.

    :ivar sign: 1 for long, -1 for short.
    """

    LONG = 1
    SHORT = 2

    def __init__(self, number: int) -> None:
        self.sign: Final = 1 if number == 1 else -1


class OrderType(IntEnum):
    """The type of an order."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    STOP_LIMIT = 4


class OrderSide(IntEnum):
    """Whether an order buys or sells.

    :ivar sign: 1 for buying, -1 for selling.
    """

    BUY = 1
    SELL = 2

    def __init__(self, number: int) -> None:
        self.sign: Final = 1 if number == 1 else -1


class OrderState(IntEnum):
    """The state of an order; all but ``ACTIVE`` are final."""

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
    """The daemon's state."""

    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    ERROR = "ERROR"


DRY_RUN_NOTE: Final = "(dry run: nothing is enforced)"
"""The end of the RUNNING message of a daemon in a dry run."""


class EventError(ValueError):
    """A message is not a valid event.

    :ivar field: the wrong field, such as ``MarketQuote.bid`` or ``account_id``.
    :ivar value: the value of that field; ``UNSET`` if it is missing.
    :ivar expected: the values that it may have, in words.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        shown = "nothing" if value is UNSET else reprlib.repr(value)
        super().__init__(f"{field}: expected {expected}, got {shown}")


class UnknownEventTypeError(EventError):
    """The envelope is valid, but its type is none of the nine."""


def to_milliseconds(moment: datetime) -> datetime:
    """Return an aware ``moment`` in UTC, cut to whole milliseconds.

    :raises ValueError: in UTC, the moment is before year 1 or after year 9999.
    """
    if moment.tzinfo is not UTC:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise ValueError(f"expected a moment that is in the calendar, got {moment}") from None
    beyond = moment.microsecond % 1000
    return moment.replace(microsecond=moment.microsecond - beyond) if beyond else moment


def plain_number(number: Decimal) -> Decimal:
    """Return ``number`` without an exponent, cut to the wire's 12 decimal places.

    Brokers write ``5138.000000000``; such zeros say nothing, and go, and so does the sign of ``-0``.

    :raises ValueError: the number is not finite, or has more than 15 digits before the point.
    """
    text = str(number)
    # The cheapest check settles nearly every number: one as short as this is within both limits.
    if len(text) <= _MAX_DECIMAL_PLACES + len("0.") and "E" not in text and number.is_finite():
        # So are cents and dollars, which keep their zeros.
        if not text.endswith("0") or (text[-3:-2] == "." and number):
            return number
        return _without_zeros(number, text)
    if not number.is_finite() or number.adjusted() >= MAX_DIGITS_BEFORE_POINT:
        raise ValueError(f"expected a number below 10^{MAX_DIGITS_BEFORE_POINT}, got {text}")
    # Only an infinity or NaN has an exponent that is a letter.
    exponent = int(number.as_tuple().exponent)
    wanted = max(-_MAX_DECIMAL_PLACES, min(exponent, 0))
    if exponent != wanted:
        # Towards zero, so that the largest number stays below its limit.
        number = number.quantize(Decimal(1).scaleb(wanted), ROUND_DOWN)
    return _without_zeros(number, f"{number:f}")


def _without_zeros(number: Decimal, text: str) -> Decimal:
    """Return ``number`` without the zeros at its end, beyond cents; zero has no sign.

    :param text: the number, without an exponent.
    """
    if number.is_zero() and number.is_signed():
        number, text = number.copy_abs(), text.removeprefix("-")
    _whole, _point, fraction = text.partition(".")
    if len(fraction) <= _CENT_PLACES or not fraction.endswith("0"):
        return number
    return Decimal(text.rstrip("0").rstrip("."))


def _cut(text: str) -> str:
    """Return ``text``, shortened to ``_MAX_TEXT_BYTES`` of JSON."""
    # JSON writes a character in at most six bytes: those of an escape.
    if len(text) * 6 <= _MAX_TEXT_BYTES or _json_size(text) <= _MAX_TEXT_BYTES:
        return text
    text = text[:_MAX_TEXT_BYTES]
    while _json_size(text + "…") > _MAX_TEXT_BYTES:
        text = text[:-1]
    return text + "…"


def _json_size(text: str) -> int:
    return len(msgspec.json.encode(text)) - 2


def includes_type(field_type: Any, wanted: type) -> bool:
    """Return whether a field's type is, or includes, ``wanted``.

    Unions and annotations are searched.
    """
    return field_type is wanted or any(
        includes_type(part, wanted) for part in get_args(field_type)
    )


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all values on the wire; normalizes times, numbers and sentences.

    :cvar sentences: the text fields that are cut when they are too long.
    """

    sentences: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for name, normalize in _normalizers(type(self)).items():
            value = getattr(self, name)
            if value is not None and value is not UNSET:
                normal = normalize(value)
                if normal is not value:
                    msgspec.structs.force_setattr(self, name, normal)


@cache
def _normalizers(data_type: type[_Wire]) -> dict[str, Callable[[Any], Any]]:
    """Return the functions that normalize fields, by the names of the fields."""
    normalizers: dict[str, Callable[[Any], Any]] = {}
    for field in msgspec.structs.fields(data_type):
        if includes_type(field.type, datetime):
            normalizers[field.name] = to_milliseconds
        elif includes_type(field.type, Decimal):
            normalizers[field.name] = plain_number
        elif field.name in data_type.sentences:
            normalizers[field.name] = _cut
    return normalizers


class GatewayUserTrade(_Wire, frozen=True, rename="camel"):
    """A full-turn trade: contracts were closed and a profit or loss was realized.

    :ivar id: the broker's id of the trade.
    :ivar contract_id: the broker's id of the contract.
    :ivar profit_and_loss: realized by this trade, before fees; a loss is negative.
    :ivar quantity: how many contracts it closed.
    :ivar execution_time: when it was executed, by the broker's clock.
    :ivar timestamp: when riskd received it.
    """

    id: Identifier
    contract_id: ContractId
    profit_and_loss: Dollars
    quantity: Contracts
    execution_time: Timestamp
    timestamp: Timestamp


class GatewayUserPosition(_Wire, frozen=True, rename="camel"):
    """A position was opened, changed or (``size`` 0) closed.

    :ivar id: the broker's id of the position.
    :ivar contract_id: the broker's id of the contract.
    :ivar type: its side.
    :ivar size: how many contracts are held; 0 means that the position is closed.
    :ivar average_price: of its entry; it may lie between two ticks.
    :ivar created_at: when it was opened.
    :ivar updated_at: when it last changed.
    """

    id: Identifier
    contract_id: ContractId
    type: PositionType
    size: Contracts
    average_price: Price
    created_at: Timestamp
    updated_at: Timestamp


class GatewayUserOrder(_Wire, frozen=True, rename="camel"):
    """An order was placed, changed, filled, canceled or rejected.

    :ivar id: the broker's id of the order.
    :ivar contract_id: the broker's id of the contract.
    :ivar type: at which price it may fill.
    :ivar side: whether it buys or sells.
    :ivar size: how many contracts it is for; partial fills do not change that.
    :ivar limit_price: the worst price at which it may fill; ``None`` for an order without one.
    :ivar stop_price: the price that sets it off; ``None`` for an order without one.
    :ivar state: whether it is working, or how it ended.
    :ivar created_at: when it was placed.
    :ivar updated_at: when it last changed.
    """

    id: Identifier
    contract_id: ContractId
    type: OrderType
    side: OrderSide
    size: Contracts
    limit_price: Price | None
    stop_price: Price | None
    state: OrderState
    created_at: Timestamp
    updated_at: Timestamp


class MarketQuote(_Wire, frozen=True, rename="camel"):
    """The best bid, the best ask and the last price of a contract.

    :ivar contract_id: the broker's id of the contract.
    :ivar bid: the best price at which the market buys.
    :ivar ask: the best price at which the market sells.
    :ivar last: the price of the latest trade.
    :ivar timestamp: when the market had these prices.
    """

    contract_id: ContractId
    bid: Price
    ask: Price
    last: Price
    timestamp: Timestamp

    def __post_init__(self) -> None:
        # Nearly all events are quotes, and nearly all quotes are normal already.  Checking that field
        # by field takes half the time of the loop over all fields.
        if (
            plain_number(self.bid) is not self.bid
            or plain_number(self.ask) is not self.ask
            or plain_number(self.last) is not self.last
            or to_milliseconds(self.timestamp) is not self.timestamp
        ):
            super().__post_init__()


OPERATOR: Final = "OPERATOR"
"""The rule id of locks and flattens that an operator has ordered."""


class LockoutSet(_Wire, frozen=True):
    """The account is locked until a moment, or until an operator unlocks it.

    :ivar reason: a sentence for a person.
    :ivar locked_until: when the lock ends; ``None`` for one that an operator must unlock.
    :ivar rule_id: the rule that locked the account.
    :ivar locked_at: when the lock began.
    """

    sentences: ClassVar[frozenset[str]] = frozenset({"reason"})

    reason: str
    locked_until: Timestamp | None
    rule_id: RuleId
    locked_at: Timestamp


class LockoutCleared(_Wire, frozen=True):
    """The account may trade again.

    :ivar cleared_at: when its last lock ended.
    :ivar cleared_by: what ended that lock.
    """

    cleared_at: Timestamp
    cleared_by: ClearedBy


class EnforcementDetails(_Wire, frozen=True):
    """What an enforcement action closed, canceled, placed or locked.

    The optional fields depend on the action; ``docs/protocol.md`` says which has which.

    :ivar positions_closed: how many positions were closed.
    :ivar orders_canceled: how many working orders were canceled.
    :ivar contract_id: the contract that the action was confined to.
    :ivar cooldown_seconds: how long the account may not trade.
    :ivar locked_until: when the lock ends; ``None`` for one that an operator must unlock.
    :ivar order_id: the order that was canceled or placed.
    :ivar stop_price: of the stop order that was placed.
    :ivar size: how many contracts that order is for.
    :ivar dry_run: true where riskd did nothing, and the other fields say what it would have done.
    """

    positions_closed: Count
    orders_canceled: Count
    contract_id: ContractId | UnsetType = msgspec.field(default=UNSET, name="contractId")
    cooldown_seconds: Seconds | UnsetType = UNSET
    locked_until: Timestamp | UnsetType | None = UNSET
    order_id: Identifier | UnsetType = UNSET
    stop_price: Price | UnsetType = msgspec.field(default=UNSET, name="stopPrice")
    size: Contracts | UnsetType = UNSET
    dry_run: bool | UnsetType = UNSET


class EnforcementAction(_Wire, frozen=True):
    """riskd acted on a breach of a rule.

    :ivar action: what it did.
    :ivar reason: a sentence for a person.
    :ivar rule_id: the rule that was breached.
    :ivar success: whether the broker has confirmed it; if not, riskd keeps trying.
    :ivar timestamp: when it was done; in a dry run, when it was decided on.
    :ivar details: what was closed, canceled, placed or locked.
    """

    sentences: ClassVar[frozenset[str]] = frozenset({"reason"})

    action: Action
    reason: str
    rule_id: RuleId
    success: bool
    timestamp: Timestamp
    details: EnforcementDetails


class DailyReset(_Wire, frozen=True):
    """A new trading day began: realized P&L and trade count start again at zero.

    :ivar reset_time: when the day began.
    :ivar previous_pnl: the realized P&L of the day that ended, before fees.
    :ivar previous_trade_count: the number of trades of the day that ended.
    :ivar lockouts_cleared: whether locks ended with that day.
    """

    reset_time: Timestamp
    previous_pnl: Dollars
    previous_trade_count: Count
    lockouts_cleared: bool


class DaemonStatus(_Wire, frozen=True):
    """The daemon runs, is stopping, or has a problem.

    :ivar status: the daemon's state.
    :ivar message: a sentence for a person.
    :ivar timestamp: when the status changed.
    """

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

_TYPE_NAMES: Final = {data_type: name for name, data_type in EVENT_TYPES.items()}


class Event(msgspec.Struct, frozen=True):
    """An event of one account, or of the daemon.

    :ivar account_id: the broker's id of the account; ``None`` for :class:`DaemonStatus` alone.
    :ivar data: what happened.
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
