"""Styles by name, and what they look like."""

from __future__ import annotations

from typing import Final

PaletteEntry = tuple[str, str, str, str]
"""Name, foreground, background, and what takes their place where there are no colors: there words and
signs carry everything, and standing out is all that is left."""

DARK: Final[tuple[PaletteEntry, ...]] = (
    ("text", "light gray", "default", "default"),
    ("dim", "dark gray", "default", "default"),
    ("title", "light cyan", "default", "underline"),
    ("strong", "white,bold", "default", "bold"),
    ("gain", "light green", "default", "default"),
    ("loss", "light red", "default", "bold"),
    ("good", "black", "dark green", "standout"),
    ("alert", "white,bold", "dark red", "bold,standout"),
    ("warning", "black", "brown", "standout"),
    ("bar", "white", "dark blue", "standout"),
    ("practice", "black,bold", "brown", "bold,standout"),
)
