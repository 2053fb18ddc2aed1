"""The title of the window."""

from __future__ import annotations

import msgspec

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

    def test_a_daemon_with_an_error_or_that_stops(self) -> None:
        self.connect()
        for status in ("ERROR", "STOPPING"):
            self.receive("daemon_status", status=status, message="the broker is gone")
            self.assertEqual(window_title(self.view), f"{status} - 123 - riskd")
        self.receive("daemon_status", status="RUNNING", message="well again")
        self.assertEqual(window_title(self.view), "123 - riskd")

    def test_a_silent_daemon(self) -> None:
        self.connect()
        silent = msgspec.structs.replace(self.view, silent_for=6.2)
        self.assertEqual(window_title(silent), "SILENT - 123 - riskd")

    def test_without_any_figures(self) -> None:
        self.assertTrue(window_title(self.view).endswith("CONNECTING - 123 - riskd"))
