"""Text with only those characters that a terminal shows safely."""

from __future__ import annotations

import unicodedata
from typing import Final

from riskd.model.formatting import printable


def terminal_text(text: str) -> str:
    """Return ``text`` with blanks for white space, ``?`` for what is unprintable.

    The length stays the same, and no character can break a row or control the terminal.  Combining marks
    are replaced, too: they occupy no column, and remain when the character before them is overwritten.
    """
    # Nearly all text is plain ASCII, which needs no check of each character.
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        "?" if unicodedata.category(letter) in ("Mn", "Me") else letter
        for letter in printable(text)
    )


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
    """Return ``text`` as :func:`terminal_text` does, in ASCII characters only."""
    if text.isascii():
        return terminal_text(text)
    drawn = terminal_text(text).translate(_ASCII_FORMS)
    return drawn.encode("ascii", "replace").decode()
