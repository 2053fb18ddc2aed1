"""A terminal that records what a console does with it."""

from __future__ import annotations

from functools import partial
from typing import Any

import urwid
from twisted.internet.task import Clock

from trader.cli.display import Display


class FakeTerminal:
    """Records what is drawn, written and copied, and when."""

    started = True

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.drawn: list[tuple[float, str]] = []
        self.copied: list[str] = []
        self.written: list[str] = []

    colors = 16
    has_mouse = False
    is_congested = False

    def hook_event_loop(self, *_: object) -> None:
        """Watch nothing: keys are handled by the tests."""

    def register_palette(self, palette: Any) -> None:
        """Record the palette."""
        self.palette = palette

    def set_terminal_properties(self, colors: int) -> None:
        """Record the number of colors."""
        self.colors = colors

    def set_mouse_tracking(self, enable: bool) -> None:
        """Record whether the mouse is tracked."""
        self.has_mouse = enable

    def clear(self) -> None:
        """Nothing is kept between two draws."""

    def ring(self) -> None:
        """Record the bell beside the drawings."""
        self.written.append("\a")

    def copy_to_clipboard(self, text: str) -> None:
        """Record the copied text."""
        self.copied.append(text)

    def get_cols_rows(self) -> tuple[int, int]:
        """Return columns and rows."""
        return 80, 24

    def draw_screen(self, _size: tuple[int, int], canvas: urwid.Canvas) -> None:
        """Record a drawing with its time."""
        self.drawn.append(
            (self._clock.seconds(), "\n".join(text.decode() for text in canvas.text))
        )

    @property
    def moments(self) -> list[float]:
        """The times of the drawings."""
        return [moment for moment, _ in self.drawn]

    @property
    def picture(self) -> str:
        """The last drawing."""
        return self.drawn[-1][1]


def fake_display(clock: Any, terminal: FakeTerminal) -> Display:
    """Return a display that is drawn as the terminal is, and records it."""
    loop = urwid.TwistedEventLoop(clock)
    return Display(terminal, loop, partial(loop.handle_exit, enable_idle=False))
