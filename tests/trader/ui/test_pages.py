"""The pages beside the overview, as a trader sees them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import Limit
from riskd.model.events import DRY_RUN_NOTE
from riskd.testing import make_event
from tests.support.console import BEGIN, DAY, MNQ, NOT_THERE, at
from tests.trader.ui.test_screen import MES, ScreenCase
from trader.cli.console import KEYS
from trader.model.formatting import clock, until
from trader.model.ui_state import FILTERS
from trader.ui.pages import PAGES, row_count, selected_text
from trader.ui.screen import compose, footer, page_at
from trader.ui.styled_text import StyledLine, fit, text_of

LIMITS = {
    "DAY": Limit("daily_reset", '{"reset_time": "17:00:00", "time_zone": "UTC"}'),
    "RULE-001": Limit("max_contracts", '{"limit": 4}'),
    "RULE-003": Limit("daily_realized_loss", '{"loss_limit": 500}'),
    "RULE-004": Limit("daily_unrealized_loss", '{"loss_limit": 300, "scope": "total"}'),
    "RULE-010": Limit("auth_loss_guard", "{}"),
}


class PageCase(ScreenCase):
    """A page over a connected session, whose file says which limits are in force."""

    page = "Overview"

    def setUp(self) -> None:
        super().setUp()
        self.file.publish(limits=LIMITS, gateway_name="practice")
        self.turn(self.page)
        self.connect()

    def turn(self, name: str) -> None:
        """Show a page."""
        self.ui_state = self.ui_state.with_page([page.name for page in PAGES].index(name))
        self.screen.redraw()

    def change(self, **choices: Any) -> None:
        """Look at it in another way."""
        self.ui_state = msgspec.structs.replace(self.ui_state, **choices)
        self.screen.redraw()

    def below(self, words: str, columns: int = 80, rows: int = 24) -> list[str]:
        """Return the rows below the first that has ``words``, down to the foot."""
        shown = self.rows(columns, rows)
        begin = next(index for index, row in enumerate(shown) if words in row)
        return shown[begin + 1 : -1]


class NearestLimitTests(PageCase):
    """The limit on the overview."""

    def test_the_nearest_limit_stands_below_the_figures(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-350)
        row = self.row("daily loss")
        self.assertIn("███████░░░ 70 % $350.00 of $500.00 NEAR", row)
        self.assertEqual(self.style_of("$350.00 of"), "caution")

    def test_it_is_red_in_the_end_and_says_so_in_words(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-500)
        self.assertIn("██████████ 100 % $500.00 of $500.00 REACHED", self.row("daily loss"))
        self.assertEqual(self.style_of("REACHED"), "loss")

    def test_it_is_dimmed_when_it_is_last_known(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-350)
        self.lose()
        self.assertEqual(self.style_of("$350.00 of"), "dim")

    def test_without_limits_there_is_a_dash_and_a_reason(self) -> None:
        self.file.publish()
        self.connect()
        self.assertIn("Nearest limit - the broker has not said", self.shown())
        self.receive("daemon_status", status="RUNNING")
        self.assertIn("Nearest limit - no rule with a number is in force", self.shown())
        self.file.fail(NOT_THERE)
        self.connect()
        self.assertIn("Nearest limit - the state file cannot be read", self.shown())

    def test_a_wide_screen_has_all_limits_and_the_curve_beside_the_tables(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-350)
        shown = self.shown(120, 40)
        self.assertIn("Limits, nearest first", shown)
        self.assertIn("███░░   70 % daily loss NEAR", shown)
        self.assertIn("P&L of the trades", shown)
        self.assertIn("limit -500", shown)
        self.assertNotIn("Limits, nearest first", self.shown(115, 40))

    def test_on_sixty_columns_no_figure_and_no_word_of_it_is_cut(self) -> None:
        self.file.publish(
            limits={"RULE-003": Limit("daily_realized_loss", '{"loss_limit": 20000}')}
        )
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-19000, executionTime=at(0))
        self.assertIn(
            "daily loss $19,000.00 of $20,000.00, VERY NEAR", self.row("of $20", columns=60)
        )
        self.turn("Limits")
        self.assertIn(
            "daily loss $19,000.00 of $20,000.00, VERY NEAR", self.row("of $20", columns=60)
        )

    def test_a_position_that_has_a_stop_is_said_to_have_one(self) -> None:
        self.file.publish(
            limits={"RULE-008": Limit("no_stop_loss_grace", '{"grace_period_seconds": 30}')}
        )
        self.connect()
        self.receive("GatewayUserPosition", size=1, type=1)
        self.receive("GatewayUserOrder", type=3, side=2, size=1, stopPrice=20990)
        for columns in (60, 80, 120):
            self.assertIn("has a stop", self.shown(columns, 40))

    def test_beside_the_tables_how_near_it_is_is_never_cut(self) -> None:
        rules = {
            "RULE-006": Limit(
                "trade_frequency_limit", '{"max_trades": 1, "time_window_minutes": 1440}'
            )
        }
        self.file.publish(limits=rules)
        self.connect()
        self.receive("GatewayUserTrade", executionTime=at(0))
        row = next(row for row in self.rows(120, 40) if "trades in" in row)
        self.assertRegex(row, "█████ +100 % trades in 1440 m… REACHED$")


class AgeTests(PageCase):
    """Each panel says how old its data is."""

    def test_live_it_is_the_age_of_the_last_change(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ, updatedAt=at(-10))
        self.receive("MarketQuote", contractId=MES, timestamp=at(0))
        self.wait(2)
        self.assertTrue(self.row("Positions (1").endswith("changed 12 s ago"))
        self.assertTrue(self.row("Quotes (1)").endswith("changed 2 s ago"))
        self.assertTrue(self.row("Working orders").endswith("no change yet"))

    def test_last_known_it_is_the_age_of_what_is_known(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ)
        self.lose()
        self.wait(130)
        for title in ("P&L of", "Positions", "Working orders", "Quotes"):
            self.assertTrue(self.row(title).endswith("known 2 min ago"), title)

    def test_every_page_says_it(self) -> None:
        self.lose()
        self.wait(130)
        for page in ("Trades", "Lockouts", "Activity"):
            self.turn(page)
            self.assertIn("known 2 min ago", self.shown(), page)
        self.turn("Limits")
        self.assertIn(f"read {clock(BEGIN)}, 2 min ago", self.shown())


class HeaderTests(PageCase):
    """What is always on the screen, whatever the page and the size."""

    def test_the_source_is_on_every_page_at_every_size(self) -> None:
        for retry_in, words in ((None, "LIVE"), (4, "RECONNECTING in 4 s")):
            if retry_in:
                self.lose(retry_in=retry_in)
            for number, page in enumerate(PAGES):
                self.ui_state = self.ui_state.with_page(number)
                self.screen.redraw()
                for columns, rows in ((60, 14), (80, 24), (120, 40), (240, 80)):
                    self.assertIn(words, self.rows(columns, rows)[0], (page.name, columns))

    def test_a_dry_run_is_said_in_the_header_beside_practice(self) -> None:
        self.receive("daemon_status", status="RUNNING", message=f"Running {DRY_RUN_NOTE}")
        for columns in (60, 80, 120):
            header = self.rows(columns, 24)[0]
            self.assertIn("PRACTICE", header)
            self.assertIn("DRY RUN", header)
        self.receive("daemon_status", status="RUNNING", message="Running")
        self.assertNotIn("DRY RUN", self.shown())

    def test_last_known_is_said_beside_the_next_try(self) -> None:
        self.lose(retry_in=7)
        self.assertIn("LAST KNOWN  RECONNECTING in 7 s", self.rows()[0])

    def test_a_lock_is_told_once_above_the_page(self) -> None:
        self.receive("lockout_set", reason="Lunch", locked_until=None)
        self.assertEqual(sum("LOCKED OUT" in row for row in self.rows()[:4]), 1)
        self.assertIn("New orders are canceled", self.rows()[2])
        self.receive("lockout_set", reason="A pause", rule_id="RULE-007", locked_until=at(60))
        self.assertIn("Lunch", self.rows()[1])
        self.assertIn("A pause", self.rows()[2])

    def test_trade_suggestions_are_off_while_locked(self) -> None:
        self.receive("lockout_set", locked_until=None)
        self.wait(10)
        self.assertIn("New orders are canceled", self.shown())
        self.receive("lockout_cleared")
        self.wait(10)
        self.assertNotIn("New orders are canceled", self.shown())


class TradesTests(PageCase):
    """The trades of the day."""

    page = "Trades"

    def trade(self, number: int, pnl: float) -> None:
        """Report a trade, one second after the other."""
        executed = at(number)
        self.receive("GatewayUserTrade", id=number, profitAndLoss=pnl, executionTime=executed)

    def test_each_trade_has_its_running_total_newest_first(self) -> None:
        self.trade(1, -45.5)
        self.trade(2, 10.25)
        moments = [clock(BEGIN + timedelta(seconds=seconds)) for seconds in (2, 1)]
        self.assertEqual(
            [" ".join(row.split()) for row in self.below("Time ") if row],
            [f"> {moments[0]} MNQU5 2 +10.25 -35.25", f"{moments[1]} MNQU5 2 -45.50 -45.50"],
        )

    def test_a_summary_stands_on_top(self) -> None:
        self.trade(1, -45.5)
        self.trade(2, 10.25)
        self.assertIn("Realized -35.25   1 won, 1 lost   daily loss limit -500.00", self.shown())

    def test_the_curve_has_the_limit_in_it(self) -> None:
        self.trade(1, -300)
        self.assertIn("limit -500 ---", self.shown())
        self.assertIn("-300.00 ", self.shown())

    def test_without_a_trade_it_says_so(self) -> None:
        self.receive("daemon_status", status="RUNNING")
        self.assertIn("Trades of the day (none)", self.shown())
        self.assertIn("No trade yet", self.shown())

    def test_the_chosen_row_is_always_shown_and_signs_say_where_there_is_more(self) -> None:
        for number in range(40):
            self.trade(number, -1)
        for row in (0, 1, 20, 38, 39):
            self.change(row=row)
            shown = self.below("Time ")
            (chosen,) = [text for text in shown if text.startswith("> ")]
            self.assertTrue(chosen.endswith(f"{-(40 - row)}.00"), chosen)
            self.assertEqual(any(text.startswith("↑ ") for text in shown), row > 3, row)
            self.assertEqual(any(text.startswith("↓ ") for text in shown), row < 36, row)


class LimitsTests(PageCase):
    """The limits in force."""

    page = "Limits"

    def test_each_rule_has_limit_value_headroom_and_words(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-125)
        self.receive("GatewayUserPosition", contractId=MNQ, size=4)
        shown = self.shown(120, 24)
        for words in (
            "net contracts",
            "100 % 4 of 4                   REACHED    0 left",
            " 25 % $125.00 of $500.00       ok         $375.00 left",
            "- of $300.00, MNQU5: no quote yet",
            "- known to the daemon alone",
        ):
            self.assertIn(words, shown)

    def test_when_the_day_ends_and_when_this_was_read(self) -> None:
        end = BEGIN.replace(hour=17, minute=0, second=0)
        self.assertIn(f"The trading day ends {until(end, BEGIN)}, in 2:14:45", self.shown())
        self.assertIn(f"read {clock(BEGIN)}, 0 s ago", self.shown())

    def test_strict_mode_and_a_dry_run_are_said(self) -> None:
        self.file.publish(limits={**LIMITS, "STRICT": Limit("strict_mode", "true")})
        self.connect()
        self.receive("daemon_status", status="RUNNING", message=f"Running {DRY_RUN_NOTE}")
        self.assertIn("Strict mode: any breach locks", self.shown())
        self.assertIn("Dry run: breaches are reported", self.shown())

    def test_without_the_file_there_is_a_reason(self) -> None:
        self.file.fail(NOT_THERE)
        self.connect()
        self.assertIn("-  the state file cannot be read", self.shown())


class LockoutsTests(PageCase):
    """Lockouts and enforcement."""

    page = "Lockouts"

    def lock(self) -> None:
        """Lose the day's limit, and be locked for it."""
        self.receive("GatewayUserTrade", id=1, profitAndLoss=-300, executionTime=at(-60))
        self.receive("GatewayUserTrade", id=2, profitAndLoss=-250, executionTime=at(-1))
        self.receive(
            "enforcement_action",
            action="CLOSE_ALL_AND_LOCKOUT",
            rule_id="RULE-003",
            reason="Daily loss limit hit: -$550.00 (limit $500.00)",
            timestamp=at(0),
        )
        self.receive(
            "lockout_set",
            reason="Daily loss limit hit: -$550.00 (limit $500.00)",
            rule_id="RULE-003",
            locked_until=at(8085),
            locked_at=at(0),
        )

    def test_why_until_when_and_what_still_works(self) -> None:
        self.lock()
        self.wait(1)
        shown = " ".join(self.shown(100, 30).split())
        end = clock(BEGIN + timedelta(seconds=8085))
        for words in (
            f"Locked until {end} (2:14:44 left)",
            "Why: Daily loss limit hit: -$550.00 (limit $500.00)",
            f"Rule: RULE-003 daily realized loss, locked at {clock(BEGIN)}",
            "Limit: $500.00, daily loss now $550.00",
            "Trades that led to it: size, P&L, total",
            "-300.00 -300.00",
            "-250.00 -550.00",
            "Still allowed: closing positions",
            "Not allowed: other orders are canceled",
            "Enforced today (1)",
            "RULE-003 close all and lock, done: Daily loss limit hit",
        ):
            self.assertIn(words, shown)

    def test_a_permanent_lock_says_who_ends_it(self) -> None:
        self.receive("lockout_set", locked_until=None)
        self.assertIn("Locked until an operator unlocks it (riskctl unlock)", self.shown())

    def test_of_many_trades_the_last_are_told_and_counted(self) -> None:
        for number in range(12):
            self.receive("GatewayUserTrade", id=100 + number, executionTime=at(-60 + number))
        self.lock()
        self.assertIn("Trades that led to it (last 5 of 14): size", self.shown(100, 40))

    def test_where_there_is_little_room_fewer_trades_are_told_and_counted(self) -> None:
        for number in range(12):
            self.receive("GatewayUserTrade", id=100 + number, executionTime=at(-60 + number))
        self.lock()
        shown = " ".join(self.shown(60, 20).split())
        self.assertIn("Trades that led to it (last 3 of 14): size, P&L, total", shown)
        self.assertIn("-250.00 -1,096.00 Still allowed: ", shown)
        self.assertIn("other orders are canceled, new positions are closed. Enforced", shown)

    def test_where_there_is_no_room_for_all_it_says_how_much_is_missing(self) -> None:
        self.lock()
        shown = self.rows(60, 14)
        title = next(number for number, row in enumerate(shown) if row.startswith("Enforced"))
        above_what_was_done = shown[title - 1]
        self.assertRegex(above_what_was_done, r"^  \.\.\. and \d+ more$")

    def test_a_long_reason_is_told_in_full(self) -> None:
        reason = "Position opened while locked out: " + "word " * 20 + "end"
        self.receive("lockout_set", reason=reason)
        self.assertIn(f"Why: {reason}", " ".join(self.shown(60, 30).split()))

    def test_without_a_lock_trading_is_allowed(self) -> None:
        self.assertIn("Not locked: you may trade", self.shown())
        self.assertIn("Enforced today (none)", self.shown())

    def test_who_may_trade_is_only_known_where_all_is_well(self) -> None:
        self.receive("daemon_status", status="ERROR", message="Gateway lost")
        self.assertIn("Not locked, but the daemon is in trouble", self.shown())
        self.receive("daemon_status", status="RUNNING")
        self.assertIn("Not locked: you may trade", self.shown())
        self.lose()
        self.assertIn("Not locked when last known; may be locked by now", self.shown())
        self.assertNotIn("you may trade", self.shown())

    def test_without_a_connection_what_was_done_is_not_known(self) -> None:
        super(PageCase, self).setUp()
        self.turn("Lockouts")
        self.assertIn("-  not connected yet", self.shown())
        self.assertIn("Enforced today (not connected yet)", self.shown())

    def test_without_the_file_it_is_not_known(self) -> None:
        self.file.fail(NOT_THERE)
        self.connect()
        self.assertNotIn("you may trade", self.shown())
        self.assertIn("No lockout seen", self.shown())

    def test_what_failed_and_what_was_not_done_are_told_apart(self) -> None:
        self.receive("enforcement_action", success=False, timestamp=at(1))
        details = {"positions_closed": 1, "orders_canceled": 0, "dry_run": True}
        self.receive("enforcement_action", success=False, timestamp=at(2), details=details)
        shown = self.shown(100)
        self.assertIn("close positions, FAILED: ", shown)
        self.assertIn("close positions, NOT ENFORCED (dry run): ", shown)

    def test_in_a_dry_run_nothing_is_said_to_be_enforced(self) -> None:
        self.receive("daemon_status", status="RUNNING", message=f"Started {DRY_RUN_NOTE}")
        details = {"positions_closed": 1, "orders_canceled": 0, "dry_run": True}
        self.receive("enforcement_action", success=False, details=details)
        self.assertIn("Breaches today (1)", self.shown())
        self.assertNotIn("Enforced today", self.shown())

    def test_a_row_that_is_too_long_is_told_in_full_below(self) -> None:
        reason = "Too many contracts: " + "word " * 20 + "end"
        self.receive("enforcement_action", reason=reason)
        self.assertIn(reason, " ".join(" ".join(self.below("Selected")).split()))


