"""Pasted text, which a terminal marks and which must not act as keys.

Source: XTerm Control Sequences, "Bracketed Paste Mode".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_ESCAPE: Final = "\x1b"
_BEGIN: Final = f"{_ESCAPE}[200~"
_END: Final = f"{_ESCAPE}[201~"

SILENCE_SECONDS: Final = 1.0
"""A paste whose end mark is missing has ended after so long without input.

Without this bound, no key would act again.
"""


class PasteFilter:
    """Removes pasted text from a terminal's input.

    It goes by bytes, not by keys: a paste may have any bytes in it, and may be split anywhere.
    """

    def __init__(self) -> None:
        self._is_pasting = False
        # The beginning of a mark, whose rest may follow.  Of that of a begin mark the escape may have been
        # passed on, because an escape is a key, too; what follows it decides.
        self._held = ""
        self._passed = 0
        self._input_at = 0.0

    def typed(self, codes: Iterable[int], now: float) -> list[int]:
        """Return the part of the input that was typed.

        :param codes: the input since the last call.  An escape that this method returned last may begin
            it again: urwid does so when it has not made a key of it.
        :param now: the time of a steady clock in seconds.
        """
        text = "".join(map(chr, codes))
        if not text:
            return []
        is_over = now - self._input_at > SILENCE_SECONDS
        self._input_at = now
        held, passed = self._held, self._passed
        if not self._is_pasting:
            repeats = held == _ESCAPE and text.startswith(_ESCAPE)
            return self._outside(text) if repeats else self._outside(held + text, passed)
        if is_over and _END not in held + text:
            return self._outside(text)
        return self._inside(held + text)

    def _outside(self, text: str, passed: int = 0) -> list[int]:
        """Return what was typed in ``text``, which does not begin within a paste.

        :param passed: how many characters at its beginning were passed on already.
        """
        self._is_pasting = False
        before, mark, after = text.partition(_BEGIN)
        if mark:
            return [*map(ord, before[passed:]), *self._inside(after)]
        self._held = _beginning_of(_BEGIN, text)
        rest = text.removesuffix(self._held)
        if self._held == _ESCAPE:
            typed, self._passed = text[passed:], 1
        else:
            typed, self._passed = rest[passed:], max(0, passed - len(rest))
        return [*map(ord, typed)]

    def _inside(self, text: str) -> list[int]:
        """Return what was typed in ``text``, which begins within a paste."""
        _, mark, after = text.partition(_END)
        if mark:
            return self._outside(after)
        self._is_pasting, self._passed = True, 0
        self._held = _beginning_of(_END, text)
        return []


def _beginning_of(mark: str, text: str) -> str:
    """Return the end of ``text`` that may be the beginning of ``mark``."""
    sizes = range(len(mark) - 1, 0, -1)
    return next((mark[:size] for size in sizes if text.endswith(mark[:size])), "")
