"""The least or the most that a figure has been in the last seconds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from decimal import Decimal
from operator import ge, itemgetter, le
from typing import Final, Generic, TypeVar

_until: Final = itemgetter(0)
_Figure = TypeVar("_Figure", int, Decimal)


class Extreme(Generic[_Figure]):
    """The most, or the least, that a figure has been; each lasts until the next.

    :param is_most: whether the most; otherwise the least.
    :param seconds: how far back anybody asks.
    """

    def __init__(self, figure: _Figure, seconds: float, *, is_most: bool) -> None:
        self._now = figure
        self._seconds = seconds
        # What is no further out than a later figure is never asked for, so the rest are in order.
        self._is_beyond: Callable[[_Figure, _Figure], bool] = ge if is_most else le
        # The former figures, each with when it was there last.
        self._formers: list[tuple[float, _Figure]] = []

    def note(self, at: float, figure: _Figure) -> None:
        """Note what the figure is from now on."""
        if figure == self._now:
            return
        formers = self._formers
        while formers and self._is_beyond(self._now, formers[-1][1]):
            formers.pop()
        formers.append((at, self._now))
        del formers[: bisect_left(formers, at - self._seconds, key=_until)]
        self._now = figure

    def since(self, oldest: float) -> _Figure:
        """Return the extreme of all figures that were there at some moment since ``oldest``."""
        formers = self._formers
        if not formers or formers[-1][0] < oldest:
            return self._now
        former = formers[bisect_left(formers, oldest, key=_until)][1]
        return self._now if self._is_beyond(self._now, former) else former