class ActivityTests(PageCase):
    """The feed on a page of its own."""

    page = "Activity"

    def test_its_age_is_that_of_the_newest_line_that_is_shown(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=1)
        self.wait(20)
        self.receive("GatewayUserPosition")
        self.change(filter=1)
        self.assertTrue(self.row("Activity: trades (1)").endswith("changed 20 s ago"))

    def test_with_nothing_to_tell_it_says_so(self) -> None:
        self.change(filter=1)
        self.assertEqual(self.rows()[3], "Nothing of this kind yet; f shows the next kind")
        super(PageCase, self).setUp()
        self.turn("Activity")
        self.assertEqual(self.rows()[4], "-  not connected yet")
        self.file.fail(NOT_THERE)

    def test_a_sentence_that_is_cut_says_so_and_is_told_in_full_below(self) -> None:
        reason = "Too many contracts: " + "word " * 20 + "end"
        self.receive("enforcement_action", reason=reason)
        self.assertTrue(self.row("> ").endswith("…"))
        self.assertIn(reason, " ".join(" ".join(self.below("Selected")).split()))
        self.turn("Overview")
        for columns in (60, 80, 120):
            row = next(row for row in self.rows(columns, 24)[4:] if "ENFORCED" in row)
            self.assertTrue(row[:columns].endswith("…") or "…  " in row, row)

    def test_a_very_long_sentence_is_told_in_full_where_there_is_room(self) -> None:
        # No text on the wire is longer.
        message = "The broker says: " + "word " * 56 + "end"
        self.receive("daemon_status", status="RUNNING", message=message)
        self.assertIn(message, " ".join(" ".join(self.below("Selected", 60, 20)).split()))

    def test_it_is_narrowed_to_a_kind(self) -> None:
        for event_type in ("GatewayUserTrade", "lockout_set", "daily_reset", "GatewayUserOrder"):
            self.receive(event_type)
        self.receive("enforcement_action")
        for name, words, number in (
            ("everything", "Connected to daemon", 6),
            ("trades", "Trade ", 1),
            ("positions", "", 0),
            ("orders", "Buy limit", 1),
            ("lockouts", "LOCKED OUT", 1),
            ("enforcement", "ENFORCED", 1),
            ("daemon", "Daily reset executed", 2),
        ):
            self.assertEqual(FILTERS[self.ui_state.filter][0], name)
            self.assertIn(f"Activity: {name} ({number})", self.shown())
            self.assertIn(words, "\n".join(self.below("Activity:")))
            self.ui_state = self.ui_state.with_next_filter()
            self.screen.redraw()
        self.assertEqual(self.ui_state.filter, 0)

    def test_every_event_but_a_quote_has_a_filter(self) -> None:
        kinds = set().union(*(kinds for _, kinds in FILTERS))
        self.assertEqual(kinds, {event_type for event_type, _ in SAMPLES} | {"console"})

    def test_paused_it_stands_still(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        self.ui_state = self.ui_state.with_pause_toggled(self.session.view().feed)
        self.receive("GatewayUserTrade", profitAndLoss=-2)
        self.assertIn("PAUSED, 1 more since; p resumes", self.shown())
        self.assertNotIn("Trade -2.00", "\n".join(self.below("PAUSED")))
        self.assertIn("paused", self.rows()[-1])
        self.ui_state = self.ui_state.with_pause_toggled(self.session.view().feed)
        self.screen.redraw()
        self.assertIn("Trade -2.00", "\n".join(self.below("Activity:")))


SAMPLES = [
    (event_type, {})
    for event_type in (
        "GatewayUserTrade",
        "GatewayUserPosition",
        "GatewayUserOrder",
        "lockout_set",
        "lockout_cleared",
        "enforcement_action",
        "daily_reset",
        "daemon_status",
    )
]


class ConnectionTests(PageCase):
    """The way from the broker to this screen."""

    page = "Connection"

    def facts(self) -> dict[str, str]:
        """Return what is told, by its name."""
        rows = [row for row in self.below("Connection") if row[:1].strip()]
        return {row[:16].strip(): row[16:].strip() for row in rows}

    def test_a_live_connection(self) -> None:
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

    def test_a_lost_one(self) -> None:
        self.lose("lost connection to daemon", retry_in=4)
        self.assertEqual(
            self.facts()["Source"],
            "LAST KNOWN state; next try in 4 s. Lost connection to daemon",
        )
        self.assertTrue(self.facts()["Connected"].startswith("not now; last time at "))
        self.connect()
        self.assertEqual(self.facts()["Reconnects"], "1")

    def test_what_is_not_known_is_a_dash_with_a_reason(self) -> None:
        super(PageCase, self).setUp()
        self.turn("Connection")
        facts = self.facts()
        for name in ("Last status", "Gateway", "Enforcement", "Connected", "Last event"):
            self.assertTrue(facts[name].startswith("- "), name)
        self.assertEqual(facts["State file"], "- not read yet")

    def test_where_there_is_little_room_each_part_is_told_in_fewer_lines(self) -> None:
        self.receive("lockout_set", reason="Lunch", locked_until=None)
        self.lose("lost connection to daemon: and a long reason for it, which takes its room")
        self.assertTrue(self.rows(60, 20)[-2].startswith("State file"), self.shown(60, 20))
        self.assertRegex(self.rows(60, 14)[-2], r"^  \.\.\. and \d+ more$")

    def test_a_file_that_cannot_be_read_is_told(self) -> None:
        self.file.fail(NOT_THERE)
        self.connect()
        self.assertIn("is not there", self.facts()["State file"])


class HelpTests(PageCase):
    """The keys."""

    def test_each_key_is_told_in_full(self) -> None:
        self.change(is_help=True)
        keys = [(key.label, key.told) for key in KEYS]
        for columns, rows in ((60, 20), (80, 24), (120, 40)):
            lines = compose(self.session.view(), self.ui_state, self.now, columns, rows, keys)
            shown = [text_of(line)[:columns] for line in lines]
            for label, told in keys:
                self.assertTrue(any(f" {label:<10}{told}" in line for line in shown), told)

    def test_where_there_is_no_room_for_all_it_says_how_many_are_missing(self) -> None:
        self.change(is_help=True)
        keys = [(key.label, key.told) for key in KEYS]
        lines = compose(self.session.view(), self.ui_state, self.now, 60, 14, keys)
        self.assertEqual(text_of(lines[-2]), "  ... and 2 more")


class FootTests(PageCase):
    """The foot of the screen."""

    def test_the_page_is_marked_by_more_than_a_color(self) -> None:
        self.turn("Limits")
        self.assertIn("[3 Limits]", self.rows()[-1])
        self.assertIn("[3 Limits]", self.rows(60, 20)[-1])

    def test_a_page_is_found_by_its_column(self) -> None:
        for columns in (60, 80, 120):
            text = self.rows(columns, 24)[-1]
            for number in range(len(PAGES)):
                column = text.index(str(number + 1))
                self.assertEqual(page_at(self.ui_state, columns, column), number)
            self.assertIsNone(page_at(self.ui_state, columns, columns - 2))

    def test_the_foot_is_as_wide_as_the_screen(self) -> None:
        for columns in range(1, 200):
            width = sum(
                len(part if isinstance(part, str) else part[1])
                for part in footer(self.ui_state, columns)
            )
            self.assertEqual(width, columns)


class RowTests(PageCase):
    """Rows to choose from, and to copy."""

    def test_pages_have_as_many_rows_as_they_list(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        for page, number in (("Overview", 0), ("Trades", 1), ("Limits", 4), ("Lockouts", 0)):
            self.turn(page)
            self.assertEqual(row_count(self.session.view(), self.ui_state, self.now), number, page)

    def test_a_choice_stays_within_the_rows(self) -> None:
        for rows, count, row in ((5, 3, 2), (-5, 3, 0), (1, 0, 0), (1, 9, 1)):
            self.assertEqual(self.ui_state.with_row_moved(rows, count).row, row)

    def test_what_is_copied_is_one_line_without_styles(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-45.5, executionTime=at(0))
        self.turn("Trades")
        text = selected_text(self.session.view(), self.ui_state, self.now, 80)
        self.assertEqual(text, f"{clock(BEGIN)} MNQU5 2 -45.50 -45.50")

    def test_an_empty_page_has_nothing_to_copy(self) -> None:
        self.turn("Trades")
        self.assertEqual(selected_text(self.session.view(), self.ui_state, self.now, 80), "")


class FittedTests(SynchronousTestCase):
    """A line that is too long."""

    def test_it_ends_before_the_figure_that_would_be_cut(self) -> None:
        line: StyledLine = [
            ("dim", "14:45:16 "),
            ("alert", "Loss of a trade: -$518.00 (limit $500)"),
        ]
        for width, told in (
            (47, "14:45:16 Loss of a trade: -$518.00 (limit $500)"),
            (46, "14:45:16 Loss of a trade: -$518.00 (limit …"),
            (35, "14:45:16 Loss of a trade: -$518.00…"),
            (34, "14:45:16 Loss of a trade: …"),
        ):
            self.assertEqual(text_of(fit(line, width)), told)

    def test_a_word_that_is_too_long_alone_is_cut_all_the_same(self) -> None:
        self.assertEqual(text_of(fit([("text", "incomprehensible")], 9)), "incompre…")

    def test_blanks_at_its_end_are_not_missed(self) -> None:
        line: StyledLine = [("text", "MNQ"), ("text", "      ")]
        self.assertEqual(text_of(fit(line, 4)), "MNQ ")


class EveryPageTests(PageCase):
    """Whatever the page, the size and the state."""

    def test_every_page_fills_every_size_and_ascii_is_ascii(self) -> None:
        self.file.publish(*DAY, limits=LIMITS)
        for act in (lambda: None, self.connect, self.fill, self.lose, lambda: self.wait(100)):
            act()
            for number in range(len(PAGES)):
                for is_ascii in (False, True):
                    for is_help in (False, True):
                        self.change(page=number, is_ascii=is_ascii, is_help=is_help)
                        for columns, rows in ((60, 14), (80, 24), (120, 40), (240, 80)):
                            canvas = self.screen.render((columns, rows))
                            self.assertEqual((canvas.cols(), len(canvas.text)), (columns, rows))
                            if is_ascii:
                                self.assertTrue(all(text.isascii() for text in canvas.text))

    def test_a_lock_of_the_file_is_explained_without_a_daemon(self) -> None:
        lock = make_event("lockout_set", {"reason": "Lunch", "rule_id": "OPERATOR"})
        self.file.publish(lock, limits=LIMITS)
        self.lose()
        self.tick()
        self.turn("Lockouts")
        self.assertIn("Why: Lunch", self.shown())
        self.assertIn("Rule: OPERATOR, locked", self.shown())
