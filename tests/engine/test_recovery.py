"""Journals that open late, hang or cannot be opened, and locks that are kept all the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal

from twisted.python.monkey import MonkeyPatcher

from riskd.config.settings import Faults
from riskd.engine.guarded_account import GuardedAccount
from riskd.journal.service import WRITE_SECONDS
from riskd.journal.store import Recovery, Store
from riskd.model.account import AccountState
from riskd.model.equity import day_start_balance
from riskd.model.events import DaemonStatus, Status
from riskd.model.lockouts import is_locked
from riskd.rules.builtin.maximum_loss import nearest_floor
from tests.support.directories import temporary_directory
from tests.support.guarded_account import (
    DAILY_LOSS,
    LONG_PAUSE,
    GuardTestCase,
    never,
)
from tests.support.practice_daemon import ACCOUNT, BUY, ES, MNQ, MONDAY_NOON, SELL, settings_of

FOR_GOOD = DAILY_LOSS + 'lockout_until = "permanent"\n'

NO_ES = """
[rules.symbol_blocks]
blocked_symbols = ["ES"]
"""


def cannot_open(*_arguments: object) -> Recovery:
    raise sqlite3.OperationalError("disk I/O error")


class JournalTestCase(GuardTestCase):
    def shut(self) -> MonkeyPatcher:
        """Make every attempt to open the journal fail; return a patcher that undoes that."""
        patch: MonkeyPatcher = self.patch(Store, "open", cannot_open)
        return patch

    def restart(self, config: str | None = None) -> None:
        self.daemon.kill()
        self.daemon.told.clear()
        if config is not None:
            self.daemon.settings = settings_of(config)
        self.daemon.restart()

    def is_locked(self) -> bool:
        return is_locked(self.daemon.state, self.daemon.now())

    def lock_by_hand(self) -> None:
        self.daemon.engine.accounts[ACCOUNT].lock("enough", "trader", None)

    def statuses(self) -> list[Status]:
        return [told.status for told in self.daemon.news(DaemonStatus)]

    def journal(self) -> AccountState:
        """The state that a daemon would recover if it started now."""
        copy = temporary_directory(self)
        for path in self.daemon.directory.glob("riskd.db*"):
            (copy / path.name).write_bytes(path.read_bytes())
        store = Store(copy)
        self.addCleanup(store.close)
        return store.open([ACCOUNT], MONDAY_NOON).accounts[ACCOUNT]


class ClosedJournalTests(JournalTestCase):
    config = LONG_PAUSE

    def test_locks_are_taken_from_the_published_copy(self) -> None:
        """No rule would set the operator's lock again, and no broker knows it."""
        self.lock_by_hand()
        self.shut()
        self.restart()
        self.assertTrue(self.is_locked())
        self.daemon.move(MNQ, "21000")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(10)
        self.assertEqual((self.daemon.held, self.statuses()[-1]), ({}, Status.ERROR))

    def test_the_rules_guard_without_a_copy(self) -> None:
        self.shut()
        self.daemon.stop()
        self.daemon.lose_files()
        self.daemon.restart()
        self.lose(51, 1)
        self.daemon.advance(5)
        self.assertTrue(self.is_locked())

    def test_an_unreadable_copy_is_ignored(self) -> None:
        self.shut()
        self.daemon.kill()
        (self.daemon.directory / "last-known.db").write_bytes(b"no database")
        self.daemon.restart()
        self.lose(51, 1)
        self.daemon.advance(5)
        self.assertTrue(self.is_locked())


