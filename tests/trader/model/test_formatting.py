"""Amounts, prices and times as text, and the characters that a terminal shows safely."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import wcwidth
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from trader.model.formatting import (
    UNKNOWN,
    age,
    ascii_only,
    can_be_drawn,
    clock,
    countdown,
    cut_text,
    is_plain,
    money,
    pad_text,
    price,
    sentence,
    terminal_text,
    text_width,
)


@cache
def drawn() -> list[str]:
    """Return all characters that are drawn as they are; a million are looked at, so not on import."""
    letters = "".join(map(chr, range(0x110000)))
    shown = terminal_text(letters)
    return [letter for letter, form in zip(letters, shown, strict=True) if form == letter]


class MoneyTests(SynchronousTestCase):
    """Dollars and cents."""

    def test_gains_and_losses_carry_their_sign_thousands_and_cents(self) -> None:
        for amount, text in (
            ("45.5", "+$45.50"),
            ("-45.5", "-$45.50"),
            ("1234.5", "+$1,234.50"),
            ("-1234567.89", "-$1,234,567.89"),
            ("0.01", "+$0.01"),
            ("-0.01", "-$0.01"),
            ("100", "+$100.00"),
        ):
            self.assertEqual(money(Decimal(amount)), text)

    def test_zero_has_no_sign(self) -> None:
        for amount in ("0", "0.00", "-0.00", "0E-12"):
            self.assertEqual(money(Decimal(amount)), "$0.00")

    def test_less_than_half_a_cent_is_zero(self) -> None:
        for amount in ("-0.001", "0.004", "-0.000000000001"):
            self.assertEqual(money(Decimal(amount)), "$0.00")

    def test_no_cent_of_a_large_amount_is_lost(self) -> None:
        self.assertEqual(money(Decimal("999999999999999.99")), "+$999,999,999,999,999.99")


class PriceTests(SynchronousTestCase):
    """Prices with the decimals of their tick size."""

    def test_a_price_has_the_decimals_that_are_asked_for(self) -> None:
        for value, places, text in (
            ("21000.5", 2, "21000.50"),
            ("21000", 2, "21000.00"),
            ("44001", 0, "44001"),
            ("0.006675", 7, "0.0066750"),
            ("1.08505", 5, "1.08505"),
            ("-37.63", 2, "-37.63"),
        ):
            self.assertEqual(price(Decimal(value), places), text)

    def test_a_price_keeps_its_decimals_if_the_tick_size_is_unknown(self) -> None:
        for value in ("21000.5", "21000.50", "72", "5800.333333333333"):
            self.assertEqual(price(Decimal(value), None), value)

    def test_a_price_has_no_exponent(self) -> None:
        self.assertEqual(price(Decimal("5E-7"), None), "0.0000005")


class TimeTests(SynchronousTestCase):
    """Times of day, ages and countdowns."""

    def use_zone(self, zone: str) -> None:
        """Set the local time zone until the end of the test."""
        self.addCleanup(time.tzset)
        before = os.environ.get("TZ")
        if before is None:
            self.addCleanup(os.environ.pop, "TZ", None)
        else:
            self.addCleanup(os.environ.__setitem__, "TZ", before)
        os.environ["TZ"] = zone
        time.tzset()

    def test_the_ends_of_the_calendar_have_a_time_of_day(self) -> None:
        for zone in ("UTC-9", "CST6CDT"):
            self.use_zone(zone)
            for end in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
                self.assertRegex(clock(end), r"\d\d:\d\d:\d\d")

    def test_the_time_of_day_is_local(self) -> None:
        self.use_zone("CST6CDT")
        moment = datetime(2025, 1, 17, 14, 45, 15, 999_000, tzinfo=UTC)
        self.assertEqual(clock(moment), "08:45:15")

    def test_an_age_is_in_its_largest_unit(self) -> None:
        for seconds, text in (
            (0, "0 s"),
            (0.9, "0 s"),
            (59.9, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (86_399, "23 h"),
            (86_400, "1 d"),
            (864_000, "10 d"),
        ):
            self.assertEqual(age(seconds), text)

    def test_a_time_ahead_of_the_clock_has_age_zero(self) -> None:
        self.assertEqual(age(-5), "0 s")

    def test_a_countdown_below_an_hour_has_no_hours(self) -> None:
        for seconds, text in (
            (0, "0:00"),
            (9, "0:09"),
            (885, "14:45"),
            (3599.9, "59:59"),
            (3600, "1:00:00"),
            (8085, "2:14:45"),
            (360_000, "100:00:00"),
        ):
            self.assertEqual(countdown(seconds), text)

    def test_a_countdown_ends_at_zero(self) -> None:
        self.assertEqual(countdown(-1), "0:00")
        self.assertEqual(countdown(-7200), "0:00")


class SentenceTests(SynchronousTestCase):
    """Sentences."""

    def test_only_the_first_letter_is_capitalized(self) -> None:
        for text, capitalized in (
            ("", ""),
            ("lost connection to daemon", "Lost connection to daemon"),
            ("account 123 is not in /State", "Account 123 is not in /State"),
            ("4 tries", "4 tries"),
        ):
            self.assertEqual(sentence(text), capitalized)


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

    def test_characters_that_join_or_reverse_others_become_question_marks(self) -> None:
        for text, shown in (
            ("\u270b\U0001f3fd", "??"),
            ("\U0001f1fa\U0001f1f8", "??"),
            ("\U0001f469\u200d\U0001f680", "???"),
            ("\u26a0\ufe0f", "\u26a0?"),
            ("1\ufe0f\u20e3", "1??"),
            ("\u05d0 -$45.50", "? -$45.50"),
            ("\u0644\u0627", "??"),
            ("\u0e01\u0e33", "\u0e01?"),
            ("\u0915\u093e", "\u0915?"),
            ("\u1112\u1161\u11ab", "???"),
            ("\uff76\uff9e", "\uff76?"),
        ):
            self.assertEqual(terminal_text(text), shown)

    def test_letters_signs_and_east_asian_text_stay(self) -> None:
        text = "Zürich ₿ € ±½ ── █░ Ελλάς Россия 日本語 ｶﾀｶﾅ 한국 กข"
        self.assertEqual(terminal_text(text), text)


class WidthTests(SynchronousTestCase):
    """The columns that a text fills, on terminals of either kind."""

    def test_every_terminal_gives_a_character_as_many_columns(self) -> None:
        disputed = [
            hex(ord(letter))
            for letter in drawn()
            if not text_width(letter) == wcwidth.wcwidth(letter) == wcwidth.wcswidth(letter) > 0
        ]
        self.assertEqual(disputed, [])

    def test_what_needs_no_check_is_safe_and_fills_one_column(self) -> None:
        plain = [chr(code) for code in range(0x10000) if is_plain(chr(code))]
        self.assertGreater(len(plain), 200)
        self.assertLessEqual(set(plain), set(drawn()))
        self.assertEqual({wcwidth.wcwidth(letter) for letter in plain}, {1})
        self.assertFalse(is_plain("a\n") or is_plain("─\n") or is_plain("─日"))

    def test_no_character_joins_another_one(self) -> None:
        # Of characters one apart, each is beside every class of neighbors.
        joined = [
            hex(ord(letter))
            for letter in drawn()
            for neighbor in ("a", "1", "가", "か", "☎", letter)
            for text in (letter + neighbor, neighbor + letter)
            if len(list(wcwidth.iter_graphemes(text))) != 2
        ]
        self.assertEqual(joined, [])

    @given(st.text())
    def test_a_text_has_one_width_by_characters_and_by_graphemes(self, text: str) -> None:
        shown = terminal_text(text)
        self.assertEqual(len(shown), len(text))
        self.assertEqual(sum(map(wcwidth.wcwidth, shown)), text_width(text))
        self.assertEqual(wcwidth.wcswidth(shown), text_width(text))

    @given(st.text(), st.integers(0, 40))
    def test_a_text_is_cut_after_the_last_character_that_fits(
        self, text: str, columns: int
    ) -> None:
        cut = cut_text(text, columns)
        self.assertTrue(text.startswith(cut))
        self.assertLessEqual(text_width(cut), columns)
        if cut != text:
            self.assertGreater(text_width(text[: len(cut) + 1]), columns)

    def test_a_text_is_padded_to_columns(self) -> None:
        self.assertEqual(pad_text("日", 4), "日  ")
        self.assertEqual(pad_text("日", -4), "  日")
        self.assertEqual(pad_text("日本", 3), "日本")
        self.assertEqual(pad_text("a", 3), "a  ")


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
