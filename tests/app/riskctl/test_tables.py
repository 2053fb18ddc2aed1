"""Reports and the journal's log as text: tables, CSV and JSON lines."""

from __future__ import annotations

import csv
import json
from datetime import date, timedelta
from decimal import Decimal

import msgspec

from riskd.app.riskctl.tables import (
    days_table,
    enforcement_summary,
    enforcement_table,
    equity_table,
    journal_csv,
    journal_json_lines,
    journal_table,
    plain_csv,
    rules_table,
    status_table,
    trades_table,
)
from riskd.control.reports import (
    GaugeReport,
    RuleReport,
    RulesReport,
    StatusReport,
    report_account,
)
from riskd.journal.audit_log import LogLine
from riskd.journal.history import EquityLine, TradeReport
from riskd.model.account import Flattening, RiskState
from riskd.model.balance import Balance
from riskd.model.day_report import DayReport
from riskd.model.events import Action, DaemonStatus, LockoutSet, Status
from riskd.rules.builtin.maximum_loss import RULE, Settings, Trailing
from riskd.rules.evaluation import RuleInForce
from riskd.testing import make_event
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

    def test_days_are_a_table_or_plain_numbers(self) -> None:
        day = DayReport(
            day=date(2026, 11, 23),
            start=Decimal("50000.00"),
            close=Decimal("49898.26"),
            net_pnl=Decimal("-101.74"),
            trades=2,
            best=Decimal("99.00"),
            worst=Decimal("-201.00"),
            enforced=1,
        )
        unknown = msgspec.structs.replace(
            day, start=None, close=None, trades=0, best=None, worst=None
        )
        self.assertEqual(
            days_table([day, unknown]),
            [
                "DAY              START       CLOSE       NET  TRADES    BEST     WORST  ENFORCED",
                "2026-11-23  $50,000.00  $49,898.26  -$101.74       2  $99.00  -$201.00         1",
                "2026-11-23           -           -  -$101.74       0       -         -         1",
            ],
        )
        self.assertEqual(
            list(plain_csv(DayReport)([day, unknown])),
            [
                "day,start,close,net_pnl,trades,best,worst,enforced",
                "2026-11-23,50000.00,49898.26,-101.74,2,99.00,-201.00,1",
                "2026-11-23,,,-101.74,0,,,1",
            ],
        )
        self.assertEqual(days_table([]), ["no trading day has ended yet"])

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

    def test_executions_are_a_table_or_plain_numbers(self) -> None:
        sold = TradeReport(
            at=NOW,
            id=8,
            what="exit",
            contract="MNQZ6",
            side="long",
            size=2,
            entry=Decimal("21000.25"),
            exit=Decimal("20989.75"),
            pnl=Decimal("-42.00"),
            fees=Decimal("1.48"),
            opened_at=NOW - timedelta(seconds=147),
            is_voided=True,
        )
        bought = msgspec.structs.replace(
            sold, id=7, what="entry", contract="=1+1", exit=None, pnl=None, opened_at=None
        )
        bought = msgspec.structs.replace(bought, is_voided=False)
        self.assertEqual(
            trades_table([bought, sold]),
            [
                "AT                   WHAT   CONTRACT  SIDE  SIZE     ENTRY      EXIT      P&L   FEES  OPENED",
                "2026-11-23 13:00:00  entry  =1+1      long     2  21000.25         -        -  $1.48  -",
                (
                    "2026-11-23 13:00:00  exit   MNQZ6     long     2  21000.25  20989.75  -$42.00  "
                    "$1.48  2026-11-23 12:57:33  voided"
                ),
            ],
        )
        self.assertEqual(
            list(plain_csv(TradeReport)([bought, sold])),
            [
                "at,id,what,contract,side,size,entry,exit,pnl,fees,opened_at,is_voided",
                "2026-11-23T18:00:00.000Z,7,entry,'=1+1,long,2,21000.25,,,1.48,,",
                (
                    "2026-11-23T18:00:00.000Z,8,exit,MNQZ6,long,2,21000.25,20989.75,-42.00,1.48,"
                    "2026-11-23T17:57:33.000Z,True"
                ),
            ],
        )
        self.assertEqual(trades_table([]), ["no trade is journaled"])

    def test_equity_is_a_table_or_plain_numbers(self) -> None:
        line = EquityLine(NOW, Decimal(50000), Decimal("49998.5"), Decimal("-1.5"), Decimal(0))
        self.assertEqual(
            equity_table([line]),
            [
                "AT                      BALANCE      EQUITY     NET  DAY'S HIGH",
                "2026-11-23 13:00:00  $50,000.00  $49,998.50  -$1.50       $0.00",
            ],
        )
        self.assertEqual(
            list(plain_csv(EquityLine)([line])),
            [
                "at,balance,equity,net_pnl,high_net",
                "2026-11-23T18:00:00.000Z,50000,49998.5,-1.5,0",
            ],
        )

    def test_a_change_of_settings_is_a_sentence(self) -> None:
        data = {"rule_id": "RULE-003", "key": "daily_realized_loss"}
        before = {"loss_limit": "500.00", "include_fees": False}
        after = {"loss_limit": "400.00", "include_fees": False}
        for change, words in (
            ({"before": before, "after": after}, ": loss_limit 500.00 became 400.00"),
            ({"before": None, "after": after}, " was added"),
            ({"before": before, "after": None}, " was removed"),
            ({"before": "{", "after": after}, ': { became {"loss_limit":"400.00",'),
        ):
            line = LogLine(NOW, "settings", {**data, **change})
            self.assertIn(f"daily_realized_loss (RULE-003){words}", journal_table([line])[1])
            self.assertIn("in force: daily", journal_table([line])[1])
            by_jane = LogLine(NOW, "settings", {**line.data, "operator": "jane"})
            self.assertIn("by jane: daily", journal_table([by_jane])[1])

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


