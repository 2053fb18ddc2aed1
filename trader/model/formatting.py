"""Text for a terminal: amounts, prices and times, in safe characters."""

from __future__ import annotations

import re
import time
import unicodedata
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from riskd.model.formatting import dollars
from riskd.model.money import to_cents

UNKNOWN: Final = "-"
"""Takes the place of an unknown number, which must not look like a zero."""

_CACHED: Final = 1024
"""Times whose words are kept, and texts beyond ASCII with their form and width: most are the same in each draw."""

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def money(amount: Decimal) -> str:
    """Return dollars with sign, thousands, cents: ``+$1,234.50``; zero has no sign."""
    # An amount that rounds to zero is neither a gain nor a loss, so it has no sign.
    return f"{'+' if to_cents(amount) > 0 else ''}{dollars(amount)}"


def price(value: Decimal, places: int | None) -> str:
    """Return a price with ``places`` decimals; with ``None``, as many as it has."""
    # str() would write a small price with an exponent.
    return f"{value:f}" if places is None else f"{value:.{places}f}"


def clock(moment: datetime) -> str:
    """Return the local time of day, ``14:03:22``."""
    return _clock(moment, time.tzname)


# The lines of the feed have the same times in each draw.
@lru_cache(maxsize=_CACHED)
def _clock(moment: datetime, _zone: tuple[str, str]) -> str:
    return _local(moment).strftime("%H:%M:%S")


def stamp(moment: datetime) -> str:
    """Return the local date and time, ``2026-11-28 14:03:22``."""
    return _local(moment).strftime("%Y-%m-%d %H:%M:%S")


def zone(moment: datetime) -> str:
    """Return the name of the local time zone, ``CST``; where it has none, its offset."""
    return _local(moment).strftime("%Z")


def _local(moment: datetime) -> datetime:
    try:
        return moment.astimezone()
    except (OverflowError, ValueError):
        # At the ends of the calendar a local time may not exist.
        return moment


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


# Unicode 3.2 of 2002.  Its wide letters are wide on every terminal; for later ones, each terminal goes by the
# Unicode of its own year.
_EARLIER: Final = unicodedata.ucd_3_2_0

_MARKS: Final = ("Mn", "Me", "Mc")
_RIGHT_TO_LEFT: Final = ("R", "AL", "AN")

_DISPUTED: Final = frozenset(
    code
    for first, last in (
        (0x0E33, 0x0E33),  # Thai and Lao AM join the letter before them.
        (0x0EB3, 0x0EB3),
        (0x1100, 0x11FF),  # Hangul letters join to syllables.
        (0x2630, 0x2637),  # Wide only since Unicode 16.
        (0x268A, 0x268F),
        (0x4DC0, 0x4DFF),
        (0x3164, 0x3164),  # Fillers, which some terminals do not draw.
        (0xFFA0, 0xFFA0),
        (0xFF9E, 0xFF9F),  # Halfwidth marks join the letter before them.
    )
    for code in range(first, last + 1)
)
"""Characters that are safe by their properties, and all the same take different room on different terminals."""


class _TerminalForms(dict[int, str]):
    """The form of each character on the screen, worked out when it is needed."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        if _takes_known_room(letter):
            self[code] = letter
        else:
            self[code] = " " if letter.isspace() else "?"
        return self[code]


_terminal_forms: Final = _TerminalForms()


def terminal_text(text: str) -> str:
    """Return ``text`` with blanks for white space and ``?`` for unsafe characters.

    All text from elsewhere passes here on its way to the terminal.  What passes has no effect but to fill
    one or two columns, the same on every terminal: it cannot break a row, command the terminal, reverse
    the figures beside it, or join other characters, as emoji, flags and combining marks do.  The length
    stays the same.
    """
    return text if is_plain(text) else _safe_form(text)


def is_plain(text: str) -> bool:
    """Return whether no character needs a look: each is safe and fills one column.

    Printable ASCII does, and what the screen itself draws with; nearly all text is made of these.
    """
    return (text.isascii() and text.isprintable()) or _PLAIN(text) is not None


_PLAIN: Final = re.compile("[ -~·…↑↓\u2500-\u259f]*").fullmatch
"""Matches, besides ASCII, what frames, curves and bars are drawn with."""


@lru_cache(maxsize=_CACHED)
def _safe_form(text: str) -> str:
    return text.translate(_terminal_forms)


def _takes_known_room(letter: str) -> bool:
    """Return whether every terminal draws ``letter`` by itself, in as many columns."""
    if not letter.isprintable() or ord(letter) in _DISPUTED:
        return False
    category = unicodedata.category(letter)
    if category in _MARKS or unicodedata.bidirectional(letter) in _RIGHT_TO_LEFT:
        return False
    is_late = _EARLIER.category(letter) == "Cn"
    if is_late and category == "Lo":
        # Letters of scripts that were added later may join others.
        return False
    if _is_wide(letter):
        return not is_late and _EARLIER.east_asian_width(letter) in ("W", "F")
    # Beyond the first 65,536 characters are the emoji, and letters that fonts seldom have.
    return letter <= "\uffff"


@lru_cache(maxsize=_CACHED)
def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in ("W", "F")


def text_width(text: str) -> int:
    """Return how many columns ``text`` fills on the screen."""
    if text.isascii() or is_plain(text):
        return len(text)
    return _drawn_width(text)


@lru_cache(maxsize=_CACHED)
def _drawn_width(text: str) -> int:
    return len(text) + sum(map(_is_wide, terminal_text(text)))


def cut_text(text: str, columns: int) -> str:
    """Return as much of the beginning of ``text`` as fits into ``columns``."""
    if text.isascii() or is_plain(text):
        return text[:columns]
    room = columns
    for place, letter in enumerate(terminal_text(text)):
        room -= 1 + _is_wide(letter)
        if room < 0:
            return text[:place]
    return text


def pad_text(text: str, columns: int) -> str:
    """Return ``text`` filled with blanks to ``columns``; negative: blanks first."""
    blanks = " " * (abs(columns) - text_width(text))
    return f"{blanks}{text}" if columns < 0 else f"{text}{blanks}"


_ASCII_FORMS: Final = str.maketrans(
    {
        "─": "-", "│": "|", "╭": "+", "╮": "+", "╯": "+", "╰": "+", "·": ".", "█": "#", "░": ".",
        "…": "~", "↑": "^", "↓": "v", "▀": '"', "▄": "_", "▌": "#", "▐": "#",
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
