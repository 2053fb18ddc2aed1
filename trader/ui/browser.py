"""The screen as a page in a browser.

urwid renders the rows and checks what the page sends.  The rest is here: a page that does not read gets no frames,
and no page has a terminal's ground, bell, title or mouse, so it is sent a color, a ring and a title.

Beside urwid's frames, the page receives JSON objects: ``{"ground": COLOR}``, ``{"title": TEXT}``, ``{"ring": true}``
and ``{}``, which says that nothing has changed.  No frame begins with a brace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import urwid
from urwid.display.websocket import STATIC_FILES, Transport
from urwid.display.websocket import Screen as UrwidScreen

from riskd.model.safe_text import json_text
from trader.ui.palette import PaletteEntry

SCRIPT_NAME: Final = "web_common.js"
"""urwid's own part of the page: it draws the frames and names the keys."""

_FOREGROUND: Final = "light gray"
_GROUND: Final = "black"
"""The page's colors where a theme leaves them to the terminal."""


def script() -> bytes:
    """Return urwid's part of the page's script."""
    return STATIC_FILES[SCRIPT_NAME].read()


class BrowserScreen(UrwidScreen):
    """urwid's screen on one connection to a page.

    :ivar is_congested: whether the page does not read at present, so that nothing is drawn; once it reads again,
        the caller draws.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self.is_congested = False
        self._drawn: tuple[tuple[int, int], Any] | None = None
        self._is_mono = False
        self._title = ""

    def draw_screen(self, size: tuple[int, int], canvas: urwid.Canvas) -> None:
        """Send the rows that changed, or a sign of life if none did."""
        if self.is_congested:
            return
        drawn = (size, canvas.content())
        if drawn == self._drawn:
            self._tell()
            return
        self._drawn = drawn
        super().draw_screen(size, canvas)

    def clear(self) -> None:
        """Send every row with the next frame."""
        super().clear()
        self._drawn = None

    def set_terminal_properties(
        self,
        colors: int | None = None,
        bright_is_bold: bool | None = None,  # noqa: ARG002  # urwid's signature
        has_underline: bool | None = None,  # noqa: ARG002
    ) -> None:
        """Note whether a theme without colors is wanted; browsers have all colors."""
        self._is_mono = colors == 1

    def register_palette(self, palette: Sequence[PaletteEntry]) -> None:  # type: ignore[override]
        """Take a theme; what it leaves to the terminal is light gray on black here."""
        ground = _GROUND
        self.register_palette_entry(None, _FOREGROUND, ground)
        for name, foreground, background, attributes in palette:
            if self._is_mono:
                shown, shown_ground = f"{_FOREGROUND},{attributes}", _GROUND
            else:
                shown = foreground.replace("default", _FOREGROUND)
                shown_ground = background.replace("default", _GROUND)
            self.register_palette_entry(name, shown.removesuffix(",default"), shown_ground)
            if name is None:
                ground = shown_ground
        self._tell(ground=ground)

    def set_title(self, title: str) -> None:
        """Name the tab."""
        if title != self._title and not self.is_congested:
            self._title = title
            self._tell(title=title)

    def ring(self) -> None:
        """Make a short sound, or where the browser allows none, a sign in the title."""
        self._tell(ring=True)

    def set_mouse_tracking(self, enable: bool = True) -> None:
        """Leave the mouse to the browser, which selects text with it."""

    def _tell(self, **message: object) -> None:
        if not self.closed:
            self._transport.send(json_text(message))
