"""Reading TOML for a person: everything that is wrong with a text, each thing in a line that says where.

Tables become msgspec Structs.  The type of a field says what may stand there.  A ``Decimal`` is an amount
above zero, exact; a ``time`` is written ``"17:00"``, and a ``ZoneInfo`` by its name.  A text is no number,
whatever it says.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import sys
import tomllib
import types
from collections.abc import Callable, Iterable, Mapping, Sized
from datetime import time
from decimal import Decimal
from typing import Annotated, Any, Final, Union, get_args, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec
from msgspec import inspect

KeyPath = tuple[str | int, ...]
"""Where a value stands: names of tables and keys, and the numbers of a list's items, from 0."""

WRONG: Final = object()
"""Stands for a value that is not what it should be, which has been noted."""

_MAX_SHOWN: Final = 60
_MAX_AMOUNT: Final = 10**12
_MAX_PLACES: Final = 9
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED: Final = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER: Final = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_ASSIGNMENT: Final = re.compile(rf"\s*({_DOTTED})\s*=")


def parse(text: str) -> dict[str, Any]:
    """Return the tables of ``text``, its fractions as ``Decimal``.

    :raises ValueError: it is no TOML; the message says what is wrong, and where if that is known.
    """
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("its lists or tables are nested too deeply") from None
    except (ValueError, ArithmeticError):
        # Python does not read numbers of thousands of digits.
        raise ValueError("a number in it is too long") from None


