"""What the screen shows when its numbers are not live."""

from __future__ import annotations

from datetime import timedelta

from riskd.testing import make_event
from tests.support.console import BEGIN, DAY, FILE_PROBLEMS, MNQ, NOT_THERE, at
from tests.support.screen import CONTROL_CHARACTERS, MES, PageTestCase, ScreenTestCase
from trader.model.formatting import clock


class LostConnectionTests(ScreenTestCase):
    """No daemon, or one that is gone."""

    def test_a_daemon_that_cannot_be_reached_has_no_last_known_state(self) -> None:
        self.lose("cannot connect to daemon (is it running?)", retry_in=5)
        self.assertEqual(self.rows()[1].strip(), "Cannot connect to daemon (is it running?)")
        self.assertEqual(self.style_of("Cannot connect"), "alert")
        self.assertNotIn("Last known state", self.shown())

    def test_a_lost_connection_leaves_the_last_known_state_with_its_age(self) -> None:
        self.fill()
        self.wait(100)
        self.lose()
        self.assertEqual(self.rows()[1].strip(), "Lost connection to daemon")
        self.assertEqual(self.rows()[2].strip(), f"Last known state, {clock(BEGIN)}, 1 min ago")
        self.wait(7100)
        self.assertEqual(self.rows()[2].strip(), f"Last known state, {clock(BEGIN)}, 2 h ago")

    def test_a_connection_without_events_is_as_old_as_its_file(self) -> None:
        self.fill()
        self.lose()
        self.wait(60)
        self.connect()
        self.wait(20)
        self.lose()
        self.assertEqual(self.rows()[2].strip(), f"Last known state, {clock(BEGIN)}, 1 min ago")

    def test_last_known_numbers_stay(self) -> None:
        self.fill()
        self.lose()
        self.assertIn("-$1,234.50", self.shown())
        self.assertIn("MNQU5 Long 3 avg 21000.50", self.row("MNQU5", "Long", "avg"))
        self.assertIn("stop-limit 20990.25 limit 21000.00", self.row("20990.25", "Buy  "))

    def test_last_known_numbers_are_dimmed(self) -> None:
        self.fill()
        numbers = ("-$1,234.50", "+$3.00", "21000.50", "20990.25")
        self.assertNotIn("dim", {self.style_of(number) for number in numbers})
        self.lose()
        for number in numbers:
            self.assertEqual(self.styles_of(number), {"dim"}, number)

    def test_a_new_connection_removes_dimming_and_alerts(self) -> None:
        self.fill()
        self.lose()
        self.wait(10)
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=10)
        self.assertEqual(self.style_of("+$10.00"), "gain")
        self.assertNotIn("Last known state", self.shown())
        self.assertNotIn("Lost connection to daemon", "\n".join(self.rows()[:4]))


class UnconfirmedTests(ScreenTestCase):
    """A daemon with an error since its start, and numbers of an earlier one."""

    UNCONFIRMED = "No news from the broker yet: these numbers may be old"

    def setUp(self) -> None:
        super().setUp()
        self.file.publish(*DAY, seconds=-130)
        self.connect()
        self.receive("daemon_status", status="ERROR", message="The login is refused")

    def test_unconfirmed_numbers_are_dimmed_and_marked_as_old(self) -> None:
        for number in ("-$45.50", "+$3.00", "-$42.50", "21000.50", "21000.00"):
            self.assertEqual(self.styles_of(number), {"dim"}, number)
        self.assertIn(self.UNCONFIRMED, self.shown())

    def test_a_running_daemon_confirms_the_numbers(self) -> None:
        self.receive("daemon_status", status="RUNNING", message="Daemon started successfully")
        self.assertEqual(self.styles_of("-$45.50"), {"loss"})
        self.assertNotIn(self.UNCONFIRMED, self.shown())

    def test_a_later_error_leaves_confirmed_numbers_current(self) -> None:
        for event, data in (
            ("daemon_status", {"status": "RUNNING"}),
            ("GatewayUserTrade", {"id": 77, "profitAndLoss": 0}),
        ):
            self.setUp()
            self.receive(event, **data)
            self.receive("daemon_status", status="ERROR", message="The disk is slow")
            self.assertEqual(self.styles_of("-$45.50"), {"loss"})
            self.assertNotIn(self.UNCONFIRMED, self.shown())


