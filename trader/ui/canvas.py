"""Painting lines of styled text, each exactly as wide as the screen.

Most lines are what they were a moment ago; they are painted once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import urwid

from trader.ui.styled_text import Markup

Row = list[tuple[Hashable, None, bytes]]
"""Runs of characters with their styles, as urwid takes them from a canvas."""

_PAINTED_LINES: Final = 512
_DRAWN_PARTS: Final = 2048


class StyledCanvas(urwid.Canvas):
    """Rows of styled text that fill a screen.

    :ivar lines: the rows; a row that did not change since the last picture is the very same list.
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

    def content(self, *_arguments: Any, **_choices: Any) -> Iterable[Row]:  # type: ignore[override]
        """Return the rows; a picture is never a part of another canvas, so that none is cut."""
        return self.lines


def paint(
    lines: list[Markup], columns: int, rows: int, letters: Callable[[str], str]
) -> StyledCanvas:
    """Return a picture of ``lines``, cut and filled to the size.

    :param letters: makes text that a terminal may be sent: reasons and messages come from elsewhere, and
        this is the one way to the terminal.
    """
    filled = (lines + [[] for _ in range(rows)])[:rows]
    return StyledCanvas([_row(tuple(line), columns, letters) for line in filled], columns)


@lru_cache(maxsize=_PAINTED_LINES)
def _row(
    line: tuple[tuple[Hashable, str] | str, ...], columns: int, letters: Callable[[str], str]
) -> Row:
    runs, room = Row(), columns
    for part in (*line, " " * columns):
        style, words = (None, part) if isinstance(part, str) else part
        text, width = _drawn(words, letters)
        if width > room:
            text, width = _cut(letters(words), room)
        room -= width
        if runs and runs[-1][0] == style:
            text = runs.pop()[2] + text
        if text:
            runs.append((style, None, text))
    return runs


@lru_cache(maxsize=_DRAWN_PARTS)
def _drawn(words: str, letters: Callable[[str], str]) -> tuple[bytes, int]:
    """Return a part as it is drawn, and its width."""
    text = letters(words)
    return text.encode(), urwid.calc_width(text, 0, len(text))


def _cut(text: str, room: int) -> tuple[bytes, int]:
    """Return as much of ``text`` as fits, and its width; letters may be wide, or of no width."""
    end, width = urwid.calc_text_pos(text, 0, len(text), room)
    return text[:end].encode(), width
