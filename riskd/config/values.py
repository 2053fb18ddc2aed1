"""Convert TOML values to the types of settings, or say what was expected.

The type of a field says which values it takes.  Beyond what msgspec knows, a ``Decimal`` is an exact amount
above zero, a ``time`` is written ``"17:00"`` and a ``ZoneInfo`` by its name.  A quoted number is a text,
never a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import time
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec
from msgspec import inspect

_MAX_SHOWN: Final = 60
"""Characters of a value that a message repeats; a message stays one short line."""

_MAX_AMOUNT: Final = 10**12
_MAX_PLACES: Final = 9
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


def shape_of(kind: Any) -> inspect.Type:
    """Return msgspec's description of a type, without annotations and ``None``.

    TOML has no null: an optional key is left out.
    """
    return _bare(inspect.type_info(kind))


def _bare(info: inspect.Type) -> inspect.Type:
    match info:
        case inspect.Metadata(type=inner):
            return _bare(inner)
        case inspect.UnionType(types=(inner, inspect.NoneType()) | (inspect.NoneType(), inner)):
            return _bare(inner)
    return info


def convert(value: Any, kind: Any) -> Any:
    """Return a single ``value`` as a ``kind``.

    :raises ValueError: the value does not fit.
    :raises ArithmeticError: likewise, for numbers such as ``nan``.
    """
    own = _own_converter(inspect.type_info(kind)) or _CONVERTERS.get(type(shape_of(kind)))
    return own(value) if own else msgspec.convert(value, kind)


def _own_converter(info: inspect.Type) -> Callable[[Any], Any] | None:
    """Return the converter that a type names in ``Meta(extra={"convert": ...})``."""
    match info:
        case inspect.Metadata(extra={"convert": converter}):
            own: Callable[[Any], Any] = converter
            return own
        case inspect.Metadata(type=inner):
            return _own_converter(inner)
        case inspect.UnionType(types=(inner, inspect.NoneType()) | (inspect.NoneType(), inner)):
            return _own_converter(inner)
    return None


def _amount(value: Any) -> Decimal:
    # True is an int in Python.  More digits than these are a slip of the finger, and arithmetic with an
    # exponent of millions would not end.
    if type(value) not in (int, Decimal) or not (
        0 < value < _MAX_AMOUNT and round(Decimal(value), _MAX_PLACES) == value
    ):
        raise ValueError
    return Decimal(value)


def _time_of_day(value: Any) -> time:
    if not (isinstance(value, str) and _TIME.fullmatch(value)):
        raise ValueError
    return time.fromisoformat(value)


def _time_zone(value: Any) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    # A directory of zones such as "America" is an OSError, a number is a TypeError.
    except (ZoneInfoNotFoundError, OSError, TypeError):
        raise ValueError from None


_CONVERTERS: Final[dict[type, Callable[[Any], Any]]] = {
    inspect.DecimalType: _amount,
    inspect.TimeType: _time_of_day,
    # ZoneInfo is the only type of settings that msgspec does not know.
    inspect.CustomType: _time_zone,
}
"""Types that msgspec does not convert, or not as strictly."""

_WORDS: Final[dict[type, str]] = {
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.DecimalType: "an amount above 0, such as 500 or 0.50, without quotes",
    inspect.StrType: "a text",
    inspect.DateType: "a date such as 2026-12-25",
    inspect.TimeType: 'a time of day such as "17:00"',
    inspect.ListType: "a list",
    inspect.VarTupleType: "a list",
    inspect.FrozenSetType: "a list",
    inspect.DictType: "a table",
    inspect.StructType: "a table",
    inspect.CustomType: 'the name of a time zone, such as "America/Chicago"',
}


def expected(kind: Any) -> str:
    """Return in words which values a ``kind`` takes."""
    return _words(inspect.type_info(kind))


def _words(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata(extra_json_schema={"description": str(words)}):
            return words
        case inspect.Metadata(type=inner):
            return _words(inner)
        case inspect.UnionType(types=members):
            return " or ".join(
                _words(member) for member in members if not isinstance(member, inspect.NoneType)
            )
    if choices := _choices(info):
        return ("one of " if len(choices) > 1 else "") + ", ".join(map(shown, choices))
    return _WORDS.get(type(info), "another kind of value") + _bounds(info)


def _bounds(info: inspect.Type) -> str:
    bounds: dict[str, object] = {}
    match info:
        case (
            inspect.IntType(ge=ge, gt=gt, le=le, lt=lt)
            | inspect.FloatType(ge=ge, gt=gt, le=le, lt=lt)
        ):
            below = "below" if ge is None and gt is None else "and below"
            bounds = {"from": ge, "above": gt, "up to": le, below: lt}
        case inspect.StrType(pattern=pattern):
            bounds = {"like": pattern}
        case inspect.CollectionType() | inspect.DictType():
            bounds = {"of at least": info.min_length, "of at most": info.max_length}
    return "".join(f" {word} {bound}" for word, bound in bounds.items() if bound is not None)


def _choices(info: inspect.Type) -> list[Any]:
    match info:
        case inspect.EnumType(cls=cls):
            return [member.value for member in cls]
        case inspect.LiteralType(values=values):
            return list(values)
    return []


def names_of(kind: Any) -> list[str]:
    """Return the texts of which a ``kind`` is one; none if it is not such a choice."""
    shape = shape_of(kind)
    if isinstance(shape, inspect.CustomType):
        # Sorted, so that a suggestion does not depend on the order of a set.
        return sorted(available_timezones())
    return [choice for choice in _choices(shape) if isinstance(choice, str)]


def as_toml(value: Any) -> str:
    """Return ``value`` in full as TOML has it, on one line; ``none`` for no value."""
    match value:
        case None | msgspec.UNSET:
            text = "none"
        case str() if _NUMBER.fullmatch(value):
            # An amount beside words, such as that of stops_at.
            text = value
        case bool() | str():
            text = json.dumps(value, ensure_ascii=False)
        case time():
            text = f'"{value:%H:%M}"'
        case ZoneInfo():
            text = json.dumps(value.key)
        case Mapping():
            pairs = (f"{key} = {as_toml(each)}" for key, each in value.items())
            text = f"{{ {', '.join(pairs)} }}"
        case tuple() | list():
            text = f"[{', '.join(map(as_toml, value))}]"
        case msgspec.Struct():
            text = as_toml(msgspec.structs.asdict(value))
        case _:
            text = str(value)
    return text


def toml_string(text: str) -> str:
    """Return ``text`` as a basic string of TOML: one of JSON, with its DEL escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def shown(value: Any) -> str:
    """Return ``value`` much as TOML writes it, on one line of up to 60 characters."""
    match value:
        case bool() | str():
            text = json.dumps(value)
        case int():
            # Python refuses to write numbers of thousands of decimal digits.
            text = str(value) if abs(value) < _MAX_AMOUNT else hex(value)
        case dict() | list():
            text = "a table" if isinstance(value, dict) else "a list"
            return text if value else text.replace("a ", "an empty ")
        case _:
            text = str(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