class LastKnownTests(ScreenTestCase):
    """The state file before the first connection."""

    def setUp(self) -> None:
        super().setUp()
        self.file.publish(*DAY, seconds=-130)
        self.lose("cannot connect to daemon (is it running?)", retry_in=5)
        self.poll_file()

    def test_the_last_known_state_is_marked_with_time_and_age(self) -> None:
        written = clock(BEGIN - timedelta(seconds=130))
        self.assertEqual(
            [row.strip() for row in self.rows()[1:3]],
            [
                "Cannot connect to daemon (is it running?)",
                f"Last known state, {written}, 2 min ago",
            ],
        )
        self.assertEqual(self.style_of("Last known state"), "warning")
        self.wait(60)
        self.assertEqual(self.rows()[2].strip(), f"Last known state, {written}, 3 min ago")

    def test_every_panel_shows_the_last_known_state(self) -> None:
        self.assertEqual(
            self.row("Realized"), "Realized -$45.50 Unrealized +$3.00 Total -$42.50 Trades 1"
        )
        self.assertIn("P&L of the day", self.shown())
        self.assertEqual(
            self.row("MNQU5", "avg"), "MNQU5 Long 3 avg 21000.50 last 21001.00 +$3.00 NO STOP"
        )
        self.assertEqual(self.row("MNQU5", "Buy"), "MNQU5 Buy 2 limit 21000.00 entry")
        self.assertIn("bid 21000.25 ask 21000.50 last 21001.00", self.row("MNQU5", "bid"))
        enforced = clock(BEGIN - timedelta(seconds=5))
        self.assertTrue(self.row("ENFORCED").startswith(f"{enforced} ENFORCED: close positions"))

    def test_numbers_of_the_file_are_dimmed(self) -> None:
        for number in ("-$45.50", "+$3.00", "-$42.50", "21000.50", "21000.25", "21000.00"):
            self.assertEqual(self.styles_of(number), {"dim"}, number)

    def test_last_known_quotes_stay_at_any_age(self) -> None:
        self.wait(3600)
        self.assertEqual(
            self.row("MNQU5", "bid"),
            "MNQU5 bid 21000.25 ask 21000.50 last 21001.00 stale 1 h",
        )
        self.assertIn("Unrealized +$3.00", self.row("Realized"))

    def test_a_last_known_lockout_counts_down(self) -> None:
        self.assertIn("(10:00 left): Daily loss", self.rows()[3])
        self.wait(1)
        self.assertIn("(9:59 left): Daily loss", self.rows()[3])
        self.wait(600)
        self.assertIn("(time is up; the daemon ends it): Daily loss", self.rows()[3])

    def test_the_file_names_the_gateway_until_the_daemon_does(self) -> None:
        self.assertIn("PRACTICE", self.rows()[0])
        self.assertEqual(self.style_of("PRACTICE"), "practice")
        self.gateway_name = "projectx"
        self.assertNotIn("PRACTICE", self.shown())

    def test_a_stopping_status_of_the_file_is_not_shown(self) -> None:
        stopping = make_event("daemon_status", {"status": "STOPPING", "message": "Bye"})
        self.file.publish(*DAY, stopping, seconds=-120)
        self.poll_file()
        self.assertNotIn("stopping", self.shown())
        self.connect()
        self.assertNotIn("stopping", self.shown())
        self.assertIn(" LIVE ", self.rows()[0])
        self.receive("daemon_status", status="STOPPING", message="The daemon is stopping")
        self.assertIn(" The daemon is stopping", self.rows()[2])
        self.assertIn(" STOPPING ", self.rows()[0])

    def test_an_error_status_of_the_file_is_shown(self) -> None:
        self.file.publish(make_event("daemon_status", {"status": "ERROR", "message": "Gone"}))
        self.poll_file()
        self.assertEqual(self.rows()[3].strip(), "Daemon ERROR: Gone")

    def test_an_empty_account_of_the_file_holds_nothing(self) -> None:
        self.file.publish(make_event("daemon_status", {"status": "STOPPING"}))
        self.poll_file()
        for title in ("Positions", "Working orders", "Quotes"):
            self.assertIn(f"{title} (none)", self.shown())

    def test_a_file_without_a_time_is_of_unknown_age(self) -> None:
        super().setUp()
        self.file.publish(*DAY, seconds=None)
        self.poll_file()
        self.assertEqual(self.rows()[2].strip(), "Last known state, of unknown age")

    def test_no_age_is_negative_after_the_clock_was_set_back(self) -> None:
        self.wait(-7200)
        self.assertTrue(self.rows()[2].endswith(", 0 s ago"))
        self.assertNotRegex(self.shown(), r"-\d+ (s|min|h)\b")
        self.connect()
        self.assertNotRegex(self.shown(), r"-\d+ (s|min|h)\b")
        self.lose()
        self.assertTrue(self.rows()[2].endswith(", 0 s ago"))

    def test_a_newer_file_replaces_the_last_known_state(self) -> None:
        self.file.publish(*DAY[:3], seconds=-10)
        self.poll_file()
        self.assertTrue(self.rows()[2].endswith(", 10 s ago"))
        self.assertIn("Realized $0.00", self.shown())

    def test_a_connection_makes_the_last_known_state_live(self) -> None:
        self.connect()
        self.assertIn(" LIVE ", self.rows()[0])
        self.assertIn("LOCKED OUT", self.rows()[1])
        self.assertNotIn("Last known state", self.shown())
        self.assertEqual(self.style_of("-$45.50"), "loss")

    def test_after_a_loss_a_newer_file_replaces_what_was_seen(self) -> None:
        self.connect()
        self.wait(10)
        self.receive("GatewayUserTrade", profitAndLoss=-4.50, executionTime=at(10))
        self.lose()
        self.file.publish(*DAY, seconds=9)
        self.wait(5)
        self.poll_file()
        seen = clock(BEGIN + timedelta(seconds=10))
        self.assertEqual(self.rows()[2].strip(), f"Last known state, {seen}, 5 s ago")
        self.assertIn("Realized -$50.00", self.shown())
        self.file.publish(*DAY[:3], seconds=14)
        self.poll_file()
        written = clock(BEGIN + timedelta(seconds=14))
        self.assertEqual(
            [row.strip() for row in self.rows()[1:3]],
            ["Lost connection to daemon", f"Last known state, {written}, 1 s ago"],
        )
        self.assertIn("Realized $0.00", self.shown())


