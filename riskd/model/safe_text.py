"""Text from elsewhere, made safe for a log, a terminal and JSON.

Unsafe is what :meth:`str.isprintable` denies: control characters, those of C1 and DEL, marks that reverse the
direction of writing, line and paragraph separators, and what has no character.
"""

from __future__ import annotations

import re
from typing import Any, Final

from riskd.model.exact_json import encode_json

_NOT_PLAIN: Final = re.compile(r"[^ -~]")


def printable(text: str) -> str:
    """Return ``text`` in one line.

    White space is a blank; other unsafe characters are escaped as in Python.
    """
    if text.isprintable():
        return text
    return _NOT_PLAIN.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    letter = found[0]
    if letter.isprintable():
        return letter
    return " " if letter.isspace() else letter.encode("unicode_escape").decode("ascii")


def json_text(value: Any) -> str:
    """Return a value as compact JSON in one line, whose texts command no terminal."""
    return printable_json(encode_json(value).decode())


def printable_json(text: str) -> str:
    """Return JSON with the same content, in which unsafe characters are escaped."""
    if text.isprintable():
        return text
    return _NOT_PLAIN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    letter = found[0]
    if letter.isprintable():
        return letter
    units = letter.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
