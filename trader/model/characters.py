"""Text with only those characters that a terminal shows safely."""

from __future__ import annotations

import unicodedata
from typing import Final


def printable(text: str) -> str:
    """Return ``text`` with blanks for white space, ``?`` for what is unprintable.

    The length stays the same, and no character can break a row or control the terminal.  Combining marks
    are replaced, too: they occupy no column, and remain when the character before them is overwritten.
    """
    # Nearly all text is plain ASCII, which needs no check of each character.
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isspace():
        return " "
    is_mark = unicodedata.category(character) in ("Mn", "Me")
    return character if character.isprintable() and not is_mark else "?"


_ASCII_FORMS: Final = str.maketrans(
    {
        "─": "-", "│": "|", "╭": "+", "╮": "+", "╯": "+", "╰": "+", "·": ".", "█": "#", "░": ".",
        "…": "~", "↑": "^", "↓": "v",
    }
)  # fmt: skip


def can_be_drawn(encoding: str | None) -> bool:
    """Return whether an encoding has the lines and bars that the screen draws."""
    try:
        "".join(map(chr, _ASCII_FORMS)).encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def ascii_only(text: str) -> str:
    """Return ``text`` as :func:`printable` does, in ASCII characters only."""
    if text.isascii():
        return printable(text)
    drawn = printable(text).translate(_ASCII_FORMS)
    return drawn.encode("ascii", "replace").decode()
