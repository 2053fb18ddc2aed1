"""Rules at work while clocks are wrong, days end, and trades come late, twice or are voided."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from riskd.config.faults import Faults
from riskd.model.events import ClearedBy, DailyReset, GatewayUserTrade
from tests.engine.test_guard import COOLDOWN, DAILY_LOSS, GuardTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, MONDAY_NOON

TO_THE_RESET = 5 * 3600
"""Seconds from Monday noon to the end of the day."""

SHORT_PAUSE = COOLDOWN.replace("cooldown_seconds = 60", "cooldown_seconds = 30")


class ClockTestCase(GuardTestCase):
    def advance_over_reset(self) -> None:
        self.daemon.advance(TO_THE_RESET + 10, step=30)

    def last_trade(self) -> dict[str, Any]:
        """The last full turn, as the broker tells it."""
        trades: list[dict[str, Any]] = self.daemon.gateway.exchange.trades(ACCOUNT, MONDAY_NOON)
        return [payload for payload in trades if payload.get("profitAndLoss") is not None][-1]

    def tell_again(self, payload: dict[str, Any]) -> None:
        self.daemon.engine.user_event("GatewayUserTrade", payload)

    def trades_told(self) -> int:
        return len(self.daemon.news(GatewayUserTrade))


class WrongClockTests(ClockTestCase):
    config = DAILY_LOSS

    def broker_time(self) -> datetime:
        """The broker's clock is right, whatever the daemon's says."""
        return MONDAY_NOON + timedelta(seconds=self.daemon.clock.seconds())

    def test_a_clock_that_was_ahead_for_a_moment_hides_no_loss(self) -> None:
        self.daemon.gateway._time = self.broker_time
        self.daemon.stopped_for(hours=6)
        self.daemon.advance(2)
        self.daemon.stopped_for(hours=-6)
        self.daemon.advance(2)
        self.lose(125, 4)
        self.daemon.advance(60)
        self.assertIn("RULE-003", self.daemon.state.lockouts)

    def test_the_day_goes_on_with_what_was_lost_in_it(self) -> None:
        self.daemon.gateway._time = self.broker_time
        self.lose(50, 4)
        before = self.daemon.state.realized_pnl
        self.daemon.stopped_for(hours=6)
        self.daemon.advance(2)
        self.assertEqual(self.daemon.state.realized_pnl, 0)
        self.daemon.stopped_for(hours=-6)
        self.daemon.advance(10)
        self.assertEqual(self.daemon.state.realized_pnl, before)
        self.assertEqual(len(self.daemon.news(DailyReset)), 1)

    def test_the_day_that_begins_then_is_begun_in_its_time(self) -> None:
        self.daemon.stopped_for(hours=6)
        self.daemon.advance(2)
        self.daemon.stopped_for(hours=-6)
        self.advance_over_reset()
        self.assertEqual(len({reset.reset_time for reset in self.daemon.news(DailyReset)}), 1)
        self.lose(10)
        self.assertEqual(str(self.daemon.state.realized_pnl), "-21.00")

    def test_a_locked_account_is_looked_at_though_the_clock_was_set_back(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(10)
        self.daemon.stopped_for(hours=-1)
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(15)
        self.assertEqual(self.daemon.held, {})

    def test_a_lock_ends_when_the_clock_says_so(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(10)
        self.daemon.stopped_for(hours=-1)
        self.daemon.advance(TO_THE_RESET, step=30)
        self.assertEqual(self.daemon.cleared, [])
        self.daemon.advance(3600, step=30)
        self.assertEqual(len(self.daemon.cleared), 1)


class FirstMomentTests(ClockTestCase):
    """What happens after a reset, before the clock was looked at."""

    config = DAILY_LOSS

    def test_what_was_lost_the_day_before_does_not_lock_the_new_day(self) -> None:
        self.lose(50, 4)
        self.daemon.stopped_for(hours=6)
        self.lose(50, 2)
        self.daemon.advance(5)
        (reset,) = self.daemon.news(DailyReset)
        self.assertEqual(reset.previous_trade_count, 1)
        self.assertEqual(self.daemon.state.trade_count, 1)
        self.assertEqual(self.daemon.state.lockouts, {})


class SleepTests(ClockTestCase):
    config = DAILY_LOSS

    def test_a_machine_that_sleeps_over_the_reset_wakes_up_in_a_new_day(self) -> None:
        self.lose(125, 2)
        self.daemon.stopped_for(hours=12)
        self.daemon.advance(2)
        (reset,), (cleared,) = self.daemon.news(DailyReset), self.daemon.cleared
        self.assertEqual(reset.reset_time, MONDAY_NOON + timedelta(seconds=TO_THE_RESET))
        self.assertEqual((str(reset.previous_pnl), reset.lockouts_cleared), ("-502.00", True))
        self.assertEqual(cleared.cleared_by, ClearedBy.DAILY_RESET)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(10)
        self.assertEqual(len(self.daemon.held), 1)

    def test_one_that_sleeps_for_days_begins_one_day(self) -> None:
        self.daemon.stopped_for(days=3)
        self.daemon.advance(10)
        (reset,) = self.daemon.news(DailyReset)
        self.assertEqual(reset.reset_time, MONDAY_NOON + timedelta(days=2, seconds=TO_THE_RESET))


class RepeatedTradeTests(ClockTestCase):
    config = COOLDOWN

    def test_one_of_yesterday_told_again_is_none_of_today(self) -> None:
        self.lose(60, 1)
        self.advance_over_reset()
        self.assertEqual(len(self.daemon.cleared), 1)
        told = self.trades_told()
        self.tell_again(self.last_trade())
        self.assertEqual((self.trades_told(), len(self.daemon.locks)), (told, 1))

    def test_a_broker_that_tells_all_twice_is_heard_once(self) -> None:
        self.daemon.gateway.faults = Faults(doubled_events=1.0)
        self.lose(60, 1)
        self.assertEqual((self.trades_told(), len(self.daemon.locks)), (1, 1))
        self.assertEqual(self.daemon.state.trade_count, 1)

    def test_one_that_is_first_heard_of_after_the_reset_is_not_of_the_new_day(self) -> None:
        self.daemon.advance(TO_THE_RESET - 20, step=20)
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.lose(60, 1)
        late = self.last_trade()
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.advance(90)
        self.daemon.gateway.faults = Faults()
        self.tell_again(late)
        self.assertEqual((self.trades_told(), self.daemon.locks), (1, []))
        self.assertEqual((self.daemon.state.trade_count, self.daemon.state.realized_pnl), (0, 0))


class LateTradeTests(ClockTestCase):
    config = SHORT_PAUSE

    def test_a_pause_that_would_be_over_is_not_made(self) -> None:
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.lose(60, 1)
        self.daemon.gateway.faults = Faults()
        self.daemon.advance(70)
        self.assertEqual((self.trades_told(), self.daemon.locks), (1, []))


class WindowTests(ClockTestCase):
    config = "[rules.trade_frequency_limit]\nlimits = { per_minute = 3 }\n"

    def test_a_minute_may_begin_before_the_reset(self) -> None:
        self.daemon.stopped_for(seconds=TO_THE_RESET - 10)
        self.daemon.advance(1)
        for _ in range(3):
            self.lose(1)
        self.daemon.advance(15)
        self.assertEqual(self.daemon.state.trade_count, 0)
        self.lose(1)
        self.assertEqual(len(self.daemon.locks), 1)

    def test_what_is_older_than_a_minute_does_not_count(self) -> None:
        self.daemon.stopped_for(seconds=TO_THE_RESET - 10)
        self.daemon.advance(1)
        for _ in range(3):
            self.lose(1)
        self.daemon.advance(61)
        for _ in range(3):
            self.lose(1)
        self.assertEqual(self.daemon.locks, [])


class VoidedTradeTests(ClockTestCase):
    config = DAILY_LOSS

    def setUp(self) -> None:
        super().setUp()
        self.lose(10, 1)
        self.voided = self.last_trade()
        self.daemon.gateway.void_trade(ACCOUNT, self.voided["id"])

    def test_it_counts_no_more(self) -> None:
        self.assertEqual((self.daemon.state.trade_count, self.daemon.state.realized_pnl), (0, 0))

    def test_a_late_copy_does_not_bring_it_back(self) -> None:
        self.tell_again(self.voided)
        self.assertEqual((self.daemon.state.trade_count, self.daemon.state.realized_pnl), (0, 0))

    def test_nor_does_a_late_copy_after_the_reset(self) -> None:
        self.advance_over_reset()
        self.tell_again(self.voided)
        self.assertEqual((self.daemon.state.trade_count, self.trades_told()), (0, 1))

    def test_the_next_one_counts(self) -> None:
        self.lose(10, 1)
        self.assertEqual(self.daemon.state.trade_count, 1)

    def test_a_copy_that_comes_after_a_restart_does_not_bring_it_back(self) -> None:
        self.daemon.advance(1)
        self.daemon.kill()
        self.daemon.restart()
        self.tell_again(self.voided)
        self.assertEqual((self.daemon.state.trade_count, self.daemon.state.realized_pnl), (0, 0))
