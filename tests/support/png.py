"""Pictures in PNG: read as rows of pixels, and written in few colors."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

Row = list[tuple[int, ...]]
"""The red, green and blue of each pixel, from 0 to 255."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = ">IIBBBBB"
_CHANNELS: Final = {2: 3, 6: 4}
_INDEXED: Final = 3
_LEVEL: Final = 17
"""Sixteen levels of each color: the edges of letters have hundreds of shades, which no eye tells apart."""


def read_png(picture: bytes) -> list[Row]:
    """Return the pixels of a picture with eight bits a channel and no interlacing.

    Source: the PNG specification, sections 9.2 and 11.2.
    """
    chunks = list(_chunks(picture))
    width, height, _bits, kind, *_ = struct.unpack(_HEADER, dict(chunks)[b"IHDR"])
    channels = _CHANNELS[kind]
    data = zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
    rows, above, size = [], bytes(width * channels), width * channels + 1
    for number in range(height):
        above = _unfiltered(data[number * size : (number + 1) * size], above, channels)
        starts = range(0, width * channels, channels)
        rows.append([tuple(above[start : start + 3]) for start in starts])
    return rows


def small_png(rows: Sequence[Row]) -> bytes:
    """Return a picture of at most 256 colors, each the nearest of sixteen levels.

    :raises ValueError: it has more colors.
    """
    colors: dict[tuple[int, ...], int] = {}
    data = bytearray()
    for row in rows:
        data.append(0)
        for pixel in row:
            color = tuple([round(value / _LEVEL) * _LEVEL for value in pixel])
            # A byte has no room for more, which raises.
            data.append(colors.setdefault(color, len(colors)))
    header = struct.pack(_HEADER, len(rows[0]), len(rows), 8, _INDEXED, 0, 0, 0)
    palette = b"".join(map(bytes, colors))
    parts = (
        (b"IHDR", header),
        (b"PLTE", palette),
        (b"IDAT", zlib.compress(data, 9)),
        (b"IEND", b""),
    )
    return _SIGNATURE + b"".join(_chunk(name, content) for name, content in parts)


def _chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of each part of a picture."""
    place = len(_SIGNATURE)
    while place < len(picture):
        size, name = struct.unpack_from(">I4s", picture, place)
        yield name, picture[place + 8 : place + 8 + size]
        place += 12 + size


def _chunk(name: bytes, content: bytes) -> bytes:
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def _unfiltered(line: bytes, above: bytes, channels: int) -> bytes:
    """Return a row from what a filter made of it and the row above."""
    kind, values = line[0], bytearray(line[1:])
    for place, value in enumerate(values):
        left = values[place - channels] if place >= channels else 0
        corner = above[place - channels] if place >= channels else 0
        up = above[place]
        guesses = (0, left, up, (left + up) // 2, _nearest(left, up, corner))
        values[place] = (value + guesses[kind]) % 256
    return bytes(values)


def _nearest(left: int, up: int, corner: int) -> int:
    """Return which of three neighbors is nearest to what they promise."""
    promise = left + up - corner
    return min((left, up, corner), key=lambda each: abs(promise - each))
