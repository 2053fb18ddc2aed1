"""The screen as a page: what is sent, and what is not."""

from __future__ import annotations

import json
import re
from importlib.resources import files

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from trader.model.formatting import terminal_text, text_width
from trader.ui.browser import BrowserScreen, script
from trader.ui.palette import MONO, THEMES
from trader.ui.terminal import paint

SIZE = (30, 4)


class Connection:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.is_closed = False

    def send(self, text: str) -> None:
        """Keep a message."""
        self.sent.append(text)

    def close(self) -> None:
        """Note the end."""
        self.is_closed = True

    def take(self) -> list[str]:
        """Return the messages since the last call."""
        sent, self.sent = self.sent, []
        return sent


class BrowserTestCase(SynchronousTestCase):
    """A screen in the dark theme."""

    def setUp(self) -> None:
        self.connection = Connection()
        self.screen = BrowserScreen(self.connection)
        self.choose("dark")
        self.screen.start()
        self.connection.take()

    def choose(self, theme: str) -> None:
        """Choose a theme, as the console does."""
        self.screen.set_terminal_properties(colors=1 if theme == MONO else 2**24)
        self.screen.register_palette(THEMES[theme])

    def draw(self, *lines: str, style: str = "text") -> list[str]:
        """Draw lines of one style; return what was sent."""
        canvas = paint([[(style, line)] for line in lines], *SIZE, terminal_text)
        self.screen.draw_screen(SIZE, canvas)
        return self.connection.take()


class FrameTests(BrowserTestCase):
    """Frames, and the signs of life between them."""

    def test_after_the_first_frame_only_changed_rows_are_sent(self) -> None:
        (first,) = self.draw("one", "two", "three")
        self.assertIn("three", first)
        (second,) = self.draw("one", "2", "three")
        self.assertIn("2", second)
        self.assertNotIn("one", second)
        self.assertLess(len(second), 160)

    def test_a_screen_that_is_the_same_is_a_sign_of_life(self) -> None:
        self.draw("one")
        self.assertEqual(self.draw("one"), ["{}"])

    def test_a_page_that_does_not_read_gets_nothing_and_then_the_present_screen(self) -> None:
        self.draw("one", "two")
        self.screen.is_congested = True
        for number in range(100):
            self.assertEqual(self.draw("one", str(number)), [])
        self.screen.set_title("LOCKED")
        self.assertEqual(self.connection.take(), [])
        self.screen.is_congested = False
        (frame,) = self.draw("one", "last")
        self.assertIn("last", frame)

    def test_clearing_sends_every_row(self) -> None:
        self.draw("one", "two")
        self.screen.clear()
        (frame,) = self.draw("one", "two")
        self.assertIn("one", frame)

    def test_another_size_is_drawn_whole(self) -> None:
        self.draw("one")
        canvas = paint([[("text", "one")]], 40, 4, terminal_text)
        self.screen.draw_screen((40, 4), canvas)
        self.assertIn("one", self.connection.take()[0])

    def test_a_closed_screen_sends_nothing(self) -> None:
        self.screen.close()
        self.draw("one")
        self.screen.ring()
        self.assertTrue(self.connection.is_closed)
        self.assertEqual(self.connection.take(), [])

    @settings(max_examples=20)
    @given(st.lists(st.text(max_size=40), max_size=4))
    def test_no_text_is_taken_for_a_message(self, lines: list[str]) -> None:
        self.screen.clear()
        (frame,) = self.draw(*lines)
        self.assertFalse(frame.startswith("{"))
        # A frame of urwid's has an empty line after each row.
        self.assertEqual(len(re.findall(r"\n\n|^\n", frame)), SIZE[1])


class ThemeTests(BrowserTestCase):
    """Colors where a terminal has a ground of its own."""

    def test_every_theme_names_its_ground(self) -> None:
        for theme, ground in (("light", "white"), ("dark", "black"), (MONO, "black")):
            self.choose(theme)
            self.assertEqual(json.loads(self.connection.take()[-1]), {"ground": ground})

    def test_what_a_theme_leaves_to_the_terminal_is_light_on_black(self) -> None:
        for theme in ("dark", "colorblind", MONO):
            self.choose(theme)
            self.screen.clear()
            (frame,) = self.draw("text", style="strong")[-1:]
            self.assertIn("background-color:#000000", frame)

    def test_mono_has_no_colors_but_bold_and_reverse(self) -> None:
        self.choose(MONO)
        self.connection.take()
        (frame,) = self.draw("LOCKED", style="alert")
        self.assertIn("color:#000000;background-color:#e5e5e5;font-weight:bold", frame)

    def test_each_style_of_each_theme_can_be_drawn(self) -> None:
        for theme, palette in THEMES.items():
            self.choose(theme)
            self.connection.take()
            for name, *_ in palette:
                self.screen.clear()
                (frame,) = self.draw("text", style=name or "text")
                self.assertRegex(frame, r"^color:#[0-9a-f]{6};background-color:#[0-9a-f]{6}")


class MessageTests(BrowserTestCase):
    """What the page is sent beside frames, and what it sends."""

    def test_a_title_is_sent_once(self) -> None:
        for title in ("LOCKED - 123", "LOCKED - 123", "123"):
            self.screen.set_title(title)
        sent = [json.loads(message)["title"] for message in self.connection.take()]
        self.assertEqual(sent, ["LOCKED - 123", "123"])

    def test_the_bell_is_a_message(self) -> None:
        self.screen.ring()
        self.assertEqual(json.loads(self.connection.take()[0]), {"ring": True})

    def test_what_no_page_sends_is_refused(self) -> None:
        for message in (
            "",
            "{}",
            "[]",
            '{"type":"key","key":"quit now"}',
            '{"type":"key","key":"\\u0003"}',
            '{"type":"resize","cols":0,"rows":24}',
            '{"type":"paste","text":"q"}',
            "x" * 10_000,
        ):
            self.assertRaises(ValueError, self.screen.feed, message)

    def test_a_flood_of_keys_is_refused(self) -> None:
        for _ in range(64):
            self.screen.feed('{"type":"key","key":"j"}')
        self.assertRaises(ValueError, self.screen.feed, '{"type":"key","key":"j"}')

    def test_a_size_is_bounded(self) -> None:
        self.screen.feed('{"type":"resize","cols":1000000,"rows":1000000}')
        self.assertEqual(self.screen.get_cols_rows(), (200, 100))


class PageTests(SynchronousTestCase):
    """The page's script and the console agree."""

    def test_the_page_knows_the_wide_characters(self) -> None:
        page = files("trader.web").joinpath("page", "console.js").read_text(encoding="utf-8")
        (pattern,) = re.findall(r"^const WIDE = /(.*)/u;$", page, re.MULTILINE)
        wide = re.compile(
            re.sub(r"\\u\{(\w+)\}", lambda found: rf"\U{int(found[1], 16):08x}", pattern)
        )
        # No character beyond the second plane is shown.
        shown = set(terminal_text("".join(map(chr, range(0x30000)))))
        different = [
            letter for letter in shown if bool(wide.search(letter)) != (text_width(letter) == 2)
        ]
        self.assertEqual(different, [])

    def test_what_the_page_uses_of_urwid_is_there(self) -> None:
        for name in (b"function render_update(text)", b"function key_name(e)"):
            self.assertIn(name, script())
