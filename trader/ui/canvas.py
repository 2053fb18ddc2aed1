"""The urwid canvas of a whole screen, painted from lines of styled text.

Most lines are the same from one draw to the next, so painted lines are cached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import urwid

from trader.ui.styled_text import StyledLine

Row = list[tuple[str | None, None, bytes]]
"""Style, character set and text of each run of characters, as urwid reads them from a canvas."""

_CACHED_LINES: Final = 512


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


@lru_cache(maxsize=_CACHED_LINES)
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
