"""The title of the window."""

from __future__ import annotations

from tests.support.console import SessionTestCase, at
from trader.ui.window_title import window_title


class WindowTitleTests(SessionTestCase):
    """What matters most stands first: tabs are narrow."""

    def test_a_free_account(self) -> None:
        self.connect()
        self.assertEqual(window_title(self.view), "123 - riskd")

    def test_a_locked_account(self) -> None:
        self.connect()
        self.receive("lockout_set", reason="Daily loss", locked_until=at(600))
        self.assertEqual(window_title(self.view), "LOCKED - 123 - riskd")

    def test_a_lost_daemon_stands_before_the_lock(self) -> None:
        self.connect()
        self.receive("lockout_set", reason="Daily loss", locked_until=at(600))
        self.lose()
        self.assertEqual(window_title(self.view), "LAST KNOWN - LOCKED - 123 - riskd")

    def test_without_any_figures(self) -> None:
        self.assertTrue(window_title(self.view).endswith("CONNECTING - 123 - riskd"))
