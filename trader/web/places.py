"""Where each tab was, so that a page that connects again comes back to it.

A page names itself by an identifier of its own making, which it keeps while it is open, and over a reload.  Nothing
else about the place leaves this process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

_Place = TypeVar("_Place")

MOST: Final = 64
"""Places that are kept, of pages that may be closed for good; the oldest are forgotten."""

LONGEST_NAME: Final = 64


class Places(Generic[_Place]):
    """The places of the tabs, by the names of their pages."""

    def __init__(self) -> None:
        self._known: dict[str, Callable[[], _Place]] = {}

    def last(self, page: str) -> _Place | None:
        """Return where a page was last; ``None`` if that is not known."""
        ask = self._known.get(page)
        return None if ask is None else ask()

    def keep(self, page: str, ask: Callable[[], _Place]) -> None:
        """Ask for the place of a page whenever it connects again."""
        if not 0 < len(page) <= LONGEST_NAME:
            return
        self._known.pop(page, None)
        self._known[page] = ask
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]

    def end(self, page: str, ask: Callable[[], _Place]) -> None:
        """Keep the place as it is at the end of a connection, unless another has begun."""
        if self._known.get(page) is ask:
            place = ask()
            self._known[page] = lambda: place
