"""Read TOML into msgspec Structs, and report every mistake with its line.

A trader who corrects a file should see all that is wrong with it at once, so reading goes on after a
mistake.  :mod:`riskd.config.values` says which single values a type takes.
"""

from __future__ import annotations

import difflib
import re
import sys
import tomllib
import types
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import inspect

from riskd.config.values import convert, expected, names_of, shape_of, shown
from riskd.host.errors import UserError
from riskd.model.trading_day import ZONES_MEANT

KeyPath = tuple[str | int, ...]
"""Where a value stands: names of tables and keys, and positions in lists, from 0."""

WRONG: Final = object()
"""Stands in for a value with a mistake, which has been reported."""

fields_of: Final = cache(msgspec.structs.fields)
"""The fields of a class: the same table is read for each account, and msgspec reads all annotations each time."""

_MAX_BYTES: Final = 256 * 1024
_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED: Final = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER: Final = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_ASSIGNMENT: Final = re.compile(rf"\s*({_DOTTED})\s*=")


class ConfigError(UserError):
    """A configuration file cannot be used; ``problems`` has a line for each mistake."""


class NoFileError(ConfigError):
    """There is no such file."""


def read_text(path: Path) -> str:
    """Return the text of a configuration file.

    :raises NoFileError: there is no such file.
    :raises ConfigError: it cannot be read, or is no text of up to 256 KiB.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        kind = NoFileError if isinstance(error, FileNotFoundError) else ConfigError
        raise kind(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path}: expected at most {_MAX_BYTES} bytes; this is no configuration")
    try:
        # Editors on Windows begin a file with a byte order mark.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8 text") from None


class TableReader:
    """Reads the tables of one text and collects the mistakes in them.

    :param name: the file name that each message begins with.
    :param refused: messages for unknown keys that people may try, such as secrets, by key in lower case
        and with ``_`` for ``-``.
    :raises ConfigError: the text is not TOML.
    :ivar tables: the text's tables, with fractions as exact ``Decimal``.
    """

    def __init__(self, text: str, name: str, refused: Mapping[str, str] | None = None) -> None:
        self._name = name
        self._refused = refused or {}
        self._lines = key_lines(text)
        # The line of each message, by message, so that a repeated one counts once.
        self._problems: dict[str, int] = {}
        try:
            self.tables = tomllib.loads(text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{name}: {error}") from None
        except RecursionError:
            raise ConfigError(f"{name}: its lists or tables are nested too deeply") from None
        except (ValueError, ArithmeticError):
            # Python refuses to read numbers of thousands of digits.
            raise ConfigError(f"{name}: a number in it is too long") from None

    def check(self) -> None:
        """Raise the mistakes, if any, as one :exc:`ConfigError` in the order of the text."""
        if self._problems:
            raise ConfigError(*sorted(self._problems, key=self._problems.__getitem__))

    def report(self, path: KeyPath, sentence: str) -> None:
        """Report a mistake in the value at ``path``; repeated reports count once."""
        line = self._line(path)
        where = f"{self._name}, line {line}" if line else self._name
        self._problems[f"{where}: {path_text(path)}: {sentence}"] = line

    def struct(self, table: Any, kind: type[msgspec.Struct], path: KeyPath) -> Any:
        """Return ``table`` as a ``kind``, or ``WRONG`` after reporting its mistakes."""
        if not isinstance(table, dict):
            return self._mismatch(table, kind, path)
        return self.build(self.fields(table, kind, path), kind, path)

    def fields(
        self, table: Mapping[str, Any], kind: type[msgspec.Struct], path: KeyPath
    ) -> dict[str, Any]:
        """Return the fields of a ``kind`` that ``table`` sets.

        A value with a mistake is reported and becomes ``WRONG``.
        """
        computed = getattr(kind, "FROM_FILES", ())
        known = {
            field.encode_name: field for field in fields_of(kind) if field.name not in computed
        }
        values = {}
        for key, value in table.items():
            if key in known:
                values[known[key].name] = self._value(value, known[key].type, (*path, key))
            else:
                # The value of an unknown key is not repeated: it may be a secret under another name.
                refused = self._refused.get(key.lower().replace("-", "_"))
                self.report((*path, key), refused or f"unknown key{nearest(key, known)}")
        return values

    def build(self, values: Mapping[str, Any], kind: type[msgspec.Struct], path: KeyPath) -> Any:
        """Return a ``kind`` of ``values``, or ``WRONG`` after reporting what is wrong.

        That is a missing value, or values that contradict each other.
        """
        missing = [
            field for field in fields_of(kind) if field.required and field.name not in values
        ]
        for field in missing:
            self.report((*path, field.encode_name), f"missing; expected {expected(field.type)}")
        if missing or WRONG in values.values():
            return WRONG
        try:
            return kind(**values)
        except ValueError as error:
            self._report_contradiction(str(error), kind, path)
            return WRONG

    def _value(self, value: Any, kind: Any, path: KeyPath) -> Any:
        """Return ``value`` as a ``kind``, or ``WRONG`` after reporting its mistakes."""
        shape = shape_of(kind)
        if isinstance(shape, inspect.StructType):
            return self.struct(value, shape.cls, path)
        if not isinstance(shape, inspect.CollectionType | inspect.DictType):
            return self._single(value, kind, path)
        is_table = isinstance(shape, inspect.DictType)
        is_valid = isinstance(value, dict if is_table else list) and (
            (shape.min_length or 0) <= len(value) <= (shape.max_length or sys.maxsize)
        )
        if not is_valid:
            return self._mismatch(value, kind, path)
        collection = _without_bounds(kind)
        if is_table:
            key_kind, entry_kind = get_args(collection)
            table = {
                self._single(key, key_kind, (*path, key)): self._value(
                    entry, entry_kind, (*path, key)
                )
                for key, entry in value.items()
            }
            return WRONG if WRONG in (*table, *table.values()) else table
        item_kind = get_args(collection)[0]
        items = [self._value(item, item_kind, (*path, i)) for i, item in enumerate(value)]
        return WRONG if WRONG in items else get_origin(collection)(items)

    def _single(self, value: Any, kind: Any, path: KeyPath) -> Any:
        try:
            return convert(value, kind)
        except (ValueError, ArithmeticError):
            return self._mismatch(value, kind, path)

    def _mismatch(self, value: Any, kind: Any, path: KeyPath) -> Any:
        # Other choices are not listed here: ``expected`` names them, and time zones are too many.
        hint = _did_you_mean(value, names_of(kind)) if isinstance(value, str) else ""
        self.report(path, f"expected {expected(kind)}, got {shown(value)}{hint}")
        return WRONG

    def _report_contradiction(
        self, sentence: str, kind: type[msgspec.Struct], path: KeyPath
    ) -> None:
        """Report the contradiction that a struct's ``__post_init__`` has found.

        The sentence may begin with ``name: ``, a field's or the struct's own; then the message points
        there.
        """
        field, colon, rest = sentence.partition(": ")
        if colon and field in kind.__struct_fields__:
            self.report((*path, field), rest)
        elif colon and field in path[-1:]:
            self.report(path, rest)
        else:
            self.report(path, sentence)

    def _line(self, path: KeyPath) -> int:
        """Return the line of ``path`` or of the innermost table around it, or 0.

        0 means that neither line is known.
        """
        ends = range(len(path), 0, -1)
        return next((self._lines[path[:end]] for end in ends if path[:end] in self._lines), 0)


def _without_bounds(kind: Any) -> Any:
    """Return the ``tuple[...]`` or ``dict[...]`` in an annotated or optional one."""
    while get_origin(kind) in (Annotated, Union, types.UnionType):
        kind = next(
            each for each in get_args(kind) if each not in (types.NoneType, msgspec.UnsetType)
        )
    return kind


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the lines, from 1, on which tables and keys begin.

    ``tomllib`` does not report lines, so this recognizes them by regular expressions.  It misses keys of
    inline tables, and takes a line of a multi-line text for a key if it looks like one; both only make
    a message point to a line nearby.
    """
    lines: dict[KeyPath, int] = {}
    lengths: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            table = _table_path(header[2], lengths, is_item=header[1] == "[[")
            # The first line counts: TOML refuses a second one, or it is part of a text.
            lines.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            lines.setdefault((*table, *_split(assignment[1])), number)
    return lines