class TableReader:
    """Reads the tables of one text, and notes whatever is wrong in them.

    :param name: what the text is called, for the notes.
    :param refused: what is to be said of unknown keys that people may try, by key in lower case and
        with ``_`` for ``-``.
    """

    def __init__(self, text: str, name: str, refused: Mapping[str, str] | None = None) -> None:
        self._name = name
        self._refused = refused or {}
        self._lines = key_lines(text)
        self._problems: dict[str, int] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """What was noted, a line each, in the order of the text."""
        return tuple(sorted(self._problems, key=self._problems.__getitem__))

    def report(self, path: KeyPath, sentence: str) -> None:
        """Note what is wrong with the value at ``path``; once, however often it is said."""
        line = self._line(path)
        where = f"{self._name}, line {line}" if line else self._name
        self._problems[f"{where}: {path_text(path)}: {sentence}"] = line

    def struct(self, table: Any, kind: type[msgspec.Struct], path: KeyPath) -> Any:
        """Return ``table`` as a ``kind``, or ``WRONG`` after noting everything that is wrong in it."""
        if not isinstance(table, dict):
            return self._mismatch(table, kind, path)
        return self.build(self.fields(table, kind, path), kind, path)

    def fields(
        self, table: Mapping[str, Any], kind: type[msgspec.Struct], path: KeyPath
    ) -> dict[str, Any]:
        """Return those fields of a ``kind`` that ``table`` gives; what is wrong is noted, and ``WRONG``."""
        known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        values = {}
        for key, value in table.items():
            if key in known:
                values[known[key].name] = self.value(value, known[key].type, (*path, key))
            else:
                self.report((*path, key), self._of_unknown(key, known))
        return values

    def _of_unknown(self, key: str, known: Iterable[str]) -> str:
        refused = self._refused.get(key.lower().replace("-", "_"))
        return refused or f"unknown key{nearest(key, known)}"

    def build(self, values: Mapping[str, Any], kind: type[msgspec.Struct], path: KeyPath) -> Any:
        """Return a ``kind`` of ``values``, or ``WRONG`` after noting what is missing or contradictory."""
        missing = [
            field
            for field in msgspec.structs.fields(kind)
            if field.required and field.name not in values
        ]
        for field in missing:
            self.report((*path, field.encode_name), f"missing; expected {expected(field.type)}")
        if missing or WRONG in values.values():
            return WRONG
        try:
            return kind(**values)
        except ValueError as error:
            self._note_contradiction(str(error), kind, path)
            return WRONG

    def value(self, value: Any, kind: Any, path: KeyPath) -> Any:
        """Return ``value`` as a ``kind``, or ``WRONG`` after noting everything that is wrong in it."""
        bare = _bare(kind)
        if _is_list(bare):
            return self._items(value, kind, path)
        if get_origin(bare) in (dict, Mapping):
            return self._entries(value, kind, path)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            return self.struct(value, bare, path)
        return self._single(value, kind, path)

    def _items(self, value: Any, kind: Any, path: KeyPath) -> Any:
        if not (isinstance(value, list) and _has_length(value, kind)):
            return self._mismatch(value, kind, path)
        bare = _bare(kind)
        item_kind = get_args(bare)[0]
        items = [self.value(item, item_kind, (*path, i)) for i, item in enumerate(value)]
        return WRONG if WRONG in items else get_origin(bare)(items)

    def _entries(self, value: Any, kind: Any, path: KeyPath) -> Any:
        if not (isinstance(value, dict) and _has_length(value, kind)):
            return self._mismatch(value, kind, path)
        key_kind, entry_kind = get_args(_bare(kind))
        entries = {
            self._single(key, key_kind, (*path, key)): self.value(entry, entry_kind, (*path, key))
            for key, entry in value.items()
        }
        return WRONG if WRONG in (*entries, *entries.values()) else entries

    def _single(self, value: Any, kind: Any, path: KeyPath) -> Any:
        convert = _CONVERTERS.get(_bare(kind))
        try:
            return convert(value) if convert else msgspec.convert(value, _said(kind))
        except (ValueError, ArithmeticError):
            return self._mismatch(value, kind, path)

    def _mismatch(self, value: Any, kind: Any, path: KeyPath) -> Any:
        hint = nearest(value, _names(kind), or_else="") if isinstance(value, str) else ""
        self.report(path, f"expected {expected(kind)}, got {shown(value)}{hint}")
        return WRONG

    def _note_contradiction(
        self, sentence: str, kind: type[msgspec.Struct], path: KeyPath
    ) -> None:
        """Note what a struct says of itself as a whole; it may begin with a name, its own or a field's."""
        field, colon, rest = sentence.partition(": ")
        if colon and field in kind.__struct_fields__:
            self.report((*path, field), rest)
        elif colon and field in path[-1:]:
            self.report(path, rest)
        else:
            self.report(path, sentence)

    def _line(self, path: KeyPath) -> int:
        """Return the line of ``path``, or of what it lies in; 0 if that is unknown."""
        ends = range(len(path), 0, -1)
        return next((self._lines[path[:end]] for end in ends if path[:end] in self._lines), 0)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the lines, from 1, on which tables and keys begin.

    It knows lines and not TOML: keys of inline tables are missing, and what looks like a key within a
    text of several lines is taken for one.
    """
    lines: dict[KeyPath, int] = {}
    lengths: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            table = _table_path(header[2], lengths, is_item=header[1] == "[[")
            lines.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            lines.setdefault((*table, *_split(assignment[1])), number)
    return lines


def _table_path(dotted: str, lengths: dict[KeyPath, int], *, is_item: bool) -> KeyPath:
    """Return the path of a table whose header is ``dotted``.

    :param lengths: how many tables each list has so far; a new one is counted.
    :param is_item: whether it is a new item of a list of tables.
    """
    path: KeyPath = ()
    *parents, name = _split(dotted)
    for parent in parents:
        path = (*path, parent)
        if path in lengths:
            path = (*path, lengths[path] - 1)
    path = (*path, name)
    if is_item:
        lengths[path] = lengths.get(path, 0) + 1
        path = (*path, lengths[path] - 1)
    return path


def _split(dotted: str) -> list[str]:
    return [key.strip("\"'") for key in re.findall(_KEY, dotted)]


def path_text(path: KeyPath) -> str:
    """Return ``path`` as people write it: ``accounts[1].rules.max_contracts.limit``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + _key_text(part)
    return text


def _key_text(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]{1,60}", key) else _shortened(json.dumps(key))


