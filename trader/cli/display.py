"""What a console is drawn on: a terminal, or a page in a browser."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import urwid

from trader.ui.output import TerminalOutput
from trader.ui.terminal import Terminal


class Display(NamedTuple):
    """A screen and the loop that brings its keys.

    :ivar screen: a :class:`~trader.ui.terminal.Terminal` or a :class:`~trader.ui.browser.BrowserScreen`.
    :ivar guard: wraps a function that the reactor calls, so that an exception in it ends what is drawn here: a
        screen that looks alive and is not would be worse.
    :ivar set_title: names the window; ``None`` where it keeps its name.
    """

    screen: Any
    event_loop: urwid.EventLoop
    guard: Callable[[Callable[[], None]], Callable[[], object]]
    set_title: Callable[[str], object] | None = None


def terminal_display(reactor: Any) -> Display:
    """Return the terminal; an exception ends the program."""
    event_loop = urwid.TwistedEventLoop(reactor)
    terminal = Terminal(output=TerminalOutput(sys.stdout))
    return Display(terminal, event_loop, partial(event_loop.handle_exit, enable_idle=False))


def browser_display(reactor: Any, screen: Any, on_error: Callable[[Exception], object]) -> Display:
    """Return a page; an exception ends that page alone.

    :param screen: a :class:`~trader.ui.browser.BrowserScreen`, which no terminal needs.
    :param on_error: called with each exception.
    """
    loop = urwid.TwistedEventLoop(reactor, manage_reactor=False)

    def guard(function: Callable[[], None]) -> Callable[[], object]:
        def guarded() -> None:
            try:
                function()
            except Exception as error:  # noqa: BLE001  # the page is where it is reported
                on_error(error)

        return guarded

    return Display(screen, urwid.GuardedEventLoop(loop, on_error), guard, screen.set_title)
