"""Lines of styled text: table rows, and lines with two ends."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from decimal import Decimal

Markup = list[tuple[Hashable, str] | str]
"""One line of text in styles, as urwid takes it."""


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


def spread(left: Markup, right: Markup, width: int) -> Markup:
    """Return a line with ``left`` and ``right`` at its ends."""
    gap = max(1, width - length(left) - length(right))
    return [*left, " " * gap, *right]


def length(line: Markup) -> int:
    """Return how many characters a line has."""
    return sum(len(part if isinstance(part, str) else part[1]) for part in line)
