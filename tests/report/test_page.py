"""The page of a report: what is known, what is not, and what a hostile text cannot do."""

from __future__ import annotations

import base64
import hashlib
import re
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.history import EquityLine
from riskd.journal.schema import as_stamp
from riskd.model.account import AccountState, with_risk
from riskd.model.balance import Balance, FirmFloor, Leg, Result
from riskd.model.contracts import Contract
from riskd.model.day_figures import DayFigures
from riskd.model.events import DRY_RUN_NOTE, DaemonStatus, OrderSide, Status
from riskd.model.exact_json import encode_json
from riskd.report.calendar import DayResult, months_of
from riskd.report.canvas import Mark, Span
from riskd.report.charts import equity_chart
from tests.support.journal import EXECUTION, MNQ, NOON, StoreTestCase, full_state
from tests.support.report_page import Page, report_of

ACCOUNT = 123
DAY = date(2025, 1, 16)
"""A Thursday, which has ended; its account is in the middle of Friday."""

BEGAN = datetime(2025, 1, 15, 23, tzinfo=UTC)
TEN = datetime(2025, 1, 16, 16, tzinfo=UTC)
"""10:00 in Chicago."""


class PageTestCase(StoreTestCase):
    """A journal in which a test writes what a day had."""

    def setUp(self) -> None:
        super().setUp()
        self.settings: dict[str, Any] = {}
        self.balance = Balance(agreed=Decimal(50000), first=Decimal(50000), is_settled=True)
        self.results: dict[int, Result] = {}
        self.rows: list[tuple[Any, ...]] = []

    def log(self, at: datetime, kind: str, **data: Any) -> None:
        text = encode_json(data).decode()
        sql = "INSERT INTO log (account_id, at, kind, data) VALUES (?, ?, ?, ?)"
        self.rows.append((sql, ACCOUNT, as_stamp(at), kind, text))

    def end_day(self, day: date = DAY, net: str = "0", close: str = "50000") -> None:
        ended = datetime(day.year, day.month, day.day, 23, tzinfo=UTC)
        figures = {"start": Decimal(50000), "close": Decimal(close), "net_pnl": Decimal(net)}
        rest = {"trades": 1, "best": None, "worst": None, "enforced": 0}
        self.log(ended, "day", day=day, **figures, **rest)

    def equity(self, at: datetime, equity: str, high: str = "0") -> None:
        net = Decimal(equity) - 50000
        amounts = ("50000", equity, str(net), high)
        self.rows.append(
            ("INSERT INTO equity VALUES (?, ?, ?, ?, ?, ?)", as_stamp(at), ACCOUNT, *amounts)
        )

    def exit(self, number: int, at: datetime, pnl: str, **changes: Any) -> None:
        execution = msgspec.structs.replace(EXECUTION, pnl=Decimal(pnl), opened_at=at, **changes)
        amount = Decimal(pnl) - execution.fees
        self.results[number] = Result(at, amount, number, Leg.SELL_TO_CLOSE, execution)

    def act(self, at: datetime, **details: Any) -> None:
        self.log(
            at,
            "enforcement_action",
            rule_id="RULE-013",
            action="CLOSE_ALL_AND_LOCKOUT",
            reason="Daily net loss limit hit: -$500.04 (limit $500.00)",
            success=True,
            details={"positions_closed": 1, "orders_canceled": 0, **details},
            timestamp=at.isoformat().replace("+00:00", "Z"),
        )

    def write_all(self, **changes: Any) -> None:
        rules = {
            f"rules.{key}": encode_json(table).decode() for key, table in self.settings.items()
        }
        day = {"day": '{"reset_time":"17:00:00","time_zone":"America/Chicago"}'}
        state: AccountState = msgspec.structs.replace(
            full_state(), balance=self.balance, **changes
        )
        self.write(with_risk(state, results=self.results, settings={**day, **rules}))
        with closing(sqlite3.connect(self.journal, isolation_level=None)) as journal:
            for sql, *values in self.rows:
                journal.execute(sql, values)

    def page(self, **changes: Any) -> Page:
        """Write the journal; return the report of the ended day."""
        self.write_all(**changes)
        return report_of(self.directory, ACCOUNT, 0)

    def limit(self, page: Page, rule_id: str) -> dict[str, str]:
        (row,) = [row for row in page.rows("limits") if rule_id in row["Limit"]]
        return row