class LateJournalTests(JournalTestCase):
    config = FOR_GOOD + NO_ES

    def test_a_late_journal_shortens_no_lock(self) -> None:
        self.lose(125, 2)
        shut = self.shut()
        self.restart(DAILY_LOSS)
        self.daemon.advance(2)
        shut.restore()
        self.daemon.advance(5)
        self.assertIsNone(self.daemon.state.lockouts["RULE-003"].locked_until)
        self.assertIsNone(self.journal().lockouts["RULE-003"].locked_until)

    def test_a_lock_set_meanwhile_stays_beside_the_journaled_ones(self) -> None:
        self.lose(125, 2)
        shut = self.shut()
        self.restart()
        self.lock_by_hand()
        self.daemon.advance(2)
        shut.restore()
        self.daemon.advance(5)
        self.assertEqual(set(self.daemon.state.lockouts), {"RULE-003", "OPERATOR"})
        self.assertEqual(set(self.journal().lockouts), {"RULE-003", "OPERATOR"})
        self.assertEqual(self.statuses()[-1], Status.RUNNING)

    def test_a_flatten_begun_meanwhile_merges_with_the_journaled_one(self) -> None:
        """Neither is forgotten, and neither are their locks."""
        daemon = self.daemon
        daemon.trade(BUY, 1)
        daemon.gateway.faults = Faults(lost_requests=1.0)
        self.lock_by_hand()
        daemon.advance(1)
        daemon.gateway.faults = Faults()
        shut = self.shut()
        # The published copy does not have a flatten in progress.
        self.restart()
        daemon.move(ES, "5800")
        daemon.gateway.faults = Faults(refuse=1.0)
        daemon.gateway.exchange.place_order(
            ACCOUNT, {"contractId": ES, "type": 2, "side": 0, "size": 1}, daemon.now()
        )
        daemon.move(ES, "5800")
        plan = daemon.state.risk.flattening
        assert plan is not None
        self.assertEqual((plan.rule_id, plan.keep), ("RULE-011", {ES: 0}))
        shut.restore()
        daemon.advance(2)
        plan = daemon.state.risk.flattening
        assert plan is not None
        self.assertEqual((plan.keep, [lock.rule_id for lock in plan.locks]), (None, ["OPERATOR"]))
        daemon.gateway.faults = Faults()
        daemon.advance(6)
        self.assertEqual((daemon.held, set(daemon.state.lockouts)), ({}, {"OPERATOR"}))


class SlowDiskTests(JournalTestCase):
    config = DAILY_LOSS

    def test_a_hanging_disk_is_a_problem_and_what_waited_is_broadcast_later(self) -> None:
        daemon = self.daemon
        daemon.advance(10)
        daemon.told.clear()
        daemon.disk.is_slow = True
        self.lose(125, 2)
        daemon.advance(WRITE_SECONDS)
        self.assertEqual((self.statuses(), daemon.locks), ([Status.ERROR], []))
        self.assertTrue(
            is_locked(daemon.engine.accounts[ACCOUNT].account.state_with_pending, daemon.now())
        )
        daemon.trade(BUY, 1)
        daemon.advance(0.25)
        self.assertEqual(daemon.held, {})
        daemon.disk.is_slow = False
        daemon.disk.catch_up()
        daemon.advance(10)
        (lock,) = daemon.locks
        self.assertEqual((lock.rule_id, self.statuses()[-1]), ("RULE-003", Status.RUNNING))


class OneWriteTests(JournalTestCase):
    """All that follows from one breach is one write: a kill forgets all of it or nothing."""

    config = DAILY_LOSS + 'action = "CLOSE_ALL_POSITIONS"\n' + LONG_PAUSE

    def test_the_locks_of_several_rules_for_one_trade_are_one_write(self) -> None:
        daemon = self.daemon
        daemon.trade(BUY, 3)
        daemon.move(MNQ, "20800")
        daemon.advance(5)
        daemon.gateway.faults = Faults(failed_reads=1.0)
        daemon.trade(SELL, 3)
        self.assertTrue(self.is_locked())
        self.daemon.gateway.faults = Faults()
        self.restart()
        daemon.advance(5)
        self.assertTrue(self.is_locked())
        self.assertEqual(set(daemon.state.lockouts), {"RULE-007"})

    def test_the_lock_of_a_breach_during_a_flatten_is_in_the_same_write(self) -> None:
        daemon = self.daemon
        daemon.trade(BUY, 3)
        daemon.advance(1)
        daemon.gateway.faults = Faults(lost_requests=1.0)
        daemon.engine.accounts[ACCOUNT].flatten("enough", "trader")
        self.lock_by_hand()
        daemon.gateway.faults = Faults()
        self.restart()
        daemon.advance(1)
        self.assertEqual((daemon.held, set(daemon.state.lockouts)), ({}, {"OPERATOR"}))


