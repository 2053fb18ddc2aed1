"""The P&L of a day as a curve of characters."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from trader.model.limit_usage import LossLevel
from trader.ui.pnl_curve import draw_curve
from trader.ui.styled_text import length, text_of


def curve_text(
    totals: list[int], limit: int | None, width: int = 32, height: int = 5
) -> list[str]:
    """Return the lines of a curve without styles and trailing blanks."""
    found = draw_curve(
        tuple(Decimal(total) for total in totals),
        None if limit is None else LossLevel("limit", "realized loss", Decimal(-limit)),
        width,
        height,
    )
    return [text_of(line).rstrip() for line in found]


class CurveTests(SynchronousTestCase):
    """Curve, levels and labels."""

    def test_a_day_and_its_loss_limit(self) -> None:
        self.assertEqual(
            curve_text([100, -100, -300], 300),
            [
                "                    ╭───╮",
                "         $0.00 ─────╯···│·······",
                "                        ╰───╮",
                "                            │",
                "   limit -$300 -------------╰───",
            ],
        )

    def test_neighbors_of_one_style_are_one_piece(self) -> None:
        # Each piece takes its time in every draw, and most of a line is blank.
        totals = tuple(map(Decimal, (100, -100, -300, 250)))
        for line in draw_curve(
            totals, LossLevel("limit", "realized loss", Decimal(-200)), 100, 12
        ):
            styles = [style for style, _ in line[1:]]
            self.assertNotIn(True, [one == other for one, other in pairwise(styles)], line)

    def test_the_last_total_stands_where_the_curve_ends(self) -> None:
        self.assertEqual(curve_text([50, 200], None)[0].split()[0], "+$200.00")

    def test_a_limit_that_is_far_below_does_not_flatten_the_curve(self) -> None:
        rows = curve_text([10, -10, 5], 2500, height=6)
        self.assertEqual(len(rows), 6)
        self.assertIn("limit -$2,500.00", rows[-1])
        self.assertEqual(sum("╭" in row or "╰" in row for row in rows), 2 + 1)

    def test_a_limit_above_the_curve_is_drawn_above_it(self) -> None:
        rows = curve_text([1000, 200], -500)
        self.assertIn("limit $500 ---", "\n".join(rows))

    def test_a_large_limit_has_room_for_its_name(self) -> None:
        rows = curve_text([-40000], 123456)
        self.assertEqual(rows[-1][:15], "limit -$123,456")

    def test_gains_and_losses_have_their_styles(self) -> None:
        lines = draw_curve((Decimal(100), Decimal(-100)), None, 32, 5)
        top, bottom = lines[0], lines[-1]
        self.assertEqual({part[0] for part in top[1:] if part[1].strip()}, {"gain", "loss"})
        self.assertEqual({part[0] for part in bottom[1:] if part[1].strip()}, {"loss"})

    def test_a_day_without_trades_says_so(self) -> None:
        self.assertEqual(curve_text([], 500), ["No trade yet"])

    def test_without_room_there_is_no_curve(self) -> None:
        self.assertEqual(curve_text([1], 500, height=3), [])
        self.assertEqual(curve_text([1], 500, width=16), [])

    @given(
        st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=60),
        st.none() | st.integers(-(10**9), 10**9),
        st.integers(18, 120),
        st.integers(4, 30),
    )
    def test_every_curve_has_the_size_that_was_asked_for(
        self, totals: list[int], limit: int | None, width: int, height: int
    ) -> None:
        found = draw_curve(
            tuple(Decimal(total) for total in totals),
            None if limit is None else LossLevel("limit", "realized loss", Decimal(-limit)),
            width,
            height,
        )
        self.assertEqual(len(found), height)
        for line in found:
            self.assertGreaterEqual(length(line), width)
