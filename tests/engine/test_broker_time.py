"""Grace periods, cooldowns, windows, hours, days and locks are right to 0.3 s under a wrong clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.control.commands import Commands
from riskd.control.protocol import Request
from riskd.control.reporting import report_rule
from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType
from riskd.gateway.interface import GatewayError
from riskd.model.broker import BrokerNews, BrokerPosition
from riskd.model.events import Action, DailyReset, GatewayUserTrade
from tests.support.practice_daemon import ACCOUNT, BUY, MNQ, MONDAY_NOON, SELL, PracticeDaemon

RIGHT = 0.3
STEP = 0.05
AT_ONCE = 2.0
"""Enough for some round trips, and less than any wait for a fresh quote."""

SKEWS = (-60.0, 0.0, 60.0)

GRACE = "[rules.no_stop_loss_grace]\ngrace_period_seconds = 30\n"
TARGET = "[rules.max_unrealized_profit]\nprofit_target = 100\n"
OPEN_LOSS = "[rules.daily_unrealized_loss]\nloss_limit = 100\n"
FREQUENCY = """
[rules.trade_frequency_limit]
limits = { per_minute = 3 }
cooldown_on_breach = { per_minute_breach = 90 }
"""
COOLDOWN = "[rules.cooldown_after_loss]\nloss_threshold = 100\ncooldown_seconds = 60\n"
HOURS = "[rules.session_block_outside]\n"
STOPS = """
[rules.trade_management]
enabled = true
stop_loss_ticks = 40
trailing_stop = { enabled = true, activation_ticks = 20, trail_distance_ticks = 10 }
"""
LINK = """
[practice.faults]
clock_offset_seconds = {offset}
latency_seconds = {latency}
jitter_seconds = {jitter}
"""


def is_flat(daemon: PracticeDaemon) -> bool:
    return not daemon.held


def holds(daemon: PracticeDaemon) -> bool:
    return bool(daemon.held)


def has_orders(daemon: PracticeDaemon) -> bool:
    return bool(daemon.working)


def is_locked(daemon: PracticeDaemon) -> bool:
    return bool(daemon.locks)


def is_cleared(daemon: PracticeDaemon) -> bool:
    return bool(daemon.cleared)


def follows_profit(daemon: PracticeDaemon) -> bool:
    return [str(order.stop_price) for order in daemon.state.working_orders] == ["21007.50"]


class WrongClockTestCase(SynchronousTestCase):
    """The same scene under a clock that is slow, right and fast, and over a link."""

    def daemons(self, config: str, now: datetime = MONDAY_NOON) -> Iterator[PracticeDaemon]:
        for ahead in SKEWS:
            with self.open(PracticeDaemon(config, now=now, wall_ahead=ahead)) as daemon:
                yield daemon
        for offset, latency, jitter in ((60, 0.04, 0.02), (-60, 0.1, 0.04)):
            link = LINK.format(offset=offset, latency=latency, jitter=jitter)
            start = now - timedelta(seconds=offset)
            with self.open(PracticeDaemon(config + link, now=start)) as daemon:
                daemon.advance(3)
                yield daemon

    @contextmanager
    def open(self, daemon: PracticeDaemon) -> Iterator[PracticeDaemon]:
        try:
            daemon.advance(2)
            yield daemon
        finally:
            daemon.close()

    def broker_time(self, daemon: PracticeDaemon) -> datetime:
        return daemon.gateway.broker_time()

    def wait_until(self, daemon: PracticeDaemon, moment: datetime) -> None:
        left = (moment - self.broker_time(daemon)).total_seconds()
        daemon.advance(left, step=20)

    def seconds_until(
        self, daemon: PracticeDaemon, happened: Callable[[PracticeDaemon], bool], limit: float
    ) -> float:
        """Return the seconds until something has happened."""
        seconds = 0.0
        while not happened(daemon):
            self.assertLess(seconds, limit)
            daemon.advance(STEP, step=STEP)
            seconds += STEP
        return seconds

    def assert_near(
        self, measured: float, right: float, daemon: PracticeDaemon, round_trips: int = 1
    ) -> None:
        # A command travels to the broker, and its effect is seen with the next step.
        faults = daemon.settings.practice.faults
        travel = STEP + 2 * round_trips * (faults.latency_seconds + faults.jitter_seconds)
        self.assertGreater(measured, right - RIGHT, daemon.wall_ahead)
        self.assertLess(measured, right + RIGHT + travel, daemon.wall_ahead)

    def trade(self, daemon: PracticeDaemon, side: GatewayOrderSide) -> None:
        """Trade one contract at the market, over a link that may take its time."""
        order = {"contractId": MNQ, "type": GatewayOrderType.MARKET, "side": side, "size": 1}
        # The last answer is still under way when the daemon stops.
        daemon.gateway.place_order(ACCOUNT, order).addErrback(lambda why: why.trap(GatewayError))

    def lose(self, daemon: PracticeDaemon, points: int) -> None:
        daemon.move(MNQ, "21000")
        self.trade(daemon, BUY)
        daemon.advance(0.25)
        daemon.move(MNQ, str(21000 - points))
        self.trade(daemon, SELL)
        daemon.advance(0.25)


class EngineTimeTests(WrongClockTestCase):
    def test_it_is_the_brokers_to_less_than_the_limit(self) -> None:
        for daemon in self.daemons(""):
            for _ in range(20):
                daemon.advance(60, step=1)
                error = daemon.engine.now() - self.broker_time(daemon)
                self.assertLess(abs(error.total_seconds()), RIGHT)

    def test_the_age_of_a_quote_is_right(self) -> None:
        for daemon in self.daemons(""):
            daemon.move(MNQ, "21000")
            daemon.advance(8)
            age = daemon.engine.now() - daemon.state.quotes[MNQ].timestamp
            self.assert_near(age.total_seconds(), 8.0, daemon)


class GraceTests(WrongClockTestCase):
    """RULE-008."""

    def test_the_trader_has_the_whole_grace_and_no_more(self) -> None:
        for daemon in self.daemons(GRACE):
            daemon.move(MNQ, "21000")
            self.trade(daemon, BUY)
            self.seconds_until(daemon, holds, 1)
            seconds = self.seconds_until(daemon, is_flat, 40)
            # Then the broker is asked whether there is a stop after all.
            self.assert_near(seconds, 30, daemon, round_trips=6)

    def test_the_gauge_shows_the_seconds_that_have_passed(self) -> None:
        for daemon in self.daemons(GRACE):
            daemon.move(MNQ, "21000")
            self.trade(daemon, BUY)
            daemon.advance(15.4)
            (rule,) = daemon.engine.accounts[ACCOUNT].rules
            (gauge,) = report_rule(rule, daemon.state, daemon.engine.now()).gauges
            self.assertEqual(gauge.current, 15)

    def test_a_clock_that_jumps_within_it_changes_nothing(self) -> None:
        for jump in (31.0, -31.0, 3600.0):
            with self.open(PracticeDaemon(GRACE)) as daemon:
                daemon.move(MNQ, "21000")
                self.trade(daemon, BUY)
                daemon.advance(10)
                daemon.set_wall_clock(seconds=jump)
                seconds = self.seconds_until(daemon, is_flat, 40)
                self.assert_near(seconds, 20, daemon)

    def test_a_position_that_is_dated_ahead_or_not_at_all_was_opened_just_now(self) -> None:
        for date in (
            MONDAY_NOON + timedelta(days=1),
            MONDAY_NOON + timedelta(seconds=90),
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, tzinfo=UTC),
        ):
            with self.open(PracticeDaemon(GRACE)) as daemon:
                self.redate_positions(daemon, date)
                daemon.move(MNQ, "21000")
                self.trade(daemon, BUY)
                seconds = self.seconds_until(daemon, is_flat, 40)
                self.assert_near(seconds, 30, daemon)

    def redate_positions(self, daemon: PracticeDaemon, date: datetime) -> None:
        """Let the broker date each position alike, in events and in answers."""
        store = daemon.gateway.exchange.store
        real_open, real_receive = store.open_positions, daemon.engine.receive

        def redated(payload: dict[str, Any]) -> dict[str, Any]:
            return {**payload, "creationTimestamp": date.isoformat()}

        def receive(account_id: int, news: BrokerNews) -> None:
            if isinstance(news, BrokerPosition):
                news = msgspec.structs.replace(news, created_at=date)
            real_receive(account_id, news)

        self.patch(daemon.engine, "receive", receive)
        self.patch(store, "open_positions", lambda number: list(map(redated, real_open(number))))


class ProfitTests(WrongClockTestCase):
    """RULE-005 and RULE-012 go by fresh quotes, RULE-004 by any."""

    def test_a_target_is_taken_at_once(self) -> None:
        for daemon in self.daemons(TARGET):
            daemon.move(MNQ, "21000")
            self.trade(daemon, BUY)
            daemon.advance(20)
            daemon.move(MNQ, "21100")
            self.seconds_until(daemon, is_flat, AT_ONCE)

    def test_a_loss_is_cut_at_once(self) -> None:
        for daemon in self.daemons(OPEN_LOSS):
            daemon.move(MNQ, "21000")
            self.trade(daemon, BUY)
            daemon.advance(20)
            daemon.move(MNQ, "20900")
            self.seconds_until(daemon, is_flat, AT_ONCE)

    def test_a_trailing_stop_follows(self) -> None:
        for daemon in self.daemons(STOPS):
            daemon.move(MNQ, "21000")
            self.trade(daemon, BUY)
            self.seconds_until(daemon, has_orders, 5)
            daemon.advance(5)
            daemon.move(MNQ, "21010")
            self.seconds_until(daemon, follows_profit, 5)


class CooldownTests(WrongClockTestCase):
    """RULE-006 and RULE-007."""

    def test_a_cooldown_after_a_loss_lasts_as_long_as_it_should(self) -> None:
        for daemon in self.daemons(COOLDOWN):
            self.lose(daemon, 60)
            self.assert_lasts(daemon, 60)
            (action,) = daemon.actions
            self.assertEqual(action.details.cooldown_seconds, 60)
            self.assertEqual(action.action, Action.COOLDOWN)

    def assert_lasts(self, daemon: PracticeDaemon, seconds: float) -> None:
        """A lock is as long as it should be, counted from the last trade, and ends then."""
        self.seconds_until(daemon, is_locked, 3)
        (lock,) = daemon.locks
        assert lock.locked_until is not None
        *_, last = daemon.news(GatewayUserTrade)
        length = lock.locked_until - last.execution_time
        self.assert_near(length.total_seconds(), seconds, daemon)
        self.wait_until(daemon, lock.locked_until - timedelta(seconds=1))
        self.assertEqual(daemon.cleared, [])
        left = self.seconds_until(daemon, is_cleared, 3)
        self.assert_near(left, 1, daemon)

    def test_a_window_holds_the_trades_of_a_minute(self) -> None:
        for last, locks in ((58.0, 1), (63.0, 0)):
            for daemon in self.daemons(FREQUENCY):
                began = daemon.clock.seconds()
                for _ in range(3):
                    self.lose(daemon, 1)
                daemon.advance(last - (daemon.clock.seconds() - began))
                self.lose(daemon, 1)
                daemon.advance(3)
                self.assertEqual(len(daemon.locks), locks, (last, daemon.wall_ahead))

    def test_a_cooldown_after_many_trades_lasts_as_long_as_it_should(self) -> None:
        for daemon in self.daemons(FREQUENCY):
            for _ in range(4):
                self.lose(daemon, 1)
            self.assert_lasts(daemon, 90)


class DayTests(WrongClockTestCase):
    """RULE-009 and the daily reset are at times of the wall clock in Chicago, by the broker's time."""

    def test_trading_hours_end_on_time(self) -> None:
        end = datetime(2026, 11, 23, 21, tzinfo=UTC)
        for daemon in self.daemons(HOURS, now=end - timedelta(minutes=3)):
            daemon.move(MNQ, "21000")
            self.trade(daemon, BUY)
            self.wait_until(daemon, end - timedelta(seconds=1))
            self.assertTrue(daemon.held)
            seconds = self.seconds_until(daemon, is_flat, 1 + AT_ONCE)
            self.assertGreater(seconds, 1 - RIGHT)
            daemon.advance(3)
            lock = daemon.locks[-1]
            self.assertEqual(lock.locked_until, datetime(2026, 11, 24, 14, 30, tzinfo=UTC))

    def test_a_day_begins_on_time_and_ends_its_locks(self) -> None:
        end = datetime(2026, 11, 23, 23, tzinfo=UTC)
        config = "[rules.daily_realized_loss]\nloss_limit = 100\n"
        for daemon in self.daemons(config, now=end - timedelta(minutes=3)):
            self.lose(daemon, 60)
            daemon.advance(1)
            self.wait_until(daemon, end - timedelta(seconds=1))
            self.assertEqual(daemon.news(DailyReset), [])
            seconds = self.seconds_until(daemon, is_cleared, 3)
            self.assert_near(seconds, 1, daemon)
            (reset,) = daemon.news(DailyReset)
            self.assertEqual(reset.reset_time, end)


class OperatorTests(WrongClockTestCase):
    def test_a_lock_for_a_time_lasts_as_long_as_it_was_asked_for(self) -> None:
        for daemon in self.daemons(""):
            Commands(daemon.engine, daemon.clock).lock(
                Request(account=ACCOUNT, reason="lunch", seconds=120)
            )
            seconds = self.seconds_until(daemon, is_cleared, 125)
            self.assert_near(seconds, 120, daemon)

    def test_a_lock_until_a_moment_ends_then_by_the_brokers_clock(self) -> None:
        end = MONDAY_NOON + timedelta(minutes=2)
        for daemon in self.daemons(""):
            request = Request(account=ACCOUNT, reason="lunch", until=end)
            Commands(daemon.engine, daemon.clock).lock(request)
            self.wait_until(daemon, end - timedelta(seconds=1))
            self.assertEqual(daemon.cleared, [])
            seconds = self.seconds_until(daemon, is_cleared, 3)
            self.assert_near(seconds, 1, daemon)
