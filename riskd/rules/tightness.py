"""Which of two values of a key is the tighter one.

A key of a rule's settings declares it in its type: ``loss_limit: Lower[Decimal]``.  Of a key without such a
declaration any change counts as looser.  Settings whose every key is at least as tight as in others must be
breached by whatever breaches the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

_T = TypeVar("_T")

Order = Callable[[Any, Any, str], bool]
"""Takes new and old settings and a key; returns whether the new ones are at least as tight by it."""


def tighter_by(order: Order, words: str = "or what is tighter") -> msgspec.Meta:
    """Return the declaration of a key that is compared by a function.

    The function may compare whole settings, where what a key means depends on others.

    :param words: what may stand there instead of a value, for a sentence.
    """
    return msgspec.Meta(extra={"tighter": (order, words)})


def tightest_last(*values: object) -> msgspec.Meta:
    """Return the declaration of a key that has one of some values, the loosest first."""

    def is_as_tight(new: Any, old: Any, key: str) -> bool:
        return values.index(getattr(new, key)) >= values.index(getattr(old, key))

    # Of a switch there is no other value.
    return tighter_by(is_as_tight, "" if values[0] in (False, True) else "or what is tighter")


def _is_at_most(new: Any, old: Any, key: str) -> bool:
    now, was = getattr(new, key), getattr(old, key)
    # None is no limit.
    return was is None or (
        now is not None and msgspec.UNSET not in (now, was) and bool(now <= was)
    )


def _is_at_least(new: Any, old: Any, key: str) -> bool:
    now, was = getattr(new, key), getattr(old, key)
    return now == was or (not {None, msgspec.UNSET} & {now, was} and bool(now >= was))


def _is_same(new: Any, old: Any, key: str) -> bool:
    return bool(getattr(new, key) == getattr(old, key))


def _is_table_as_tight(new: Any, old: Any, key: str) -> bool:
    now, was = getattr(new, key), getattr(old, key)
    return was is None or (now is not None and not any(loosened(now, was)))


Lower = Annotated[_T, tighter_by(_is_at_most, "or less")]
"""A key whose lower value is the tighter one; ``None`` is no limit."""

Higher = Annotated[_T, tighter_by(_is_at_least, "or more")]
"""A key whose higher value is the tighter one."""

WhenTrue = Annotated[_T, tightest_last(False, True)]
"""A key that is tighter when it is true."""

WhenFalse = Annotated[_T, tightest_last(True, False)]
"""A key that is tighter when it is false."""

WhenSet = Annotated[_T, tighter_by(_is_table_as_tight)]
"""A table of limits, without which there are none; its keys declare their own directions."""

Fixed = Annotated[_T, tighter_by(_is_same, "")]
"""A key that has no direction: any change loosens."""

_UNDECLARED: Final = (_is_same, "")


class Loosened(NamedTuple):
    """A key whose new value is looser than the old one.

    :ivar path: the key; within a table, after the table's.
    :ivar words: what may stand there instead of the old value.
    """

    path: tuple[str, ...]
    new: Any
    old: Any
    words: str


def declaration(kind: Any) -> tuple[Order, str] | None:
    """Return the order and the words that the type of a key declares, if any."""
    match inspect.type_info(kind):
        case inspect.Metadata(extra={"tighter": (order, words)}):
            return order, words
    return None


def loosened(new: Any, old: Any, *, with_files: bool = False) -> Iterator[Loosened]:
    """Yield the keys by which settings are looser than others of the same rule.

    A table within them is compared key by key, unless it declares an order itself.

    :param with_files: whether what files contain is compared, too, where it declares an order.
    """
    for field in msgspec.structs.fields(old):
        name = field.name
        now, was = getattr(new, name), getattr(old, name)
        declared = declaration(field.type)
        is_of_file = name in getattr(old, "FROM_FILES", ())
        if now == was or (is_of_file and (declared is None or not with_files)):
            continue
        if declared is None and isinstance(was, msgspec.Struct) and type(now) is type(was):
            for inner in loosened(now, was):
                yield inner._replace(path=(field.encode_name, *inner.path))
            continue
        is_as_tight, words = declared or _UNDECLARED
        if not is_as_tight(new, old, name):
            yield Loosened((field.encode_name,), now, was, "" if was is None else words)
