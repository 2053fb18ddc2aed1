"""The overview: how its panels share the screen."""

from __future__ import annotations

from tests.support.console import MNQ, NOT_THERE, at
from tests.support.screen import PageTestCase, ScreenTestCase


class LayoutTests(ScreenTestCase):
    """Tables that compete for lines."""

    def test_the_order_from_the_top_is_the_same_at_every_size(self) -> None:
        self.fill()
        self.lose()
        titles = ("Lost connection", "Last known state", "LOCKED OUT", "P&L", "Positions")
        for columns, rows in ((80, 24), (120, 40), (240, 80)):
            shown = self.rows(columns, rows)
            places = [
                next(index for index, row in enumerate(shown) if title in row) for title in titles
            ]
            self.assertEqual(places, sorted(places))

    def test_tables_that_are_too_long_are_cut_and_counted(self) -> None:
        self.connect()
        for number in range(30):
            self.receive(
                "GatewayUserPosition", contractId=f"CON.F.US.MNQ.{'HMUZ'[number % 4]}{number}"
            )
            self.receive("GatewayUserOrder", id=number)
        self.assertIn("Positions (30, 90 contracts)", self.shown())
        self.assertIn("Working orders (30)", self.shown())
        rows = self.rows()
        held = sum(" avg " in row for row in rows)
        working = sum("limit 21000.00" in row and "working" not in row for row in rows)
        self.assertGreater(held, 2)
        self.assertGreater(working, 0)
        # What is held comes first.
        self.assertGreater(held, working)
        missing = [row.strip() for row in rows if "more" in row]
        self.assertEqual(missing, [f"... and {30 - held} more", f"... and {30 - working} more"])
        self.assertTrue(self.rows()[-1].endswith("q quit"))

    def test_a_table_with_room_for_one_line_shows_its_title(self) -> None:
        self.connect()
        for number in range(5):
            self.receive(
                "GatewayUserPosition", contractId=f"CON.F.US.MNQ.{'HMUZ'[number % 4]}{number}"
            )
            self.receive("GatewayUserOrder", id=number)
        self.wait(10)
        self.receive("daemon_status", status="ERROR", message="trouble " * 20)
        self.receive("daemon_status", status="ERROR", message="trouble " * 20)
        self.wait(10)
        # Top, P&L, limit and footer take eight rows.
        shown = self.shown(80, 14)
        self.assertIn("Positions (5, 15 contracts)", shown)
        self.assertIn("Working orders (5)", shown)

    def test_on_the_smallest_screen_positions_come_before_the_activity(self) -> None:
        self.connect()
        for number in range(3):
            self.receive("GatewayUserPosition", contractId=f"CON.F.US.MNQ.H{number}", size=1)
        shown = self.rows(60, 14)
        self.assertEqual(sum("Long" in row for row in shown), 3)
        self.assertFalse(any("Connected to daemon" in row for row in shown))
        self.assertIn("Connected to daemon", self.shown(60, 24))

    def test_a_large_terminal_shows_whole_tables(self) -> None:
        self.connect()
        for number in range(10):
            self.receive(
                "GatewayUserPosition", contractId=f"CON.F.US.MNQ.{'HMUZ'[number % 4]}{number}"
            )
        self.assertEqual(sum(" avg " in row for row in self.rows(120, 40)), 10)
        self.assertNotIn("more", self.shown(120, 40))

    def test_sixty_columns_cut_no_figure(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-123456.75)
        self.receive("GatewayUserPosition", contractId=MNQ, size=3, averagePrice=21000.50)
        self.receive("MarketQuote", contractId=MNQ, last=21001.00, timestamp=at(0))
        self.assertIn("MNQU5 Long 3 21001.00 +$3.00 NO STOP", self.row("Long", "STOP", columns=60))
        self.assertEqual(
            self.row("0 s", "21000.25", columns=60), "MNQU5 21000.25 21000.50 21001.00 0 s"
        )
        self.assertEqual(
            self.row("Realized", columns=60), "Realized -$123,456.75 Unrealized +$3.00"
        )
        self.assertEqual(self.row("Total", columns=60), "Total -$123,453.75 Trades 1")


class LimitTests(PageTestCase):
    """The nearest limit, or all limits beside the tables."""

    def test_the_nearest_limit_stands_below_the_figures(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-350)
        row = self.row("realized loss")
        self.assertIn("███████░░░ 70 % $350.00 of $500.00 NEAR", row)
        self.assertEqual(self.style_of("$350.00 of"), "caution")

    def test_without_limits_there_is_a_dash_and_a_reason(self) -> None:
        self.file.publish()
        self.connect()
        self.assertIn("Nearest limit - no broker data yet", self.shown())
        self.receive("daemon_status", status="RUNNING")
        self.assertIn("Nearest limit - no rule with a number is in force", self.shown())
        self.file.fail(NOT_THERE)
        self.connect()
        self.assertIn("Nearest limit - not known without the state file", self.shown())

    def test_a_wide_screen_shows_limits_and_curve_beside_the_tables(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-350)
        shown = self.shown(120, 40)
        self.assertIn("Limits, nearest first", shown)
        self.assertIn("███░░   70 % realized loss NEAR", shown)
        self.assertIn("P&L of the trades", shown)
        self.assertIn("limit -$500", shown)
        self.assertNotIn("Limits, nearest first", self.shown(115, 40))
