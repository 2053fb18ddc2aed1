"""Painting lines of styled text on a canvas, each exactly as wide as the screen."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import urwid

from trader.widgets.markup import Markup


def paint(
    lines: list[Markup], columns: int, rows: int, letters: Callable[[str], str]
) -> urwid.TextCanvas:
    """Return a picture of ``lines``, cut and filled to the size.

    :param letters: makes text that a terminal may be sent: reasons and messages come from elsewhere, and
        this is the one way to the terminal.
    """
    texts, styles = [], []
    for line in (lines + [[] for _ in range(rows)])[:rows]:
        text, runs = _row(line, columns, letters)
        texts.append(text)
        styles.append(runs)
    return urwid.TextCanvas(texts, styles, maxcol=columns, check_width=False)


def _row(
    line: Markup, columns: int, letters: Callable[[str], str]
) -> tuple[bytes, list[tuple[Hashable, int]]]:
    """Return a row's bytes, and its styles with the number of bytes that each has."""
    text, runs, room = b"", list[tuple[Hashable, int]](), columns
    for part in line:
        style, words = (None, part) if isinstance(part, str) else part
        shown, width = _cut(letters(words), room)
        encoded = shown.encode()
        text += encoded
        runs.append((style, len(encoded)))
        room -= width
    runs.append((None, room))
    return text + b" " * room, [run for run in runs if run[1]]


def _cut(text: str, room: int) -> tuple[str, int]:
    """Return as much of ``text`` as fits, and its width; letters may be wide, or of no width."""
    if text.isascii():
        cut = text[:room]
        return cut, len(cut)
    end, width = urwid.calc_text_pos(text, 0, len(text), room)
    return text[:end], width
