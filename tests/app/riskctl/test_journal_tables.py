"""What the journal keeps as tables, CSV and JSON lines."""

from __future__ import annotations

import csv
import json
from datetime import date, timedelta
from decimal import Decimal

import msgspec

from riskd.app.riskctl.journal_tables import (
    days_table,
    equity_table,
    journal_csv,
    journal_json_lines,
    journal_table,
    plain_csv,
    trades_table,
)
from riskd.journal.audit_log import LogLine
from riskd.journal.history import EquityLine, TradeReport
from riskd.model.day_report import DayReport
from tests.support.control import NOW
from tests.support.riskctl import ZonedTestCase


class HistoryTests(ZonedTestCase):
    """Trading days, executions, equity and settings."""

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
