"""The top of every page: the header row, and the banner below it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from riskd.model.account import Limit
from riskd.model.events import DRY_RUN_NOTE
from riskd.model.reduce_only import REDUCE_ONLY, ReduceOnly
from riskd.model.unlocks import UNLOCKED, Unlock
from riskd.testing import make_event
from tests.support.console import BEGIN, at
from tests.support.screen import LIMITS, PageTestCase, ScreenTestCase
from trader.model.formatting import clock, zone
from trader.ui.pages import PAGES


class HeaderTests(ScreenTestCase):
    """Account, gateway, source and time in the first row."""

    def test_the_header_names_the_account(self) -> None:
        self.assertIn("account 123", self.rows()[0])

    def test_no_gateway_is_shown_before_the_daemon_names_it(self) -> None:
        self.assertNotIn("PRACTICE", self.shown())

    def test_the_practice_gateway_has_a_style_of_its_own(self) -> None:
        self.connect()
        self.assertIn("PRACTICE", self.rows()[0])
        self.assertEqual(self.style_of("PRACTICE"), "practice")

    def test_a_real_gateway_is_not_marked_as_practice(self) -> None:
        self.connect()
        self.gateway_name = "projectx"
        self.assertIn("PROJECTX", self.rows()[0])
        self.assertEqual(self.style_of("PROJECTX"), "bar")

    def test_a_dry_run_is_marked_beside_the_gateway(self) -> None:
        self.connect()
        self.assertNotIn("DRY RUN", self.rows()[0])
        self.is_dry_run = True
        self.assertIn("PRACTICE  DRY RUN", self.rows()[0])
        self.assertEqual(self.style_of("DRY RUN"), "warning")

    def test_a_connection_is_marked_live(self) -> None:
        self.connect()
        self.assertIn("LIVE", self.rows()[0])
        self.assertEqual(self.style_of("LIVE"), "good")

    def test_the_first_attempt_is_marked_connecting(self) -> None:
        self.assertIn("CONNECTING", self.rows()[0])
        self.assertIn("Connecting to daemon", self.rows()[1])

    def test_the_next_attempt_is_counted_down_in_whole_seconds(self) -> None:
        self.connect()
        self.lose()
        for retry_in, shown in ((10, 10), (5, 5), (4.5, 5), (4.2, 5), (2.5, 3), (0.1, 1), (-1, 0)):
            self.retry_in = retry_in
            self.assertIn(f"RECONNECTING in {shown} s", self.rows()[0])
            self.assertNotIn("LIVE", self.rows()[0])

    def test_the_traders_name_of_the_account_is_there_where_it_fits(self) -> None:
        self.connect()
        for name, shown in (
            ("Combine 50K", "riskd  Combine 50K (123)"),
            ("X" * 60, "riskd  account 123"),
        ):
            self.name = name
            self.assertIn(shown, self.rows()[0])
            self.assertIn("LIVE", self.rows()[0])

    def test_the_time_of_day_ends_the_header(self) -> None:
        self.wait(3)
        end = BEGIN + timedelta(seconds=3)
        self.assertTrue(self.rows()[0].endswith(f"{clock(end)} {zone(end)}"))


class BannerTests(ScreenTestCase):
    """Lockouts, problems of the daemon, and flashes."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_a_lockout_shows_reason_end_and_countdown(self) -> None:
        self.receive("lockout_set", reason="Daily loss limit hit: -$550", locked_until=at(8085))
        end = clock(BEGIN + timedelta(seconds=8085))
        self.assertEqual(
            self.rows()[1].strip(),
            f"LOCKED OUT until {end} (2:14:45 left): Daily loss limit hit: -$550",
        )
        self.assertEqual(self.style_of("LOCKED OUT"), "alert")
        self.wait(8085 - 59)
        self.assertIn("(0:59 left)", self.rows()[1])

    def test_a_lockout_stands_until_the_daemon_ends_it(self) -> None:
        self.receive("lockout_set", locked_until=at(60))
        self.wait(90)
        self.assertIn("(time is up; the daemon ends it)", self.rows()[1])
        self.receive("lockout_cleared")
        self.assertNotIn("time is up", self.shown())

    def test_countdowns_and_ages_go_by_the_brokers_clock(self) -> None:
        for seconds in (-61.5, 0, 61.5):
            self.setUp()
            self.lose()
            offset = timedelta(seconds=seconds)
            moment = BEGIN + offset
            lock = make_event(
                "lockout_set",
                {"locked_until": (moment + timedelta(seconds=600)).isoformat()},
            )
            quote = {"last": 21001, "timestamp": moment.isoformat()}
            self.file.publish(lock, clock_offset=offset)
            self.connect()
            self.receive("MarketQuote", **quote)
            self.wait(3)
            self.assertIn(
                f"until {clock(moment + timedelta(seconds=600))} (9:57 left)", self.shown()
            )
            self.assertRegex(self.row("bid"), " 3 s$")
            self.assertIn(clock(moment + timedelta(seconds=3)), self.rows()[0])
            self.wait(97)
            self.lose()
            self.assertIn("1 min ago", self.rows()[2])

    def test_an_unlock_beyond_a_limit_is_shown_until_the_day_ends(self) -> None:
        unlock = Unlock(at=BEGIN, beyond=("RULE-003", "RULE-006"))
        self.file.publish(limits={UNLOCKED: unlock.limit}, seconds=1)
        self.receive("lockout_set")
        self.wait(1)
        # The daemon publishes the unlock with the end of the lock.
        self.receive("lockout_cleared", cleared_by="ADMIN_OVERRIDE")
        for page in range(len(PAGES)):
            self.change(page=page)
            self.assertIn(
                "Account was unlocked beyond its limit (RULE-003, RULE-006): a trade that leaves it there locks it again",
                " ".join(self.shown().split()),
            )
        self.assertEqual(self.style_of("Account was unlocked"), "warning")
        self.file.publish(seconds=2)
        self.wait(10)
        self.poll_file()
        self.assertNotIn("beyond its limit", self.shown())

    def test_the_reduce_only_stage_is_shown_on_each_page_unless_the_account_is_locked(
        self,
    ) -> None:
        reason = "the day's loss has reached 80 % of its limit of $500.00"
        stage = ReduceOnly(since=BEGIN, reasons={"RULE-003": reason})
        settings = Limit("daily_realized_loss", '{"loss_limit": 500, "reduce_only_at": 80}')
        limits = {**LIMITS, "RULE-003": settings, REDUCE_ONLY: stage.limit}
        self.file.publish(limits=limits, seconds=1)
        self.connect()
        end = clock(datetime(2025, 1, 17, 17, tzinfo=UTC))
        state = f"REDUCE ONLY until {end} or realized loss below $400.00"
        for page in range(len(PAGES)):
            self.change(page=page)
            shown = " ".join(self.shown().split())
            self.assertIn(f"{state}: {reason} (RULE-003)", shown)
            self.assertIn("New entries are canceled; you can only close what you hold", shown)
        # Where the reason has no room, the state is whole all the same.
        shown = " ".join(self.shown(60, 14).split())
        self.assertIn(state, shown)
        self.assertIn("New entries are canceled; you can only close what you hold", shown)
        self.assertEqual(self.style_of("REDUCE ONLY"), "warning")
        self.receive("lockout_set")
        self.assertNotIn("REDUCE ONLY", self.shown())

    def test_a_stage_that_may_not_be_enforced_says_so(self) -> None:
        stage = ReduceOnly(since=BEGIN, reasons={"RULE-003": "a large loss"})
        self.file.publish(limits={REDUCE_ONLY: stage.limit}, seconds=1)
        self.connect()
        self.receive("daemon_status", status="ERROR", message="no connection")
        self.assertIn("riskd may not be enforcing it now", self.shown())
        self.assertNotIn("are canceled", self.shown())

    def test_a_stage_that_is_only_reported_forbids_nothing(self) -> None:
        stage = ReduceOnly(since=BEGIN, reasons={"RULE-003": "a large loss"}, is_dry_run=True)
        self.file.publish(limits={REDUCE_ONLY: stage.limit}, seconds=1)
        self.connect()
        self.assertIn("REDUCE ONLY: a large loss (RULE-003)", self.shown())
        self.assertIn("Dry run: no order is canceled and no position is closed", self.shown())
        self.turn("Lockouts")
        self.assertIn("Dry run: nothing is enforced.", self.shown())
        self.assertNotIn("are canceled", self.shown())

    def test_a_permanent_lockout_has_no_countdown(self) -> None:
        self.receive("lockout_set", reason="Account rule", locked_until=None)
        self.wait(10)
        self.assertEqual(
            self.rows()[1].strip(), "LOCKED OUT until an operator unlocks it: Account rule"
        )

    def test_a_permanent_lockout_is_shown_before_one_that_ends(self) -> None:
        self.receive("lockout_set", reason="forever", locked_until=None, rule_id="RULE-001")
        self.receive("lockout_set", reason="an hour", locked_until=at(3600), rule_id="RULE-002")
        self.wait(10)
        self.assertIn("forever", self.rows()[1])

    def test_a_lockout_is_shown_while_the_connection_is_lost(self) -> None:
        self.receive("lockout_set", reason="Account rule", locked_until=at(600))
        self.wait(10)
        self.lose()
        self.assertIn("(9:50 left): Account rule", self.rows()[3])

    def test_trading_resumed_flashes_green_and_clears_the_lockout(self) -> None:
        self.receive("lockout_set", locked_until=None)
        self.wait(10)
        self.receive("lockout_cleared", cleared_by="ADMIN_OVERRIDE")
        self.assertEqual(
            self.rows()[1].strip(), "Trading resumed: an operator or the broker lifted the lock"
        )
        self.assertEqual(self.style_of("Trading resumed"), "good")
        self.wait(5)
        self.assertTrue(self.rows()[2].startswith("P&L"))

    def test_enforcement_flashes_and_stays_in_the_feed(self) -> None:
        self.receive("enforcement_action", reason="MaxContracts breach: 6 > 5")
        line = "ENFORCED: close positions (RULE-001): MaxContracts breach: 6 > 5"
        self.assertTrue(self.rows()[1].strip().startswith(line))
        self.assertEqual(self.style_of("ENFORCED"), "alert")
        self.wait(10)
        self.assertTrue(self.rows()[2].startswith("P&L"))
        self.assertIn(f"{clock(BEGIN)} {line}", self.row("ENFORCED"))

    def test_a_stopping_daemon_is_shown(self) -> None:
        self.receive("daemon_status", status="STOPPING", message="Going down")
        self.assertEqual(self.rows()[1].strip(), "The daemon is stopping: limits are not enforced")
        self.assertEqual(self.style_of("The daemon is stopping"), "alert")
        self.wait(10)
        self.assertEqual(self.rows()[1].strip(), "The daemon is stopping: limits are not enforced")

    def test_an_error_of_the_daemon_is_shown_until_it_runs_again(self) -> None:
        self.receive("daemon_status", status="ERROR", message="The gateway is gone")
        self.wait(60)
        self.assertEqual(self.rows()[1].strip(), "Daemon ERROR: The gateway is gone")
        self.assertEqual(self.style_of("Daemon ERROR"), "alert")
        self.assertNotIn("good", [style for style, text in self.styles() if "LIVE" in text])
        self.receive("daemon_status", status="RUNNING", message="In step again")
        self.assertTrue(self.rows()[2].startswith("P&L"))
        self.assertEqual(self.style_of(" LIVE "), "good")


