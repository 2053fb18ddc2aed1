"""Locks and days end on time, though clocks are wrong and trades come late, twice or are voided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from twisted.internet.task import Clock

from riskd.config.settings import NO_FAULTS, Faults
from riskd.model.events import (
    Action,
    ClearedBy,
    DailyReset,
    GatewayUserTrade,
)
from tests.support import practice_daemon
from tests.support.guarded_account import (
    COOLDOWN,
    DAILY_LOSS,
    ONE_ROUND,
    GuardTestCase,
)
from tests.support.practice_daemon import (
    ACCOUNT,
    BUY,
    ES,
    MNQ,
    MONDAY_NOON,
    SELL,
    settings_of,
)
from tests.support.waiting import step_until

TO_THE_RESET = 5 * 3600
"""Seconds from Monday noon to the end of the day."""

SHORT_PAUSE = COOLDOWN.replace("cooldown_seconds = 60", "cooldown_seconds = 30")


class LockoutTests(GuardTestCase):
    config = DAILY_LOSS

    def breach(self) -> None:
        self.lose(125, 2)

    def test_the_account_is_locked_to_the_next_reset(self) -> None:
        self.breach()
        (action,), (lock,) = self.daemon.actions, self.daemon.locks
        self.assertEqual(action.action, Action.CLOSE_ALL_AND_LOCKOUT)
        self.assertEqual(lock.locked_until, datetime(2026, 11, 23, 23, tzinfo=UTC))
        self.assertEqual(action.details.locked_until, lock.locked_until)
        self.assertEqual((lock.rule_id, lock.locked_at), ("RULE-003", MONDAY_NOON))
        kinds = [type(data).__name__ for data in self.daemon.news()]
        self.assertLess(kinds.index("EnforcementAction"), kinds.index("LockoutSet"))

    def test_a_locked_account_that_trades_anyway_is_flattened_again(self) -> None:
        self.breach()
        self.daemon.trade(BUY, 1)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(len(self.daemon.actions), 2)
        self.assertEqual(len(self.daemon.locks), 1)

    def test_an_order_of_a_locked_account_is_canceled(self) -> None:
        self.breach()
        order = self.daemon.trade(BUY, 1, limitPrice="20000")
        self.assertEqual(self.daemon.working, [])
        action = self.daemon.actions[-1]
        self.assertEqual((action.action, action.success), (Action.REJECT_ORDER, True))
        self.assertEqual((action.details.order_id, action.details.orders_canceled), (order, 1))

    def test_a_position_that_no_event_reports_is_closed_while_locked(self) -> None:
        self.breach()
        self.daemon.advance(30)
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 1)
        self.daemon.trade(BUY, 1, limitPrice="20000")
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.daemon.advance(10)
        self.assertEqual((self.daemon.held, self.daemon.working), ({}, []))

    def test_a_lock_until_the_reset_ends_with_the_day(self) -> None:
        self.breach()
        self.daemon.advance(5 * 3600, step=60)
        (reset,), (cleared,) = self.daemon.news(DailyReset), self.daemon.cleared
        self.assertEqual(reset.reset_time, datetime(2026, 11, 23, 23, tzinfo=UTC))
        self.assertEqual(str(reset.previous_pnl), "-502.00")
        self.assertEqual((reset.previous_trade_count, reset.lockouts_cleared), (1, True))
        self.assertEqual(cleared.cleared_by, ClearedBy.DAILY_RESET)
        self.assertEqual((self.daemon.state.lockouts, self.daemon.state.trade_count), ({}, 0))
        self.daemon.trade(BUY, 1)
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_a_kill_forgets_neither_lock_nor_loss(self) -> None:
        self.breach()
        before = self.daemon.state
        self.daemon.kill()
        self.daemon.restart()
        self.assertEqual(self.daemon.state.lockouts, before.lockouts)
        self.assertEqual(self.daemon.state.realized_pnl, Decimal("-502.00"))
        self.daemon.trade(BUY, 1)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(len({lock.locked_at for lock in self.daemon.locks}), 1)


class OvertakenTests(GuardTestCase):
    """A flatten goes on when the lock ends that it was for."""

    config = DAILY_LOSS + SHORT_PAUSE

    def hold(self) -> None:
        """Hold a position in a lock, which the broker does not close."""
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.buy(MNQ)

    def buy(self, contract_id: str) -> None:
        """Buy directly at the exchange, where requests meet no faults."""
        self.place({"contractId": contract_id, "type": 2, "side": 0, "size": 1})

    def place_limit(self) -> None:
        """Place an order that works."""
        price = Decimal(20000)
        self.place({"contractId": MNQ, "type": 1, "side": 0, "size": 1, "limitPrice": price})

    def place(self, order: dict[str, Any]) -> None:
        self.daemon.gateway.exchange.place_order(ACCOUNT, order, self.daemon.now())
        self.daemon.move(MNQ, "21000")

    def assert_only_the_next_trade_is_left(self) -> None:
        self.buy(ES)
        self.daemon.advance(1)
        self.assertEqual(self.daemon.held, {MNQ: 1, ES: 1})
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(10)
        self.assertEqual(self.daemon.held, {ES: 1})
        self.assertEqual(len(self.daemon.cleared), 1)

    def test_the_next_trade_is_left_alone_when_the_day_ends(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(TO_THE_RESET - 2, step=20)
        self.hold()
        self.daemon.advance(4)
        self.assert_only_the_next_trade_is_left()

    def test_it_is_left_alone_when_the_lock_was_not_even_announced(self) -> None:
        self.daemon.advance(TO_THE_RESET - 2, step=20)
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        for _ in range(7):
            self.lose(20, 2)
        plan = self.daemon.state.risk.flattening
        assert plan is not None
        self.assertEqual([lock.rule_id for lock in plan.locks], ["RULE-003"])
        self.daemon.advance(4)
        self.buy(ES)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(10)
        self.assertEqual(self.daemon.held, {ES: 1})

    def test_it_is_left_alone_when_the_time_is_over(self) -> None:
        self.lose(60, 1)
        self.daemon.advance(28)
        self.hold()
        self.daemon.advance(4)
        self.assert_only_the_next_trade_is_left()

    def test_it_is_left_alone_when_the_rule_lifts_the_lock(self) -> None:
        self.lose(60, 1)
        self.daemon.advance(1)
        self.hold()
        (trade,) = self.daemon.news(GatewayUserTrade)
        self.daemon.gateway.void_trade(ACCOUNT, trade.id)
        self.daemon.advance(1)
        self.assert_only_the_next_trade_is_left()

    def test_it_is_left_alone_when_an_operator_ends_the_lock_during_a_search(self) -> None:
        account = self.daemon.engine.accounts[ACCOUNT]
        account.lock("a walk", "operator", None)
        self.daemon.gateway.faults = Faults(slow_seconds=2.0)
        self.buy(MNQ)
        step_until(lambda: not self.daemon.held, lambda: self.daemon.advance(0.25))
        self.daemon.advance(0.5)
        account.unlock("back", "operator")
        self.buy(ES)
        self.daemon.advance(20)
        self.assertEqual(self.daemon.held, {ES: 1})

    def test_an_order_of_the_next_day_is_left_alone(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(TO_THE_RESET - 2, step=20)
        self.hold()
        self.place_limit()
        self.daemon.advance(3)
        self.place_limit()
        _of_the_lock, order = self.daemon.working
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(10)
        self.assertEqual((self.daemon.held, self.daemon.working), ({}, [order]))

    def test_it_is_left_alone_when_no_daemon_has_seen_the_end(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(TO_THE_RESET - 2, step=20)
        self.hold()
        self.daemon.advance(1)
        self.daemon.stop()
        self.daemon.stopped_for(hours=1)
        self.buy(ES)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.restart()
        self.daemon.advance(10)
        self.assertEqual(self.daemon.held, {ES: 1})


class CooldownTests(GuardTestCase):
    config = COOLDOWN + DAILY_LOSS

    def test_a_cooldown_ends_on_time(self) -> None:
        self.lose(51, 1)
        (action,), (lock,) = self.daemon.actions, self.daemon.locks
        self.assertEqual(action.action, Action.COOLDOWN)
        self.assertEqual(action.details.cooldown_seconds, 60)
        self.assertEqual(lock.locked_until, MONDAY_NOON + timedelta(seconds=60))
        self.daemon.advance(59.74, step=0.01)
        self.assertEqual(self.daemon.cleared, [])
        self.daemon.advance(0.02, step=0.01)
        (cleared,) = self.daemon.cleared
        self.assertEqual(cleared.cleared_by, ClearedBy.TIMER_EXPIRY)
        self.assertLess(cleared.cleared_at - lock.locked_until, timedelta(milliseconds=20))

    def test_a_cooldown_that_ended_before_the_day_was_ended_by_its_timer(self) -> None:
        """The machine sleeps over the end of the cooldown and of the day."""
        self.lose(51, 1)
        self.daemon.stopped_for(hours=6)
        self.daemon.advance(2)
        (reset,), (cleared,) = self.daemon.news(DailyReset), self.daemon.cleared
        self.assertFalse(reset.lockouts_cleared)
        self.assertEqual(cleared.cleared_by, ClearedBy.TIMER_EXPIRY)

    def test_a_loss_before_a_cooldown_of_yesterday_does_not_lock_today(self) -> None:
        """No daemon runs when the cooldown and the day end, nor when the first loss of today is made."""
        self.lose(225, 1)
        self.daemon.kill()
        self.daemon.stopped_for(hours=6)
        self.lose(40, 1)
        self.daemon.restart()
        self.daemon.advance(5)
        (cleared,) = self.daemon.cleared
        self.assertEqual(cleared.cleared_by, ClearedBy.TIMER_EXPIRY)
        self.assertEqual(self.daemon.state.trade_count, 1)
        self.assertEqual(self.daemon.state.lockouts, {})

    def test_a_loss_realized_in_a_cooldown_still_ends_the_day(self) -> None:
        daemon = self.daemon
        daemon.trade(BUY, 3)
        daemon.trade(BUY, 5)
        daemon.move(MNQ, "20940")
        daemon.trade(SELL, 3)
        self.assertEqual(daemon.held, {})
        daemon.advance(1)
        rules = {lock.rule_id for lock in daemon.locks}
        self.assertEqual(rules, {"RULE-003", "RULE-007"})
        self.assertEqual(daemon.locks[-1].rule_id, "RULE-003")
        daemon.advance(120)
        self.assertEqual(daemon.cleared, [])

    def test_the_last_lock_broadcast_is_the_longest(self) -> None:
        self.lose(125, 2)
        self.assertEqual(self.daemon.locks[-1], self.daemon.state.lockout)


class DayTests(GuardTestCase):
    def test_resets_missed_in_a_three_day_stop_are_announced_once(self) -> None:
        self.lose(10, 2)
        self.daemon.stop()
        self.daemon.told.clear()
        self.daemon.stopped_for(days=3)
        self.daemon.restart()
        self.daemon.advance(60)
        (reset,) = self.daemon.news(DailyReset)
        self.assertEqual(reset.reset_time, datetime(2026, 11, 25, 23, tzinfo=UTC))
        self.assertEqual((str(reset.previous_pnl), reset.previous_trade_count), ("-42.00", 1))
        self.assertEqual(self.daemon.state.realized_pnl, 0)

    def test_a_restart_within_the_day_resets_nothing(self) -> None:
        self.lose(10, 2)
        self.daemon.stop()
        self.daemon.stopped_for(hours=4)
        self.daemon.restart()
        self.assertEqual(self.daemon.news(DailyReset), [])
        self.assertEqual(str(self.daemon.state.realized_pnl), "-42.00")

    def test_a_day_that_goes_on_after_all_has_its_trades_again(self) -> None:
        """New settings had ended it; at first there is no room to ask for the trades."""
        self.lose(10, 2)
        self.daemon.engine.reload(settings_of(self.config + '[defaults]\nreset_time = "12:01"\n'))
        self.daemon.advance(70)
        self.assertEqual((self.daemon.state.trade_count, self.daemon.state.realized_pnl), (0, 0))
        crowded = self.patch(self.daemon.gateway, "has_room", lambda _requests: False)
        self.daemon.engine.reload(settings_of(self.config))
        self.daemon.advance(ONE_ROUND)
        crowded.restore()
        self.daemon.advance(ONE_ROUND)
        self.assertEqual(self.daemon.state.trade_count, 1)
        self.assertEqual(str(self.daemon.state.realized_pnl), "-42.00")


class ClockTestCase(GuardTestCase):
    def advance_over_reset(self) -> None:
        self.daemon.advance(TO_THE_RESET + 10, step=30)

    def last_trade(self) -> dict[str, Any]:
        """The last round turn, as the broker sends it."""
        trades: list[dict[str, Any]] = self.daemon.gateway.exchange.store.trades(
            ACCOUNT, MONDAY_NOON
        )
        return [payload for payload in trades if payload.get("profitAndLoss") is not None][-1]

    def tell_again(self, payload: dict[str, Any]) -> None:
        self.daemon.payloads.user_event("GatewayUserTrade", payload)

    def trades_told(self) -> int:
        return len(self.daemon.news(GatewayUserTrade))


class WrongClockTests(ClockTestCase):
    """The wall clock is set, and the broker's is right."""

    config = DAILY_LOSS

    def setUp(self) -> None:
        super().setUp()
        self.daemon.gateway._time_of_day = self.broker_time

    def broker_time(self) -> datetime:
        """The broker's clock is right, whatever the daemon's shows."""
        return MONDAY_NOON + timedelta(seconds=self.daemon.clock.seconds())

    def test_a_clock_that_was_ahead_for_a_moment_hides_no_loss(self) -> None:
        self.daemon.stopped_for(hours=6)
        self.daemon.advance(2)
        self.daemon.stopped_for(hours=-6)
        self.daemon.advance(2)
        self.lose(125, 4)
        self.daemon.advance(60)
        self.assertIn("RULE-003", self.daemon.state.lockouts)

    def test_no_day_begins_by_it(self) -> None:
        self.lose(50, 4)
        before = self.daemon.state.realized_pnl
        for hours in (6, 24, -48):
            self.daemon.stopped_for(hours=hours)
            self.daemon.advance(120)
            self.assertEqual(self.daemon.state.realized_pnl, before)
        self.assertEqual(self.daemon.news(DailyReset), [])

    def test_the_next_day_begins_on_time(self) -> None:
        self.daemon.stopped_for(hours=6)
        self.daemon.advance(2)
        self.daemon.stopped_for(hours=-7)
        self.advance_over_reset()
        (reset,) = self.daemon.news(DailyReset)
        self.assertEqual(reset.reset_time, MONDAY_NOON + timedelta(seconds=TO_THE_RESET))
        self.lose(10)
        self.assertEqual(str(self.daemon.state.realized_pnl), "-21.00")

    def test_a_locked_account_is_reconciled_though_the_clock_was_set_back(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(10)
        self.daemon.stopped_for(hours=-1)
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(15)
        self.assertEqual(self.daemon.held, {})

    def test_a_lock_ends_by_the_brokers_clock(self) -> None:
        for hours in (24, -49):
            self.daemon.stopped_for(hours=hours)
        self.lose(125, 2)
        self.daemon.stopped_for(hours=24)
        self.daemon.advance(TO_THE_RESET - 1 - self.daemon.clock.seconds(), step=30)
        self.assertEqual(self.daemon.cleared, [])
        self.daemon.advance(2)
        self.assertEqual(len(self.daemon.cleared), 1)


class FirstMomentTests(ClockTestCase):
    """Events after a reset, before a timer has read the clock."""

    config = DAILY_LOSS

    def test_a_loss_of_the_day_before_does_not_lock_the_new_day(self) -> None:
        self.lose(50, 4)
        self.daemon.stopped_for(hours=6)
        self.lose(50, 2)
        self.daemon.advance(5)
        (reset,) = self.daemon.news(DailyReset)
        self.assertEqual(reset.previous_trade_count, 1)
        self.assertEqual(self.daemon.state.trade_count, 1)
        self.assertEqual(self.daemon.state.lockouts, {})


class MovingClock(Clock):
    """A clock that moves between two readings, as real ones do."""

    def seconds(self) -> float:
        self.rightNow += 1e-6
        return self.rightNow


class MovingClockTests(GuardTestCase):
    config = DAILY_LOSS

    def setUp(self) -> None:
        self.patch(practice_daemon, "SortedClock", MovingClock)
        super().setUp()

    def test_an_event_after_the_reset_and_before_a_timer_begins_the_day(self) -> None:
        daemon = self.daemon
        daemon.advance(TO_THE_RESET - 0.5 - daemon.clock.seconds(), step=20)
        self.assertEqual(daemon.news(DailyReset), [])
        daemon.clock.rightNow += 0.6
        daemon.trade(BUY, 1)
        self.assertEqual(len(daemon.news(DailyReset)), 1)


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

    def test_a_machine_that_sleeps_for_days_begins_one_day(self) -> None:
        self.daemon.stopped_for(days=3)
        self.daemon.advance(10)
        (reset,) = self.daemon.news(DailyReset)
        self.assertEqual(reset.reset_time, MONDAY_NOON + timedelta(days=2, seconds=TO_THE_RESET))


class RepeatedTradeTests(ClockTestCase):
    config = COOLDOWN

    def test_a_late_copy_of_yesterdays_trade_does_not_count_today(self) -> None:
        self.lose(60, 1)
        self.advance_over_reset()
        self.assertEqual(len(self.daemon.cleared), 1)
        told = self.trades_told()
        self.tell_again(self.last_trade())
        self.assertEqual((self.trades_told(), len(self.daemon.locks)), (told, 1))

    def test_a_trade_that_comes_twice_counts_once(self) -> None:
        self.daemon.gateway.faults = Faults(doubled_events=1.0)
        self.lose(60, 1)
        self.assertEqual((self.trades_told(), len(self.daemon.locks)), (1, 1))
        self.assertEqual(self.daemon.state.trade_count, 1)

    def test_a_trade_from_before_the_reset_that_comes_after_it_is_not_of_the_new_day(self) -> None:
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

    def test_a_late_trade_sets_no_cooldown_that_would_be_over(self) -> None:
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

    def test_trades_older_than_the_window_do_not_count(self) -> None:
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

    def test_a_voided_trade_does_not_count(self) -> None:
        self.assertEqual((self.daemon.state.trade_count, self.daemon.state.realized_pnl), (0, 0))

    def test_a_late_copy_does_not_bring_a_voided_trade_back(self) -> None:
        self.tell_again(self.voided)
        self.assertEqual((self.daemon.state.trade_count, self.daemon.state.realized_pnl), (0, 0))

    def test_a_late_copy_after_the_reset_does_not_bring_a_voided_trade_back(self) -> None:
        self.advance_over_reset()
        self.tell_again(self.voided)
        self.assertEqual((self.daemon.state.trade_count, self.trades_told()), (0, 1))

    def test_the_trade_after_a_voided_one_counts(self) -> None:
        self.lose(10, 1)
        self.assertEqual(self.daemon.state.trade_count, 1)

    def test_a_copy_after_a_restart_does_not_bring_a_voided_trade_back(self) -> None:
        self.daemon.advance(1)
        self.daemon.kill()
        self.daemon.restart()
        self.tell_again(self.voided)
        self.assertEqual((self.daemon.state.trade_count, self.daemon.state.realized_pnl), (0, 0))
