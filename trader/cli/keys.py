"""The keys of a console, and what the mouse does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from typing import Any, Final, NamedTuple

from trader.cli.navigation import Navigation
from trader.ui.pages import PAGES

Action = Callable[[Navigation], None]


class Key(NamedTuple):
    """A key.

    :ivar names: urwid's names of the keys that have this effect.
    :ivar label: the name in the help.
    :ivar effect: the effect, in the help.
    """

    names: tuple[str, ...]
    label: str
    effect: str
    action: Action


_ALL_ROWS: Final = 1_000_000
"""More than any list has."""

_HALF: Final = Fraction(1, 2)

_WHEEL_ROWS: Final = {4: -3, 5: 3}
"""The rows to move, by the button that urwid reports for the wheel."""

KEYS: Final = (
    *(
        Key(
            (str(number),),
            str(number),
            page.name,
            partial(Navigation.show_page, number=number - 1),
        )
        for number, page in enumerate(PAGES, 1)
    ),
    Key(("0",), "0", "all accounts", Navigation.show_all),
    Key(("o",), "o", "sort accounts", Navigation.change_order),
    Key(("tab",), "Tab", "next page", partial(Navigation.turn_page, pages=1)),
    Key(("shift tab",), "Shift-Tab", "previous page", partial(Navigation.turn_page, pages=-1)),
    Key(("down", "j"), "Down, j", "next row", partial(Navigation.move, rows=1)),
    Key(("up", "k"), "Up, k", "previous row", partial(Navigation.move, rows=-1)),
    Key(
        ("page down",), "Page Down", "a screen down", partial(Navigation.move, screens=Fraction(1))
    ),
    Key(("page up",), "Page Up", "a screen up", partial(Navigation.move, screens=Fraction(-1))),
    Key(("ctrl d",), "Ctrl-D", "half page down", partial(Navigation.move, screens=_HALF)),
    Key(("ctrl u",), "Ctrl-U", "half page up", partial(Navigation.move, screens=-_HALF)),
    Key(("home", "g"), "Home, g", "first row", partial(Navigation.move, rows=-_ALL_ROWS)),
    Key(("end", "G"), "End, G", "last row", partial(Navigation.move, rows=_ALL_ROWS)),
    Key(("enter",), "Enter", "open the row", Navigation.open_row),
    Key(("/",), "/", "find rows by text", Navigation.begin_search),
    Key(("n",), "n", "next found row", partial(Navigation.next_found, rows=1)),
    Key(("N",), "N", "previous found row", partial(Navigation.next_found, rows=-1)),
    Key(("esc",), "Esc", "close what is open", Navigation.close),
    Key(("f",), "f", "next activity filter", Navigation.filter_feed),
    Key(("p",), "p", "pause the activity", Navigation.pause_feed),
    Key(("c",), "c", "copy the selected row", Navigation.copy),
    Key(("z",), "z", "large figures", Navigation.toggle_glance),
    Key(("t",), "t", "next theme", Navigation.change_theme),
    Key(("a",), "a", "ASCII characters only", partial(Navigation.toggle, choice="is_ascii")),
    Key(("m",), "m", "mouse on or off", Navigation.toggle_mouse),
    Key(("b",), "b", "mute all but lockouts", partial(Navigation.toggle, choice="is_muted")),
    Key(("?",), "?", "show the keys", Navigation.show_help),
    Key(("q",), "q", "quit", Navigation.quit),
)
"""All keys on a terminal; the help is made of them."""

_BROWSERS_OWN: Final = ("Ctrl-D", "Ctrl-U", "c", "m", "q")

BROWSER_KEYS: Final = tuple(key for key in KEYS if key.label not in _BROWSERS_OWN)
"""The keys on a page; the browser itself copies, uses the mouse and closes, and keeps its keys with Ctrl."""


_WHILE_TYPING: Final = ("enter", "esc", "up", "down", "page up", "page down")
"""The keys that mean the same while a text is typed."""


def action_of(key: Any, actions: Mapping[str, Action], *, is_typing: bool) -> Action | None:
    """Return what a key or the mouse does; ``None`` for nothing.

    :param key: as urwid reports it: a name, or a tuple for the mouse.
    :param actions: by the names of keys.
    :param is_typing: whether a text is typed, to which letters belong.
    """
    if isinstance(key, tuple):
        return _mouse_action(key)
    if is_typing and key not in _WHILE_TYPING:
        return partial(Navigation.type_search, key=key)
    return actions.get(key)


def _mouse_action(event: tuple[str, int, int, int]) -> Action | None:
    """Return the effect of a wheel turn or a click; ``None`` for other mouse events."""
    kind, button, column, row = event
    if not kind.endswith("press"):
        return None
    if button in _WHEEL_ROWS:
        return partial(Navigation.move, rows=_WHEEL_ROWS[button])
    return partial(Navigation.click, column=column, row=row)
