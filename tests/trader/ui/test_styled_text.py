"""Lines of styled text."""

from __future__ import annotations

from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from trader.ui.styled_text import StyledLine, fit, justify, length, pnl_style, table_row, text_of


def plain(line: StyledLine) -> str:
    """Return the text of a line."""
    return text_of(line)


class TableRowTests(SynchronousTestCase):
    """Cells of a table."""

    def test_cells_are_padded_to_their_width(self) -> None:
        self.assertEqual(
            table_row([("text", "MNQ", 5), ("gain", "+1.00", -8), ("dim", "s", 2)]),
            [
                ("text", "MNQ  "),
                (None, " "),
                ("gain", "   +1.00"),
                (None, " "),
                ("dim", "s "),
                (None, " "),
            ],
        )

    def test_a_cell_that_fits_exactly_is_whole(self) -> None:
        self.assertEqual(plain(table_row([("text", "12345", -5)])), "12345 ")

    def test_a_cell_that_is_too_long_says_that_it_was_cut(self) -> None:
        self.assertEqual(plain(table_row([("text", "123456", 5)])), "1234… ")
        self.assertEqual(plain(table_row([("text", "123456", -5)])), "1234… ")

    def test_rows_of_the_same_cells_are_as_wide_as_each_other(self) -> None:
        widths = (10, -4, -12)
        rows = [
            table_row([("text", text, width) for width in widths])
            for text in ("", "x", "a very long text indeed")
        ]
        self.assertEqual({length(cells) for cells in rows}, {29})


class JustifyTests(SynchronousTestCase):
    """Lines with two ends."""

    def test_both_ends_touch_the_edges(self) -> None:
        line = justify([("text", "left")], [("good", "right")], 20)
        self.assertEqual(plain(line), "left           right")
        self.assertEqual(length(line), 20)

    def test_both_ends_stay_apart_without_room(self) -> None:
        self.assertEqual(plain(justify([("text", "left")], [("good", "right")], 4)), "left right")


class PnlStyleTests(SynchronousTestCase):
    """The style of an amount."""

    def test_gain_loss_and_neither_differ(self) -> None:
        self.assertEqual(pnl_style(Decimal("0.01")), "gain")
        self.assertEqual(pnl_style(Decimal("-0.01")), "loss")
        self.assertEqual(pnl_style(Decimal("0.00")), "text")


class FitTests(SynchronousTestCase):
    """A line that is too long."""

    def test_a_line_ends_before_a_figure_that_would_be_cut(self) -> None:
        line: StyledLine = [
            ("dim", "14:45:16 "),
            ("alert", "Loss of a trade: -$518.00 (limit $500)"),
        ]
        for width, shown in (
            (47, "14:45:16 Loss of a trade: -$518.00 (limit $500)"),
            (46, "14:45:16 Loss of a trade: -$518.00 (limit …"),
            (35, "14:45:16 Loss of a trade: -$518.00…"),
            (34, "14:45:16 Loss of a trade: …"),
        ):
            self.assertEqual(text_of(fit(line, width)), shown)

    def test_a_single_word_that_is_too_long_is_cut(self) -> None:
        self.assertEqual(text_of(fit([("text", "incomprehensible")], 9)), "incompre…")

    def test_blanks_at_the_end_are_cut_without_an_ellipsis(self) -> None:
        line: StyledLine = [("text", "MNQ"), ("text", "      ")]
        self.assertEqual(text_of(fit(line, 4)), "MNQ ")
