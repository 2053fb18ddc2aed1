"""What is read from across the room."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import urwid

from riskd.model.account import Limit
from riskd.model.balance import Balance
from tests.support.console import DAY, MNQ, at
from tests.support.screen import LIMITS, SIZES, PageTestCase, ScreenTestCase


def big(text: str) -> set[str]:
    """Return the lines of a text in each of the big fonts."""
    fonts = (urwid.HalfBlock7x7Font(), urwid.HalfBlockHeavy6x5Font(), urwid.HalfBlock5x4Font())
    return {
        line.decode().strip()
        for font in fonts
        for line in urwid.BigText(text, font).render(()).text
        if line.strip()
    }


def halved(rows: list[str]) -> list[str]:
    """Return what is drawn in ``rows`` at half the size; a block that has no half is a question mark."""
    lines = []
    for upper, lower in pairwise(rows):
        pairs = [
            (upper[place : place + 2], lower[place : place + 2])
            for place in range(0, len(upper) - 1, 2)
        ]
        lines.append("".join([_half(*pair) for pair in pairs]))
    return lines


def _half(upper: str, lower: str) -> str:
    if upper == lower:
        return {"  ": " ", "██": "█", "█ ": "▌", " █": "▐"}.get(upper, "?")
    return {("██", "  "): "▀", ("  ", "██"): "▄"}.get((upper, lower), "?")


def _has_lines_of(text: str, rows: list[str]) -> bool:
    wanted = big(text)
    return sum(row.strip() in wanted for row in rows) > 3


class GlanceTests(PageTestCase):
    """Figures, limit and standing of an account."""

    def setUp(self) -> None:
        super().setUp()
        self.change(is_glance=True)

    def has_big(self, text: str, columns: int, rows: int) -> bool:
        """Return whether a text is shown in big letters."""
        shown = [row.ljust(columns) for row in self.rows(columns, rows)]
        return _has_lines_of(text, shown) or self.has_doubled(text, columns, rows)

    def has_doubled(self, text: str, columns: int, rows: int) -> bool:
        """Return whether a text is shown in letters of twice the size."""
        shown = [row.ljust(columns) for row in self.rows(columns, rows)]
        # What is centered may begin at an odd column.
        return any(_has_lines_of(text, halved([row[at:] for row in shown])) for at in (0, 1))

    def test_from_sixty_by_fourteen_on_the_pnl_is_big(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-363)
        for columns, rows in ((60, 14), (80, 24), (120, 40), (200, 60)):
            self.assertTrue(self.has_big("-$363.00", columns, rows), (columns, rows))
            self.assertIn("P&L of the day, before fees", self.shown(columns, rows))
            self.assertIn("Realized loss: $363.00 of $500.00, 72 %", self.shown(columns, rows))
        self.assertTrue(self.has_big("NEAR", 80, 24))

    def test_on_a_large_screen_all_letters_have_twice_the_size(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-363)
        for columns, rows in ((120, 40), (200, 60)):
            for text in ("-$363.00", "NEAR"):
                self.assertTrue(self.has_doubled(text, columns, rows), (text, columns, rows))

    def test_the_figures_leave_room_for_what_the_account_may_do(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        for rows in range(24, 61):
            self.assertTrue(self.has_big("FREE", 80, rows), rows)

    def test_with_lines_about_a_lost_connection_above_it_the_pnl_is_still_big(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-363)
        self.lose()
        self.assertTrue(self.has_big("-$363.00", 60, 14), self.shown(60, 14))

    def test_with_a_balance_it_is_net_of_fees(self) -> None:
        self.lose()
        balance = Balance(agreed=Decimal(50300), first=Decimal(50000))
        self.file.publish(*DAY, limits=LIMITS, balance=balance)
        self.connect()
        self.assertIn("Net P&L of the day", self.shown())

    def test_the_bar_fills_the_line_by_the_used_share(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-250)
        bars = [row for row in self.rows(80, 24) if set(row) <= set("█░") and len(row) == 80]
        self.assertEqual([row.count("█") for row in bars], [40])

    def test_a_lock_says_until_when(self) -> None:
        self.receive("lockout_set", locked_until=at(3600), reason="Enough")
        end = (self.now + timedelta(seconds=3600)).astimezone()
        self.assertTrue(self.has_big("LOCKED", 80, 24))
        for columns, rows in ((60, 14), (80, 24), (200, 60)):
            shown = self.shown(columns, rows)
            is_big = self.has_big(f"LOCKED UNTIL {end:%H:%M:%S}", columns, rows)
            self.assertTrue(is_big or f"LOCKED UNTIL {end:%H:%M:%S}" in shown, shown)

    def test_what_is_not_known_is_a_dash_and_no_zero(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ, size=1)
        shown = self.shown()
        self.assertIn("P&L of the day: not known", shown)
        self.assertNotIn("$0", shown)

    def test_without_a_guard_it_says_so_and_why(self) -> None:
        self.receive("daemon_status", status="ERROR", message="the broker is gone")
        self.assertTrue(self.has_big("NOT GUARDED", 80, 24))
        self.assertIn("the broker is gone", self.shown())

    def test_free_was_free_when_the_connection_is_lost(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        self.assertTrue(self.has_big("FREE", 80, 24))
        self.lose()
        self.assertFalse(self.has_big("FREE", 80, 24))
        self.assertTrue(self.has_big("WAS FREE", 80, 24))

    def test_every_size_is_filled(self) -> None:
        limits = {**LIMITS, "RULE-099": Limit("unknown", "{}")}
        self.file.publish(*DAY, limits=limits)
        for act in (lambda: None, self.connect, self.fill, self.lose):
            act()
            for columns, rows in SIZES:
                for is_ascii in (False, True):
                    self.change(is_ascii=is_ascii)
                    canvas = self.canvas(columns, rows)
                    self.assertEqual((canvas.cols(), len(canvas.text)), (columns, rows))
                    self.assertFalse(is_ascii and not all(text.isascii() for text in canvas.text))


class FirstStartTests(ScreenTestCase):
    """Before anything is known."""

    def test_nothing_is_shown_as_a_figure(self) -> None:
        self.change(is_glance=True)
        self.assertEqual(sum(row.strip() in big("UNKNOWN") for row in self.rows()) > 3, True)
        self.assertIn("P&L of the day: not known", self.shown())