class EveryPageTests(PageTestCase):
    """The header and the banner on all pages."""

    def test_every_page_shows_the_source_at_every_size(self) -> None:
        for retry_in, words in ((None, "LIVE"), (4, "RECONNECTING in 4 s")):
            if retry_in:
                self.lose(retry_in=retry_in)
            for number, page in enumerate(PAGES):
                self.change(page=number)
                for columns, rows in ((60, 14), (80, 24), (120, 40), (240, 80)):
                    self.assertIn(words, self.rows(columns, rows)[0], (page.name, columns))

    def test_the_header_shows_practice_and_dry_run_at_every_width(self) -> None:
        self.receive("daemon_status", status="RUNNING", message=f"Running {DRY_RUN_NOTE}")
        for columns in (60, 80, 120):
            header = self.rows(columns, 24)[0]
            self.assertIn("PRACTICE", header)
            self.assertIn("DRY RUN", header)
        self.receive("daemon_status", status="RUNNING", message="Running")
        self.assertNotIn("DRY RUN", self.shown())

    def test_the_header_shows_last_known_and_the_next_attempt(self) -> None:
        self.lose(retry_in=7)
        self.assertIn("LAST KNOWN  RECONNECTING in 7 s", self.rows()[0])

    def test_a_lockout_stands_once_above_the_page(self) -> None:
        self.receive("lockout_set", reason="Lunch", locked_until=None)
        self.assertEqual(sum("LOCKED OUT" in row for row in self.rows()[:4]), 1)
        self.assertIn("New orders are canceled", self.rows()[2])
        self.receive("lockout_set", reason="A pause", rule_id="RULE-007", locked_until=at(60))
        self.assertIn("Lunch", self.rows()[1])
        self.assertIn("A pause", self.rows()[2])

    def test_what_is_not_enforced_is_not_said_to_be_canceled(self) -> None:
        self.receive("lockout_set", locked_until=None)
        self.wait(10)
        self.is_dry_run = True
        self.assertIn("Dry run: no order is canceled and no position is closed", self.shown())
        self.is_dry_run = False
        self.receive("daemon_status", status="ERROR", message="The broker is gone")
        self.wait(10)
        self.assertIn("riskd may not be enforcing it now", self.shown())
        self.receive("daemon_status", status="RUNNING")
        self.wait(10)
        self.assertIn("New orders are canceled", self.shown())
        self.lose()
        self.wait(10)
        self.assertIn("riskd may not be enforcing it now", self.shown())

    def test_a_locked_account_shows_what_is_still_possible(self) -> None:
        self.receive("lockout_set", locked_until=None)
        self.wait(10)
        self.assertIn("New orders are canceled", self.shown())
        self.receive("lockout_cleared")
        self.wait(10)
        self.assertNotIn("New orders are canceled", self.shown())
