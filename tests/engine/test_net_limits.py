"""RULE-013 and RULE-014 in a daemon on the practice exchange: breach, lock, restart and days."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from twisted.internet.defer import Deferred

from riskd.config.settings import NO_FAULTS, Faults
from riskd.control.commands import Commands
from riskd.control.protocol import Request
from riskd.journal.audit_log import read_days
from riskd.journal.reader import read_published
from riskd.model.equity import equity, highest_close, net_pnl, open_pnl
from riskd.model.events import Action, DaemonStatus
from riskd.model.reduce_only import reduce_only_stage
from riskd.rules.builtin.maximum_loss import Settings, floor_of, nearest_floor
from tests.support.guarded_account import NetLimitTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, ES, MNQ, SELL, settings_of

NET_LOSS = """
[rules.daily_net_loss]
loss_limit = 500
"""

MAXIMUM_LOSS = """
[rules.maximum_loss]
starting_balance = 50000
"""

INTRADAY = f'{MAXIMUM_LOSS}trailing = "intraday"\nstops_at = "never"\n'


class NetLossTests(NetLimitTestCase):
    """``daily_net_loss``."""

    config = NET_LOSS

    def test_realized_and_open_losses_and_fees_count_together(self) -> None:
        self.lose(100)
        realized = self.brokers - 50000
        self.assertLess(realized, -200)
        self.daemon.trade(BUY, 2)
        entry = Decimal("21000.25")
        fees = self.brokers - 50000 - realized
        # What is left of 500, in points of two MNQ, $4 a point; a tick each are bid and entry away.
        left = (500 + realized + fees) / 4
        last = entry - left + Decimal("0.25")
        last -= last % Decimal("0.25")
        self.fall(str(last + Decimal("0.25")))
        self.assertEqual(self.daemon.locks, [])
        self.fall(str(last))
        self.assert_flat_and_locked("RULE-013")
        self.assertLessEqual(self.brokers, 49500)
        self.assertGreater(self.brokers, 49490)
        self.assertEqual(net_pnl(self.daemon.state), self.brokers - 50000)

    def test_the_lock_ends_with_the_day_and_the_next_one_begins_at_zero(self) -> None:
        self.daemon.trade(BUY, 3)
        self.fall("20910")
        self.assert_flat_and_locked("RULE-013")
        self.pass_a_day()
        self.assertEqual(len(self.daemon.cleared), 1)
        self.assertEqual(net_pnl(self.daemon.state), 0)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_a_losing_exit_whose_position_is_reported_late_does_not_count_twice(self) -> None:
        self.daemon.trade(BUY, 1)
        self.fall("20850")
        self.daemon.gateway.faults = Faults(position_delay_seconds=0.5)
        self.daemon.trade(SELL, 1)
        # The trade is there, and the position still looks open.
        self.assertEqual(len(self.daemon.state.open_positions), 1)
        self.assertLess(self.daemon.state.realized_pnl, -300)
        self.fall("20849", "20850")
        self.daemon.advance(3)
        self.assertEqual(self.daemon.actions, [])
        self.assertEqual(net_pnl(self.daemon.state), self.brokers - 50000)

    def test_a_breach_that_no_event_reported_is_found_by_the_searches(self) -> None:
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.lose(260)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(65)
        self.assertEqual([lock.rule_id for lock in self.daemon.locks], ["RULE-013"])

    def test_partial_news_of_a_day_are_no_breach(self) -> None:
        """While riskd was away the day lost 450 and gained 400; 100 are open now."""
        self.daemon.kill()
        for last in ("20775", "21200"):
            self.daemon.trade_unseen(BUY, 1)
            self.daemon.move(MNQ, last)
            self.daemon.trade_unseen(SELL, 1)
            self.daemon.move(MNQ, "21000")
        self.daemon.trade_unseen(BUY, 1)
        self.daemon.move(MNQ, "20950")
        self.daemon.restart()
        self.daemon.move(MNQ, "20949.75")
        self.daemon.advance(70)
        self.assertEqual(self.daemon.locks, [])
        self.assertEqual(equity(self.daemon.state), self.brokers - Decimal("101.50"))

    def test_a_half_applied_answer_is_no_breach(self) -> None:
        """Unseen, ES lost 462.50 and gained 387.50, while an MNQ is 101.50 below its entry."""
        self.daemon.move(ES, "5800")
        self.daemon.trade(BUY, 1)
        self.daemon.move(MNQ, "20949.75")
        self.daemon.advance(12)
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        for last in ("5791.25", "5808.25"):
            self.daemon.move(ES, "5800")
            self.daemon.trade(BUY, 1, ES)
            self.daemon.move(ES, last)
            self.daemon.trade(SELL, 1, ES)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(65)
        self.assertEqual((self.daemon.locks, self.daemon.held), ([], {MNQ: 1}))
        self.assertEqual(equity(self.daemon.state), self.brokers - Decimal("101.50"))

    def test_the_limit_holds_while_the_broker_is_asked_what_became_of_an_order(self) -> None:
        """A hanging look-up of an order whose end was lost must not leave the account unguarded."""
        asked: list[float] = []

        def hang(*_arguments: object) -> Deferred[Any]:
            asked.append(self.daemon.clock.seconds())
            return Deferred()

        for is_lost_before in (True, False):
            with self.subTest(is_lost_before=is_lost_before):
                self.setUp()
                self.daemon.move(ES, "5800")
                self.daemon.trade(BUY, 3)
                order = self.daemon.trade(SELL, 1, limitPrice="22000")
                self.daemon.advance(1)
                self.daemon.gateway.faults = Faults(lost_events=1.0)
                self.daemon.gateway.cancel_order(ACCOUNT, order)
                if is_lost_before:
                    # The same searches find it.
                    self.daemon.trade(BUY, 1, ES)
                    self.daemon.move(ES, "5788")
                    self.daemon.trade(SELL, 1, ES)
                self.daemon.gateway.faults = NO_FAULTS
                asked.clear()
                self.patch(self.daemon.gateway, "search_order", hang)
                while not asked:
                    self.daemon.advance(0.25)
                if not is_lost_before:
                    self.daemon.move(MNQ, "20900")
                self.daemon.advance(0.25)
                self.assertEqual(self.daemon.held, {})
                plan = self.daemon.state.risk.flattening
                locks = [
                    lock.rule_id for lock in (*(plan.locks if plan else ()), *self.daemon.locks)
                ]
                self.assertIn("RULE-013", locks)

    def test_an_unlock_holds_until_something_is_opened(self) -> None:
        self.daemon.trade(BUY, 3)
        self.fall("20910")
        self.assert_flat_and_locked("RULE-013")
        self.daemon.engine.accounts[ACCOUNT].unlock("let me", "operator")
        self.daemon.advance(70)
        self.assertEqual(len(self.daemon.locks), 1)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.assertEqual((self.daemon.held, len(self.daemon.locks)), ({}, 2))

    def test_losses_from_before_an_account_is_first_seen_count(self) -> None:
        self.daemon.kill()
        self.daemon.lose_files()
        self.daemon.trade_unseen(BUY, 2)
        self.daemon.move(MNQ, "20900")
        self.daemon.trade_unseen(SELL, 2)
        self.daemon.restart()
        self.daemon.advance(2)
        # About 405 are lost, $2 a point of one MNQ.
        self.daemon.trade(BUY, 1)
        self.fall("20860")
        self.assertEqual(self.daemon.locks, [])
        self.fall("20850")
        self.assert_flat_and_locked("RULE-013")
        self.assertEqual(net_pnl(self.daemon.state), self.brokers - 50000)


class EarlyExitTests(NetLimitTestCase):
    """Exits that are reported before any news of the position."""

    config = NET_LOSS

    def enter_and_leave(self) -> None:
        """Open a position and reduce it before it is reported."""
        self.daemon.gateway.faults = Faults(
            position_delay_seconds=0.1, opening_half_again=self.has_halves
        )
        for side, size in ((BUY, 4), (SELL, 2), (BUY, 1), (SELL, 1)):
            self.daemon.trade(side, size)
        self.daemon.advance(0.5)

    has_halves = False

    def test_they_are_matched_with_the_position(self) -> None:
        for self.has_halves in (False, True):
            self.enter_and_leave()
            self.assertEqual(self.daemon.state.risk.unmatched, {})
            self.daemon.trade(SELL, 2)
            self.daemon.advance(0.5)
            self.assertEqual(self.daemon.state.risk.unmatched, {})
            self.assertEqual(self.daemon.held, {})

    def test_what_is_left_of_it_counts_whole(self) -> None:
        self.enter_and_leave()
        self.daemon.move(MNQ, "20900")
        average = self.daemon.state.positions[MNQ].average_price
        # Two contracts at the bid, two dollars a point.
        expected = (Decimal("20899.75") - average) * 4
        self.assertEqual(open_pnl(self.daemon.state), expected.quantize(Decimal("0.01")))

    def test_they_count_for_no_later_position(self) -> None:
        self.daemon.gateway.faults = Faults(position_delay_seconds=0.1)
        self.daemon.trade(BUY, 2)
        self.daemon.trade(SELL, 2)
        # Both positions are lost on the way.
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.advance(2)
        self.daemon.gateway.faults = Faults()
        self.daemon.trade(BUY, 2)
        self.daemon.advance(0.5)
        self.daemon.move(MNQ, "20950")
        self.assertLess(open_pnl(self.daemon.state), -150)


class TrailingLossTests(NetLimitTestCase):
    config = NET_LOSS + 'trailing = "equity"\n'

    def test_the_loss_counts_from_the_days_highest_equity_even_after_a_kill(self) -> None:
        self.daemon.trade(BUY, 2)
        self.fall("21300")
        self.daemon.advance(2)
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(1)
        self.fall("21176")
        self.assertEqual(self.daemon.locks, [])
        self.fall("21174")
        self.assert_flat_and_locked("RULE-013")

    def test_to_add_to_a_profit_is_no_loss_of_it(self) -> None:
        self.daemon.trade(BUY, 2)
        self.fall("21300")
        self.daemon.trade(BUY, 1)
        self.daemon.kill()
        self.daemon.trade_unseen(BUY, 1)
        self.daemon.restart()
        self.daemon.advance(2)
        self.assertEqual((self.daemon.held, self.daemon.locks), ({MNQ: 4}, []))


class MaximumLossTests(NetLimitTestCase):
    """``maximum_loss``, whose floor moves at the end of a day."""

    config = MAXIMUM_LOSS

    @property
    def floor(self) -> Decimal | None:
        settings: Any = self.daemon.engine.accounts[ACCOUNT].rules[0].settings
        self.assertIsInstance(settings, Settings)
        return floor_of(self.daemon.state, settings)

    def test_positions_are_closed_before_the_floor(self) -> None:
        self.daemon.trade(BUY, 2)
        self.fall("20503")
        self.assertEqual(self.daemon.locks, [])
        for step in range(12):
            self.fall(str(Decimal(20503) - Decimal("0.25") * step))
        self.assert_flat_and_locked("RULE-014")
        self.assertGreater(self.brokers, 48000)
        self.assertLess(self.brokers, 48010)
        # It is permanent: no reset ends it.
        self.pass_a_day()
        self.assertEqual(self.daemon.cleared, [])
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {})

    def test_a_kill_in_mid_breach_loses_no_lock(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.fall("20490")
        self.assertEqual(self.daemon.held, {MNQ: 2})
        self.daemon.kill()
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.restart()
        self.daemon.advance(5)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(
            {lock.rule_id for lock in self.daemon.state.lockouts.values()}, {"RULE-014"}
        )

    def test_a_kill_between_a_trade_and_its_position_does_not_count_the_loss_twice(self) -> None:
        self.daemon.advance(70)
        self.daemon.trade(BUY, 2)
        self.fall("20725")
        self.daemon.advance(2)
        self.daemon.gateway.faults = Faults(position_delay_seconds=1.0)
        self.daemon.trade(SELL, 2)
        self.daemon.advance(0.75)
        self.assertEqual(len(self.daemon.state.open_positions), 1)
        self.daemon.kill()
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.restart()
        self.daemon.move(MNQ, "20725.25")
        self.daemon.advance(2)
        self.assertEqual((equity(self.daemon.state), self.daemon.locks), (self.brokers, []))

    def test_the_floor_rises_when_a_day_ends_and_no_earlier(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.move(MNQ, "21300")
        self.daemon.trade(SELL, 2)
        self.daemon.advance(2)
        self.assertEqual(self.floor, 48000)
        close = self.brokers
        self.pass_a_day()
        self.assertEqual((self.floor, highest_close(self.daemon.state)), (close - 2000, close))
        # A loss of the next day does not lower it, nor does a restart.
        self.lose(100)
        self.pass_a_day()
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(2)
        self.assertEqual(self.floor, close - 2000)

    def test_three_days_without_a_daemon_leave_the_same_floor(self) -> None:
        self.daemon.advance(1)
        self.daemon.kill()
        closes = []
        for last, hours in (("21200", 4), ("21300", 24), ("20900", 23)):
            self.daemon.stopped_for(hours=hours)
            self.daemon.move(MNQ, "21000")
            self.daemon.trade_unseen(BUY, 1)
            self.daemon.move(MNQ, last)
            self.daemon.trade_unseen(SELL, 1)
            closes.append(self.brokers)
        self.daemon.stopped_for(hours=3)
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertEqual(self.daemon.state.balance.counted, self.brokers)
        self.assertEqual(self.floor, max(closes) - 2000)

    def test_each_day_that_has_ended_is_in_the_journal(self) -> None:
        """Two of three days have no daemon; the first has a payout and an enforcement action."""
        self.daemon.advance(70)
        self.lose(100)
        self.daemon.trade(BUY, 1)
        self.daemon.move(MNQ, "21050")
        self.daemon.engine.accounts[ACCOUNT].flatten("enough", "trader")
        self.daemon.advance(2)
        self.daemon.gateway.transfer(ACCOUNT, Decimal(-300))
        self.daemon.advance(12)
        closes = [Decimal(50000), self.brokers]
        self.daemon.kill()
        self.daemon.stopped_for(hours=24)
        self.daemon.move(MNQ, "21000")
        self.daemon.trade_unseen(BUY, 1)
        self.daemon.move(MNQ, "21200")
        self.daemon.trade_unseen(SELL, 1)
        closes.append(self.brokers)
        self.daemon.stopped_for(hours=24)
        self.daemon.restart()
        self.daemon.advance(3)
        days = read_days(self.daemon.directory, ACCOUNT)
        self.assertEqual([str(each.day) for each in days], ["2026-11-23", "2026-11-24"])
        self.assertEqual([each.start for each in days], closes[:2])
        self.assertEqual([each.close for each in days], closes[1:])
        self.assertEqual(
            [each.net_pnl for each in days], [closes[1] - closes[0] + 300, closes[2] - closes[1]]
        )
        self.assertEqual(
            [(each.trades, each.best, each.worst, each.enforced) for each in days],
            [(2, Decimal(99), Decimal(-201), 1), (1, Decimal(399), Decimal(399), 0)],
        )

    def test_balances_that_are_late_or_early_make_no_false_floor(self) -> None:
        self.daemon.trade(BUY, 1)
        for balance in ("47000", "50000", "47000", "49999"):
            self.daemon.payloads.user_event(
                "GatewayUserAccount",
                {"id": ACCOUNT, "canTrade": True, "balance": Decimal(balance)},
            )
            self.daemon.move(MNQ, "20999")
        self.daemon.advance(70)
        self.assertEqual(self.daemon.locks, [])
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_a_loss_whose_balance_comes_before_its_trade_does_not_count_twice(self) -> None:
        """Nor does one whose balance comes late, or once more after a deposit."""
        self.daemon.advance(70)
        self.daemon.trade(BUY, 2)
        # Bought at 21,000.25; about 1,100 are lost, and about 900 are left.
        self.fall("20725")
        before = self.brokers
        balance = {"id": ACCOUNT, "canTrade": True}
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(SELL, 2)
        self.daemon.gateway.faults = NO_FAULTS
        for figure in (self.brokers, before, self.brokers):
            self.daemon.payloads.user_event("GatewayUserAccount", {**balance, "balance": figure})
            self.fall("20725.25", "20725")
        self.assertEqual(len(self.daemon.state.open_positions), 1)
        self.assertLess(equity(self.daemon.state) or 0, before - 1090)
        self.daemon.advance(65)
        self.assertEqual((equity(self.daemon.state), self.daemon.locks), (self.brokers, []))
        lost = self.brokers
        self.daemon.gateway.transfer(ACCOUNT, Decimal(-800))
        self.daemon.advance(12)
        self.daemon.gateway.transfer(ACCOUNT, Decimal(5000))
        self.daemon.advance(12)
        for figure in (lost - 800, lost, lost - 800):
            self.daemon.payloads.user_event("GatewayUserAccount", {**balance, "balance": figure})
            self.daemon.advance(6)
        self.assertEqual((equity(self.daemon.state), self.daemon.locks), (self.brokers, []))

    def test_a_payout_in_mid_session_that_reaches_the_floor_closes_the_position(self) -> None:
        self.daemon.advance(70)
        self.daemon.trade(BUY, 1)
        self.daemon.gateway.transfer(ACCOUNT, Decimal(-1990))
        self.daemon.advance(20)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.fall("20996")
        self.assert_flat_and_locked("RULE-014")
        self.assertGreater(self.brokers, 48000)
        self.assertLess(self.brokers, 48006)

    def test_a_payout_does_not_lower_the_floor(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.move(MNQ, "21400")
        self.daemon.trade(SELL, 2)
        self.pass_a_day()
        floor = self.floor
        self.assertGreater(floor or 0, 49000)
        self.daemon.gateway.transfer(ACCOUNT, Decimal(-1000))
        self.daemon.advance(12)
        self.assertEqual(self.floor, floor)
        self.assertEqual(self.daemon.locks, [])
        self.daemon.gateway.transfer(ACCOUNT, Decimal(-1100))
        self.daemon.advance(12)
        self.assertEqual([lock.rule_id for lock in self.daemon.locks], ["RULE-014"])


class ClockChangeTests(NetLimitTestCase):
    """Days that end at 17:00 in Chicago: at 22:00 UTC on October 31, and at 23:00 the day after."""

    config = f'{MAXIMUM_LOSS}stops_at = "never"\n'
    begins = datetime(2026, 10, 31, 21, 30, tzinfo=UTC)

    @property
    def floor(self) -> Decimal | None:
        floor = nearest_floor(self.daemon.state, self.daemon.engine.accounts[ACCOUNT].rules)
        return None if floor is None else floor.amount

    def win(self, points: int, *, is_seen: bool = True) -> Decimal:
        """Win with 2 MNQ, or lose; return the balance afterwards."""
        trade = self.daemon.trade if is_seen else self.daemon.trade_unseen
        self.daemon.move(MNQ, "21000")
        trade(BUY, 2)
        self.daemon.move(MNQ, str(21000 + points))
        trade(SELL, 2)
        if is_seen:
            self.daemon.advance(2)
        return self.brokers

    def pass_hours(self, hours: float) -> None:
        self.daemon.stopped_for(hours=hours)
        self.daemon.advance(2)

    def test_the_floor_rises_when_each_day_ends(self) -> None:
        self.daemon.advance(70)
        first = self.win(100)
        self.assertEqual(self.floor, 48000)
        self.pass_hours(0.5)
        self.assertEqual(self.floor, first - 2000)
        # 22:30 on the next day is an hour later than the end of the day before, and still this day.
        self.pass_hours(24.5)
        second = self.win(100)
        self.assertEqual(self.floor, first - 2000)
        self.pass_hours(0.5)
        self.assertEqual(self.floor, second - 2000)
        self.win(-50)
        self.pass_hours(24)
        self.assertEqual(self.floor, second - 2000)

    def test_resets_that_nobody_saw_leave_the_same_floor(self) -> None:
        """Each end of a day is missed, the last ones in a stop of three days."""
        self.daemon.advance(70)
        first = self.win(100)
        self.daemon.kill()
        self.daemon.stopped_for(hours=1)
        self.win(-100, is_seen=False)
        self.daemon.restart()
        self.daemon.advance(2)
        self.assertEqual(self.floor, first - 2000)
        self.daemon.kill()
        # 22:40 UTC on November 1, and 23:10.
        self.daemon.stopped_for(hours=24)
        second = self.win(300, is_seen=False)
        self.daemon.stopped_for(hours=0.5)
        self.win(400, is_seen=False)
        self.win(-600, is_seen=False)
        self.daemon.stopped_for(hours=48)
        self.daemon.restart()
        self.daemon.advance(2)
        self.assertEqual(self.floor, second - 2000)


class IntradayTests(NetLimitTestCase):
    """The floor that follows the equity."""

    config = INTRADAY

    def test_the_peak_survives_a_kill(self) -> None:
        self.daemon.advance(70)
        self.daemon.trade(BUY, 2)
        self.fall("21400")
        self.daemon.advance(1)
        peak = self.daemon.state.balance.peak
        self.assertEqual(peak, self.brokers + 1598)
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(1)
        self.assertEqual(self.daemon.state.balance.peak, peak)
        self.fall("20903")
        self.assertEqual(self.daemon.locks, [])
        self.fall("20900")
        self.assert_flat_and_locked("RULE-014")

    def test_a_floor_that_an_operator_was_told_is_no_lower_after_a_kill(self) -> None:
        for command in ("status", "rules"):
            with self.subTest(command=command):
                self.setUp()
                self.daemon.advance(70)
                self.daemon.trade(BUY, 2)
                self.fall("21100")
                self.daemon.advance(2)
                self.daemon.move(MNQ, "21400")
                peak = self.daemon.state.balance.peak
                ask = getattr(Commands(self.daemon.engine, self.daemon.clock), command)
                asked = ask() if command == "status" else ask(Request(account=ACCOUNT))
                self.successResultOf(asked)
                self.daemon.kill()
                self.daemon.move(MNQ, "21300")
                self.daemon.restart()
                self.daemon.advance(1)
                self.assertEqual(self.daemon.state.balance.peak, peak)

    def test_the_peak_follows_while_the_broker_has_another_balance(self) -> None:
        """The broker charges 5 that no trade explains, while a position is held."""
        for amount in (-5, 5):
            with self.subTest(amount=amount):
                self.setUp()
                self.daemon.advance(70)
                self.daemon.trade(BUY, 2)
                self.daemon.gateway.transfer(ACCOUNT, Decimal(amount))
                self.daemon.advance(12)
                self.assertIsNotNone(self.daemon.state.balance.other)
                lower = self.brokers - max(amount, 0)
                self.fall("21300")
                self.assertEqual(self.daemon.state.balance.peak, lower + 1198)
                # Executions since then are in both.
                self.daemon.trade(BUY, 1)
                self.daemon.trade(SELL, 1)
                self.fall("21400")
                lower = self.brokers - max(amount, 0)
                now = lower + open_pnl(self.daemon.state)
                self.assertEqual(equity(self.daemon.state), now)
                self.assertEqual(self.daemon.state.balance.peak, now)
                self.daemon.advance(12)
                self.fall("20905")
                self.assertEqual(self.daemon.locks, [])
                self.fall("20899")
                self.assert_flat_and_locked("RULE-014")

    def test_a_loss_in_the_first_minute_does_not_hide_the_first_balance(self) -> None:
        """An account that has 51,598 when riskd sees it first, and starts to lose at once."""
        self.daemon.kill()
        self.daemon.lose_files()
        self.daemon.trade_unseen(BUY, 2)
        self.daemon.move(MNQ, "21400")
        self.daemon.trade_unseen(SELL, 2)
        first = self.brokers
        self.daemon.restart()
        self.daemon.advance(2)
        self.daemon.move(MNQ, "21000")
        self.lose(200, 2)
        self.daemon.advance(70)
        self.assertEqual(self.daemon.state.balance.peak, first)

    def test_no_kill_lowers_a_peak_that_was_told_or_is_a_second_old(self) -> None:
        self.daemon.advance(70)
        self.daemon.trade(BUY, 1)
        for number in range(12):
            self.daemon.move(MNQ, str(21010 + 10 * number))
            self.daemon.advance(number / 10, step=0.05)
            peak = self.daemon.state.balance.peak
            told = read_published(self.daemon.directory).accounts[ACCOUNT].balance.peak
            assert peak is not None
            assert told is not None
            self.assertLessEqual(told, peak)
            self.daemon.kill()
            self.daemon.move(MNQ, "21000")
            self.daemon.restart()
            known = self.daemon.state.balance.peak
            assert known is not None
            with self.subTest(seconds=number / 10):
                self.assertGreaterEqual(known, peak if number >= 10 else told)

    def test_nothing_is_told_of_a_peak_that_the_disk_does_not_have(self) -> None:
        self.daemon.advance(70)
        self.daemon.trade(BUY, 1)
        self.daemon.move(MNQ, "21010")
        self.daemon.advance(2)
        old = self.daemon.state.balance.peak
        self.daemon.disk.is_slow = True
        self.daemon.move(MNQ, "21100")
        self.daemon.advance(10)
        self.assertGreater(self.daemon.state.balance.peak or 0, old or 0)
        told = read_published(self.daemon.directory).accounts[ACCOUNT].balance.peak
        self.assertEqual(told, old)

    def test_to_add_to_a_profit_is_no_loss_of_it(self) -> None:
        self.daemon.advance(70)
        self.daemon.trade(BUY, 2)
        self.fall("21800")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(2)
        self.assertEqual((self.daemon.held, self.daemon.locks), ({MNQ: 3}, []))


class ReduceOnlyTests(NetLimitTestCase):
    """Near a limit on open losses an account may only close what it holds."""

    config = f"{NET_LOSS}reduce_only_at = 80\n"

    BEGUN = "Account 123 may only reduce its positions: "
    BEYOND = "the day's net loss has reached 80 % of its limit of $500.00 (RULE-013)"
    ENDED = "Account 123 may open positions again"

    @property
    def notices(self) -> list[str]:
        return [
            status.message
            for status in self.daemon.news(DaemonStatus)
            if "Account 123" in status.message
        ]

    def begin(self) -> None:
        """Hold 2 MNQ from 21,000.25 with a net loss of $400 or a tick more."""
        self.daemon.trade(BUY, 2)
        fees = 50000 - self.brokers
        # An exit is worth the bid, a tick below the last price.
        above = Decimal("20900.50") + fees / 4
        self.above = above - above % Decimal("0.25") + Decimal("0.25")
        self.fall(str(self.above))
        self.assertEqual((self.notices, reduce_only_stage(self.daemon.state)), ([], None))
        self.fall(str(self.above - Decimal("0.25")))
        self.daemon.advance(1)
        self.assertEqual(self.notices, [self.BEGUN + self.BEYOND])

    def test_from_its_share_on_only_exits_are_allowed(self) -> None:
        self.begin()
        stop = self.daemon.trade(SELL, 2, stopPrice="20890")
        self.daemon.trade(BUY, 1, limitPrice="20800")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(5)
        self.assertEqual((self.daemon.held, self.daemon.working), ({MNQ: 2}, [stop]))
        self.assertEqual(
            {(each.rule_id, each.action) for each in self.daemon.actions},
            {("RULE-013", Action.REJECT_ORDER), ("RULE-013", Action.CLOSE_ALL_POSITIONS)},
        )
        self.assertEqual(self.daemon.locks, [])

    def test_quotes_around_the_share_begin_it_once(self) -> None:
        self.begin()
        for _ in range(3):
            self.fall(str(self.above + 5), str(self.above - 1))
        self.assertEqual(self.notices, [self.BEGUN + self.BEYOND])
        self.fall(str(self.above + 11))
        self.daemon.advance(1)
        self.assertEqual(self.notices, [self.BEGUN + self.BEYOND, self.ENDED])

    def test_an_answer_that_is_half_applied_does_not_end_it(self) -> None:
        self.begin()
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        for _ in range(2):
            self.daemon.trade(SELL, 1)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(70)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(self.notices, [self.BEGUN + self.BEYOND])

    def test_a_kill_does_not_end_it_while_the_open_loss_is_unknown(self) -> None:
        self.begin()
        self.daemon.kill()
        # The quote that is known is older than the larger position.
        self.daemon.trade_unseen(BUY, 1)
        self.daemon.restart()
        self.daemon.advance(5)
        self.assertEqual((self.daemon.held, self.daemon.locks), ({MNQ: 2}, []))
        self.assertNotIn(self.ENDED, self.notices)

    def test_the_day_ends_it_even_if_nothing_happens(self) -> None:
        self.lose(100, 2)
        self.daemon.advance(2)
        self.assertEqual(self.notices, [self.BEGUN + self.BEYOND])
        self.daemon.advance(5 * 3600, step=60)
        self.assertEqual(self.notices[1:], [self.ENDED])

    def test_maximum_loss_asks_for_it_too(self) -> None:
        config = f"{MAXIMUM_LOSS}drawdown = 500\nreduce_only_at = 80\n"
        self.daemon.engine.reload(settings_of(config))
        self.BEYOND = "the loss has reached 80 % of the drawdown of $500.00 (RULE-014)"
        self.begin()
        self.daemon.trade(BUY, 1)
        self.daemon.advance(5)
        self.assertEqual((self.daemon.held, self.daemon.locks), ({MNQ: 2}, []))


class DryRunTests(NetLimitTestCase):
    """Without enforcement the same breaches are reported."""

    config = f"enforce = false\n{NET_LOSS}"

    def test_a_breach_is_reported_once(self) -> None:
        self.daemon.trade(BUY, 3)
        self.fall("20910", "20905", "20900")
        self.daemon.advance(5)
        self.assertEqual(self.daemon.held, {MNQ: 3})
        self.assertEqual(
            [(each.rule_id, each.details.dry_run) for each in self.daemon.actions],
            [("RULE-013", True)],
        )

    def test_a_search_of_what_no_event_has_reported_does_not_report_it_again(self) -> None:
        self.daemon.engine.reload(settings_of(f'{self.config}action = "CLOSE_ALL_POSITIONS"\n'))
        self.daemon.trade(BUY, 3)
        self.fall("20905")
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 1)
        self.daemon.trade(SELL, 1)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(70)
        self.assertEqual(len(self.daemon.actions), 1)
