"""Texts that are never shown, and their removal from texts of others.

A peer may echo a secret that it was sent: in a reason, in an error page, in a name.  :func:`redacted` removes every
secret of this process from such a text.
"""

from __future__ import annotations

import hmac
import re
from collections import deque
from typing import Final, NoReturn

SHORTEST: Final = 9
"""A shorter secret protects nothing and would be found within words: the practice gateway's is ``practice``."""

REDACTED: Final = "[redacted]"

_REMEMBERED: Final = 16
"""How many secrets are removed: tokens stay valid for hours after they are replaced."""

_known: deque[tuple[str, re.Pattern[str]]] = deque(maxlen=_REMEMBERED)


class Secret:
    """A text that only :meth:`reveal` shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        # The one that was used last is the last to be forgotten.
        for known in tuple(_known):
            if known[0] == text:
                _known.remove(known)
                _known.append(known)
                return
        if len(text) >= SHORTEST:
            _known.append((text, _pattern(text)))

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __format__(self, format_spec: str) -> str:
        return format(repr(self), format_spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # The time that the comparison takes must not show how much of a guess is right.
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


def _pattern(secret: str) -> re.Pattern[str]:
    """Return what finds a secret, also where JSON or a URL has escaped its signs."""
    return re.compile(
        "".join(
            letter
            if letter.isalnum()
            else rf"(?:\\?{re.escape(letter)}|(?i:%{ord(letter):02x}|\\u{ord(letter):04x}))"
            for letter in secret
        )
    )


def redacted(text: str) -> str:
    """Return ``text`` without the secrets of this process."""
    for _secret, pattern in _known:
        text = pattern.sub(REDACTED, text)
    return text
