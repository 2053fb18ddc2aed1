"""Lines of styled text: table rows, titles, wrapped sentences, two columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import zip_longest
from typing import Final

from trader.model.formatting import cut_text, pad_text, terminal_text, text_width

StyledLine = list[tuple[str | None, str]]
"""One line of the screen: pieces of text, each with the name of its style in the palette.

``None`` is the style of the terminal itself.
"""

MARK_WIDTH: Final = 2
"""Columns before each row of a list, for the mark of the selected one."""

_TITLE_AND_ROW: Final = 2
"""Lines."""

_CACHED: Final = 64
"""Sentences that are kept wrapped."""

GAP: Final = "  "
"""Between two blocks beside each other."""

_BLANK: Final = (None, " ")
"""After each cell of a table."""


def pnl_style(amount: Decimal) -> str:
    """Return the style of a gain or a loss."""
    return "loss" if amount < 0 else "gain" if amount > 0 else "text"


def table_row(cells: Sequence[tuple[str, str, int]]) -> StyledLine:
    """Return a row of a table.

    :param cells: style, text and width of each; a negative width aligns to the right.
    """
    line: StyledLine = []
    for style, text, width in cells:
        size = abs(width)
        if text.isascii() and len(text) <= size:
            # Nearly all cells.
            shown = text.rjust(size) if width < 0 else text.ljust(size)
        else:
            cut = text if text_width(text) <= size else f"{cut_text(text, size - 1)}…"
            shown = pad_text(cut, width)
        line += ((style, shown), _BLANK)
    return line


def panel_title(
    text: str, width: int, aside: str = "", heads: Sequence[tuple[str, int]] = ()
) -> StyledLine:
    """Return a title, a rule to the edge, and ``aside`` if there is room.

    :param heads: column titles within the rule, each with the column that it ends at; those without room are left out.
    """
    room = width - text_width(text)
    end = f" {aside}" if aside and text_width(aside) + 4 <= room else ""
    rule, place = "", text_width(text)
    for head, last in heads:
        begin = last - text_width(head)
        if begin > place + 2 and last + text_width(end) < width:
            rule += f" {'─' * (begin - place - 2)} {head}"
            place = last
    rest = width - place - text_width(end) - 1
    return [("title", text), ("dim", f"{rule} {'─' * max(0, rest)}{end}")]


def wrap(style: str, text: str, width: int, max_lines: int = 2) -> list[StyledLine]:
    """Return ``text`` wrapped into lines of full width; none for no text."""
    return [[(style, line)] for line in _wrapped(text, width, max_lines)]


# Each draw wraps the sentences of the one before.
@lru_cache(maxsize=_CACHED)
def _wrapped(text: str, width: int, max_lines: int) -> tuple[str, ...]:
    # A line break or a wide blank in a message from elsewhere would be wrapped as another number of columns.
    shown, room = terminal_text(text), max(1, width - 2)
    if text_width(shown) > len(shown):
        # Wrapping goes by letters, so a wide one is two of them meanwhile; parted from its second half, it
        # takes one more column than was counted.
        shown, room = "".join(map(_doubled, shown)), max(2, room - 1)
    lines = textwrap.wrap(shown, room, max_lines=max_lines, placeholder="…")
    return tuple([pad_text(f" {line.replace(_HALF, '')} ", width) for line in lines])


_HALF: Final = "\0"
"""The second half of a wide letter; no text that is shown has this character."""


def _doubled(letter: str) -> str:
    return letter + _HALF if text_width(letter) > 1 else letter


def justify(
    left: StyledLine, right: StyledLine, width: int, style: str | None = None
) -> StyledLine:
    """Return ``left`` and ``right`` at the ends of a line, with blanks between.

    :param style: the style of the blanks.
    """
    gap = max(1, width - length(left) - length(right))
    return [*left, (style, " " * gap), *right]


def side_by_side(
    left: list[StyledLine], right: list[StyledLine], left_width: int
) -> list[StyledLine]:
    """Return two blocks of lines beside each other.

    :param left_width: columns of the left block; its lines are cut or padded to it.
    """
    lines = []
    for one, other in zip_longest(left, right, fillvalue=StyledLine()):
        size = length(one)
        if size > left_width:
            one = fit(one, left_width)  # noqa: PLW2901
            size = length(one)
        lines.append([*one, (None, " " * (left_width - size) + GAP), *other])
    return lines


def fit(line: StyledLine, width: int) -> StyledLine:
    """Return the words that fit into ``width``, and an ellipsis for the others.

    A number is never cut: half of it would be another number.
    """
    whole = text_of(line)
    if text_width(whole) <= width:
        return list(line)
    # Table rows end with blanks, which can be cut without an ellipsis.
    is_whole = text_width(whole.rstrip()) <= width
    room = width if is_whole else width - 1
    fitted = StyledLine()
    for style, text in line:
        size = text_width(text)
        if size > room:
            shown = cut_text(text, room) if is_whole else f"{_whole_words(text, room)}…"
            return [*fitted, (style, shown)]
        fitted.append((style, text))
        room -= size
    return fitted


def _whole_words(text: str, width: int) -> str:
    """Return the words of a text that fit; a single word that is too long is cut."""
    words, blank, _ = cut_text(text, width + 1).rpartition(" ")
    return cut_text(f"{words}{blank}" if words.strip() else text, width)


def truncate(lines: list[StyledLine], height: int) -> list[StyledLine]:
    """Return at most ``height`` lines; the last one says how many are missing.

    The title already says how many rows there are, so of two lines the other one is a row.
    """
    if len(lines) <= height or height <= _TITLE_AND_ROW:
        return lines[: max(0, height)]
    missing = len(lines) - height + 1
    return [*lines[: height - 1], [("dim", f"  ... and {missing} more")]]


def length(line: StyledLine) -> int:
    """Return the number of columns that a line fills."""
    return text_width(text_of(line))


def text_of(line: StyledLine) -> str:
    """Return the text of a line without its styles."""
    return "".join([text for _, text in line])


def collapsed_text(line: StyledLine) -> str:
    """Return the text of a line with every run of blanks made one, as it is copied."""
    return " ".join(text_of(line).split())