class JournalTests(ZonedTestCase):
    """The journal's log, in each format."""

    lines = (
        LogLine(NOW, "operator", {"command": "lock", "reason": "lunch", "operator": "jane"}),
        LogLine(
            NOW,
            "enforcement_action",
            {
                "action": "CLOSE_ALL_AND_LOCKOUT",
                "reason": "=cmd|'/c calc'!A0",
                "rule_id": "RULE-003",
                "success": False,
                "timestamp": "2026-11-23T18:00:00Z",
                "details": {"positions_closed": 1, "orders_canceled": 0, "locked_until": None},
            },
        ),
        LogLine(
            NOW,
            "lockout_set",
            {
                "reason": "r",
                "locked_until": None,
                "rule_id": "RULE-003",
                "locked_at": "2026-11-23T18:00:00Z",
            },
        ),
        LogLine(
            NOW,
            "lockout_cleared",
            {"cleared_at": "2026-11-23T18:00:00Z", "cleared_by": "DAILY_RESET"},
        ),
        LogLine(
            NOW,
            "daily_reset",
            {
                "reset_time": "2026-11-23T18:00:00Z",
                "previous_pnl": Decimal("-150.50"),
                "previous_trade_count": 12,
                "lockouts_cleared": True,
            },
        ),
        LogLine(NOW, "something_new", {"x": Decimal("1.50")}),
    )

    def test_a_dry_run_is_named_in_the_log(self) -> None:
        details = {"positions_closed": 1, "orders_canceled": 0, "dry_run": True}
        data = {**self.lines[1].data, "reason": "Too much", "details": details}
        *_, line = journal_table([LogLine(NOW, "enforcement_action", data)])
        self.assertTrue(
            line.endswith(
                "NOT ENFORCED (dry run): close all and lock (RULE-003): Too much; "
                "would be: 1 position closed"
            ),
            line,
        )

    def test_an_unlock_beyond_a_limit_is_named_in_the_log(self) -> None:
        data = {"command": "unlock", "reason": "back", "operator": "jane", "beyond": ["RULE-003"]}
        *_, line = journal_table([LogLine(NOW, "operator", data)])
        self.assertTrue(line.endswith("  unlock beyond its limit (RULE-003) by jane: back"), line)

    def test_the_table_has_a_line_for_each_entry(self) -> None:
        stamp = "2026-11-23 13:00:00  "
        self.assertEqual(
            list(journal_table(self.lines)),
            [
                "AT                   WHAT                DETAILS",
                f"{stamp}operator            lock by jane: lunch",
                (
                    f"{stamp}enforcement_action  ENFORCEMENT FAILED: close all and lock (RULE-003): "
                    "=cmd|'/c calc'!A0; 1 position closed"
                ),
                f"{stamp}lockout_set         LOCKED OUT until an operator unlocks it: r (RULE-003)",
                f"{stamp}lockout_cleared     Trading resumed: a new trading day began",
                f"{stamp}daily_reset         Daily reset executed: -$150.50 in 12 trades the day before",
                f'{stamp}something_new       {{"x":1.50}}',
            ],
        )

    def test_an_empty_log_says_so(self) -> None:
        self.assertEqual(list(journal_table(())), ["nothing is logged"])
        self.assertEqual(len(list(journal_csv(()))), 1)

    def test_json_lines_have_time_kind_and_data(self) -> None:
        rows = [json.loads(line) for line in journal_json_lines(self.lines)]
        self.assertEqual(rows[-1]["data"], {"x": 1.5})
        self.assertEqual(rows[0]["at"], "2026-11-23T18:00:00.000Z")

    def test_json_lines_command_no_terminal(self) -> None:
        (line,) = journal_json_lines([LogLine(NOW, "x", {"reason": "\x9b2J\x7f\u202e"})])
        self.assertTrue(line.isprintable())
        self.assertEqual(json.loads(line)["data"], {"reason": "\x9b2J\x7f\u202e"})

    def test_csv_has_a_header_and_a_column_for_each_common_field(self) -> None:
        header, *rows = csv.reader(journal_csv(self.lines))
        self.assertEqual(header[:4], ["at", "kind", "rule_id", "action"])
        self.assertEqual(
            rows[0],
            [
                "2026-11-23T18:00:00.000Z",
                "operator",
                "",
                "lock",
                "lunch",
                "",
                "",
                '{"operator":"jane"}',
            ],
        )
        self.assertEqual(rows[1][2:4], ["RULE-003", "CLOSE_ALL_AND_LOCKOUT"])
        self.assertEqual(rows[1][5], "false")
        self.assertEqual(json.loads(rows[1][7])["positions_closed"], 1)

    def test_a_cell_that_looks_like_a_formula_gets_an_apostrophe(self) -> None:
        for start in ("=", "+", "-", "@", "\t=", "\r=", "＝"):  # noqa: RUF001
            line = LogLine(NOW, "operator", {"reason": f"{start}1+1"})
            (_, row) = csv.reader(journal_csv([line]))
            self.assertTrue(row[4].startswith("'"), row)


class EnforcementTableTests(ZonedTestCase):
    """The enforcement of a replay."""

    def test_the_table_has_a_line_for_each_action(self) -> None:
        action = make_event("enforcement_action", {"timestamp": "2026-11-23T18:00:00Z"}).data
        self.assertEqual(
            enforcement_table([(123, action), (7, action)]),
            [
                "AT                   ACCOUNT  RULE      ACTION               REASON",
                f"2026-11-23 13:00:00      123  RULE-001  CLOSE_ALL_POSITIONS  {action.reason}",
                f"2026-11-23 13:00:00        7  RULE-001  CLOSE_ALL_POSITIONS  {action.reason}",
            ],
        )

    def test_the_summary_counts_the_actions_of_each_rule(self) -> None:
        one = make_event("enforcement_action", {}).data
        other = make_event("enforcement_action", {"rule_id": "RULE-003"}).data
        self.assertEqual(
            enforcement_summary([other, one, other]), "3 actions: 1 by RULE-001, 2 by RULE-003"
        )
        self.assertEqual(enforcement_summary([]), "0 actions")
