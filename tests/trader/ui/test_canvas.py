"""Lines of styled text on the canvas of a whole screen."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from trader.model.characters import ascii_only, terminal_text
from trader.ui.canvas import paint


class PaintTests(SynchronousTestCase):
    """Each line is as wide as the screen."""

    def test_lines_are_padded_and_rows_are_filled(self) -> None:
        canvas = paint([[("gain", "+1")]], 4, 2, terminal_text)
        self.assertEqual(canvas.text, [b"+1  ", b"    "])
        self.assertEqual((canvas.cols(), canvas.rows()), (4, 2))

    def test_a_line_that_is_too_long_is_cut(self) -> None:
        self.assertEqual(
            paint([[("gain", "+1"), ("loss", "-234")]], 4, 1, terminal_text).text, [b"+1-2"]
        )

    def test_a_wide_letter_that_does_not_fit_becomes_a_blank(self) -> None:
        self.assertEqual(paint([[("text", "a日本")]], 4, 1, terminal_text).text, ["a日 ".encode()])

    def test_neighbors_of_one_style_are_one_run(self) -> None:
        (row,) = paint(
            [[("text", "a"), ("text", "b"), ("dim", "c")]], 3, 1, terminal_text
        ).content()
        self.assertEqual(row, [("text", None, b"ab"), ("dim", None, b"c")])

    def test_a_line_that_did_not_change_is_the_same_row(self) -> None:
        first, second = (paint([[("text", "a line")]], 9, 1, terminal_text) for _ in range(2))
        self.assertIs(first.lines[0], second.lines[0])

    def test_every_text_is_sanitized(self) -> None:
        self.assertEqual(paint([[("text", "\x1b[31m")]], 5, 1, terminal_text).text, [b"?[31m"])
        self.assertEqual(paint([[("text", "──│")]], 3, 1, ascii_only).text, [b"--|"])
