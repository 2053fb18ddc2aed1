"""What may stand in the body of a request, endpoint by endpoint.

Unknown fields and nulls are passed over.  Times are taken with ``Z``, with an offset, or with neither,
which is UTC.

Source: the ProjectX Gateway API documentation.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

import msgspec

from riskd.gateway.exact_json import JsonError, decode_json
from riskd.model.events import plain_number

_Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
_Text = Annotated[str, msgspec.Meta(max_length=256)]
_MISSING: Final = re.compile(r"missing required field `(\w+)`")
_WHERE: Final = re.compile(r" - at `\$(?P<path>\S*)`$")


class BodyError(Exception):
    """A body cannot be understood.

    :ivar field: the field that is missing or wrong; ``$`` for the body as a whole.
    """

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class Nothing(msgspec.Struct, rename="camel", frozen=True):
    """A body of no fields; the other bodies have some more."""

    def __post_init__(self) -> None:
        """Give times without a zone their zone."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, datetime) and value.tzinfo is None:
                msgspec.structs.force_setattr(self, name, value.replace(tzinfo=UTC))


class LoginKey(Nothing, frozen=True):
    """``Auth/loginKey``."""

    user_name: str
    api_key: str

    def __repr__(self) -> str:
        return "LoginKey(...)"


class OfAccount(Nothing, frozen=True, kw_only=True):
    """Whatever is asked of an account."""

    account_id: _Int32


class SearchAccounts(Nothing, frozen=True):
    """``Account/search``."""

    only_active_accounts: bool = False


class SearchContracts(Nothing, frozen=True, kw_only=True):
    """``Contract/search``; the contracts are the same whether live or not."""

    search_text: _Text


class OfContract(Nothing, frozen=True, kw_only=True):
    """``Contract/searchById``."""

    contract_id: _Text


class Bars(OfContract, frozen=True, kw_only=True):
    """``History/retrieveBars``."""

    start_time: datetime
    end_time: datetime
    unit: _Int32
    unit_number: _Int32
    limit: _Int32
    include_partial_bar: bool = False


class Since(OfAccount, frozen=True, kw_only=True):
    """``Order/search`` and ``Trade/search``."""

    start_timestamp: datetime
    end_timestamp: datetime | None = None


class OfOrder(OfAccount, frozen=True, kw_only=True):
    """``Order/searchById`` and ``Order/cancel``."""

    order_id: _Int64


class OrderFilter(OfAccount, frozen=True, kw_only=True):
    """Which orders ``Order/v2/query`` is to find."""

    statuses: tuple[_Int32, ...] | None = None
    contract_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class QueryOrders(Nothing, frozen=True, kw_only=True):
    """``Order/v2/query``."""

    filter: OrderFilter
    page_size: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    page_offset: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    include_total_count: bool = False


class PlaceOrder(OfAccount, frozen=True, kw_only=True):
    """``Order/place``."""

    contract_id: _Text
    type: _Int32
    side: _Int32
    size: _Int32
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    custom_tag: _Text | None = None
    stop_loss_bracket: Any = None
    take_profit_bracket: Any = None


class ModifyOrder(OfOrder, frozen=True, kw_only=True):
    """``Order/modify``."""

    size: _Int32 | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None


class CloseContract(OfAccount, frozen=True, kw_only=True):
    """``Position/closeContract``."""

    contract_id: _Text


class PartialCloseContract(CloseContract, frozen=True, kw_only=True):
    """``Position/partialCloseContract``."""

    size: _Int32


class MoveMarket(OfContract, frozen=True, kw_only=True):
    """``Practice/moveMarket``."""

    price: Decimal


class SetCanTrade(OfAccount, frozen=True, kw_only=True):
    """``Practice/setCanTrade``."""

    can_trade: bool


class VoidTrade(OfAccount, frozen=True, kw_only=True):
    """``Practice/voidTrade``."""

    trade_id: _Int64


_Body = TypeVar("_Body", bound=Nothing)


def read_body(text: bytes, kind: type[_Body]) -> _Body:
    """Return what a body says; an empty one says as much as ``{}``.

    :raises BodyError: it is no JSON, or a field is missing or wrong.
    """
    try:
        fields = decode_json(text) if text.strip() else {}
    except JsonError as error:
        raise BodyError("$", f"The body is no JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise BodyError("$", "The body is no object.")
    try:
        body = msgspec.convert(_without_nulls(fields), kind)
    except msgspec.ValidationError as error:
        raise _body_error(str(error)) from None
    _check_numbers(body)
    return body


def _check_numbers(body: Nothing) -> None:
    """Refuse numbers that nobody can reckon with."""
    for known in msgspec.structs.fields(body):
        value = getattr(body, known.name)
        if isinstance(value, Decimal):
            try:
                plain_number(value)
            except ValueError as error:
                name = known.encode_name
                raise BodyError(name, f"{name}: {error}.") from None


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_nulls(value) if isinstance(value, dict) else value
        for key, value in fields.items()
        if value is not None
    }


def _body_error(sentence: str) -> BodyError:
    """Return what msgspec found, with the field as a client knows it, such as ``filter.accountId``."""
    where = _WHERE.search(sentence)
    path = where["path"].lstrip(".") if where else ""
    missing = _MISSING.search(sentence)
    names = [path, missing[1]] if missing else [path]
    field = ".".join(filter(None, names)) or "$"
    return BodyError(field, f"{field}: {_WHERE.sub('', sentence)}.")