class SafetyTests(PageTestCase):
    """A page from a journal in which every text is hostile."""

    HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"

    def setUp(self) -> None:
        super().setUp()
        contract = Contract(
            id=MNQ,
            name=f"{self.HOSTILE[:64]}",
            tick_size=Decimal("0.25"),
            tick_value=Decimal("0.5"),
        )
        self.exit(1, TEN, "-45.50")
        self.equity(TEN, "49990")
        self.log(
            TEN,
            "operator",
            command="lock",
            operator=self.HOSTILE,
            reason=f"\u202e\x9b{self.HOSTILE}",
        )
        self.log(TEN, "balance", message=self.HOSTILE)
        lock = {"locked_until": None, "rule_id": "RULE-003", "locked_at": TEN.isoformat()}
        self.log(TEN, "lockout_set", reason=self.HOSTILE, **lock)
        self.end_day()
        self.contract = contract

    def test_no_text_is_markup(self) -> None:
        page = self.page(contracts={MNQ: self.contract})
        tags = {tag for tag, _attributes in page.tags}
        self.assertEqual(
            tags & {"script", "img", "link", "iframe", "object", "a", "base", "image"}, set()
        )
        for tag, attributes in page.tags:
            unsafe = [
                name
                for name in attributes
                if name.startswith("on") or name in ("src", "href", "style")
            ]
            self.assertEqual((tag, unsafe), (tag, []))
        self.assertNotIn("<script", page.html)
        self.assertIn(self.HOSTILE, page.text)
        self.assertEqual(page.rows("trades")[0]["Contract"], self.HOSTILE[:64])

    def test_no_character_turns_the_page_around(self) -> None:
        page = self.page(contracts={MNQ: self.contract})
        self.assertNotRegex(page.html, "[\u202a-\u202e\u2066-\u2069\x80-\x9f]")
        self.assertIn("\\u202e\\x9b<script>", page.text)

    def test_the_policy_allows_the_pages_own_style_alone(self) -> None:
        page = self.page()
        (policy,) = [
            attributes["content"]
            for tag, attributes in page.tags
            if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
        ]
        style = page.html.partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.assertEqual(
            policy,
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        )
        self.assertNotRegex(style, r"url\(|@import")
        outside = re.findall(r"https?://[^\"' ]+", page.html)
        self.assertEqual(set(outside), {"http://www.w3.org/2000/svg"})

    def test_the_same_journal_gives_the_same_bytes(self) -> None:
        self.assertEqual(self.page().html, report_of(self.directory, ACCOUNT, 0).html)