def _table_path(dotted: str, lengths: dict[KeyPath, int], *, is_item: bool) -> KeyPath:
    """Return the path of a table whose header is ``dotted``.

    :param lengths: the number of tables in each list so far; a new item is counted.
    :param is_item: whether the header begins a new item of a list of tables, ``[[...]]``.
    """
    path: KeyPath = ()
    *parents, name = _split(dotted)
    for parent in parents:
        path = (*path, parent)
        # A parent that is a list of tables means its last item.
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
            # An odd key is quoted, so that a message stays one short line.
            is_plain = re.fullmatch("[A-Za-z0-9_-]{1,60}", part)
            text += ("." if text else "") + (part if is_plain else shown(part))
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message on an unknown ``name``: the nearest name, or all."""
    names = list(known)
    return _did_you_mean(name, names) or f"; known are {', '.join(names) or 'none'}"


_OFTEN_MEANT: Final = {"topstepx": "projectx", "topstep": "projectx", **ZONES_MEANT}
"""What is meant by names that are no choice, or look more like another one, in small letters."""


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    names = list(known)
    meant = _OFTEN_MEANT.get(name.casefold())
    near = [meant] if meant in names else difflib.get_close_matches(name, names, 1)
    return f"; did you mean {near[0]}?" if near else ""
