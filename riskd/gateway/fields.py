"""Typed fields of one payload; errors name field, value and expectation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeGuard, TypeVar

import msgspec

from riskd.gateway.broker_text import broker_text
from riskd.host.secrets import redacted
from riskd.model.events import ContractId, EventError, plain_number
from riskd.model.moments import is_placeholder
from riskd.model.money import without_noise

Payload = dict[str, Any]
"""What the gateway sends: its own field names and enums, times as text, fractions as ``Decimal``."""

_MAX_WHOLE: Final = 2**63 - 1
_MAX_COUNT: Final = 2**53
"""The largest id and the largest size that the wire and the journal can hold."""

_Choice = TypeVar("_Choice")


class MappingError(EventError):
    """A payload that riskd cannot read; names field, value and expectation."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        if isinstance(value, str):
            value = redacted(value)
        elif isinstance(value, (list, dict)):
            # What is inside may be a secret, or nested too deeply to be shown.
            value = f"a {type(value).__name__}"
        super().__init__(field, value, expected)


def whole(value: object) -> int | None:
    """Return ``value`` as a whole number; ``None`` if it can be no id and no size."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, Decimal))
        or not -_MAX_WHOLE <= value <= _MAX_WHOLE
        # The live gateway has been seen to write whole numbers as 2.000000000.
        or value != int(value)
    ):
        return None
    return int(value)


def in_utc(moment: datetime) -> datetime:
    """Return a time of the gateway in UTC; without an offset it is that already.

    What the calendar of UTC does not have is a placeholder, and stays one.
    """
    if moment.tzinfo is UTC:
        return moment
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        # .NET's moment that was never set, as a machine east of Greenwich writes it.
        return moment.replace(tzinfo=UTC)


def is_contract_id(value: object) -> TypeGuard[str]:
    """Return whether ``value`` can be the id of a contract."""
    try:
        msgspec.convert(value, ContractId)
    except msgspec.ValidationError:
        return False
    return True


class FieldReader:
    """Reads the fields of one payload.

    Every method raises :class:`MappingError` for a field that is missing or that it cannot read, unless
    it says otherwise.

    :param target: the kind of payload, such as ``GatewayUserOrder``; errors name it.
    """

    def __init__(self, target: str, payload: Payload) -> None:
        self._target = target
        self._payload = payload

    def _error(self, name: str, expected: str) -> MappingError:
        return MappingError(f"{self._target}.{name}", self._payload.get(name), expected)

    def whole(self, name: str) -> int:
        """Return a whole number."""
        number = whole(self._payload.get(name))
        if number is None:
            raise self._error(name, "a whole number")
        return number

    def count(self, name: str) -> int:
        """Return a number of contracts, 0 or more."""
        value = self.whole(name)
        if not 0 <= value <= _MAX_COUNT:
            raise self._error(name, "a whole number, not negative")
        return value

    def number(self, name: str) -> Decimal:
        """Return a number with at most 15 digits before the point."""
        return self._as_number(name, self._payload.get(name))

    def _as_number(self, name: str, value: object) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            raise self._error(name, "a number")
        try:
            return plain_number(Decimal(value))
        except ValueError:
            raise self._error(name, "a number of at most 15 digits") from None

    def amount(self, name: str) -> Decimal:
        """Return an amount in dollars; one that all but is a whole cent is that cent."""
        value = self._payload.get(name)
        if isinstance(value, Decimal):
            # Before the number is cut to the places of the wire, which could bring it nearer to a cent.
            value = without_noise(value)
        return self._as_number(name, value)

    def optional_amount(self, name: str) -> Decimal | None:
        """Return an amount in dollars; ``None`` if there is none."""
        return None if self._payload.get(name) is None else self.amount(name)

    def positive(self, name: str) -> Decimal:
        """Return a number above zero."""
        value = self.number(name)
        if value <= 0:
            raise self._error(name, "a number above zero")
        return value

    def optional_number(self, name: str) -> Decimal | None:
        """Return a number; ``None`` if there is none."""
        return None if self._payload.get(name) is None else self.number(name)

    def text(self, name: str) -> str:
        """Return a text that is not empty."""
        value = self._payload.get(name)
        if not isinstance(value, str) or not value:
            raise self._error(name, "a text")
        return broker_text(value)

    def contract_id(self, name: str = "contractId") -> str:
        """Return a contract id."""
        try:
            return msgspec.convert(self._payload.get(name), ContractId)
        except msgspec.ValidationError:
            raise self._error(name, "a contract id") from None

    def choice(self, name: str, choices: Mapping[int, _Choice]) -> _Choice:
        """Return the choice that a number stands for."""
        number = whole(self._payload.get(name))
        chosen = None if number is None else choices.get(number)
        if chosen is None:
            raise self._error(name, f"one of {', '.join(str(int(each)) for each in choices)}")
        return chosen

    def optional_time(self, name: str) -> datetime | None:
        """Return a time, aware; ``None`` if there is none or only a placeholder."""
        if self._payload.get(name) is None:
            return None
        moment = self.time(name)
        return None if is_placeholder(moment) else moment

    def time(self, name: str) -> datetime:
        """Return a time, aware."""
        try:
            return in_utc(msgspec.convert(self._payload.get(name), datetime))
        except msgspec.ValidationError:
            raise self._error(name, "an ISO 8601 timestamp") from None
