"""A terminal that rewrites only the cells that changed.

urwid compares and writes whole rows.  A quote changes a few digits of a row many times a second, and
over a slow connection each cell counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Final

import urwid

from trader.ui.canvas import Row, StyledCanvas

_MERGED_CELLS: Final = 6
"""So many unchanged cells are written again, because moving the cursor past them takes more bytes."""

_CACHED_RUNS: Final = 512

_Cell = tuple[str | None, str]


class Terminal(urwid.display.raw.Screen):
    """urwid's terminal, with drawing by cell."""

    _shown: Sequence[Row] = ()
    _shown_size = (0, 0)

    def draw_screen(self, size: tuple[int, int], canvas: urwid.Canvas) -> None:
        """Show a canvas; write only the cells that changed since the last one."""
        if not isinstance(canvas, StyledCanvas):
            super().draw_screen(size, canvas)
            return
        # urwid empties its buffer when everything must be drawn: at first, after a resize, after clear().
        # Writing the last cell makes some terminals scroll; urwid knows how to avoid it.
        is_complete = self.screen_buf and size == self._shown_size
        if is_complete and self._shown[-1] == canvas.lines[-1]:
            self._write_changes(canvas)
        else:
            self.clear()
            super().draw_screen(size, canvas)
        self._shown, self._shown_size = canvas.lines, size

    def _write_changes(self, canvas: StyledCanvas) -> None:
        for number, (old, new) in enumerate(zip(self._shown, canvas.lines, strict=True)):
            if old is new or old == new:
                continue
            before, after = _cells(old), _cells(new)
            # Where letters and cells are not the same, the whole row is written.
            is_simple = all(_is_single_width(text) for _, _, text in (*old, *new))
            for begin, end in changed_spans(before, after) if is_simple else [(0, len(after))]:
                self.write(self._sequence(number, begin, after[begin:end]))
        self.flush()

    def _sequence(self, row: int, column: int, cells: Sequence[_Cell]) -> str:
        """Return the control sequences and text that write ``cells`` at a place."""
        parts = [f"\x1b[{row + 1};{column + 1}H"]
        for style, run in groupby(cells, key=lambda cell: cell[0]):
            parts.append(self._attr_to_escape(style))
            parts += [letter for _, letter in run]
        return "".join(parts)


def changed_spans(before: Sequence[object], after: Sequence[object]) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each span in which two sequences of one length differ."""
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


def _cells(row: Row) -> list[_Cell]:
    return [(style, letter) for style, _, text in row for letter in text.decode()]


@lru_cache(maxsize=_CACHED_RUNS)
def _is_single_width(text: bytes) -> bool:
    """Return whether each letter of a run fills exactly one cell."""
    return text.isascii() or all(urwid.calc_width(letter, 0, 1) == 1 for letter in text.decode())
