"""Lines of styled text, painted on an urwid canvas and written to the terminal.

Most lines are the same from one draw to the next, so painted lines are cached.  The terminal rewrites only the
cells that changed: urwid compares and writes whole rows.  A quote changes a few digits of a row many times a
second, and over a slow connection each cell counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby, takewhile
from typing import Any, Final

import urwid

from trader.ui.styled_text import StyledLine

Row = list[tuple[str | None, None, bytes]]
"""Style, character set and text of each run of characters, as urwid reads them from a canvas."""

_Cell = tuple[str | None, str]

_MERGED_CELLS: Final = 6
"""So many unchanged cells are written again, because moving the cursor past them takes more bytes."""

_CACHED: Final = 512
"""Lines that are kept painted, and runs whose width is kept."""


class StyledCanvas(urwid.Canvas):
    """Rows of styled text that fill the screen.

    :ivar lines: the rows; a row that did not change since the last canvas is the very same list.
    """

    def __init__(self, lines: Sequence[Row], columns: int) -> None:
        super().__init__()
        self.lines = tuple(lines)
        self._columns = columns

    @property
    def text(self) -> list[bytes]:
        """The rows without their styles."""
        return [b"".join([text for _, _, text in row]) for row in self.lines]

    def cols(self) -> int:
        """Return the width in columns."""
        return self._columns

    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.lines)

    def content(self, *_arguments: Any, **_keywords: Any) -> Iterable[Row]:  # type: ignore[override]
        """Return all rows.

        urwid asks for a part of them only where a canvas is inside another one.
        """
        return self.lines


def paint(
    lines: list[StyledLine], columns: int, rows: int, sanitize: Callable[[str], str]
) -> StyledCanvas:
    """Return a canvas of ``lines``, cut and padded to ``columns`` and ``rows``.

    :param sanitize: replaces the characters that must not reach the terminal.  Reasons and messages
        come from elsewhere; every text passes here on its way to the terminal.
    """
    filled = (lines + [[] for _ in range(rows)])[:rows]
    return StyledCanvas([_paint_line(tuple(line), columns, sanitize) for line in filled], columns)


@lru_cache(maxsize=_CACHED)
def _paint_line(
    line: tuple[tuple[str | None, str], ...], columns: int, sanitize: Callable[[str], str]
) -> Row:
    runs, room = Row(), columns
    for style, text in (*line, (None, " " * columns)):
        shown = sanitize(text)
        width = urwid.calc_width(shown, 0, len(shown))
        if width > room:
            # Letters are 0, 1 or 2 columns wide.
            end, width = urwid.calc_text_pos(shown, 0, len(shown), room)
            shown = shown[:end]
        room -= width
        content = shown.encode()
        # urwid writes a style before each run: neighbors of one style become one run.
        if runs and runs[-1][0] == style:
            content = runs.pop()[2] + content
        if content:
            runs.append((style, None, content))
    return runs


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
            # Where letters and cells are not the same, the whole row is written.
            if not all(_is_single_width(text) for _, _, text in (*old, *new)):
                self.write(self._sequence(number, 0, _cells(new)))
                continue
            # Most runs are equal.  To compare them whole costs a tenth of comparing their cells.
            first, last = _equal_runs(old, new), -_equal_runs(old[::-1], new[::-1]) or None
            column = sum(len(text.decode()) for _, _, text in new[:first])
            before, after = _cells(old[first:last]), _cells(new[first:last])
            for begin, end in changed_spans(before, after):
                self.write(self._sequence(number, column + begin, after[begin:end]))
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


def _equal_runs(old: Row, new: Row) -> int:
    """Return how many runs two rows begin with in common."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))))


def _cells(row: Row) -> list[_Cell]:
    return [(style, letter) for style, _, text in row for letter in text.decode()]


@lru_cache(maxsize=_CACHED)
def _is_single_width(text: bytes) -> bool:
    """Return whether each letter of a run fills exactly one cell."""
    return text.isascii() or all(urwid.calc_width(letter, 0, 1) == 1 for letter in text.decode())
