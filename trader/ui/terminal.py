"""The terminal, of which only the cells are written again that have changed."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Final

import urwid

from trader.ui.canvas import Row, StyledCanvas

_MERGED_CELLS: Final = 6
"""Cells that did not change between two that did are written, too, where moving the cursor costs more."""

_KNOWN_RUNS: Final = 512

_Cell = tuple[Hashable, str]


class Terminal(urwid.display.raw.Screen):
    """urwid's terminal, which writes whole rows, made to write cells."""

    _shown: Sequence[Row] = ()
    _shown_size = (0, 0)

    def draw_screen(self, size: tuple[int, int], canvas: urwid.Canvas) -> None:
        """Show a canvas; what is shown already is not written again."""
        if not isinstance(canvas, StyledCanvas):
            super().draw_screen(size, canvas)
            return
        # urwid forgets its buffer when all must be drawn: at first, after a resize, after clear().
        if self.screen_buf and size == self._shown_size and not self._changes_last_cell(canvas):
            self._write_changes(canvas)
        else:
            self.clear()
            super().draw_screen(size, canvas)
        self._shown, self._shown_size = canvas.lines, size

    def _changes_last_cell(self, picture: StyledCanvas) -> bool:
        """Tell whether the cell changes behind which some terminals scroll; urwid knows how to write it."""
        return self._shown[-1] != picture.lines[-1]

    def _write_changes(self, picture: StyledCanvas) -> None:
        changes = [
            change
            for number, (old, new) in enumerate(zip(self._shown, picture.lines, strict=True))
            if old is not new and old != new
            for change in self._changes_of_row(number, old, new)
        ]
        if changes:
            self.write("".join(changes))
            self.flush()

    def _changes_of_row(self, number: int, old: Row, new: Row) -> Iterator[str]:
        if not (_has_single_width(old) and _has_single_width(new)):
            yield self._written(number, 0, _letters(new))
            return
        first, end = _equal_runs(old, new), -_equal_runs(old[::-1], new[::-1]) or None
        column = sum(len(text.decode()) for _, _, text in new[:first])
        before, after = _letters(old[first:end]), _letters(new[first:end])
        for begin, behind in changed_spans(before, after):
            yield self._written(number, column + begin, after[begin:behind])

    def _written(self, row: int, column: int, cells: Sequence[_Cell]) -> str:
        parts = [f"\x1b[{row + 1};{column + 1}H"]
        for style, run in groupby(cells, key=lambda cell: cell[0]):
            parts.append(self._attr_to_escape(style))
            parts += [letter for _, letter in run]
        return "".join(parts)


def changed_spans(before: Sequence[object], after: Sequence[object]) -> Iterator[tuple[int, int]]:
    """Yield where ``after`` differs from ``before``, which is as long, as begin and end of each span."""
    begin = end = -1
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        if old == new:
            continue
        if begin >= 0 and place - end > _MERGED_CELLS:
            yield begin, end
            begin = -1
        if begin < 0:
            begin = place
        end = place + 1
    if begin >= 0:
        yield begin, end


def _equal_runs(old: Row, new: Row) -> int:
    """Return how many runs two rows begin with in common."""
    count = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        count += 1
    return count


def _letters(row: Row) -> list[_Cell]:
    return [(style, letter) for style, _, text in row for letter in text.decode()]


def _has_single_width(row: Row) -> bool:
    """Tell whether cells and letters are the same; where a letter is wide or has no width they are not."""
    return all(_is_single_width(text) for _, _, text in row)


@lru_cache(maxsize=_KNOWN_RUNS)
def _is_single_width(text: bytes) -> bool:
    return text.isascii() or all(urwid.calc_width(letter, 0, 1) == 1 for letter in text.decode())