class FileProblemTests(ScreenTestCase):
    """A state file that cannot be read, or does not have the account."""

    def rest_of_banner(self) -> str:
        """Return the rows between the first two and the figures as one line."""
        rows = self.rows()
        end = next(index for index, row in enumerate(rows) if row.startswith("P&L"))
        return " ".join(" ".join(rows[2:end]).split())

    def test_each_problem_with_the_file_is_shown_without_a_connection(self) -> None:
        for problem in FILE_PROBLEMS:
            self.setUp()
            self.file.fail(problem)
            self.lose("cannot connect to daemon (is it running?)", retry_in=5)
            self.poll_file()
            self.assertEqual(self.rows()[1].strip(), "Cannot connect to daemon (is it running?)")
            self.assertEqual(self.rest_of_banner(), "N" + problem[1:])
            self.assertEqual(self.style_of("No last known state"), "warning")
            self.assertIn("-  not connected yet", self.shown())

    def test_a_problem_with_the_file_leaves_the_last_known_state(self) -> None:
        self.file.publish(*DAY, seconds=-60)
        self.poll_file()
        self.file.fail(FILE_PROBLEMS[2])
        self.poll_file()
        self.assertTrue(self.rows()[2].endswith(", 1 min ago"))
        self.assertIn("N" + FILE_PROBLEMS[2][1:], self.shown())
        self.assertIn("Realized -$45.50", self.shown())

    def test_the_problem_stays_while_the_figures_lack_the_file(self) -> None:
        self.file.fail()
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        self.file.publish(*DAY)
        for _ in range(3):
            self.wait(60)
            self.poll_file()
            self.assertEqual(self.rows()[1].strip(), "N" + NOT_THERE[1:])
            self.assertEqual(self.style_of("No last known state"), "warning")
            self.assertIn(f"P&L seen since {clock(BEGIN)}", self.shown())
            self.assertIn("Realized -$1.00", self.shown())
            self.assertIn("Positions (none seen)", self.shown())
        self.lose()
        self.connect()
        self.assertNotIn("No last known state", self.shown())
        self.assertIn("P&L of the day", self.shown())
        self.assertIn("Realized -$45.50", self.shown())

    def test_an_unknown_account_is_named_beside_the_known_ones(self) -> None:
        self.file.publish_accounts(456, 124)
        problem = "Account 123 is not in the last known state; it knows 124, 456"
        self.poll_file()
        self.assertEqual(self.rows()[2].strip(), problem)
        self.connect()
        self.assertEqual(self.rows()[1].strip(), problem)
        self.assertEqual(self.style_of(problem), "warning")
        self.assertIn("P&L seen since", self.shown())

    def test_a_problem_with_the_file_takes_at_most_three_rows(self) -> None:
        for problem in (*FILE_PROBLEMS, "no last known state: " + "/deep" * 100):
            self.file.fail(problem)
            self.poll_file()
            for columns, rows in ((120, 40), (80, 24), (60, 20), (40, 16)):
                shown = self.rows(columns, rows)
                below = ("P&L", f" {columns}x{rows} is too small")
                end = next(index for index, row in enumerate(shown) if row.startswith(below))
                # The header, the connection problem, and the row of the flash.
                self.assertLessEqual(end - 3, 3)
                self.assertTrue(shown[2].startswith(" No last known state:"))
                self.assertTrue(shown[-1].endswith(("q quit", "? help", "?")))

    def test_control_characters_in_a_path_do_not_reach_the_terminal(self) -> None:
        self.file.fail(f"no last known state: /{CONTROL_CHARACTERS} is not there")
        self.poll_file()
        self.assertTrue(all(text.isprintable() for text in self.rows()))


