"""What is typed and what is pasted, however the input is split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from trader.ui.paste import SILENCE_SECONDS, PasteFilter

BEGIN, END = b"\x1b[200~", b"\x1b[201~"


def without_marks(text: bytes) -> bool:
    """Return whether ``text`` has no mark in it, nor makes one with a mark beside it."""
    return b"\x1b" not in text


TYPED = st.binary(max_size=8).filter(without_marks)
PASTED = st.one_of(
    st.binary(max_size=20).filter(lambda text: END not in text and not text.endswith(b"\x1b")),
    st.sampled_from(
        [b"q\r", b"\x03\x1c\x1a\x13", b"\x1b[A\x1b[6~q", b"\xff\xc3", b"\x1b[20", BEGIN]
    ),
)


class Typist:
    """Feeds a filter as urwid does, and gathers what is typed."""

    def __init__(self) -> None:
        self.filter = PasteFilter()
        self.typed = b""
        self.now = 100.0

    def feed(self, data: bytes, after: float = 0.0) -> bytes:
        """Feed input ``after`` so many seconds; return what of it was typed."""
        self.now += after
        typed = bytes(self.filter.typed(data, self.now))
        self.typed += typed
        return typed


class PasteTests(SynchronousTestCase):
    """Pasted text is not typed."""

    def setUp(self) -> None:
        self.typist = Typist()

    def check(self, *reads: bytes, typed: bytes, gap: float = 0.3) -> None:
        """Check what was typed in ``reads``, with ``gap`` seconds between two."""
        typist = Typist()
        for data in reads:
            typist.feed(data, gap)
        self.assertEqual(typist.typed, typed)

    def test_keys_are_typed(self) -> None:
        for keys in (b"q", b"\x1b", b"\x1b[A", b"\x1b[6~", b"\x1b[20~", b"\x1b[201~", b"\x03"):
            self.check(keys, typed=keys)

    def test_what_stands_between_the_marks_is_not_typed(self) -> None:
        self.check(b"1" + BEGIN + b"a quick note\r" + END + b"2", typed=b"12")

    def test_two_pastes_in_one_read(self) -> None:
        self.check(BEGIN + b"q" + END + b"1" + BEGIN + b"q" + END + b"2", typed=b"12")

    def test_a_mark_within_a_paste_begins_no_other(self) -> None:
        self.check(BEGIN + b"q" + BEGIN + b"q" + END + b"2", typed=b"2")

    def test_a_paste_may_be_split_anywhere(self) -> None:
        whole = b"1" + BEGIN + b"a quick note" + END + b"2"
        for place in range(len(whole) + 1):
            typist = Typist()
            typist.feed(whole[:place])
            typist.feed(whole[place:], 0.3)
            # The escape of a mark may have been a key: its rest had not arrived.
            self.assertEqual(typist.typed.replace(b"\x1b", b""), b"12", place)

    def test_a_paste_may_arrive_byte_by_byte(self) -> None:
        typist = Typist()
        for code in b"1" + BEGIN + b"a quick note" + END + b"2":
            typist.feed(bytes([code]), 0.3)
        self.assertEqual(typist.typed.replace(b"\x1b", b""), b"12")

    def test_an_escape_that_was_no_key_yet_is_fed_again(self) -> None:
        self.assertEqual(self.typist.feed(b"\x1b"), b"\x1b")
        self.assertEqual(self.typist.feed(b"\x1b" + BEGIN[1:] + b"q" + END), b"")
        self.assertEqual(self.typist.feed(b"\x1b"), b"\x1b")
        self.assertEqual(self.typist.feed(b"\x1b[A"), b"\x1b[A")

    def test_a_key_that_begins_like_a_mark_is_typed_whole(self) -> None:
        for reads in ([b"\x1b[", b"A"], [b"\x1b", b"[A"], [b"\x1b[2", b"~"], [b"\x1b[200", b"q"]):
            self.check(*reads, typed=b"".join(reads))

    def test_a_paste_without_an_end_ends_with_silence(self) -> None:
        self.typist.feed(BEGIN + b"quick")
        self.assertEqual(self.typist.feed(b"q", SILENCE_SECONDS), b"")
        self.assertEqual(self.typist.feed(b"q", SILENCE_SECONDS + 0.1), b"q")

    def test_a_late_end_still_ends_the_paste(self) -> None:
        self.typist.feed(BEGIN + b"quick")
        self.assertEqual(self.typist.feed(b"quit" + END + b"1", SILENCE_SECONDS + 5), b"1")

    @given(st.lists(st.tuples(TYPED, PASTED), max_size=3), TYPED, st.data())
    def test_of_any_input_in_any_pieces_only_the_typed_part_is_returned(
        self, pairs: list[tuple[bytes, bytes]], last: bytes, data: st.DataObject
    ) -> None:
        whole = b"".join(typed + BEGIN + pasted + END for typed, pasted in pairs) + last
        places = data.draw(st.lists(st.integers(0, len(whole)), max_size=6).map(sorted))
        typist = Typist()
        for begin, end in zip([0, *places], [*places, len(whole)], strict=True):
            typist.feed(whole[begin:end], 0.1)
        expected = b"".join(typed for typed, _ in pairs) + last
        self.assertEqual(typist.typed.replace(b"\x1b", b""), expected)
