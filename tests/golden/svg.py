"""A screen as an SVG picture of rectangles, words and paths.

Every word has its own position and width, so that columns line up in any font.
"""

from __future__ import annotations

import re
from typing import Final
from xml.sax.saxutils import escape

import urwid

from trader.ui.palette import PaletteEntry

_WIDTH: Final = 8.4
_HEIGHT: Final = 17
_BASELINE: Final = 13
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
_STROKES: Final = {
    "│": "M{middle} {top}V{bottom}",
    "╭": "M{middle} {bottom}Q{middle} {center} {right} {center}",
    "╮": "M{left} {center}Q{middle} {center} {middle} {bottom}",
    "╯": "M{left} {center}Q{middle} {center} {middle} {top}",
    "╰": "M{middle} {top}Q{middle} {center} {right} {center}",
}
_LINE_SYMBOLS: Final = "".join(_STROKES)
_BLOCKS: Final = {"█": 1, "░": 0.25}
_PIECES: Final = re.compile(rf"─+|[{_LINE_SYMBOLS}]+|█+|░+|[^ ─{_LINE_SYMBOLS}█░]+")
"""Words, and the symbols that fonts draw in different sizes, which become paths and rectangles."""

_GROUND_COLORS: Final = {"default": "#12151a", "white": "#ffffff"}


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
        f'<rect width="100%" height="100%" rx="6" fill="{_GROUND_COLORS[ground[1]]}"/>',
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
    parts = []
    if background != ground:
        parts.append(_filled(left, top, len(text) * _WIDTH, _COLORS[background]))
    name, *attributes = foreground.split(",")
    color = _COLORS[name]
    weight = ' font-weight="bold"' if "bold" in attributes else ""
    if "underline" in attributes:
        parts.append(_line(left, top + _BASELINE + 2, len(text) * _WIDTH, color))
    for found in _PIECES.finditer(text):
        piece, x = found.group(), left + found.start() * _WIDTH
        size = len(piece) * _WIDTH
        if piece[0] == "─":
            parts.append(_line(x, top + _HEIGHT / 2, size, color))
        elif piece[0] in _STROKES:
            parts += [
                _stroke(symbol, x + n * _WIDTH, top, color) for n, symbol in enumerate(piece)
            ]
        elif piece[0] in _BLOCKS:
            parts.append(_filled(x, top, size, color, _BLOCKS[piece[0]]))
        else:
            parts.append(
                f'<text x="{x:.1f}" y="{top + _BASELINE}" fill="{color}"{weight} '
                f'textLength="{size:.1f}" xml:space="preserve">{escape(piece)}</text>'
            )
    return parts


def _filled(left: float, top: float, width: float, color: str, opacity: float = 1) -> str:
    attribute = f' fill-opacity="{opacity}"' if opacity < 1 else ""
    return (
        f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_HEIGHT}" '
        f'fill="{color}"{attribute}/>'
    )


def _line(left: float, y: float, width: float, color: str) -> str:
    return f'<path d="M{left:.1f} {y}h{width:.1f}" stroke="{color}"/>'


def _stroke(symbol: str, left: float, top: float, color: str) -> str:
    """Return a line symbol as a path.

    It goes from edge to edge of its cell, so that neighbors join.
    """
    x, y, w, h = left, top, _WIDTH, _HEIGHT
    path = _STROKES[symbol].format(
        left=f"{x:.1f}",
        middle=f"{x + w / 2:.1f}",
        right=f"{x + w:.1f}",
        top=f"{y}",
        center=f"{y + h / 2:.1f}",
        bottom=f"{y + h}",
    )
    return f'<path d="{path}" stroke="{color}" fill="none"/>'
