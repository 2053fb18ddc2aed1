"""The report of a day, figure by figure, against the ledger of the exchange that the account traded at."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.fields import Payload
from riskd.model.formatting import dollars
from riskd.practice.account_store import net_result
from tests.support.practice_daemon import ACCOUNT, BUY, M2K, MNQ, MONDAY_NOON, SELL, PracticeDaemon
from tests.support.report_page import Page, amount, report_of

RULES = """
[rules.daily_realized_loss]
loss_limit = 100
include_fees = true
[rules.maximum_loss]
drawdown = 2000
"""
CHICAGO = ZoneInfo("America/Chicago")
NAMES = {MNQ: "MNQZ6", M2K: "M2KZ6"}


def trade(daemon: PracticeDaemon, contract: str, size: int, *prices: str) -> None:
    """Open contracts at the first price and close all of them, one part at each other price."""
    first, *others = prices
    daemon.move(contract, first)
    daemon.trade(BUY if size > 0 else SELL, abs(size), contract)
    part = abs(size) // len(others)
    for price in others:
        daemon.advance(90, step=5)
        daemon.move(contract, price)
        daemon.trade(SELL if size > 0 else BUY, part, contract)
    daemon.advance(90, step=5)


class Day(NamedTuple):
    """A trading day at the exchange, and its reports.

    :ivar ledger: the trades of the exchange, with voided ones.
    :ivar balance: that of the exchange at the end.
    :ivar running: the report while the day was running.
    :ivar page: the report after its end.
    """

    ledger: list[Payload]
    balance: Decimal
    running: Page
    page: Page


@cache
def day() -> Day:
    """Return a day with fees, entries, exits in parts, a void, an amendment and a lock."""
    daemon = PracticeDaemon(RULES, now=MONDAY_NOON + timedelta(hours=4, minutes=20))
    store = daemon.gateway.exchange.store

    def ledger() -> list[Payload]:
        return store.trades(ACCOUNT, datetime(2026, 11, 22, tzinfo=CHICAGO))

    try:
        daemon.gateway.follow_quotes(M2K)
        daemon.advance(3)
        trade(daemon, MNQ, 2, "21000", "21020", "21010")
        trade(daemon, MNQ, -3, "21010", "21001.25")
        trade(daemon, M2K, 1, "2250", "2246.5")
        trade(daemon, MNQ, 1, "21000", "21005")
        exits = [each for each in ledger() if each.get("profitAndLoss") is not None]
        daemon.gateway.void_trade(ACCOUNT, exits[-1]["id"])
        daemon.gateway.amend_trade(ACCOUNT, exits[0]["id"], pnl=Decimal("37.50"))
        daemon.advance(60, step=5)
        # It reaches the limit.
        trade(daemon, MNQ, 4, "21000", "20970")
        running = report_of(daemon.directory, ACCOUNT)
        daemon.advance(30 * 60, step=20)
        page = report_of(daemon.directory, ACCOUNT, -2)
        return Day(ledger(), store.account(ACCOUNT)["balance"], running, page)
    finally:
        daemon.close()


class LedgerTests(SynchronousTestCase):
    """The reports of one day, while it was running and after its end."""

    def setUp(self) -> None:
        self.day = day()
        self.page, self.running = self.day.page, self.day.running

    def ledger(self) -> list[Payload]:
        return self.day.ledger

    @property
    def valid(self) -> list[Payload]:
        return [each for each in self.ledger() if not each["voided"]]

    def exits(self) -> list[Payload]:
        return [each for each in self.ledger() if each.get("profitAndLoss") is not None]

    def assert_figures(self, page: Page) -> None:
        valid = self.valid
        exits = [each for each in self.exits() if not each["voided"]]
        pnls = [each["profitAndLoss"] for each in exits]
        expected = {
            "Net P&L": dollars(sum(map(net_result, valid), Decimal(0))),
            "Gross P&L": dollars(sum(pnls)),
            "Fees": dollars(fees(valid)),
            "Trades": str(len(pnls)),
            "Best trade": dollars(max(pnls)),
            "Worst trade": dollars(min(pnls)),
        }
        self.assertEqual({name: page.figures[name] for name in expected}, expected)

    def test_the_figures_are_those_of_the_ledger(self) -> None:
        self.assert_figures(self.page)
        self.assertEqual(len([each for each in self.ledger() if each["voided"]]), 1)

    def test_those_of_a_day_that_is_running_too(self) -> None:
        self.assert_figures(self.running)
        self.assertIn("still running, as of 16:", self.running.text)

    def test_the_balances_are_those_of_the_exchange(self) -> None:
        self.assertIn(f"{dollars(self.day.balance)} at the end", self.page.text)
        self.assertIn("$50,000.00 at the start", self.page.text)

    def test_each_trade_has_its_row(self) -> None:
        rows = self.page.rows("trades")
        self.assertEqual(
            [
                (
                    row["Contract"],
                    row["Size"],
                    row["Exit"],
                    row["Gross"],
                    row["Fees"],
                    row["Closed"],
                )
                for row in rows
            ],
            [row_of(each) for each in self.exits()],
        )
        self.assertEqual([row["Side"] for row in rows][:4], ["long", "long", "short", "long"])
        opened = {each["price"] for each in self.ledger() if each.get("profitAndLoss") is None}
        # The broker has amended the P&L of the first, and with it what it says of the entry.
        self.assertEqual({Decimal(row["Entry"]) for row in rows[1:]}, opened)
        self.assertEqual([row["Held"] for row in rows][:2], ["1:30", "3:00"])
        self.assertEqual([row[""] for row in rows], ["", "", "best", "", "voided", "worst"])

    def test_the_sums_below_the_trades_add_up(self) -> None:
        *_rows, entries, total = self.page.tables["trades"]
        openings = [each for each in self.valid if each.get("profitAndLoss") is None]
        self.assertEqual(amount(entries[2]), fees(openings))
        self.assertEqual(
            amount(total[1]),
            sum(each["profitAndLoss"] for each in self.exits() if not each["voided"]),
        )
        self.assertEqual(amount(total[2]), fees(self.valid))

    def test_instruments_and_hours_are_those_of_the_ledger(self) -> None:
        for table, key in (("instruments", instrument), ("hours", hour)):
            groups: dict[str, list[Payload]] = {}
            for each in self.valid:
                groups.setdefault(key(each), []).append(each)
            expected = [
                (name, dollars(fees(each)), dollars(sum(map(net_result, each), Decimal(0))))
                for name, each in sorted(groups.items())
            ]
            rows = self.page.rows(table)
            head = table.capitalize().removesuffix("s")
            self.assertEqual([(row[head], row["Fees"], row["Net"]) for row in rows], expected)

    def test_what_riskd_did_is_on_the_page_and_on_the_chart(self) -> None:
        marked = [row for row in self.page.rows("events") if row[""]]
        self.assertEqual([row["Rule"] for row in marked], ["daily realized loss"] * 2)
        self.assertTrue(marked[1]["What"].startswith("Locked until "), marked)
        labels = self.page.html.partition("<svg")[2].partition("</svg>")[0]
        for number in ("1", "2"):
            self.assertIn(f'fill="#1a1a1a">{number}</text>', labels)
        corrected = [row["What"] for row in self.page.rows("events") if not row[""]]
        self.assertEqual(corrected.count("Trade corrected"), 2)

    def test_the_use_of_a_limit_is_exact_where_each_trade_shows_it(self) -> None:
        loss = Decimal(0)
        most = Decimal(0)
        for each in self.valid:
            loss -= net_result(each)
            most = max(most, loss)
        (row,) = [row for row in self.page.rows("limits") if "RULE-003" in row["Limit"]]
        self.assertEqual((amount(row["Used at most"]), row["Measured at"]), (most, "each trade"))
        self.assertIn("acted 16:", row["Limit"])

    def test_the_floor_is_on_the_chart(self) -> None:
        self.assertIn("The limits are those of the configuration at the day's end", self.page.text)
        self.assertIn("floor at $48,000.00", self.page.text)

    def test_the_calendar_has_the_day(self) -> None:
        net = dollars(sum(map(net_result, self.valid), Decimal(0)))
        self.assertIn(f"23 {net} 5 trades acted 1", self.page.text)


def fees(trades: Iterable[Payload]) -> Decimal:
    return sum(
        (each.get(name) or Decimal(0) for each in trades for name in ("fees", "commissions")),
        Decimal(0),
    )


def row_of(each: Payload) -> tuple[Any, ...]:
    return (
        instrument(each),
        str(each["size"]),
        f"{each['price']:f}",
        dollars(each["profitAndLoss"]),
        dollars(fees([each])),
        f"{local(each):%H:%M:%S}",
    )


def local(each: Payload) -> datetime:
    return datetime.fromisoformat(each["creationTimestamp"]).astimezone(CHICAGO)


def instrument(each: Payload) -> str:
    return NAMES[each["contractId"]]


def hour(each: Payload) -> str:
    return f"{local(each):%H}:00"
