"""The limits in force."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from riskd.model.account import Limit
from riskd.model.balance import Balance, after_firm_floor
from riskd.model.commitment import Commitment, Wait
from riskd.model.events import DRY_RUN_NOTE
from tests.support.console import BEGIN, MNQ, NOT_THERE, at
from tests.support.screen import LIMITS, PageTestCase
from trader.model.formatting import clock, until


class LimitsPageTests(PageTestCase):
    """Heading and rows."""

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

    def test_the_heading_shows_the_end_of_the_day_and_when_the_limits_were_read(self) -> None:
        end = BEGIN.replace(hour=17, minute=0, second=0)
        self.assertIn(f"The trading day ends {until(end, BEGIN)}, in 2:14:45", self.shown())
        self.assertIn(f"read {clock(BEGIN)}, 0 s ago", self.shown())

    def test_strict_mode_and_dry_run_are_shown(self) -> None:
        self.file.publish(limits={**LIMITS, "STRICT": Limit("strict_mode", "true")})
        self.connect()
        self.receive("daemon_status", status="RUNNING", message=f"Running {DRY_RUN_NOTE}")
        self.assertIn("Strict mode: any breach locks", self.shown())
        self.assertIn("Dry run: breaches are reported", self.shown())

    def test_without_the_file_a_reason_is_shown(self) -> None:
        self.file.fail(NOT_THERE)
        self.connect()
        self.assertIn("-  not known without the state file", self.shown())


class CommitmentTests(PageTestCase):
    """What a commitment lets wait has a countdown, here and above every page."""

    page = "Limits"

    def publish(self, *waits: Wait, loosen_after: str = "8h") -> None:
        commitment = Commitment(loosen_after=loosen_after, waits=waits)
        self.file.publish(limits={**LIMITS, **commitment.limits})
        self.connect()

    def wait_for(self, hours: int, **more: Any) -> Wait:
        return Wait(
            name="unlock",
            old="",
            asked_at=BEGIN,
            until=BEGIN + timedelta(hours=hours),
            sentence=f"unlock: {hours}",
            **more,
        )

    def test_a_wait_has_its_end_and_a_countdown(self) -> None:
        self.publish(self.wait_for(3), self.wait_for(2))
        end = until(BEGIN + timedelta(hours=2), BEGIN)
        shown = self.shown(120, 30)
        self.assertIn("Committed: what loosens the limits waits 8h", shown)
        self.assertIn(f"Waits until {end} (2:00:00 left): unlock: 2 (and 1 more change)", shown)
        self.assertIn("(3:00:00 left): unlock: 3", shown)
        self.wait(60)
        self.assertIn("(1:59:00 left): unlock: 2", self.shown(120, 30))

    def test_what_misses_only_a_restart_says_so(self) -> None:
        self.publish(self.wait_for(1, is_over=True), loosen_after="daily_reset")
        shown = self.shown(120, 30)
        self.assertIn("waits until the daily reset", shown)
        self.assertIn("Takes effect at the next start of riskd: unlock: 1", shown)

    def test_without_a_commitment_nothing_is_said(self) -> None:
        self.connect()
        self.assertNotIn("ommitted", self.shown())


class FloorTests(PageTestCase):
    """The floor, how far it is, and what the end of the day would do to it."""

    page = "Limits"

    def hold(self, agreed: str | None = "50300", settings: str = "{}", **limits: Limit) -> None:
        """Connect to a daemon with RULE-014 and this balance."""
        amount = None if agreed is None else Decimal(agreed)
        balance = Balance(agreed=amount, first=Decimal(50000))
        self.file.publish(
            limits={"RULE-014": Limit("maximum_loss", settings), **limits}, balance=balance
        )
        self.connect()
        self.receive("daemon_status", status="RUNNING")

    def long(self, last: float) -> None:
        """Hold one MNQ from 21,000, at a price of now."""
        self.receive("GatewayUserPosition", contractId=MNQ, size=1, averagePrice=21000)
        self.receive(
            "MarketQuote", contractId=MNQ, bid=last, ask=last + 1, last=last, timestamp=at(0)
        )

    def test_the_page_shows_the_floor_and_the_close_with_an_open_position(self) -> None:
        """Long at 21,000, the exit is at a bid of 21,100: $200."""
        self.hold()
        self.receive("GatewayUserTrade", id=2, profitAndLoss=300, executionTime=at(0))
        self.long(21100)
        for columns in (60, 80, 120):
            shown = " ".join(self.shown(columns, 24).split())
            for words in (
                "Floor $48,300.00 by riskd's estimate; equity $50,800.00, $2,500.00 above it",
                "Today's close would raise the floor to $48,800.00",
            ):
                self.assertIn(words, shown)

    def test_the_firms_figure_is_called_so(self) -> None:
        balance = Balance(agreed=Decimal(50300), first=Decimal(50000))
        self.file.publish(
            limits={"RULE-014": Limit("maximum_loss", "{}")},
            balance=after_firm_floor(balance, Decimal(48500), BEGIN - timedelta(minutes=1)),
        )
        self.connect()
        self.receive("daemon_status", status="RUNNING")
        shown = " ".join(self.shown().split())
        for words in (
            "Floor $48,500.00 by the firm's figure; equity $50,300.00, $1,800.00 above it",
            "Today's close would leave the floor at $48,500.00",
            "$1,800.00 above floor $48,500.00",
        ):
            self.assertIn(words, shown)

    def test_the_gauge_has_headroom_and_floor_at_each_width(self) -> None:
        self.hold("48500")
        for columns, words in (
            (60, "$500.00 above floor $48,000.00, NEAR"),
            (80, "$500.00 above floor $48,000.00, NEAR"),
            (120, "75 % $500.00 left             NEAR       floor $48,000.00"),
        ):
            self.assertIn(words, self.shown(columns, 24))

    def test_an_equity_below_the_floor_says_so(self) -> None:
        self.hold("47990.50")
        self.assertIn("$9.50 below floor $48,000.00, REACHED", self.shown())

    def test_it_is_the_nearest_limit_with_what_the_close_would_do(self) -> None:
        self.hold("48500")
        self.turn("Overview")
        self.assertEqual(
            [" ".join(row.split()) for row in self.below("P&L of the day")[1:3]],
            [
                "maximum loss ████░░ $500.00 above floor $48,000.00, NEAR",
                "Today's close would leave the floor at $48,000.00",
            ],
        )
        shown = " ".join(row[82:] for row in self.rows(120, 40))
        self.assertIn(
            "$500.00 above floor $48,000.00. Today's close would leave the floor at $48,000.00",
            " ".join(shown.split()),
        )
        self.assertNotIn("Today's close", self.shown(60, 14))

    def test_an_unknown_open_pnl_makes_the_headroom_unknown(self) -> None:
        self.hold("48500")
        self.long(21100)
        self.wait(31)
        shown = " ".join(self.shown().split())
        self.assertIn(
            "Floor $48,000.00 by riskd's estimate; headroom - MNQU5: no quote for", shown
        )
        self.assertNotIn("Today's close", shown)
        self.assertIn("maximum loss - of $2,000.00, MNQU5: no quote", shown)

    def test_before_the_first_balance_the_floor_is_unknown(self) -> None:
        self.hold(None)
        self.assertIn("of $2,000.00, no balance yet", self.shown())
        self.assertNotIn("Floor", self.shown())

    def test_a_static_floor_is_not_moved_by_a_close(self) -> None:
        self.hold("50300", '{"trailing": "static"}')
        self.assertIn("Today's close does not move the floor", self.shown())

    def test_the_curve_draws_the_floor_where_it_is_nearest(self) -> None:
        self.hold("48500", **{"RULE-003": LIMITS["RULE-003"]})
        self.receive("GatewayUserTrade", profitAndLoss=-100, executionTime=at(0))
        self.turn("Trades")
        self.assertIn("P&L at the limit -$500.00 (realized loss)", self.shown())
        self.hold("48200", **{"RULE-003": LIMITS["RULE-003"]})
        self.receive("GatewayUserTrade", profitAndLoss=-100, executionTime=at(0))
        self.assertIn("P&L at the floor -$200.00 (maximum loss)", self.shown())
        self.assertIn("floor -$200 ---", self.shown())
