"""Lines of styled text: titles, table rows, wrapped sentences, and lines beside each other."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Final

from trader.model.characters import printable

Markup = list[tuple[Hashable, str] | str]
"""One line of text in styles, as urwid takes it."""

_GAP: Final = "  "


def signed_style(amount: Decimal) -> str:
    """Return the style of a gain or a loss."""
    return "loss" if amount < 0 else "gain" if amount > 0 else "text"


def row(cells: Sequence[tuple[str, str, int]]) -> Markup:
    """Return a table row of ``(style, text, width)``; a width below zero aligns to the right."""
    line: Markup = []
    for style, text, width in cells:
        size = abs(width)
        cut = text if len(text) <= size else text[: size - 1] + "…"
        line.append((style, cut.rjust(size) if width < 0 else cut.ljust(size)))
        line.append(" ")
    return line


def title(head: str, width: int, aside: str = "") -> Markup:
    """Return the title of a panel, a rule to the edge, and ``aside`` at its end if there is room."""
    end = f" {aside}" if aside and len(head) + len(aside) + 4 <= width else ""
    rule = max(0, width - len(head) - len(end) - 1)
    line: Markup = [("title", head), ("dim", f" {'─' * rule}{end}")]
    return line


def wrapped(style: str, text: str, width: int, most: int = 2) -> list[Markup]:
    """Return ``text`` in full-width lines, ``most`` of them at the most; none for no text."""
    lines = textwrap.wrap(printable(text), max(1, width - 2), max_lines=most, placeholder="…")
    return [[(style, f" {line} ".ljust(width))] for line in lines]


def spread(left: Markup, right: Markup, width: int) -> Markup:
    """Return a line with ``left`` and ``right`` at its ends."""
    gap = max(1, width - length(left) - length(right))
    return [*left, " " * gap, *right]


def beside(left: list[Markup], right: list[Markup], left_width: int) -> list[Markup]:
    """Return two blocks of lines next to each other, the left one exactly so many columns wide."""
    empty: Markup = []
    return [
        [*clipped(fitted(one, left_width), left_width), _GAP, *other]
        for one, other in zip_longest(left, right, fillvalue=empty)
    ]


def clipped(line: Markup, width: int) -> Markup:
    """Return a line of exactly ``width`` characters."""
    room, found = width, Markup()
    for part in line:
        text = part if isinstance(part, str) else part[1]
        if len(text) > room:
            cut = text[:room]
            found.append(cut if isinstance(part, str) else (part[0], cut))
            return found
        found.append(part)
        room -= len(text)
    if room:
        found.append(" " * room)
    return found


def fitted(line: Markup, width: int) -> Markup:
    """Return a line of ``width`` characters at the most; an ellipsis stands for what had to go.

    It goes by words: a figure that is cut is a wrong one.
    """
    # Columns are filled up with blanks, which nobody misses.
    whole = written(line)
    if len(whole) <= width or len(whole.rstrip()) <= width:
        return line
    room, found = width - 1, Markup()
    for part in line:
        style, text = (None, part) if isinstance(part, str) else part
        shown = text if len(text) <= room else f"{_whole_words(text, room)}…"
        found.append((style, shown))
        room -= len(text)
        if room < 0:
            break
    return found


def _whole_words(text: str, width: int) -> str:
    """Return what of a text fits, without the word that would be cut."""
    words, blank, _ = text[: width + 1].rpartition(" ")
    return f"{words}{blank}"[:width] if words.strip() else text[:width]


def cut(lines: list[Markup], height: int) -> list[Markup]:
    """Return ``height`` lines at the most; the last one says how many are missing.

    A single line is the title, which says how many there are.
    """
    if len(lines) <= height or height <= 1:
        return lines[: max(0, height)]
    missing = len(lines) - height + 1
    return [*lines[: height - 1], [("dim", f"  ... and {missing} more")]]


def length(line: Markup) -> int:
    """Return how many characters a line has."""
    return len(written(line))


def written(line: Markup) -> str:
    """Return what a line says, without styles."""
    return "".join([part if isinstance(part, str) else part[1] for part in line])


def plain(line: Markup) -> str:
    """Return what a line says, without styles and with one blank for several."""
    return " ".join(written(line).split())