def shown(value: Any) -> str:
    """Return ``value`` much as TOML writes it, in one line, and shortened."""
    match value:
        case bool() | str():
            return _shortened(json.dumps(value))
        case int():
            # Python refuses to write huge numbers with decimal digits.
            return str(value) if abs(value) < _MAX_AMOUNT else _shortened(hex(value))
        case dict():
            return "a table" if value else "an empty table"
        case list():
            return "a list" if value else "an empty list"
        case _:
            return _shortened(str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def nearest(name: str, known: Iterable[str], or_else: str | None = None) -> str:
    """Return what to add to a sentence on an unknown ``name``: what may be meant, or what is known.

    :param or_else: what to add if no known name is near; by default a list of them.
    """
    names = list(known)
    if near := difflib.get_close_matches(name, names, 1):
        return f"; did you mean {near[0]}?"
    if or_else is not None:
        return or_else
    return f"; known are {', '.join(names)}" if names else "; none is known here"


def expected(kind: Any) -> str:
    """Return what a value of ``kind`` is, in words."""
    return _words(inspect.type_info(_said(kind)))


def _words(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata(extra_json_schema={"description": str(words)}):
            return words
        case inspect.Metadata(type=inner):
            return _words(inner)
        case inspect.UnionType(types=members):
            return " or ".join(map(_words, members))
        case inspect.EnumType() | inspect.LiteralType():
            choices = _choices(info)
            return ("one of " if len(choices) > 1 else "") + ", ".join(map(shown, choices))
    return _WORDS.get(type(info), "another kind of value") + _bounds(info)


def _bounds(info: inspect.Type) -> str:
    bounds: dict[str, object] = {}
    match info:
        case inspect.IntType(ge=ge, gt=gt, le=le, lt=lt):
            bounds = {"from": ge, "above": gt, "up to": le, "below": lt}
        case inspect.FloatType(ge=ge, gt=gt, le=le, lt=lt):
            bounds = {"from": ge, "above": gt, "up to": le, "below": lt}
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


def _names(kind: Any) -> list[str]:
    """Return the texts that a value of ``kind`` is chosen from; none if it is not."""
    if _bare(kind) is ZoneInfo:
        return _time_zones()
    return [
        choice for choice in _choices(inspect.type_info(_bare(kind))) if isinstance(choice, str)
    ]


@functools.cache
def _time_zones() -> list[str]:
    return sorted(available_timezones())


def _said(kind: Any) -> Any:
    """Return ``kind`` without what TOML cannot say: ``None``, and that something is not set."""
    if get_origin(kind) in (Union, types.UnionType):
        members = [
            member
            for member in get_args(kind)
            if member not in (types.NoneType, msgspec.UnsetType)
        ]
        return Union[tuple(members)]  # noqa: UP007  # their number is not known here
    return kind


def _bare(kind: Any) -> Any:
    """Return ``kind`` without its bounds."""
    kind = _said(kind)
    return _bare(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def _is_list(bare: Any) -> bool:
    """Tell whether ``bare`` is a list of any length, whatever it is called in Python."""
    origin = get_origin(bare)
    return origin in (list, frozenset) or (origin is tuple and get_args(bare)[-1] is Ellipsis)


def _has_length(value: Sized, kind: Any) -> bool:
    """Tell whether ``value`` has as many items as a ``kind`` may have."""
    info = inspect.type_info(_said(kind))
    if not isinstance(info, (inspect.CollectionType, inspect.DictType)):
        return True
    return (info.min_length or 0) <= len(value) <= (info.max_length or sys.maxsize)


def _amount(value: Any) -> Decimal:
    # A text is no number, and True is no 1.
    if type(value) not in (int, Decimal):
        raise ValueError
    # What has more digits is a slip of the finger, and to reckon with it may take forever.
    if not (0 < value < _MAX_AMOUNT and round(Decimal(value), _MAX_PLACES) == value):
        raise ValueError
    return Decimal(value)


def _time_of_day(value: Any) -> time:
    if not (isinstance(value, str) and _TIME.fullmatch(value)):
        raise ValueError
    return time.fromisoformat(value)


def _time_zone(value: Any) -> ZoneInfo:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004  # as for any other value
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError from None


_CONVERTERS: Final[dict[object, Callable[[Any], Any]]] = {
    Decimal: _amount,
    time: _time_of_day,
    ZoneInfo: _time_zone,
}
"""What msgspec would read otherwise, or not at all."""

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
    # ZoneInfo is the only one.
    inspect.CustomType: 'the name of a time zone, such as "America/Chicago"',
}
