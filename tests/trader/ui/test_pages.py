"""The rows of a page, and all pages at all sizes."""

from __future__ import annotations

from tests.support.console import BEGIN, DAY, at
from tests.support.screen import LIMITS, PageTestCase
from trader.model.formatting import clock
from trader.ui.pages import PAGES, row_count, selected_text


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
            self.assertTrue(chosen.endswith(f"{-(40 - row)}.00"), chosen)
            self.assertEqual(any(text.startswith("↑ ") for text in shown), row > 3, row)
            self.assertEqual(any(text.startswith("↓ ") for text in shown), row < 36, row)


class SelectionTests(PageTestCase):
    """Rows to select, and the text that is copied."""

    def test_the_row_count_is_the_number_of_rows(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        for page, number in (("Overview", 0), ("Trades", 1), ("Limits", 4), ("Lockouts", 0)):
            self.turn(page)
            self.assertEqual(row_count(self.session.view(), self.ui_state, self.now), number, page)

    def test_the_selected_text_is_one_line_without_styles(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-45.5, executionTime=at(0))
        self.turn("Trades")
        text = selected_text(self.session.view(), self.ui_state, self.now, 80)
        self.assertEqual(text, f"{clock(BEGIN)} MNQU5 2 -45.50 -45.50")

    def test_an_empty_page_has_no_selected_text(self) -> None:
        self.turn("Trades")
        self.assertEqual(selected_text(self.session.view(), self.ui_state, self.now, 80), "")


class EveryPageTests(PageTestCase):
    """All pages in all states."""

    def test_every_page_fills_every_size_and_ascii_is_ascii(self) -> None:
        self.file.publish(*DAY, limits=LIMITS)
        for act in (lambda: None, self.connect, self.fill, self.lose, lambda: self.wait(100)):
            act()
            for number in range(len(PAGES)):
                for is_ascii in (False, True):
                    for is_help in (False, True):
                        self.change(page=number, is_ascii=is_ascii, is_help=is_help)
                        for columns, rows in ((60, 14), (80, 24), (120, 40), (240, 80)):
                            canvas = self.canvas(columns, rows)
                            self.assertEqual((canvas.cols(), len(canvas.text)), (columns, rows))
                            if is_ascii:
                                self.assertTrue(all(text.isascii() for text in canvas.text))