class SilentTests(PageTestCase):
    """A connected daemon that does not answer."""

    def test_a_silent_daemon_is_not_live(self) -> None:
        self.assertIn(" LIVE ", self.rows()[0])
        self.silent_for = 6.2
        self.assertIn(" SILENT for 7 s ", self.rows()[0])
        self.assertNotIn("LIVE", self.rows()[0])
        self.lose()
        self.assertNotIn("SILENT", self.rows()[0])

    def test_the_numbers_of_a_silent_daemon_are_dimmed(self) -> None:
        self.fill()
        numbers = ("-$1,234.50", "21000.50", "20990.25")
        self.assertNotIn("dim", {self.style_of(number) for number in numbers})
        self.silent_for = 6.2
        for number in numbers:
            self.assertEqual(self.styles_of(number), {"dim"}, number)


class AddressTests(ScreenTestCase):
    """Where no daemon was found."""

    def test_the_screen_names_the_url(self) -> None:
        self.url = "ws://localhost:9999"
        self.lose("cannot connect to daemon (is it running?)", retry_in=5)
        self.assertIn("(is it running?) ws://localhost:9999", self.shown())


class DataAgeTests(PageTestCase):
    """The age of the data of each panel."""

    def test_a_live_panel_shows_the_age_of_its_last_change(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ, updatedAt=at(-10))
        self.receive("MarketQuote", contractId=MES, timestamp=at(0))
        self.wait(2)
        self.assertTrue(self.row("Positions (1").endswith("changed 12 s ago"))
        self.assertTrue(self.row("Quotes (1)").endswith("changed 2 s ago"))
        self.assertTrue(self.row("Working orders").endswith("no change yet"))

    def test_a_last_known_panel_shows_the_age_of_the_state(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ)
        self.lose()
        self.wait(130)
        for title in ("P&L of", "Positions", "Working orders", "Quotes"):
            self.assertTrue(self.row(title).endswith("known 2 min ago"), title)

    def test_every_page_shows_the_age_of_its_data(self) -> None:
        self.lose()
        self.wait(130)
        for page in ("Trades", "Lockouts", "Activity"):
            self.turn(page)
            self.assertIn("known 2 min ago", self.shown(), page)
        self.turn("Limits")
        self.assertIn(f"read {clock(BEGIN)}, 2 min ago", self.shown())