class DayTests(PageTestCase):
    """Days of all kinds."""

    def test_a_day_without_anything(self) -> None:
        self.end_day()
        page = self.page()
        for sentence in (
            "No chart: the journal has no equity of this day.",
            "Nothing: no rule acted, and the account was not locked.",
            "No trade.",
        ):
            self.assertIn(sentence, page.text)
        self.assertEqual(page.figures["Net P&L"], "$0.00")
        self.assertEqual(page.figures["Best trade"], "-")
        self.assertEqual(page.figures["Held"], "-")

    def test_a_voided_trade_is_shown_and_counts_nowhere(self) -> None:
        self.exit(1, TEN, "-45.50")
        self.exit(2, TEN, "500")
        self.results[2] = msgspec.structs.replace(self.results[2], leg=None, amount=Decimal(0))
        self.end_day(net="-46.98")
        page = self.page()
        self.assertEqual([row[""] for row in page.rows("trades")], ["best", "voided"])
        self.assertEqual(page.figures["Net P&L"], "-$46.98")
        self.assertEqual(page.figures["Trades"], "1")

    def test_a_correction_after_the_days_end_is_told(self) -> None:
        self.exit(1, TEN, "-45.50")
        self.end_day(net="-50")
        page = self.page(days={DAY: DayFigures(net=Decimal("-46.98"))})
        self.assertIn(
            "when the day ended its net P&L was -$50.00; the broker has corrected trades",
            page.text,
        )
        self.assertIn("16 -$46.98 1 trade", page.text)

    def test_executions_without_details_are_told(self) -> None:
        self.exit(1, TEN, "-45.50")
        self.end_day(net="-60")
        page = self.page(days={DAY: DayFigures(net=Decimal(-60))})
        self.assertIn(
            "has details of executions that made -$46.98, and a net P&L of -$60.00", page.text
        )

    def test_an_account_that_was_first_seen_within_the_day(self) -> None:
        self.equity(TEN, "50000")
        self.equity(TEN + timedelta(minutes=1), "50020")
        self.end_day()
        page = self.page()
        self.assertIn("the equity is known from 10:00:00 on", page.text)
        self.assertIn("Lowest $50,000.00 at 10:00:00, highest $50,020.00 at 10:01:00.", page.text)

    def test_where_no_equity_was_written_the_curve_is_dotted(self) -> None:
        for minutes in (0, 1, 60, 61):
            self.equity(TEN + timedelta(minutes=minutes), "50000")
        self.end_day()
        self.assertEqual(self.page().html.count('stroke-dasharray="1 4"'), 1)

    def test_a_long_curve_keeps_its_extremes(self) -> None:
        minutes = [
            EquityLine(BEGAN + timedelta(minutes=number), *[Decimal(50000 + number % 7)] * 4)
            for number in range(9000)
        ]
        minutes[4321] = msgspec.structs.replace(minutes[4321], equity=Decimal(51234))
        span = Span(began=BEGAN, ended=BEGAN + timedelta(days=7), local=lambda moment: moment)
        svg, _far = equity_chart(minutes, span, [])
        (path,) = re.findall(r'd="(M[^"]*)" fill="none" stroke="#0b4f8a"', svg)
        heights = [float(point.split()[1]) for point in path[1:].split(" L")]
        self.assertLess(len(heights), 3000)
        self.assertEqual(heights.count(min(heights)), 1)

    def test_what_the_broker_does_not_say_is_a_dash(self) -> None:
        self.exit(1, TEN, "5", side=None, price=None)
        self.results[1] = msgspec.structs.replace(
            self.results[1],
            execution=msgspec.structs.replace(self.results[1].execution, opened_at=None),
        )
        self.end_day()
        (row,) = self.page().rows("trades")
        self.assertEqual([row[name] for name in ("Side", "Entry", "Exit", "Held")], ["-"] * 4)

    def test_a_lock_of_the_day_before_is_on_the_chart(self) -> None:
        lock = {"reason": "Too much", "rule_id": "RULE-003", "locked_until": None}
        self.log(BEGAN - timedelta(hours=1), "lockout_set", locked_at=BEGAN.isoformat(), **lock)
        self.log(TEN, "lockout_cleared", cleared_at=TEN.isoformat(), cleared_by="ADMIN_OVERRIDE")
        self.equity(BEGAN, "50000")
        self.equity(TEN + timedelta(hours=1), "50000")
        self.end_day()
        page = self.page()
        self.assertIn("Trading resumed", page.text)
        self.assertIn(">locked</text>", page.html)

    def test_a_payout_is_no_loss(self) -> None:
        self.exit(1, TEN, "-100", fees=Decimal(2))
        self.end_day(close="49398", net="-102")
        page = self.page()
        self.assertEqual(page.figures["Payouts, deposits"], "-$500.00")
        self.assertNotIn("dry run", page.text)

    def test_without_a_payout_nothing_is_said_of_any(self) -> None:
        self.exit(1, TEN, "-100", fees=Decimal(2))
        self.end_day(close="49898", net="-102")
        self.assertNotIn("Payouts, deposits", self.page().figures)

    def test_in_a_dry_run_riskd_has_not_acted(self) -> None:
        self.settings = {"daily_net_loss": {"loss_limit": 500}}
        self.exit(1, TEN, "-500")
        self.act(TEN, dry_run=True)
        self.end_day()
        dry = DaemonStatus(status=Status.RUNNING, message=f"Started {DRY_RUN_NOTE}", timestamp=TEN)
        page = self.page(daemon=dry)
        self.assertIn("dry run: riskd enforces nothing", page.text)
        self.assertIn("0 actions of riskd, and 1 in a dry run, not done", page.text)
        self.assertIn("dry run 10:00:00", self.limit(page, "RULE-013")["Limit"])
        self.assertNotIn("acted 10:00", page.text)

    def test_what_riskd_acted_on_may_be_more_than_any_minute_shows(self) -> None:
        self.settings = {"daily_net_loss": {"loss_limit": 500}}
        self.equity(TEN, "49990")
        self.act(TEN)
        self.end_day()
        self.assertEqual(
            self.limit(self.page(), "RULE-013")["Measured at"],
            "each minute; riskd also acts between two",
        )

    def test_marks_of_one_moment_are_beside_each_other(self) -> None:
        minutes = [EquityLine(TEN, *[Decimal(50000)] * 4)]
        marks = [Mark(TEN, str(number)) for number in range(1, 6)]
        span = Span(began=BEGAN, ended=TEN + timedelta(hours=2), local=lambda each: each)
        svg, _ = equity_chart(minutes, span, [], marks=marks)
        places = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="10"', svg)
        self.assertEqual((len(places), len(set(places))), (5, 5))


