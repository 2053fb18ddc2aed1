"""What a daemon journals for reports: executions, equity, and changes of settings."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from riskd.app.riskctl.journal_tables import journal_table
from riskd.journal.audit_log import SETTINGS, LogLine, read_log
from riskd.journal.history import TradeReport, read_equity, read_trades
from tests.support.guarded_account import DAILY_LOSS, MAX_CONTRACTS, GuardTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, MNQ, SELL, settings_of


class HistoryTests(GuardTestCase):
    config = MAX_CONTRACTS

    def trades(self) -> list[TradeReport]:
        return read_trades(self.daemon.directory, ACCOUNT)

    def settings(self) -> list[LogLine]:
        log = read_log(self.daemon.directory, ACCOUNT)
        return [line for line in log if line.kind == SETTINGS]

    def test_each_execution_has_prices_fees_and_times(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.advance(30)
        self.daemon.move(MNQ, "20990")
        self.daemon.trade(SELL, 1)
        self.daemon.trade(SELL, 1)
        self.daemon.advance(1)
        entry, *exits = self.trades()
        self.assertEqual(
            (entry.what, entry.side, entry.size, entry.entry, entry.pnl, entry.opened_at),
            ("entry", "long", 2, Decimal("21000.25"), None, None),
        )
        self.assertEqual(len(exits), 2)
        for trade in exits:
            self.assertEqual(
                (trade.what, trade.contract, trade.side, trade.entry, trade.exit, trade.pnl),
                ("exit", "MNQZ6", "long", Decimal("21000.25"), Decimal("20989.75"), Decimal(-21)),
            )
            self.assertGreater(trade.fees, 0)
            assert trade.opened_at is not None
            self.assertEqual(trade.at - trade.opened_at, timedelta(seconds=30))
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertEqual(self.trades(), [entry, *exits])

    def test_what_happened_without_a_daemon_is_there_too(self) -> None:
        self.daemon.advance(3)
        self.daemon.kill()
        self.daemon.trade_unseen(BUY, 1)
        self.daemon.trade_unseen(SELL, 1)
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertEqual([each.what for each in self.trades()], ["entry", "exit"])

    def test_equity_is_kept_once_a_minute(self) -> None:
        self.daemon.trade(BUY, 1)
        for last in ("21010", "21020", "20990"):
            self.daemon.move(MNQ, last)
            self.daemon.advance(60)
        lines = read_equity(self.daemon.directory, ACCOUNT)
        self.assertIn(len(lines), (3, 4))
        self.assertEqual(len({each.at for each in lines}), len(lines))
        for line in lines:
            self.assertEqual(line.at.second, 0)
            self.assertEqual(line.equity - line.net_pnl, 50000)
        self.assertGreater(lines[-1].high_net, lines[-1].net_pnl)

    def test_a_change_of_settings_is_journaled_with_both_values(self) -> None:
        self.daemon.advance(1)
        self.assertEqual(self.settings(), [])
        self.daemon.engine.reload(settings_of(MAX_CONTRACTS.replace("limit = 2", "limit = 3")))
        self.daemon.engine.reload(settings_of(DAILY_LOSS))
        self.daemon.advance(1)
        table = "\n".join(journal_table(self.settings()))
        for words in (
            "max_contracts (RULE-001): limit 2 became 3",
            "max_contracts (RULE-001) was removed",
            "daily_realized_loss (RULE-003) was added",
        ):
            self.assertEqual(table.count(words), 1, table)

    def test_a_change_is_found_by_a_journal_that_opens_late(self) -> None:
        self.daemon.advance(1)
        self.daemon.kill()
        self.daemon.settings = settings_of(MAX_CONTRACTS.replace("limit = 2", "limit = 3"))
        self.daemon.restart(is_slow=True)
        self.daemon.advance(30)
        self.daemon.disk.is_slow = False
        self.daemon.disk.catch_up()
        self.daemon.advance(3)
        (line,) = journal_table(self.settings())[1:]
        self.assertIn("max_contracts (RULE-001): limit 2 became 3", line)

    def test_a_change_between_two_runs_is_journaled_once(self) -> None:
        self.daemon.advance(1)
        self.daemon.kill()
        self.daemon.settings = settings_of(DAILY_LOSS.replace("500", "400"))
        for _ in range(2):
            self.daemon.restart()
            self.daemon.advance(3)
            self.assertEqual(
                [(line.data["key"], line.data["after"] is None) for line in self.settings()],
                [("max_contracts", True), ("daily_realized_loss", False)],
            )
            self.daemon.kill()
        self.daemon.restart()
