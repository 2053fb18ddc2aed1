"""The rows of a page, and all pages at all sizes."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tests import in_one_runner
from tests.support.console import BEGIN, DAY, MNQ, at
from tests.support.screen import LIMITS, MES, PageTestCase
from trader.model.formatting import clock
from trader.ui import pages
from trader.ui.pages import PAGES, body, row_mark, selected_text
from trader.ui.palette import THEMES
from trader.ui.styled_text import StyledLine, text_of


class VisibleRowsTests(PageTestCase):
    """The rows around the selected one."""

    page = "Trades"

    def trade(self, number: int, pnl: float) -> None:
        """Report a trade, one second after the other."""
        executed = at(number)
        self.receive("GatewayUserTrade", id=number, profitAndLoss=pnl, executionTime=executed)

    def test_the_selected_row_is_always_visible_and_arrows_mark_more_rows(self) -> None:
        for number in range(40):
            self.trade(number, -1)
        for row in (0, 1, 20, 38, 39):
            self.change(row=row)
            shown = self.below("Time ")
            (chosen,) = [text for text in shown if text.startswith("> ")]
            self.assertTrue(chosen.endswith(f"-${40 - row}.00"), chosen)
            self.assertEqual(any(text.startswith("↑ ") for text in shown), row > 3, row)
            self.assertEqual(any(text.startswith("↓ ") for text in shown), row < 36, row)


class SelectionTests(PageTestCase):
    """Rows to select, and the text that is copied."""

    def places(self, columns: int = 80, rows: int = 20) -> int:
        """Return over how many rows or lines the page can be scrolled."""
        return body(self.session.view(), self.ui_state, self.now, columns, rows).places

    def test_there_is_a_place_for_each_row(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        for page, number in (("Trades", 1), ("Limits", 4), ("Lockouts", 0)):
            self.turn(page)
            self.assertEqual(self.places(), number, page)

    def test_the_selected_text_is_one_line_without_styles(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-45.5, executionTime=at(0))
        self.turn("Trades")
        text = selected_text(self.session.view(), self.ui_state, self.now, 80, 20)
        self.assertEqual(text, f"{clock(BEGIN)} MNQU5 - 2 - - -$45.50 -$45.50")

    def test_an_empty_page_has_no_selected_text(self) -> None:
        self.turn("Trades")
        self.assertEqual(selected_text(self.session.view(), self.ui_state, self.now, 80, 20), "")


class SearchTests(PageTestCase):
    """Rows with a text."""

    def setUp(self) -> None:
        super().setUp()
        for number, contract in enumerate((MNQ, MES, MNQ)):
            self.receive("GatewayUserTrade", id=number, contractId=contract, profitAndLoss=number)
        self.turn("Trades")

    def test_rows_without_the_text_are_left_out(self) -> None:
        self.change(search="mnq")
        shown = "\n".join(self.rows())
        self.assertIn("/mnq   2 rows; n next", shown)
        listed = "\n".join(self.below("Time "))
        self.assertEqual((listed.count("MNQU5"), listed.count("MESU5")), (2, 0))
        self.assertIn("MNQU5", selected_text(self.session.view(), self.ui_state, self.now, 80, 20))

    def test_a_text_that_no_row_has_leaves_none(self) -> None:
        self.change(search="zzz", row=2)
        self.assertIn("/zzz   0 rows", "\n".join(self.rows()))
        self.assertEqual(selected_text(self.session.view(), self.ui_state, self.now, 80, 20), "")

    def test_while_it_is_typed_there_is_a_cursor(self) -> None:
        self.change(search="m", is_typing=True)
        self.assertIn("/m_   3 rows; Enter keeps it, Esc ends it", "\n".join(self.rows()))

    def test_lines_of_a_page_without_rows_are_found(self) -> None:
        self.turn("Connection")
        self.change(search="gateway")
        shown = [row for row in self.rows() if row.startswith("Gateway")]
        self.assertEqual(len(shown), 1)
        self.assertNotIn("Reconnects", "\n".join(self.rows()))


class OpenRowTests(PageTestCase):
    """The selected row in full."""

    def test_all_of_a_long_row_is_shown(self) -> None:
        reason = " ".join(f"word{number}" for number in range(40))
        self.receive("enforcement_action", reason=reason)
        self.turn("Activity")
        self.change(is_open=True)
        shown = " ".join(" ".join(self.rows(60, 24)).split())
        self.assertIn("Row 1 of ", shown)
        self.assertIn(reason, shown)

    def test_nothing_opens_without_rows(self) -> None:
        self.turn("Trades")
        self.change(is_open=True)
        self.assertIn("Trades of the day", "\n".join(self.rows()))


class ScrollTests(PageTestCase):
    """Pages without rows."""

    def test_every_line_can_be_reached(self) -> None:
        self.connect()
        self.fill()
        for page in ("Overview", "Connection"):
            self.turn(page)
            view = self.session.view()
            whole = {text_of(line) for line in body(view, self.ui_state, self.now, 60, 400).lines}
            seen = set[str]()
            places = body(view, self.ui_state, self.now, 60, 9).places
            self.assertGreater(places, 1)
            for scroll in range(places):
                self.change(scroll=scroll)
                lines = body(view, self.ui_state, self.now, 60, 9).lines
                self.assertLessEqual(len(lines), 9)
                seen |= {text_of(line) for line in lines}
            self.assertEqual(whole - seen, set())
            self.change(scroll=0)


class RowMarkTests(PageTestCase):
    def test_no_theme_underlines_the_column_of_marks(self) -> None:
        marks = {row_mark(number, 3, 9, range(1, 6)) for number in range(1, 6)}
        self.assertEqual({"↑ ", "  ", "> ", "↓ "}, {text for _style, text in marks})
        for name, theme in THEMES.items():
            styles = {style: f"{colors} {attributes}" for style, colors, _, attributes in theme}
            for style, text in marks:
                self.assertNotIn("underline", styles[style], f"{text!r} in {name}")


class DrawingTests(PageTestCase):
    """What is drawn, and how much is laid out for it."""

    def test_a_page_is_laid_out_once_for_a_draw(self) -> None:
        self.connect()
        self.fill()
        laid_out: list[int] = []
        page = pages.PAGES[0]

        def heading(*given: Any) -> list[StyledLine]:
            laid_out.append(given[-1])
            return page.heading(*given)

        self.patch(pages, "PAGES", (replace(page, heading=heading), *pages.PAGES[1:]))
        self.turn("Overview")
        self.canvas(120, 40)
        (height,) = laid_out
        self.assertLess(height, 40)

    def test_what_is_drawn_are_the_lines_of_the_body(self) -> None:
        self.connect()
        self.fill()
        view = self.session.view()
        for page in PAGES:
            self.turn(page.name)
            for changes in ({}, {"scroll": 2}, {"search": "o"}):
                self.change(**{"scroll": 0, "search": "", **changes})
                drawn = pages.drawn_lines(view, self.ui_state, self.now, 80, 20)
                self.assertEqual(drawn, body(view, self.ui_state, self.now, 80, 20).lines)


class EveryPageTests(PageTestCase):
    """All pages in all states."""

    @in_one_runner
    def test_every_page_fills_every_size_and_ascii_is_ascii(self) -> None:
        self.file.publish(*DAY, limits=LIMITS)
        for act in (lambda: None, self.connect, self.fill, self.lose, lambda: self.wait(100)):
            act()
            for number in range(len(PAGES)):
                for is_ascii in (False, True):
                    for other in (
                        {},
                        {"is_help": True},
                        {"scroll": 3},
                        {"search": "o", "row": 1},
                        {"is_open": True},
                    ):
                        plain = {
                            "is_help": False,
                            "is_open": False,
                            "scroll": 0,
                            "search": "",
                            "row": 0,
                        }
                        self.change(page=number, is_ascii=is_ascii, **{**plain, **other})
                        for columns, rows in ((60, 14), (80, 24), (120, 40), (240, 80)):
                            canvas = self.canvas(columns, rows)
                            self.assertEqual((canvas.cols(), len(canvas.text)), (columns, rows))
                            if is_ascii:
                                self.assertTrue(all(text.isascii() for text in canvas.text))