class LimitTests(PageTestCase):
    """Limits of a day, by the settings that it had."""

    def setUp(self) -> None:
        super().setUp()
        self.settings = {
            "daily_realized_loss": {"loss_limit": 1000},
            "daily_net_loss": {"loss_limit": 500},
            "maximum_loss": {"drawdown": 2000},
            "max_contracts": {"limit": 5},
        }
        self.exit(1, TEN, "-100", fees=Decimal(2))
        self.exit(2, TEN + timedelta(minutes=1), "30", fees=Decimal(2))
        for minutes, equity in enumerate(("50000", "49700", "49926")):
            self.equity(TEN + timedelta(minutes=minutes), equity, high="20")
        self.end_day(close="49926", net="-74")

    def test_they_are_measured_by_trade_or_by_minute(self) -> None:
        page = self.page()
        by_trade = self.limit(page, "RULE-003")
        self.assertEqual((by_trade["Used at most"], by_trade["Share"]), ("$100.00", "10 %"))
        by_minute = self.limit(page, "RULE-013")
        self.assertEqual(
            (by_minute["Used at most"], by_minute["Share"], by_minute["When"]),
            ("$300.00", "60 %", "10:01:00"),
        )
        self.assertEqual(self.limit(page, "RULE-014")["Used at most"], "$300.00")

    def test_what_the_journal_does_not_have_is_unknown(self) -> None:
        self.settings = {"cooldown_after_loss": {}}
        unknown = self.limit(self.page(), "RULE-007")
        self.assertEqual((unknown["Used at most"], unknown["Share"]), ("-", "-"))
        self.assertEqual(unknown["Measured at"], "not journaled")

    def test_open_pnl_of_all_positions_is_that_of_each_minute(self) -> None:
        self.settings = {
            "daily_unrealized_loss": {"loss_limit": 400, "scope": "total"},
            "max_unrealized_profit": {"profit_target": 100, "scope": "total"},
        }
        self.equity(TEN + timedelta(minutes=3), "50025")
        page = self.page()
        loss, profit = (self.limit(page, rule_id) for rule_id in ("RULE-004", "RULE-005"))
        self.assertEqual(
            (loss["Limit of"], loss["Used at most"], loss["Share"], loss["When"]),
            ("$400.00", "$300.00", "75 %", "10:01:00"),
        )
        self.assertEqual(
            (profit["Used at most"], profit["Share"], profit["When"]),
            ("$25.00", "25 %", "10:03:00"),
        )

    def test_open_pnl_of_one_position_is_unknown(self) -> None:
        self.settings = {"daily_unrealized_loss": {"loss_limit": 400}}
        unknown = self.limit(self.page(), "RULE-004")
        self.assertEqual((unknown["Limit of"], unknown["Used at most"]), ("$400.00", "-"))
        self.assertEqual(unknown["Measured at"], "not journaled for each position")

    def test_limits_of_the_week_count_its_earlier_days(self) -> None:
        self.settings = {
            "weekly_limits": {
                "loss_limit": 1000,
                "profit_target": 2000,
                "max_entries_and_exits": {"week": 20, "day": 8},
            }
        }
        days = {
            DAY - timedelta(days=DAY.weekday() + 1): DayFigures(
                net=Decimal(-5000), entries_and_exits=50
            ),
            DAY - timedelta(days=1): DayFigures(net=Decimal(-150), entries_and_exits=3),
            DAY: DayFigures(net=Decimal(-74), entries_and_exits=2),
        }
        page = self.page(days=days)
        found = [row for row in page.rows("limits") if "RULE-016" in row["Limit"]]
        self.assertEqual(
            [(row["Limit of"], row["Used at most"], row["Share"]) for row in found],
            [
                ("$1,000.00", "$450.00", "45 %"),
                ("$2,000.00", "$0.00", "0 %"),
                ("20 orders", "5 orders", "25 %"),
                ("8 orders", "2 orders", "25 %"),
            ],
        )

    def test_contracts_held_are_counted_by_the_rules_themselves(self) -> None:
        entry = msgspec.structs.replace(EXECUTION, pnl=None, side=OrderSide.BUY, opened_at=None)
        for number, (minutes, size) in enumerate(((-3, 2), (-2, 1)), 10):
            at = TEN + timedelta(minutes=minutes)
            opening = msgspec.structs.replace(entry, size=size)
            self.results[number] = Result(at, Decimal(-1), number, Leg.BUY_TO_OPEN, opening)
        self.settings = {
            "max_contracts": {"limit": 5, "weights": {"MNQ": 2}},
            "max_contracts_per_instrument": {"limits": {"MNQ": 4}},
        }
        page = self.page()
        held = self.limit(page, "RULE-001")
        self.assertEqual(
            (held["Limit of"], held["Used at most"], held["Share"], held["When"]),
            ("5 contracts", "6 contracts", "120 %", "09:58:00"),
        )
        self.assertEqual(self.limit(page, "RULE-002")["Used at most"], "3 contracts")

    def test_trades_of_each_window_are_counted_by_the_rule_itself(self) -> None:
        for number, minutes in enumerate((60, 90, 91, 92), 3):
            self.exit(number, TEN + timedelta(minutes=minutes), "1")
        self.settings = {"trade_frequency_limit": {"limits": {"per_hour": 8, "per_session": 12}}}
        found = [row for row in self.page().rows("limits") if "RULE-006" in row["Limit"]]
        self.assertEqual(
            [(row["Limit of"], row["Used at most"], row["When"]) for row in found],
            [("8 trades", "4 trades", "11:32:00"), ("12 trades", "6 trades", "11:32:00")],
        )
        self.assertIn("trades in an hour", found[0]["Limit"])

    def test_contracts_of_the_day_before_are_held_at_the_beginning(self) -> None:
        self.settings = {"max_contracts": {"limit": 4}}
        held = self.limit(self.page(), "RULE-001")
        self.assertEqual((held["Used at most"], held["When"]), ("2 contracts", "Wed 17:00:00"))

    def test_a_void_makes_what_was_held_unknown(self) -> None:
        self.results[2] = msgspec.structs.replace(self.results[2], leg=None, amount=Decimal(0))
        self.settings = {"max_contracts": {"limit": 4}}
        why = "a trade was voided, so it is not known what was held"
        self.assertEqual(self.limit(self.page(), "RULE-001")["Measured at"], why)

    def test_the_first_minute_may_have_the_figures_of_the_day_before(self) -> None:
        self.equity(BEGAN, "49100")
        self.assertEqual(self.limit(self.page(), "RULE-013")["Used at most"], "$300.00")

    def test_settings_that_changed_since_are_those_of_the_day(self) -> None:
        change = {"rule_id": "RULE-003", "key": "daily_realized_loss", "operator": "jane"}
        earlier, later = ({"loss_limit": amount} for amount in (400, 1000))
        self.log(NOON, "settings", before=earlier, after=later, **change)
        added = {**change, "rule_id": "RULE-013", "key": "daily_net_loss"}
        self.log(NOON, "settings", before=None, after={"loss_limit": 500}, **added)
        held = {"rule_id": "RULE-003", "key": "daily_realized_loss"}
        self.log(NOON, "settings", before={"loss_limit": 7}, after={"loss_limit": 1000}, **held)
        page = self.page()
        self.assertEqual(self.limit(page, "RULE-003")["Limit of"], "$400.00")
        self.assertEqual([row for row in page.rows("limits") if "RULE-013" in row["Limit"]], [])

    def test_trailing_limits_go_by_the_highs(self) -> None:
        trailing = {"loss_limit": 500, "trailing": "equity"}
        self.settings = {**self.settings, "daily_net_loss": trailing}
        self.assertEqual(self.limit(self.page(), "RULE-013")["Used at most"], "$320.00")

    def test_the_floor_follows_the_closes_of_days_before(self) -> None:
        self.end_day(date(2025, 1, 15), close="50300")
        self.settings = {"maximum_loss": {"drawdown": 500, "stops_at": "never"}}
        self.write_all()
        page = report_of(self.directory, ACCOUNT, 1)
        self.assertIn("floor $49,800.00", page.text)

    def test_the_firms_figure_counts_from_when_it_was_given(self) -> None:
        firm = FirmFloor(amount=Decimal(49600), at=TEN)
        self.balance = msgspec.structs.replace(self.balance, firm_floor=firm)
        self.log(
            TEN, "operator", command="floor", operator="jane", reason="The floor is $49,600.00"
        )
        self.settings = {"maximum_loss": {"drawdown": 800}}
        self.assertIn("floor $49,600.00", self.page().text)

    def test_a_floor_that_the_journal_cannot_tell_has_a_reason(self) -> None:
        self.balance = msgspec.structs.replace(self.balance, payouts=Decimal(500))
        self.settings = {"maximum_loss": {"drawdown": 800, "after_payout": "start"}}
        page = self.page()
        why = "a payout has moved it, and the journal does not say which"
        self.assertIn(f"The floor is not shown: {why}.", page.text)
        row = self.limit(page, "RULE-014")
        self.assertEqual((row["Used at most"], row["Measured at"]), ("-", why))

    def test_settings_of_another_version_are_unknown(self) -> None:
        self.settings = {"daily_realized_loss": {"loss_limit": "many"}, "of_my_own": {"x": 1}}
        page = self.page()
        self.assertEqual(
            self.limit(page, "RULE-003")["Measured at"], "set by another version of riskd"
        )
        self.assertEqual(page.rows("limits")[-1]["Limit"], "of my own")


