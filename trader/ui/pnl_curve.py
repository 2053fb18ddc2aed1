"""The day's P&L as a curve of characters, with zero and the loss limit drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from typing import Final

from trader.model.formatting import money
from trader.ui.styled_text import Markup

_LABEL: Final = 12
"""Columns for the figures at the left."""

_MIN_HEIGHT: Final = 4

_FAR: Final = 4
"""A limit that is further below than so many times the height of the curve is not drawn to scale."""


@lru_cache(maxsize=8)
def curve(
    totals: tuple[Decimal, ...], limit: Decimal | None, width: int, height: int
) -> tuple[Markup, ...]:
    """Return the running total after each trade, from zero, in ``height`` lines.

    :param totals: dollars, oldest first.
    :param limit: the dollars that may be lost; ``None`` where there is no limit.
    """
    if height < _MIN_HEIGHT or width <= _LABEL + 2:
        return ()
    if not totals:
        return ([("dim", "No trade yet")],)
    values = [Decimal(0), *totals]
    top, bottom = max(values), min(values)
    if limit is None or -limit < bottom - _FAR * (top - bottom):
        far = [] if limit is None else [_far_limit(limit, width)]
        return (*_drawn(values, None, top, bottom, width, height - len(far)), *far)
    return tuple(_drawn(values, -limit, top, min(bottom, -limit), width, height))


def _far_limit(limit: Decimal, width: int) -> Markup:
    """Return what stands below a curve that would be flat if the limit were in the same picture."""
    told = f" limit {-limit:,.2f} is below "
    return [("loss", f"{'↓':>{_LABEL - 1}} {told:-^{width - _LABEL}}")]


def _drawn(
    values: Sequence[Decimal],
    floor: Decimal | None,
    top: Decimal,
    bottom: Decimal,
    width: int,
    height: int,
) -> list[Markup]:
    picture = _Picture(top, bottom, width - _LABEL, height)
    picture.level(Decimal(0), "·", "dim", "0.00")
    if floor is not None:
        picture.level(floor, "-", "loss", f"limit {floor:,.0f}")
    picture.draw(values)
    return picture.lines(money(values[-1]))


class _Picture:
    """A field of characters, each with a style, between two amounts."""

    def __init__(self, top: Decimal, bottom: Decimal, columns: int, rows: int) -> None:
        self._top = top
        self._span = (top - bottom) or Decimal(1)
        self._columns = columns
        self._cells = [[("text", " ")] * columns for _ in range(rows)]
        self._labels = [("dim", "")] * rows
        self._last = 0

    def level(self, amount: Decimal, sign: str, style: str, label: str) -> None:
        """Draw a line across at ``amount``."""
        at = self._row(amount)
        self._cells[at] = [(style, sign)] * self._columns
        self._labels[at] = (style, label)

    def draw(self, values: Sequence[Decimal]) -> None:
        """Draw the curve, a step at each value."""
        last = self._row(values[0])
        for column in range(self._columns):
            value = values[column * len(values) // self._columns]
            style = "loss" if value < 0 else "gain"
            at = self._row(value)
            if at == last:
                self._cells[at][column] = (style, "─")
            else:
                self._step(column, last, at, style)
            last = at
        self._last = last

    def _step(self, column: int, begin: int, end: int, style: str) -> None:
        is_up = end < begin
        for between in range(min(begin, end) + 1, max(begin, end)):
            self._cells[between][column] = (style, "│")
        self._cells[begin][column] = (style, "╯" if is_up else "╮")
        self._cells[end][column] = (style, "╭" if is_up else "╰")

    def lines(self, last: str) -> list[Markup]:
        """Return the picture, with figures at its left; ``last`` stands where the curve ends."""
        _, label = self._labels[self._last]
        if not label.startswith("limit"):
            self._labels[self._last] = ("strong", last)
        return [
            [(style, f"{label:>{_LABEL - 1}} "), *_runs(cells)]
            for (style, label), cells in zip(self._labels, self._cells, strict=True)
        ]

    def _row(self, amount: Decimal) -> int:
        share = (self._top - amount) / self._span
        return round(share * (len(self._cells) - 1))


def _runs(cells: Sequence[tuple[str, str]]) -> Markup:
    return [
        (style, "".join(sign for _, sign in run))
        for style, run in groupby(cells, key=lambda cell: cell[0])
    ]
