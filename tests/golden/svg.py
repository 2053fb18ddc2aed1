"""A picture of a screen as SVG: a rectangle for each background, a text for each run of characters."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape

import urwid

from trader.widgets.palette import PaletteEntry

_WIDTH: Final = 8.4
_HEIGHT: Final = 17
_MARGIN: Final = 8
_COLORS: Final = {
    "black": "#000000",
    "dark red": "#b3261e",
    "dark green": "#2f8f46",
    "brown": "#b8860b",
    "dark blue": "#27408b",
    "light gray": "#c8c8c8",
    "dark gray": "#7d7d7d",
    "light red": "#ff6b61",
    "light green": "#5fd67a",
    "yellow": "#ffd75f",
    "light blue": "#6fa8ff",
    "light cyan": "#63d5e6",
    "white": "#ffffff",
}
_PAPER: Final = {"default": "#12151a", "white": "#ffffff"}


def svg(canvas: urwid.Canvas, theme: tuple[PaletteEntry, ...]) -> str:
    """Return the picture of ``canvas`` in the colors of ``theme``."""
    styles = {name: (foreground, background) for name, foreground, background, _ in theme}
    ground = styles.get(None, ("light gray", "default"))
    width = canvas.cols() * _WIDTH + 2 * _MARGIN
    height = canvas.rows() * _HEIGHT + 2 * _MARGIN
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">'
        ),
        f'<rect width="100%" height="100%" rx="6" fill="{_PAPER[ground[1]]}"/>',
    ]
    for number, row in enumerate(canvas.content()):
        column = 0
        for style, _, content in row:
            text = content.decode()
            foreground, background = styles.get(style, ground)
            parts += _run(text, column, number, foreground, background, ground[1])
            column += len(text)
    return "\n".join([*parts, "</svg>", ""])


def _run(
    text: str, column: int, row: int, foreground: str, background: str, ground: str
) -> list[str]:
    left, top = _MARGIN + column * _WIDTH, _MARGIN + row * _HEIGHT
    size = len(text) * _WIDTH
    parts = []
    if background != ground:
        fill = _COLORS[background]
        parts.append(
            f'<rect x="{left:.1f}" y="{top}" width="{size:.1f}" height="{_HEIGHT}" fill="{fill}"/>'
        )
    if text.strip():
        color, *settings = foreground.split(",")
        weight = ' font-weight="bold"' if "bold" in settings else ""
        line = ' text-decoration="underline"' if "underline" in settings else ""
        parts.append(
            f'<text x="{left:.1f}" y="{top + 13}" fill="{_COLORS[color]}"{weight}{line} '
            f'textLength="{size:.1f}" xml:space="preserve">{escape(text)}</text>'
        )
    return parts
