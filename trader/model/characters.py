"""Text with only the characters that a terminal can show safely."""

from __future__ import annotations

import unicodedata
from typing import Final


def printable(text: str) -> str:
    """Return ``text`` with a blank for every kind of white space and ``?`` for what has no picture.

    It has as many characters as before, and none of them can break a row or command a terminal.  A mark
    that stands on the character before has no place of its own, and stays behind when that is gone.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isspace():
        return " "
    is_mark = unicodedata.category(character) in ("Mn", "Me")
    return character if character.isprintable() and not is_mark else "?"


_PLAIN_LETTERS: Final = str.maketrans(
    {
        "─": "-", "│": "|", "╭": "+", "╮": "+", "╯": "+", "╰": "+", "·": ".", "█": "#", "░": ".",
        "…": "~", "↑": "^", "↓": "v",
    }
)  # fmt: skip


def can_be_drawn(encoding: str | None) -> bool:
    """Tell whether a terminal of this encoding has the letters that are drawn; older ones know no lines."""
    try:
        "".join(map(chr, _PLAIN_LETTERS)).encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def ascii_only(text: str) -> str:
    """Return ``text`` as :func:`printable` does, with an ASCII letter for every other one."""
    if text.isascii():
        return printable(text)
    drawn = printable(text).translate(_PLAIN_LETTERS)
    return drawn.encode("ascii", "replace").decode()
