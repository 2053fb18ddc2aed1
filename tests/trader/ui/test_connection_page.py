"""The connection, fact by fact."""

from __future__ import annotations

from datetime import timedelta

from tests.support.console import BEGIN, NOT_THERE, at
from tests.support.screen import PageTestCase, ScreenTestCase
from trader.model.formatting import clock


class ConnectionPageTests(PageTestCase):
    """Facts in each state of the connection."""

    page = "Connection"

    def facts(self) -> dict[str, str]:
        """Return the text of each fact by its name."""
        rows = [row for row in self.below("Connection") if row[:1].strip()]
        return {row[:16].strip(): row[16:].strip() for row in rows}

    def test_a_live_connection_shows_its_facts(self) -> None:
        self.receive("daemon_status", status="RUNNING", message="Fine", timestamp=at(-60))
        self.receive("MarketQuote")
        self.wait(3)
        facts = self.facts()
        self.assertEqual(facts["Source"][:5], "LIVE:")
        self.assertTrue(facts["Last status"].startswith("RUNNING, "))
        self.assertTrue(facts["Last status"].endswith("1 min ago: Fine"))
        self.assertEqual(facts["Gateway"], "practice")
        self.assertEqual(facts["Enforcement"], "on")
        self.assertEqual(facts["Reconnects"], "0")
        self.assertEqual(facts["Events"], "2 received")
        self.assertEqual(facts["Last event"], f"MarketQuote, {clock(BEGIN)}, 3 s ago")
        self.assertEqual(facts["State file"], f"written {clock(BEGIN)}, 3 s ago")

    def test_a_lost_connection_shows_the_next_attempt(self) -> None:
        self.lose("lost connection to daemon", retry_in=4)
        self.assertEqual(
            self.facts()["Source"],
            "LAST KNOWN state; next try in 4 s. Lost connection to daemon",
        )
        self.assertTrue(self.facts()["Connected"].startswith("not now; last time at "))
        self.connect()
        self.assertEqual(self.facts()["Reconnects"], "1")

    def test_what_is_not_known_is_a_dash_with_a_reason(self) -> None:
        ScreenTestCase.setUp(self)
        self.turn("Connection")
        facts = self.facts()
        for name in ("Last status", "Gateway", "Enforcement", "Connected", "Last event"):
            self.assertTrue(facts[name].startswith("- "), name)
        self.assertEqual(facts["State file"], "- not read yet")

    def test_the_clock_is_compared_with_the_brokers(self) -> None:
        for seconds, text, style in (
            ("0.04", "as the broker's", "text"),
            ("0.5", "0.5 s behind the broker's", "text"),
            ("-0.3", "0.3 s ahead of the broker's", "text"),
            ("1.2", "1.2 s behind the broker's. WARN: let a time server set it", "warning"),
            ("-2", "2.0 s ahead of the broker's. WARN: ", "warning"),
            ("-2.1", "2.1 s ahead of the broker's. ERROR: let a time server set it", "alert"),
            ("3600", "3,600.0 s behind the broker's. ERROR: ", "alert"),
        ):
            offset = timedelta(seconds=float(seconds))
            self.file.publish(clock_offset=offset, seconds=0)
            self.lose()
            self.connect()
            self.assertTrue(self.facts()["Clock"].startswith(text), self.facts()["Clock"])
            self.assertEqual(self.style_of(text), style)
        self.assertIn("(NTP)", self.shown())

    def test_without_a_comparison_there_is_no_clock(self) -> None:
        self.assertNotIn("Clock", self.facts())

    def test_a_small_screen_shows_each_fact_in_fewer_lines(self) -> None:
        self.receive("lockout_set", reason="Lunch", locked_until=None)
        self.lose("lost connection to daemon: and a long reason for it, which takes its room")
        self.assertTrue(self.rows(60, 20)[-2].startswith("State file"), self.shown(60, 20))
        self.assertRegex(self.rows(60, 14)[-2], r"^  \.\.\. and \d+ more$")

    def test_a_problem_with_the_file_is_shown(self) -> None:
        self.file.fail(NOT_THERE)
        self.connect()
        self.assertIn("is not there", self.facts()["State file"])
