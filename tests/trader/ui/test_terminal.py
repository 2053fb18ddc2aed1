"""The terminal writes the cells that have changed, and after each drawing shows the whole picture."""

from __future__ import annotations

import io
from typing import Any

import pyte
import urwid
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.golden.captures import in_utc
from tests.golden.scenario import STATES, Scenario
from trader.model.characters import printable
from trader.ui.canvas import paint
from trader.ui.palette import THEMES
from trader.ui.styled_text import StyledLine
from trader.ui.terminal import Terminal, changed_spans

COLUMNS, ROWS = 40, 6

STYLES = st.sampled_from(["text", "dim", "alert", "gain"])
LINES = st.lists(
    st.lists(st.tuples(STYLES, st.text("ab 日é\u0301", max_size=12)), max_size=4),
    min_size=ROWS,
    max_size=ROWS,
)


class Drawn:
    """A terminal, and what it shows."""

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
        return self.draw(paint(lines, *self.size, printable))

    @property
    def cells(self) -> list[list[tuple[str, str, str, bool]]]:
        """What each cell shows, and in which colors."""
        rows = [self.screen.buffer[row] for row in range(self.size[1])]
        return [
            [
                (cell.data, cell.fg, cell.bg, cell.bold)
                for cell in (row[x] for x in range(self.size[0]))
            ]
            for row in rows
        ]


class SpanTests(SynchronousTestCase):
    """Which cells are written."""

    def test_spans_hold_what_differs_and_little_else(self) -> None:
        for before, after, spans in (
            ("abc", "abc", []),
            ("abc", "aXc", [(1, 2)]),
            ("abc", "XbX", [(0, 3)]),
            ("a" + "-" * 9 + "b", "X" + "-" * 9 + "Y", [(0, 1), (10, 11)]),
            ("", "", []),
        ):
            self.assertEqual(list(changed_spans(before, after)), spans)

    @given(st.text("ab", max_size=40), st.data())
    def test_with_the_spans_the_old_becomes_the_new(self, before: str, data: Any) -> None:
        after = data.draw(st.text("ab", min_size=len(before), max_size=len(before)))
        made = list(before)
        for begin, end in changed_spans(before, after):
            made[begin:end] = after[begin:end]
        self.assertEqual("".join(made), after)


class DrawingTests(SynchronousTestCase):
    """What a terminal shows."""

    def test_what_has_not_changed_is_not_written(self) -> None:
        drawn = Drawn()
        drawn.draw_lines("a line", "another")
        self.assertEqual(drawn.draw_lines("a line", "another"), "")

    def test_one_figure_costs_its_own_cells(self) -> None:
        drawn = Drawn()
        drawn.draw_lines("last 21000.25 of all", "another")
        written = drawn.draw_lines("last 21000.50 of all", "another")
        self.assertIn("\x1b[1;12H", written)
        self.assertTrue(written.endswith("50"), repr(written))
        self.assertEqual(drawn.screen.display[0].rstrip(), "last 21000.50 of all")

    def test_after_a_clear_everything_is_written(self) -> None:
        drawn = Drawn()
        drawn.draw_lines("a line")
        drawn.terminal.clear()
        self.assertIn("a line", drawn.draw_lines("a line"))

    def test_another_size_is_written_whole(self) -> None:
        drawn = Drawn()
        drawn.draw_lines("a line")
        drawn.size = (30, 5)
        self.assertIn("a line", drawn.draw_lines("a line"))

    @given(st.lists(LINES, min_size=2, max_size=4))
    def test_picture_after_picture_it_shows_what_a_new_terminal_shows(
        self, pictures: list[list[StyledLine]]
    ) -> None:
        drawn = Drawn()
        for lines in pictures:
            drawn.draw(paint(lines, COLUMNS, ROWS, printable))
        fresh = Drawn()
        fresh.draw(paint(pictures[-1], COLUMNS, ROWS, printable))
        self.assertEqual(drawn.cells, fresh.cells)

    def test_every_state_after_every_other_is_shown_whole(self) -> None:
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
