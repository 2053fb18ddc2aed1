"""Texts that are never shown, and their removal from texts of others.

A peer may echo a secret that it was sent: in a reason, in an error page, in a name.  :func:`redacted` removes every
secret of this process from such a text.
"""

from __future__ import annotations

import hmac
import re
from collections import deque
from typing import Final, NoReturn
from weakref import WeakValueDictionary

SHORTEST: Final = 9
"""A shorter secret protects nothing and would be found within words: the practice gateway's is ``practice``."""

REDACTED: Final = "[redacted]"

_REMEMBERED: Final = 16
"""How many secrets of the past are removed: tokens stay valid for hours after they are replaced."""

_latest: Final[deque[re.Pattern[str]]] = deque(maxlen=_REMEMBERED)

_living: Final[WeakValueDictionary[int, Secret]] = WeakValueDictionary()
"""The secrets that something still holds, by their identity: the key of a login outlives many tokens."""

_removed: Final[list[re.Pattern[str]]] = []
"""What finds each of those, the longest first: one may be within another."""


class Secret:
    """A text that only :meth:`reveal` shows."""

    __slots__ = ("__weakref__", "_pattern", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._pattern = _pattern(text)
        if len(text) < SHORTEST:
            return
        if self._pattern in _latest:
            _latest.remove(self._pattern)
        _latest.append(self._pattern)
        _living[id(self)] = self
        patterns = {*_latest, *(each._pattern for each in _living.values())}  # noqa: SLF001  # of its own class
        _removed[:] = sorted(patterns, key=lambda each: len(each.pattern), reverse=True)

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
    for pattern in _removed:
        text = pattern.sub(REDACTED, text)
    return text
