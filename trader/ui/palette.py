"""The styles by name, and their colors in each theme.

No color carries a meaning alone: a sign or a word stands beside it.
"""

from __future__ import annotations

from typing import Final

_Theme = tuple[tuple[str | None, str, str], ...]
"""Name, foreground and background of each style; the one without a name is the ground of the screen."""

PaletteEntry = tuple[str | None, str, str, str]
"""Name, foreground and background of a style, and its attributes on a terminal without colors."""

_DARK: Final[_Theme] = (
    ("text", "light gray", "default"),
    ("dim", "dark gray", "default"),
    ("title", "light cyan", "default"),
    ("strong", "white,bold", "default"),
    ("gain", "light green", "default"),
    ("loss", "light red", "default"),
    ("caution", "yellow", "default"),
    ("good", "black", "dark green"),
    ("alert", "white,bold", "dark red"),
    ("warning", "black", "brown"),
    ("bar", "white", "dark blue"),
    ("practice", "black,bold", "brown"),
    ("select", "black", "light gray"),
)
_LIGHT: Final[_Theme] = (
    ("text", "black", "white"),
    ("dim", "dark gray", "white"),
    ("title", "dark blue", "white"),
    ("strong", "black,bold", "white"),
    ("gain", "dark green", "white"),
    ("loss", "dark red,bold", "white"),
    ("caution", "brown,bold", "white"),
    ("good", "white,bold", "dark green"),
    ("alert", "white,bold", "dark red"),
    ("warning", "black", "yellow"),
    ("bar", "white,bold", "dark blue"),
    ("practice", "black,bold", "yellow"),
    ("select", "white", "dark gray"),
    (None, "black", "white"),
)
# Blue and orange can be told apart with every common kind of color blindness, red and green cannot.
# Source: the palette of Okabe and Ito, "Color Universal Design", 2008, in the nearest basic colors.
_COLORBLIND: Final[_Theme] = (
    ("text", "light gray", "default"),
    ("dim", "dark gray", "default"),
    ("title", "white,underline", "default"),
    ("strong", "white,bold", "default"),
    ("gain", "light blue", "default"),
    ("loss", "yellow,bold", "default"),
    ("caution", "brown", "default"),
    ("good", "white,bold", "dark blue"),
    ("alert", "black,bold", "yellow"),
    ("warning", "black", "brown"),
    ("bar", "white", "dark gray"),
    ("practice", "black,bold", "brown"),
    ("select", "black", "light gray"),
)
# Without colors, words and signs carry the meaning, and attributes make the important ones stand out.
_ATTRIBUTES: Final = {
    "title": "underline",
    "strong": "bold",
    "loss": "bold",
    "caution": "bold",
    "good": "standout",
    "alert": "bold,standout",
    "warning": "standout",
    "bar": "standout",
    "practice": "bold,standout",
    "select": "standout",
}
_COLORLESS: Final[_Theme] = tuple((name, "default", "default") for name, *_ in _DARK)

MONO: Final = "mono"


def _with_attributes(theme: _Theme) -> tuple[PaletteEntry, ...]:
    return tuple((*entry, _ATTRIBUTES.get(entry[0] or "", "default")) for entry in theme)


THEMES: Final = {
    "dark": _with_attributes(_DARK),
    "light": _with_attributes(_LIGHT),
    "colorblind": _with_attributes(_COLORBLIND),
    MONO: _with_attributes(_COLORLESS),
}
"""The themes by name; :data:`MONO` has no colors."""