class TakingOverTests(JournalTestCase):
    config = DAILY_LOSS

    def test_a_recovered_lock_is_broadcast_to_clients_that_connected_early(self) -> None:
        self.lock_by_hand()
        self.restart()
        (lock,) = self.daemon.locks
        self.assertEqual((lock.rule_id, lock.locked_at), ("OPERATOR", MONDAY_NOON))


class BalanceTests(JournalTestCase):
    """What only riskd knows of balances, when the journal opens late or is damaged."""

    config = '[rules.maximum_loss]\nstarting_balance = 50000\nafter_payout = "start"\nstops_at = "never"\n'

    def setUp(self) -> None:
        super().setUp()
        self.daemon.advance(70)

    @property
    def guarded(self) -> GuardedAccount:
        return self.daemon.engine.accounts[ACCOUNT]

    @property
    def floor(self) -> Decimal | None:
        found = nearest_floor(self.daemon.state, self.guarded.rules)
        return None if found is None else found.amount

    def pay(self, amount: int) -> None:
        self.daemon.gateway.transfer(ACCOUNT, Decimal(amount))
        self.daemon.advance(12)

    def test_the_copy_and_then_the_journal_count_each_payout_once(self) -> None:
        for amount in (-500, 200, -300):
            self.pay(amount)
        self.daemon.advance(1)
        before = self.daemon.state
        shut = self.shut()
        self.restart()
        self.daemon.advance(70)
        self.pay(-50)
        shut.restore()
        self.daemon.advance(5)
        balance = self.daemon.state.balance
        self.assertEqual((balance.payouts, balance.flows), (850, -650))
        self.assertEqual(balance.counted, 49350)
        self.assertEqual(day_start_balance(self.daemon.state), day_start_balance(before))

    def test_a_journal_that_opens_late_on_the_next_day_brings_nothing_of_its_day_back(
        self,
    ) -> None:
        self.daemon.move(MNQ, "21000")
        self.daemon.trade(BUY, 2)
        self.daemon.move(MNQ, "21150")
        self.daemon.advance(5)
        self.daemon.trade(SELL, 2)
        self.daemon.advance(70)
        self.pay(-1300)
        self.daemon.advance(70)
        balance = self.daemon.state.balance
        self.assertEqual(balance.flows, -1300)
        self.assertGreater(balance.high_net, 500)
        shut = self.shut()
        self.daemon.kill()
        self.daemon.stopped_for(hours=24)
        self.daemon.restart()
        self.daemon.advance(1, step=0.05)
        shut.restore()
        self.daemon.advance(10)
        balance = self.daemon.state.balance
        self.assertEqual((balance.flows, balance.high_net, balance.payouts), (0, 0, 1300))

    def test_a_figure_of_the_firm_from_meanwhile_knows_the_earlier_payouts(self) -> None:
        for has_copy in (True, False):
            self.pay(-500)
            self.guarded.set_floor(Decimal(48100), "jane")
            self.daemon.advance(1)
            shut = self.shut()
            self.daemon.kill()
            if not has_copy:
                (self.daemon.directory / "last-known.db").unlink()
            self.daemon.restart()
            self.daemon.advance(0.5)
            self.assertEqual(self.floor, 48100 if has_copy else 48000)
            self.guarded.set_floor(Decimal(48500), "jane")
            shut.restore()
            self.daemon.advance(5)
            with self.subTest(has_copy=has_copy):
                self.assertEqual(self.floor, 48500)
                self.assertEqual(
                    self.daemon.state.balance.firm_floor.payouts,
                    self.daemon.state.balance.payouts,
                )

    def test_a_figure_that_the_copy_does_not_have_yet_is_in_force(self) -> None:
        self.win_a_day()
        copy = self.daemon.directory / "last-known.db"
        old = copy.read_bytes()
        self.guarded.set_floor(Decimal(49500), "jane")
        self.daemon.advance(2)
        shut = self.shut()
        self.daemon.kill()
        copy.write_bytes(old)
        self.daemon.restart()
        self.daemon.advance(2)
        self.assertEqual(self.floor, 50000)
        shut.restore()
        self.daemon.advance(5)
        self.assertEqual(self.floor, 49500)

    def win_a_day(self) -> None:
        """End a day with a balance of 52,000."""
        self.pay(2000)
        self.daemon.stopped_for(hours=24)
        self.daemon.advance(12)
        self.assertEqual(self.floor, 50000)

    def test_a_start_that_is_cut_short_raises_no_floor(self) -> None:
        """By then the first balance is known, and the day's trades that it includes are not."""
        self.daemon.kill()
        self.daemon.lose_files()
        self.daemon.trade_unseen(BUY, 2)
        self.daemon.move(MNQ, "21100")
        self.daemon.trade_unseen(SELL, 2)
        search = self.patch(self.daemon.gateway, "search_trades", never)
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.restart()
        self.daemon.advance(1.5)
        self.daemon.gateway.faults = Faults()
        self.assertEqual(self.daemon.state.trades, {})
        self.assertGreater(self.daemon.state.balance.counted, 50300)
        search.restore()
        self.restart()
        self.daemon.advance(70)
        self.assertEqual(self.floor, 48000)

    def test_the_copy_alone_lowers_no_floor(self) -> None:
        self.win_a_day()
        self.daemon.settings = settings_of(self.config.replace('start"', 'keep"'))
        self.daemon.advance(1)
        self.shut()
        self.daemon.kill()
        self.daemon.gateway.transfer(ACCOUNT, Decimal(-1500))
        self.daemon.restart()
        self.daemon.advance(12)
        self.assertEqual((self.floor, self.daemon.state.balance.counted), (50000, 50500))

    def test_a_journal_that_opens_on_a_later_day_lowers_no_floor(self) -> None:
        self.win_a_day()
        self.lose(100, 2)
        shut = self.shut()
        self.daemon.kill()
        (self.daemon.directory / "last-known.db").unlink()
        self.daemon.stopped_for(hours=72)
        self.daemon.restart()
        self.daemon.advance(2)
        shut.restore()
        self.daemon.advance(5)
        self.assertEqual(self.floor, 50000)

    def test_a_damaged_journal_lowers_no_floor(self) -> None:
        self.win_a_day()
        self.daemon.settings = settings_of(self.config.replace('start"', 'keep"'))
        self.pay(-1500)
        for hours in (1, 24):
            self.daemon.advance(1)
            self.daemon.kill()
            journal = self.daemon.directory / "riskd.db"
            journal.write_bytes(journal.read_bytes().replace(b"averagePrice", b"averagePricf"))
            with closing(sqlite3.connect(journal)) as connection, connection:
                connection.execute("UPDATE facts SET value = '0' WHERE name = 'commits'")
            self.daemon.stopped_for(hours=hours)
            self.daemon.restart()
            self.daemon.advance(12)
            with self.subTest(hours=hours):
                self.assertIn("set aside", str(self.daemon.news(DaemonStatus)))
                self.assertEqual(self.floor, 50000)
                flows = -1500 if hours == 1 else 0
                self.assertEqual(self.daemon.state.balance.flows, flows)
