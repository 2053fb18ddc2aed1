"""Text with only those characters that a terminal shows safely."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from trader.model.characters import ascii_only, can_be_drawn, terminal_text
from trader.model.formatting import UNKNOWN


class PrintableTests(SynchronousTestCase):
    """Text from others, made safe for one row of a terminal."""

    def test_ordinary_text_is_unchanged(self) -> None:
        for text in ("", "Daily loss limit hit: -$550", "Zürich … 日本語", UNKNOWN):
            self.assertEqual(terminal_text(text), text)

    def test_white_space_becomes_a_blank(self) -> None:
        self.assertEqual(terminal_text("a\nb\rc\td\x0be\x85f\u2028g\xa0h"), "a b c d e f g h")

    def test_combining_marks_become_question_marks(self) -> None:
        self.assertEqual(terminal_text("e\u0301 \u20dd"), "e? ?")

    def test_control_characters_become_question_marks(self) -> None:
        for character in ("\x1b", "\x00", "\x07", "\x08", "\x7f", "\x9b", "\u202e", "\u200b"):
            self.assertEqual(terminal_text(f"a{character}b"), "a?b")

    def test_surrogates_become_question_marks(self) -> None:
        self.assertEqual(terminal_text("a\ud800b"), "a?b")

    def test_the_length_stays_the_same(self) -> None:
        text = "\x1b[31mred\x1b[0m\r\n"
        self.assertEqual(len(terminal_text(text)), len(text))


class EncodingTests(SynchronousTestCase):
    """Lines and bars in terminals of other encodings."""

    def test_only_some_encodings_have_lines_and_bars(self) -> None:
        for encoding, expected in (
            ("utf-8", True), ("gb18030", True), ("latin-1", False), ("ascii", False), (None, True),
        ):  # fmt: skip
            self.assertEqual(can_be_drawn(encoding), expected, encoding)

    def test_in_ascii_they_have_similar_characters(self) -> None:
        self.assertEqual(ascii_only("─│╭ █░ 5·…"), "-|+ #. 5.~")
        self.assertEqual(ascii_only("Zürich\x1b"), "Z?rich?")