class CalendarTests(SynchronousTestCase):
    """A month of days."""

    def test_weeks_begin_on_monday_and_add_up(self) -> None:
        results = {
            date(2026, 11, 2): DayResult(Decimal(10), 1, 0),
            date(2026, 11, 6): DayResult(Decimal("-4.50"), 2, 1),
            date(2026, 10, 30): DayResult(Decimal(99), 1, 0),
        }
        (month,) = months_of(results, [date(2026, 11, 6)])
        self.assertEqual(month.name, "November 2026")
        self.assertEqual([week.net for week in month.weeks][:3], [None, Decimal("5.50"), None])
        cells = month.weeks[1].cells
        self.assertEqual(
            [cell.kind for cell in cells], ["", "none", "none", "none", "shown", "none", "none"]
        )
        self.assertIn("$5.50 in 2 days with trades, 1 with a profit, 1 with a loss", month.summary)

    def test_a_month_without_a_trade(self) -> None:
        (month,) = months_of({DAY: DayResult(Decimal(0), 0, 0)}, [DAY])
        self.assertEqual(month.summary, "no trade.")


class SpanTests(SynchronousTestCase):
    """The labels of the time."""

    def labels(self, began: datetime, length: timedelta) -> list[str]:
        span = Span(began=began, ended=began + length, local=lambda moment: moment)
        return [span.label(span.place(each)) for each in span.labeled]

    def test_a_day_has_hours_and_a_month_has_dates(self) -> None:
        self.assertEqual(self.labels(TEN, timedelta(hours=7))[:3], ["16:00", "17:00", "18:00"])
        self.assertEqual(self.labels(TEN, timedelta(hours=3))[:3], ["16:00", "16:30", "17:00"])
        self.assertEqual(self.labels(TEN, timedelta(minutes=20)), ["16:00", "16:10", "16:20"])
        day = self.labels(BEGAN, timedelta(days=1))
        self.assertEqual((day[0], len(day)), ("00:00", 12))
        month = self.labels(BEGAN, timedelta(days=31))
        self.assertLessEqual(len(month), 13)
        self.assertRegex(month[0], r"^Jan \d+$")
        minutes = self.labels(TEN + timedelta(minutes=5), timedelta(minutes=4))
        self.assertEqual(minutes, ["16:05"])

    def test_the_chart_of_a_month_has_dates(self) -> None:
        minutes = [
            EquityLine(BEGAN + timedelta(days=number), *[Decimal(number)] * 4)
            for number in range(31)
        ]
        span = Span(began=BEGAN, ended=minutes[-1].at, local=lambda moment: moment)
        svg, _far = equity_chart(minutes, span, [])
        self.assertRegex(svg, r">Jan \d+</text>")
        self.assertNotIn(">00:00</text>", svg)
