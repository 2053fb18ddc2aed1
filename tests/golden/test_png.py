"""Pictures in PNG, there and back."""

from __future__ import annotations

import struct
import zlib

from twisted.trial.unittest import SynchronousTestCase

from tests.golden.browser import PICTURE
from tests.support.png import read_png, small_png


def _picture(filters: bytes, data: bytes) -> bytes:
    """Return a picture of two pixels by the number of ``filters``, one for each row."""
    rows = b"".join(
        bytes([kind]) + data[6 * number : 6 * number + 6] for number, kind in enumerate(filters)
    )
    header = struct.pack(">IIBBBBB", 2, len(filters), 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + b"\0\0\0\0" for name, content in parts
    )


class PngTests(SynchronousTestCase):
    """Reading each kind of row, and writing few colors."""

    def test_each_filter_is_undone(self) -> None:
        data = bytes([10, 20, 30, 1, 2, 3] * 5)
        self.assertEqual(
            read_png(_picture(bytes(range(5)), data)),
            [
                [(10, 20, 30), (1, 2, 3)],
                [(10, 20, 30), (11, 22, 33)],
                [(20, 40, 60), (12, 24, 36)],
                [(20, 40, 60), (17, 34, 51)],
                [(30, 60, 90), (31, 62, 93)],
            ],
        )

    def test_a_small_picture_has_a_palette_of_the_nearest_levels(self) -> None:
        picture = small_png([[(0, 0, 0), (250, 8, 9)], [(0, 0, 0), (255, 0, 17)]])
        palette = picture.index(b"PLTE")
        self.assertEqual(picture[palette - 4 : palette], b"\0\0\0\x06")
        self.assertEqual(picture[palette + 4 : palette + 10], bytes([0, 0, 0, 255, 0, 17]))

    def test_the_picture_of_the_documentation_is_small(self) -> None:
        self.assertLess(PICTURE.stat().st_size, 40_000)
