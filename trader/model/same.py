"""A value as the key of a cache, by what it is and not by what it says."""

from __future__ import annotations

from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class Same(Generic[_Value]):
    """A value that equals no other object, not even one with the same content.

    To hash the trades of a day takes longer than to add them up.  States are replaced and never changed, so one that
    is the very same has the same trades.  The key holds its value, so that no other one takes its place in memory.
    """

    __slots__ = ("value",)

    def __init__(self, value: _Value) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)
