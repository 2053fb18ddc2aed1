"""The status and the rules as tables."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec

from riskd.app.riskctl.status_tables import (
    rules_table,
    status_table,
)
from riskd.control.reporting import report_account
from riskd.control.reports import GaugeReport, RuleReport, RulesReport, StatusReport
from riskd.model.account import Flattening, RiskState
from riskd.model.balance import Balance
from riskd.model.events import Action, DaemonStatus, LockoutSet, Status
from riskd.rules.builtin.maximum_loss import RULE, Settings, Trailing
from riskd.rules.evaluation import RuleInForce
from tests.support.control import NOW, FakeAccount, position
from tests.support.riskctl import ZonedTestCase


class TableTests(ZonedTestCase):
    """The status and the rules."""

    def test_the_status_lists_accounts_locks_and_positions(self) -> None:
        account = FakeAccount(123)
        account.apply(position())
        account.account_state = msgspec.structs.replace(
            account.account_state, balance=Balance(agreed=Decimal(50000), other=Decimal(48500))
        )
        account.apply(
            LockoutSet(
                reason="Daily loss",
                locked_until=NOW + timedelta(hours=2, seconds=5),
                rule_id="RULE-003",
                locked_at=NOW,
            )
        )
        report = StatusReport(
            version="0.1.0",
            gateway="practice",
            daemon=DaemonStatus(status=Status.RUNNING, message="Started", timestamp=NOW),
            accounts=(report_account(account.account_state, NOW),),
            clock_offset=-0.0421,
        )
        self.assertEqual(
            status_table(report, NOW),
            [
                "riskd 0.1.0 on the practice gateway: RUNNING, 13:00:00: Started",
                "clock: this machine's clock is 0.042 s ahead of the broker's",
                "",
                "ACCOUNT  REALIZED  OPEN  NET     BALANCE  EQUITY  TRADES  POSITIONS  ORDERS  LOCKED",
                (
                    "    123     $0.00     -    -  $48,500.00       -       0          1       0"
                    "  until 15:00:05 (2:00:05 left)"
                ),
                "",
                "123: LOCKED until 15:00:05: Daily loss (RULE-003)",
                "123: the broker has not said yet whether it may trade",
                (
                    "123: the broker says that its balance is $48,500.00, which no trade explains; "
                    "the lower balance counts until the account is flat"
                ),
                "123: long 2 MNQZ6 at 21000.00, open -",
            ],
        )

    def test_the_clocks_offset_is_shown_with_what_to_do(self) -> None:
        def line(offset: float | None) -> str:
            report = StatusReport(
                version="0.1.0", gateway="practice", daemon=None, accounts=(), clock_offset=offset
            )
            return status_table(report, NOW)[1]

        self.assertIn("not known yet", line(None))
        self.assertEqual(line(0.0), "clock: this machine's clock shows the broker's time")
        self.assertEqual(
            line(1261.5),
            "clock: this machine's clock is 1,261.500 s behind the broker's; "
            "let a time server set it, for example with timedatectl set-ntp true",
        )

    def test_a_long_lock_is_counted_in_days(self) -> None:
        account = FakeAccount(123)
        end = NOW + timedelta(days=2, hours=1, seconds=5, microseconds=300)
        account.apply(
            LockoutSet(reason="Holiday", locked_until=end, rule_id="OPERATOR", locked_at=NOW)
        )
        report = StatusReport(
            version="0.1.0",
            gateway="practice",
            daemon=None,
            accounts=(report_account(account.account_state, NOW),),
        )
        self.assertIn("(2 days, 1:00:05 left)", status_table(report, NOW)[4])

    def test_the_status_has_the_floor(self) -> None:
        account = FakeAccount(123)
        for settings, words in (
            (Settings(), "; $48,300.00 if the day ended now"),
            (Settings(trailing=Trailing.STATIC), ""),
        ):
            account.account_state = msgspec.structs.replace(
                account.account_state,
                balance=Balance(agreed=Decimal(50300), first=Decimal(50000)),
                realized_pnl=Decimal(300),
                risk=RiskState(can_trade=True),
            )
            rules = [RuleInForce(RULE, settings)]
            report = StatusReport(
                version="0.1.0",
                gateway="practice",
                daemon=None,
                accounts=(report_account(account.account_state, NOW, rules),),
            )
            floor = "123: floor $48,000.00 by riskd's estimate, headroom $2,300.00"
            self.assertEqual(status_table(report, NOW)[-1], floor + words)

    def test_the_status_of_a_dry_run_says_so(self) -> None:
        account = FakeAccount(123)
        plan = Flattening(
            action=Action.CLOSE_ALL_POSITIONS, rule_id="RULE-001", reason="Too many", begun=NOW
        )
        account.account_state = msgspec.structs.replace(
            account.account_state, risk=RiskState(flattening=plan, can_trade=True)
        )
        report = StatusReport(
            version="0.1.0",
            gateway="practice",
            daemon=None,
            accounts=(report_account(account.account_state, NOW),),
            dry_run=True,
        )
        first, *_, last = status_table(report, NOW)
        self.assertEqual(first, "riskd 0.1.0 on the practice gateway (dry run) is starting")
        self.assertEqual(
            last,
            "123: flatten that waits for a riskd that enforces, since 13:00:00: Too many (RULE-001)",
        )

    def test_a_dry_run_does_not_claim_to_hold_an_account_to_its_lock(self) -> None:
        """An enforcing riskd has set the lock before."""
        account = FakeAccount(123)
        account.lock("lunch", "jane", None)
        for is_dry_run, more in ((False, ""), (True, "; not enforced, this is a dry run")):
            report = StatusReport(
                version="0.1.0",
                gateway="practice",
                daemon=None,
                accounts=(report_account(account.account_state, NOW),),
                dry_run=is_dry_run,
            )
            self.assertIn(f"123: LOCKED: lunch (OPERATOR){more}", status_table(report, NOW))

    def test_the_rules_list_gauges_and_problems(self) -> None:
        gauges = (
            GaugeReport(
                name="contracts",
                limit=Decimal(2),
                current=Decimal(1),
                headroom=Decimal(1),
                unit="contracts",
                words="",
            ),
            GaugeReport(
                name="broker", limit=None, current=None, headroom=None, unit="", words="granted"
            ),
        )
        rules = (
            RuleReport(rule_id="RULE-001", key="max_contracts", gauges=gauges),
            RuleReport(rule_id="RULE-013", key="mine", gauges=(), trouble="ZeroDivisionError"),
            RuleReport(rule_id="RULE-014", key="quiet", gauges=()),
        )
        self.assertEqual(
            rules_table(RulesReport(account=123, rules=rules)),
            [
                "RULE      NAME           LIMIT OF         LIMIT     CURRENT    HEADROOM",
                "RULE-001  max_contracts  contracts  2 contracts  1 contract  1 contract",
                "RULE-001  max_contracts  broker               -           -           -  granted",
                f"RULE-013  mine{' ' * 59}failed: ZeroDivisionError",
                "RULE-014  quiet",
            ],
        )
        self.assertEqual(rules_table(RulesReport(account=1, rules=())), ["account 1 has no rules"])
