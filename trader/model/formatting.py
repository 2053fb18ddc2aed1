"""Text for a terminal: amounts, prices and times, in safe characters."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from decimal import Decimal
from typing import Final

from riskd.model.formatting import printable
from riskd.model.money import to_cents

UNKNOWN: Final = "-"
"""Takes the place of an unknown number, which must not look like a zero."""

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def money(amount: Decimal) -> str:
    """Return dollars with sign, thousands and cents: ``+1,234.50``; zero has no sign."""
    # An amount that rounds to zero is neither a gain nor a loss, so it has no sign.
    cents = to_cents(amount)
    return f"{cents:+,.2f}" if cents else "0.00"


def price(value: Decimal, places: int | None) -> str:
    """Return a price with ``places`` decimals; with ``None``, as many as it has."""
    # str() would write a small price with an exponent.
    return f"{value:f}" if places is None else f"{value:.{places}f}"


def clock(moment: datetime) -> str:
    """Return the local time of day, ``14:03:22``."""
    try:
        local = moment.astimezone()
    except (OverflowError, ValueError):
        # At the ends of the calendar a local time may not exist.
        local = moment
    return local.strftime("%H:%M:%S")


def until(moment: datetime, now: datetime) -> str:
    """Return the local time of ``moment``, with its date unless that is today's."""
    try:
        local, today = moment.astimezone(), now.astimezone().date()
    except (OverflowError, ValueError):
        return clock(moment)
    return clock(moment) if local.date() == today else f"{local:%a %d %b} {clock(moment)}"


def age(seconds: float) -> str:
    """Return an age in its largest whole unit: ``3 s``, ``2 min``, ``5 h``, ``2 d``."""
    whole = max(0, int(seconds))
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if whole >= length:
            return f"{whole // length} {unit}"
    return f"{whole} s"


def countdown(seconds: float) -> str:
    """Return a remaining time as ``2:14:45`` or ``14:45``; never below zero."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, _HOUR)
    minutes, left = divmod(rest, _MINUTE)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def sentence(text: str) -> str:
    """Return ``text`` with its first letter capitalized."""
    return text[:1].upper() + text[1:]


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
