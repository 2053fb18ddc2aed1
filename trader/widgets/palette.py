"""Styles by name, and what they look like."""

from __future__ import annotations

from typing import Final

PaletteEntry = tuple[str, str, str]

DARK: Final[tuple[PaletteEntry, ...]] = (
    ("text", "light gray", "default"),
    ("dim", "dark gray", "default"),
    ("title", "light cyan", "default"),
    ("strong", "white,bold", "default"),
    ("gain", "light green", "default"),
    ("loss", "light red", "default"),
    ("good", "black", "dark green"),
    ("alert", "white,bold", "dark red"),
    ("warning", "black", "brown"),
    ("bar", "white", "dark blue"),
    ("practice", "black,bold", "brown"),
)

MONOCHROME: Final[tuple[PaletteEntry, ...]] = (
    ("text", "default", "default"),
    ("dim", "default", "default"),
    ("title", "default,underline", "default"),
    ("strong", "default,bold", "default"),
    ("gain", "default", "default"),
    ("loss", "default,bold", "default"),
    ("good", "default,standout", "default"),
    ("alert", "default,bold,standout", "default"),
    ("warning", "default,standout", "default"),
    ("bar", "default,standout", "default"),
    ("practice", "default,bold,standout", "default"),
)
"""For ``NO_COLOR``: words and signs carry everything, and standing out is all that is left."""
