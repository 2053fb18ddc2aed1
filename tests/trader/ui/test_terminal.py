"""Lines of styled text on the canvas of a whole screen, and the cells that are written."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import tty
from typing import Any

import pyte
import urwid
import wcwidth
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.golden.captures import in_utc
from tests.golden.scenario import STATES, Scenario
from trader.model.formatting import ascii_only, terminal_text
from trader.ui.output import TerminalOutput
from trader.ui.palette import THEMES
from trader.ui.styled_text import StyledLine
from trader.ui.terminal import Row, Terminal, changed_spans, paint

COLUMNS, ROWS = 40, 6


def row(letters: str, marks: str | None = None) -> Row:
    """Return a row; by default, all of one style."""
    marks = "\1" * len(letters) if marks is None else marks
    return Row(letters, marks, is_single_width=True)


STYLES = st.sampled_from(["text", "dim", "alert", "gain"])
LINES = st.lists(
    st.lists(st.tuples(STYLES, st.text("ab 日é\u0301", max_size=12)), max_size=4),
    min_size=ROWS,
    max_size=ROWS,
)
ODD_LINES = st.lists(
    st.lists(
        st.tuples(
            STYLES,
            st.text(
                st.one_of(
                    st.characters(),
                    st.sampled_from(
                        "\u270b\U0001f3fd\U0001f1fa\u200d\ufe0f\u0301\u05d0\u202e日\u1161\u0e33"
                    ),
                ),
                max_size=COLUMNS + 5,
            ),
        ),
        max_size=3,
    ),
    min_size=ROWS,
    max_size=ROWS,
)
"""Lines of any characters, and more often of those of which terminals make something else."""


class Drawn:
    """A terminal with an emulator behind it, which shows what was written."""

    def __init__(self, columns: int = COLUMNS, rows: int = ROWS) -> None:
        self.output = io.StringIO()
        self.size = (columns, rows)
        self.terminal = Terminal(io.StringIO(), self.output)
        self.terminal.set_terminal_properties(colors=16, has_underline=True)
        self.terminal.register_palette(THEMES["dark"])
        self.terminal._started = True
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.Stream(self.screen)

    def draw(self, canvas: urwid.Canvas) -> str:
        """Draw; return what was written."""
        self.output.seek(0)
        self.output.truncate()
        self.terminal.draw_screen(self.size, canvas)
        written = self.output.getvalue()
        self.stream.feed(written)
        return written

    def draw_lines(self, *texts: str) -> str:
        """Draw lines of text."""
        lines: list[StyledLine] = [[("text", text)] for text in texts]
        return self.draw(paint(lines, *self.size, terminal_text))

    @property
    def cells(self) -> list[list[tuple[str, str, str, bool]]]:
        """Character, colors and boldness of each cell."""
        rows = [self.screen.buffer[row] for row in range(self.size[1])]
        return [
            [
                (cell.data, cell.fg, cell.bg, cell.bold)
                for cell in (row[x] for x in range(self.size[0]))
            ]
            for row in rows
        ]


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


class SpanTests(SynchronousTestCase):
    """The spans of changed cells."""

    def test_spans_cover_the_differences_and_small_gaps(self) -> None:
        for before, after, spans in (
            ("abc", "abc", []),
            ("abc", "aXc", [(1, 2)]),
            ("abc", "XbX", [(0, 3)]),
            ("a" + "-" * 9 + "b", "X" + "-" * 9 + "Y", [(0, 1), (10, 11)]),
            ("", "", []),
        ):
            self.assertEqual(list(changed_spans(row(before), row(after))), spans)

    def test_a_letter_of_another_style_is_a_difference(self) -> None:
        self.assertEqual(list(changed_spans(row("abc", "112"), row("abc", "122"))), [(1, 2)])
        before, after = row("a" * 9, "1" * 9), row("b" + "a" * 8, "1" * 8 + "2")
        self.assertEqual(list(changed_spans(before, after)), [(0, 1), (8, 9)])

    @given(st.text("ab│\U0010ffff", max_size=40), st.data())
    def test_writing_the_spans_makes_the_old_the_new(self, before: str, data: Any) -> None:
        after = data.draw(st.text("ab│\U0010ffff", min_size=len(before), max_size=len(before)))
        made = list(before)
        for begin, end in changed_spans(row(before), row(after)):
            made[begin:end] = after[begin:end]
        self.assertEqual("".join(made), after)


class DrawingTests(SynchronousTestCase):
    """What is written, and what the terminal shows then."""

    def test_an_unchanged_canvas_writes_nothing(self) -> None:
        drawn = Drawn()
        drawn.draw_lines("a line", "another")
        self.assertEqual(drawn.draw_lines("a line", "another"), "")

    def test_a_changed_figure_writes_its_own_cells(self) -> None:
        drawn = Drawn()
        drawn.draw_lines("last 21000.25 of all", "another")
        written = drawn.draw_lines("last 21000.50 of all", "another")
        self.assertIn("\x1b[1;12H", written)
        self.assertTrue(written.endswith("50"), repr(written))
        self.assertEqual(drawn.screen.display[0].rstrip(), "last 21000.50 of all")

    def test_a_cleared_terminal_is_written_whole(self) -> None:
        drawn = Drawn()
        drawn.draw_lines("a line")
        drawn.terminal.clear()
        self.assertIn("a line", drawn.draw_lines("a line"))

    def test_a_resized_terminal_is_written_whole(self) -> None:
        drawn = Drawn()
        drawn.draw_lines("a line")
        drawn.size = (30, 5)
        self.assertIn("a line", drawn.draw_lines("a line"))

    @given(st.lists(LINES, min_size=2, max_size=4))
    def test_after_any_canvases_the_terminal_shows_the_last_one_whole(
        self, pictures: list[list[StyledLine]]
    ) -> None:
        drawn = Drawn()
        for lines in pictures:
            drawn.draw(paint(lines, COLUMNS, ROWS, terminal_text))
        fresh = Drawn()
        fresh.draw(paint(pictures[-1], COLUMNS, ROWS, terminal_text))
        self.assertEqual(drawn.cells, fresh.cells)

    @given(ODD_LINES)
    def test_no_text_runs_over_the_edge_of_its_row(self, lines: list[StyledLine]) -> None:
        canvas = paint(lines, COLUMNS, ROWS, terminal_text)
        drawn = Drawn(COLUMNS, ROWS + 2)
        # As a program writes that relies on the width of rows alone.
        drawn.stream.feed("\r\n".join(text.decode() for text in canvas.text))
        for number, text in enumerate(canvas.text):
            shown = drawn.screen.display[number]
            self.assertEqual(shown.rstrip(), text.decode().rstrip())
            self.assertEqual(wcwidth.wcswidth(text.decode()), COLUMNS)

    def test_emoji_and_flags_leave_the_next_row_in_its_place(self) -> None:
        for text in ("hand \u270b\U0001f3fd", "from \U0001f1fa\U0001f1f8", "hand"):
            canvas = paint([[("text", text)], [(None, "second row")]], COLUMNS, 2, terminal_text)
            screen = pyte.Screen(COLUMNS, 4)
            pyte.ByteStream(screen).feed(b"\r\n".join(canvas.text))
            self.assertEqual(screen.display[1].rstrip(), "second row")

    def test_every_page_of_every_state_after_another_is_shown_whole(self) -> None:
        drawn = Drawn(80, 24)
        with in_utc():
            scenarios = [Scenario(path) for path in sorted(STATES.glob("*.jsonl"))]
            for page in range(6):
                for scenario in scenarios:
                    canvas = scenario.render(80, 24, page=page)
                    drawn.draw(canvas)
                    self.assertEqual(
                        [row.rstrip() for row in drawn.screen.display],
                        [row.decode().rstrip() for row in canvas.text],
                    )


class BellTests(SynchronousTestCase):
    """A bell on a terminal that takes output, or none for a while."""

    def setUp(self) -> None:
        self.master, slave = pty.openpty()
        self.addCleanup(os.close, self.master)
        # Not a byte of what is written is changed, and reading never waits.
        tty.setraw(slave)
        os.set_blocking(self.master, False)
        # Closing the file closes the slave.
        file = os.fdopen(slave, "w", encoding="utf-8")
        self.addCleanup(file.close)
        self.output = TerminalOutput(file)
        self.addCleanup(self.output.close)
        self.terminal = Terminal(io.StringIO(), self.output)
        self.terminal._started = True

    def fill(self) -> None:
        """Write more than the terminal takes."""
        while not self.output.is_congested:
            self.terminal.write("." * 4096)
            self.terminal.flush()

    def read(self) -> bytes:
        """Read all that the terminal has, and what it takes then."""
        taken = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.master, 65536):
                taken += piece
                self.output.flush()
        return taken

    def draw(self) -> None:
        """Draw, as is done when the terminal takes output again."""
        canvas = paint([[("text", "drawn")]], COLUMNS, ROWS, terminal_text)
        self.terminal.draw_screen((COLUMNS, ROWS), canvas)

    def test_it_rings_at_once(self) -> None:
        self.terminal.ring()
        self.assertEqual(self.read(), b"\a")
        self.draw()
        self.assertNotIn(b"\a", self.read())

    def test_a_terminal_that_takes_nothing_rings_once_afterwards(self) -> None:
        self.fill()
        self.terminal.ring()
        self.draw()
        self.terminal.ring()
        self.assertNotIn(b"\a", self.read())
        self.draw()
        self.assertEqual(self.read().count(b"\a"), 1)
        self.draw()
        self.assertNotIn(b"\a", self.read())
