"""Lockouts and enforcement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from riskd.model.account import Limit
from riskd.model.events import DRY_RUN_NOTE
from riskd.model.reduce_only import REDUCE_ONLY, ReduceOnly
from riskd.model.unlocks import UNLOCKED, Unlock
from riskd.testing import make_event
from tests.support.console import BEGIN, NOT_THERE, at
from tests.support.screen import LIMITS, PageTestCase, ScreenTestCase
from trader.model.formatting import clock


class LockoutsPageTests(PageTestCase):
    """Why the account is locked, and what was enforced."""

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

    def test_an_unlock_beyond_a_limit_names_it_and_what_follows(self) -> None:
        unlock = Unlock(at=BEGIN, beyond=("RULE-003",))
        self.file.publish(limits={**LIMITS, UNLOCKED: unlock.limit})
        self.connect()
        shown = " ".join(self.shown().split())
        for words in (
            "An operator unlocked the account beyond the limit of RULE-003 daily realized loss.",
            "The next trade that leaves it beyond the limit locks it again,",
        ):
            self.assertIn(words, shown)

    def test_the_reduce_only_stage_names_its_rule_and_what_is_allowed(self) -> None:
        reason = "the day's loss has reached 80 % of its limit of $500.00"
        stage = ReduceOnly(since=BEGIN, reasons={"RULE-003": reason})
        self.file.publish(limits={**LIMITS, REDUCE_ONLY: stage.limit})
        self.connect()
        shown = " ".join(self.shown(100, 30).split())
        for words in (
            f"Reduce only until {clock(datetime(2025, 1, 17, 17, tzinfo=UTC))}; not locked",
            f"Why: {reason}",
            f"Rule: RULE-003 daily realized loss, reduce only since {clock(BEGIN)}",
            "Orders that open, add or reverse are canceled",
        ):
            self.assertIn(words, shown)
        self.assertNotIn("you may trade", shown)

    def test_a_lockout_shows_its_end_its_cause_and_what_is_allowed(self) -> None:
        self.lock()
        self.wait(1)
        shown = " ".join(self.shown(100, 30).split())
        end = clock(BEGIN + timedelta(seconds=8085))
        for words in (
            f"Locked until {end} (2:14:44 left)",
            "Why: Daily loss limit hit: -$550.00 (limit $500.00)",
            f"Rule: RULE-003 daily realized loss, locked at {clock(BEGIN)}",
            "Limit: $500.00, realized loss now $550.00",
            "Trades that led to it: size, P&L, total",
            "-$300.00 -$300.00",
            "-$250.00 -$550.00",
            "Still allowed: closing positions",
            "Not allowed: other orders are canceled",
            "Enforced today (1)",
            "RULE-003 close all and lock, done: Daily loss limit hit",
        ):
            self.assertIn(words, shown)

    def test_a_permanent_lockout_names_the_command_that_ends_it(self) -> None:
        self.receive("lockout_set", locked_until=None)
        self.assertIn("Locked until an operator unlocks it (riskctl unlock)", self.shown())

    def test_the_lockout_that_ends_last_comes_first(self) -> None:
        for rule_id, end in (("RULE-007", at(60)), ("RULE-003", None), ("RULE-006", at(600))):
            self.receive("lockout_set", rule_id=rule_id, locked_until=end)
        shown = self.shown(100, 40)
        places = [shown.index(f"Rule: RULE-{number}") for number in ("003", "006", "007")]
        self.assertEqual(places, sorted(places))

    def test_of_many_trades_the_last_five_are_shown(self) -> None:
        for number in range(12):
            self.receive("GatewayUserTrade", id=100 + number, executionTime=at(-60 + number))
        self.lock()
        self.assertIn("Trades that led to it (last 5 of 14): size", self.shown(100, 40))

    def test_a_small_screen_shows_fewer_trades(self) -> None:
        for number in range(12):
            self.receive("GatewayUserTrade", id=100 + number, executionTime=at(-60 + number))
        self.lock()
        shown = " ".join(self.shown(60, 20).split())
        self.assertIn("Trades that led to it (last 3 of 14): size, P&L, total", shown)
        self.assertIn("-$250.00 -$1,096.00 Still allowed: ", shown)
        self.assertIn("other orders are canceled, new positions are closed. Enforced", shown)

    def test_on_a_low_screen_the_lockouts_are_scrolled_with_what_was_enforced(self) -> None:
        for rule_id in ("RULE-006", "RULE-007"):
            self.receive("lockout_set", rule_id=rule_id, locked_until=at(60))
        self.lock()
        listed = self.below("Lockouts ", 60, 14)
        self.assertTrue(listed[0].startswith(">  Locked until"), listed[0])
        seen = set()
        for row in range(40):
            self.change(row=row)
            shown = self.below("Lockouts ", 60, 14)
            self.assertTrue(any(line.startswith("> ") for line in shown))
            seen |= {line[2:].strip() for line in shown}
        words = " ".join(seen)
        for rule in ("Rule: RULE-003", "Rule: RULE-006", "Rule: RULE-007", "Enforced today (1)"):
            self.assertIn(rule, words)
        self.assertNotIn(" more", words)

    def test_a_long_reason_is_shown_in_full(self) -> None:
        reason = "Position opened while locked out: " + "word " * 20 + "end"
        self.receive("lockout_set", reason=reason)
        self.assertIn(f"Why: {reason}", " ".join(self.shown(60, 30).split()))

    def test_an_account_without_lockouts_may_trade(self) -> None:
        self.assertIn("Not locked: you may trade", self.shown())
        self.assertIn("Enforced today (none)", self.shown())

    def test_hours_and_news_at_which_orders_are_canceled_without_a_lock_are_shown(self) -> None:
        hours = '{"allowed_hours": {"start": "08:30", "end": "15:00"}, "timezone": "UTC"}'
        self.file.publish(
            limits={
                "RULE-009": Limit("session_block_outside", hours),
                "RULE-017": Limit("news_blackout", '{"file": "/nowhere/news.toml"}'),
            }
        )
        self.connect()
        shown = self.shown()
        self.assertIn("Not locked: you may trade within the limits", shown)
        self.assertRegex(
            shown, r"Trading hours: (open|closed) until ... 2025-\d\d-\d\d \d\d:\d\d UTC"
        )
        self.assertIn("News blackout: news is not guarded against, /nowhere", shown)

    def test_trading_is_only_allowed_while_the_daemon_is_well(self) -> None:
        self.receive("daemon_status", status="ERROR", message="Gateway lost")
        self.assertIn("Not locked, but the daemon reports ERROR", self.shown())
        self.receive("daemon_status", status="RUNNING")
        self.assertIn("Not locked: you may trade", self.shown())
        self.lose()
        self.assertIn("Not locked when last known; may be locked by now", self.shown())
        self.assertNotIn("you may trade", self.shown())

    def test_before_a_connection_enforcement_is_unknown(self) -> None:
        ScreenTestCase.setUp(self)
        self.turn("Lockouts")
        self.assertIn("-  not connected yet", self.shown())
        self.assertIn("Enforced today (not connected yet)", self.shown())

    def test_without_the_file_earlier_lockouts_are_unknown(self) -> None:
        self.file.fail(NOT_THERE)
        self.connect()
        self.assertNotIn("you may trade", self.shown())
        self.assertIn("No lockout seen", self.shown())

    def test_failed_and_dry_run_actions_are_marked(self) -> None:
        self.receive("enforcement_action", success=False, timestamp=at(1))
        details = {"positions_closed": 1, "orders_canceled": 0, "dry_run": True}
        self.receive("enforcement_action", success=False, timestamp=at(2), details=details)
        shown = self.shown(100)
        self.assertIn("close positions, FAILED: ", shown)
        self.assertIn("close positions, NOT ENFORCED (dry run): ", shown)

    def test_a_dry_run_lists_breaches(self) -> None:
        self.receive("daemon_status", status="RUNNING", message=f"Started {DRY_RUN_NOTE}")
        details = {"positions_closed": 1, "orders_canceled": 0, "dry_run": True}
        self.receive("enforcement_action", success=False, details=details)
        self.assertIn("Breaches today (1)", self.shown())
        self.assertNotIn("Enforced today", self.shown())

    def test_a_selected_row_that_is_too_long_is_shown_in_full_below(self) -> None:
        reason = "Too many contracts: " + "word " * 20 + "end"
        self.receive("enforcement_action", reason=reason)
        self.assertIn(reason, " ".join(" ".join(self.below("Selected")).split()))

    def test_a_lockout_of_the_file_is_explained_without_a_daemon(self) -> None:
        lock = make_event("lockout_set", {"reason": "Lunch", "rule_id": "OPERATOR"})
        self.file.publish(lock, limits=LIMITS)
        self.lose()
        self.poll_file()
        self.turn("Lockouts")
        self.assertIn("Why: Lunch", self.shown())
        self.assertIn("Rule: OPERATOR, locked", self.shown())
