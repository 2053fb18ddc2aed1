"""The bodies of requests, endpoint by endpoint.

Unknown fields and nulls are ignored.  A time may end in ``Z``, in an offset, or in neither, which is UTC.

Source: the ProjectX Gateway API documentation.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

import msgspec

from riskd.model.events import plain_number
from riskd.model.exact_json import JsonError, decode_json

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


class Body(msgspec.Struct, rename="camel", frozen=True):
    """A body without fields; the base of the others."""

    def __post_init__(self) -> None:
        """Give UTC to times without a zone, and refuse numbers that are too large.

        The exchange could not compute with such numbers.
        """
        # Not of structs.fields(), which reads all annotations again.
        for key, name in zip(self.__struct_fields__, self.__struct_encode_fields__, strict=True):
            value = getattr(self, key)
            if isinstance(value, datetime) and value.tzinfo is None:
                msgspec.structs.force_setattr(self, key, value.replace(tzinfo=UTC))
            elif isinstance(value, Decimal):
                try:
                    plain_number(value)
                except ValueError as error:
                    raise BodyError(name, f"{name}: {error}.") from None


class LoginKey(Body, frozen=True):
    """``Auth/loginKey``."""

    user_name: str
    api_key: str

    def __repr__(self) -> str:
        return "LoginKey(...)"


class SearchAccounts(Body, frozen=True):
    """``Account/search``."""

    only_active_accounts: bool = False


class SearchContracts(Body, frozen=True):
    """``Contract/search``; the same contracts are listed, live or not."""

    search_text: _Text


class ContractBody(Body, frozen=True, kw_only=True):
    """``Contract/searchById``."""

    contract_id: _Text


class RetrieveBars(ContractBody, frozen=True, kw_only=True):
    """``History/retrieveBars``."""

    start_time: datetime
    end_time: datetime
    unit: _Int32
    unit_number: _Int32
    limit: _Int32
    include_partial_bar: bool = False


class AccountBody(Body, frozen=True, kw_only=True):
    """``Order/searchOpen`` and ``Position/searchOpen``."""

    account_id: _Int32


class SearchSince(AccountBody, frozen=True, kw_only=True):
    """``Order/search`` and ``Trade/search``."""

    start_timestamp: datetime
    end_timestamp: datetime | None = None


class OrderBody(AccountBody, frozen=True, kw_only=True):
    """``Order/searchById`` and ``Order/cancel``."""

    order_id: _Int64


class OrderFilter(AccountBody, frozen=True, kw_only=True):
    """The orders that ``Order/v2/query`` finds."""

    statuses: tuple[_Int32, ...] | None = None
    contract_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class QueryOrders(Body, frozen=True, kw_only=True):
    """``Order/v2/query``."""

    filter: OrderFilter
    page_size: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    page_offset: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    include_total_count: bool = False


class ModifyOrder(OrderBody, frozen=True, kw_only=True):
    """``Order/modify``."""

    size: _Int32 | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None


class CloseContract(AccountBody, frozen=True, kw_only=True):
    """``Position/closeContract``."""

    contract_id: _Text


class PartialCloseContract(CloseContract, frozen=True, kw_only=True):
    """``Position/partialCloseContract``."""

    size: _Int32


class PlaceOrder(PartialCloseContract, frozen=True, kw_only=True):
    """``Order/place``: a size of a contract, as above, and how to trade it."""

    type: _Int32
    side: _Int32
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    custom_tag: _Text | None = None
    stop_loss_bracket: Any = None
    take_profit_bracket: Any = None


class MoveMarket(ContractBody, frozen=True, kw_only=True):
    """``Practice/moveMarket``."""

    price: Decimal


class SetCanTrade(AccountBody, frozen=True, kw_only=True):
    """``Practice/setCanTrade``."""

    can_trade: bool


class Transfer(AccountBody, frozen=True, kw_only=True):
    """``Practice/transfer``; a negative amount is paid out."""

    amount: Decimal


class VoidTrade(AccountBody, frozen=True, kw_only=True):
    """``Practice/voidTrade``.

    :ivar is_reported: whether an event reports it; otherwise only searches show it.
    """

    trade_id: _Int64
    is_reported: bool = True


class AmendTrade(VoidTrade, frozen=True, kw_only=True):
    """``Practice/amendTrade``; an amount that is missing stays as it is."""

    profit_and_loss: Decimal | None = None
    fees: Decimal | None = None
    commissions: Decimal | None = None


_Body = TypeVar("_Body", bound=Body)


def read_body(text: bytes, kind: type[_Body]) -> _Body:
    """Return a body from its text; an empty text stands for ``{}``.

    :raises BodyError: it is not a JSON object, or a field is missing or wrong.
    """
    try:
        fields = decode_json(text) if text.strip() else {}
    except JsonError as error:
        raise BodyError("$", f"The body is not JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise BodyError("$", "The body is not an object.")
    try:
        return msgspec.convert(_without_nulls(fields), kind)
    except msgspec.ValidationError as error:
        raise _body_error(str(error)) from None


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_nulls(value) if isinstance(value, dict) else value
        for key, value in fields.items()
        if value is not None
    }


def _body_error(sentence: str) -> BodyError:
    """Return msgspec's error under the API's name, such as ``filter.accountId``."""
    where = _WHERE.search(sentence)
    path = where["path"].lstrip(".") if where else ""
    missing = _MISSING.search(sentence)
    names = [path, missing[1]] if missing else [path]
    field = ".".join(filter(None, names)) or "$"
    return BodyError(field, f"{field}: {_WHERE.sub('', sentence)}.")
