"""The day's P&L as a curve of characters, with zero and the nearest limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final

from riskd.model.formatting import dollars
from trader.model.day_trades import DayTrade
from trader.model.formatting import money
from trader.model.limit_usage import LossLevel, nearest_loss_level
from trader.model.same import Same
from trader.model.view import View, is_current
from trader.ui.styled_text import StyledLine, text_of

_LABEL: Final = 15
"""Columns for the figures at the left."""

_MIN_HEIGHT: Final = 4

_FAR: Final = 4
"""A limit that is further below the curve than this many times its height would make it a flat line."""


def pnl_curve(view: View, trades: Sequence[DayTrade], width: int, height: int) -> list[StyledLine]:
    """Return the day's P&L after each trade as a curve; empty without room."""
    curve = _known_curve(Same(trades), nearest_loss_level(view.account), width, height)
    if is_current(view):
        return list(curve)
    return [[("dim", text_of(line))] for line in curve]


# The curve changes with each trade, the screen several times a second.
@lru_cache(maxsize=8)
def _known_curve(
    trades: Same[Sequence[DayTrade]], limit: LossLevel | None, width: int, height: int
) -> tuple[StyledLine, ...]:
    return draw_curve([one.total for one in trades.value], limit, width, height)


def draw_curve(
    totals: Sequence[Decimal], limit: LossLevel | None, width: int, height: int
) -> tuple[StyledLine, ...]:
    """Return running totals as a curve.

    :param totals: dollars, oldest first; the curve begins at zero.
    :param limit: the nearest limit or floor; ``None`` without one.
    """
    if height < _MIN_HEIGHT or width <= _LABEL + 2:
        return ()
    if not totals:
        return ([("dim", "No trade yet")],)
    values = [Decimal(0), *totals]
    span = max(values) - min(values)
    if limit is not None and limit.pnl < min(values) - _FAR * span:
        return (*_draw(values, None, width, height - 1), _far_limit(limit, width))
    return tuple(_draw(values, limit, width, height))


def _far_limit(limit: LossLevel, width: int) -> StyledLine:
    """Return the line below a curve whose limit is not drawn to scale."""
    amount, room = f"{limit.word} {dollars(limit.pnl)}", width - _LABEL
    labels = (f" {amount} is below ", amount, dollars(limit.pnl))
    label = next((each for each in labels if len(each) <= room), "")
    return [("loss", f"{'↓':>{_LABEL - 1}} {label:-^{room}}")]


def _draw(
    values: Sequence[Decimal], limit: LossLevel | None, width: int, height: int
) -> list[StyledLine]:
    """Return the curve and its levels, scaled to the height.

    :param limit: what to draw beside the curve; ``None`` for nothing.
    """
    columns = width - _LABEL
    # A limit that follows the day's high may be above all that is left.
    seen = values if limit is None else [*values, limit.pnl]
    top, bottom = max(seen), min(seen)
    span = (top - bottom) or Decimal(1)

    def row_of(amount: Decimal) -> int:
        return round((top - amount) / span * (height - 1))

    canvas = _Canvas(columns, height)
    labels = [("dim", "")] * height
    levels = [(Decimal(0), "·", "dim", "$0.00")]
    if limit is not None:
        levels.append(
            (
                limit.pnl,
                "-",
                "loss",
                f"{limit.word} {dollars(limit.pnl.quantize(Decimal(1)))[:-3]}",
            )
        )
    for amount, symbol, style, label in levels:
        canvas.blanks[row_of(amount)] = (style, symbol)
        labels[row_of(amount)] = (style, label)
    row, shown = row_of(values[0]), -1
    for column in range(columns):
        before, index = row, column * len(values) // columns
        if index != shown:
            shown, row = index, row_of(values[index])
        style = "loss" if values[index] < 0 else "gain"
        for number, symbol in _step(before, row):
            canvas.fill(number, column, style, symbol)
    # The total stands where the curve ends, unless the limit is on that line: its label says more.
    if labels[row][0] != "loss":
        labels[row] = ("strong", money(values[-1]))
    return [
        [(style, f"{label:>{_LABEL - 1}} "), *line]
        for (style, label), line in zip(labels, canvas.lines(), strict=True)
    ]


class _Canvas:
    """Lines that are filled from the left; neighbors of one style are one piece.

    The curve fills few of the cells, and to join all of them takes twice as long as this.

    :ivar blanks: of each line, style and symbol of the cells that nothing fills.
    """

    def __init__(self, columns: int, height: int) -> None:
        self.blanks = [("text", " ")] * height
        self._columns = columns
        self._lines = [StyledLine() for _ in range(height)]
        self._ends = [0] * height

    def fill(self, number: int, column: int, style: str, symbol: str) -> None:
        """Fill a cell that is to the right of all that are filled in its line."""
        self._fill_blanks(number, column)
        _add(self._lines[number], style, symbol)
        self._ends[number] = column + 1

    def lines(self) -> list[StyledLine]:
        """Complete the lines and return them; call it once."""
        for number in range(len(self._lines)):
            self._fill_blanks(number, self._columns)
        return self._lines

    def _fill_blanks(self, number: int, column: int) -> None:
        """Fill the cells before a column with blanks."""
        left = column - self._ends[number]
        if left:
            style, symbol = self.blanks[number]
            _add(self._lines[number], style, symbol * left)


def _add(line: StyledLine, style: str, text: str) -> None:
    """Add a text to a line, to its last piece if that has the same style."""
    if line and line[-1][0] == style:
        line[-1] = (style, line[-1][1] + text)
    else:
        line.append((style, text))


def _step(begin: int, end: int) -> Iterator[tuple[int, str]]:
    """Yield row and symbol of each cell in a column of the curve.

    :param begin: the row from which the curve comes.
    :param end: the row to which it goes.
    """
    if begin == end:
        yield begin, "─"
        return
    is_up = end < begin
    yield begin, "╯" if is_up else "╮"
    for between in range(min(begin, end) + 1, max(begin, end)):
        yield between, "│"
    yield end, "╭" if is_up else "╰"
