"""Text from elsewhere, in logs, on terminals and in JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.safe_text import json_text, printable, printable_json

UNSAFE = "\x1b\x07\x7f\x9b\x85\u202e\u2066\u200f\u2028\ufeff\U000e0041"


class PrintableTests(SynchronousTestCase):
    """One line without commands."""

    def test_sound_text_stays(self) -> None:
        for text in ("", "MNQ 21,000 \\ 'x'", "Grüße, 日本, سلام"):
            self.assertEqual(printable(text), text)

    def test_unsafe_characters_are_escaped_and_white_space_is_a_blank(self) -> None:
        self.assertEqual(
            printable("a\x1b[2J\n\u202eb\x9b\x7f\U000e0041"),
            r"a\x1b[2J \u202eb\x9b\x7f\U000e0041",
        )

    @given(st.text(st.characters()))
    def test_any_text_becomes_printable(self, text: str) -> None:
        self.assertTrue(printable(text).isprintable())


class JsonTests(SynchronousTestCase):
    """JSON for programs that a terminal may show."""

    def test_unsafe_characters_are_escaped_and_stay_in_the_value(self) -> None:
        text = json_text({"name": UNSAFE})
        self.assertTrue(text.isprintable())
        self.assertEqual(json.loads(text), {"name": UNSAFE})

    @given(st.text(st.characters(codec="utf-8")))
    def test_any_value_keeps_its_meaning(self, text: str) -> None:
        for written in (json_text([text]), printable_json(json.dumps([text], ensure_ascii=False))):
            self.assertTrue(written.isprintable())
            self.assertEqual(json.loads(written), [text])
