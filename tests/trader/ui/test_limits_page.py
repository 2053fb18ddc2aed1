"""The limits in force."""

from __future__ import annotations

from riskd.model.account import Limit
from riskd.model.events import DRY_RUN_NOTE
from tests.support.console import BEGIN, MNQ, NOT_THERE
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
        self.assertIn("-  the state file cannot be read", self.shown())
