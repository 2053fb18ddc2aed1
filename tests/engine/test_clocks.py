"""Jumps and sleeps are journaled and broadcast, and end nothing early; a wrong clock is an ERROR."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import formatEvent

from riskd.config.settings import Faults
from riskd.engine.clock_watch import SETTLING_SECONDS, SLEEP_SECONDS
from riskd.gateway.broker_clock import BrokerClock
from riskd.journal.audit_log import LogLine, read_log
from riskd.journal.reader import read_published
from riskd.model.events import ClearedBy, DaemonStatus, DailyReset, LockoutCleared, Status
from riskd.practice.gateway import PracticeGateway
from riskd.practice.network import Network
from tests.support.broker import logged, observed
from tests.support.guarded_account import COOLDOWN, DAILY_LOSS, MAX_CONTRACTS, BrokerTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, MNQ, MONDAY_NOON, PracticeDaemon

A_DAY = 86400.0


class ClocksTestCase(BrokerTestCase):
    def start(self, wall_ahead: float = 0.0) -> None:
        """Start a daemon whose wall clock is wrong from the beginning."""
        self.daemon.close()
        self.daemon = PracticeDaemon(self.config, wall_ahead=wall_ahead)
        self.addCleanup(self.daemon.close)
        self.daemon.move(MNQ, "21000")

    def log_of(self, kind: str) -> list[LogLine]:
        """The lines of the account's audit log."""
        self.daemon.advance(1)
        return [line for line in read_log(self.daemon.directory, ACCOUNT) if line.kind == kind]

    def clock_notes(self) -> list[str]:
        return [str(line.data["reason"]) for line in self.log_of("clock")]

    def statuses_told(self) -> list[tuple[Status, str]]:
        return [(told.status, told.message) for told in self.daemon.news(DaemonStatus)]


class BrokerTimeTests(ClocksTestCase):
    def test_the_engines_time_is_the_brokers(self) -> None:
        for ahead in (-60.0, 60.0, A_DAY, -A_DAY):
            self.start(ahead)
            self.daemon.advance(10)
            self.assertEqual(self.daemon.engine.now(), self.daemon.broker_time())
            self.assertEqual(self.daemon.engine.passed(), self.daemon.broker_time())
            self.assertEqual(
                self.daemon.engine.clock_offset, -timedelta(seconds=ahead), f"{ahead} s ahead"
            )

    def test_events_of_riskds_own_have_the_brokers_time(self) -> None:
        self.start(3600.0)
        self.daemon.advance(1)
        self.lose(10)
        (told, *_) = self.daemon.news(DaemonStatus)
        self.assertEqual(told.timestamp, MONDAY_NOON)

    def test_an_error_in_a_report_does_not_cost_the_answer(self) -> None:
        broken = self.patch(self.daemon.engine.clocks.broker, "reported", lambda *_: 1 / 0)
        self.lose(10)
        self.assertEqual(len(self.daemon.state.trades), 1)
        broken.restore()
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))


class CoarseReportTests(ClocksTestCase):
    def setUp(self) -> None:
        super().setUp()
        exact = BrokerClock.reported

        def whole_seconds(
            clock: BrokerClock, at: datetime, _precision: float, delay: float
        ) -> None:
            exact(clock, at.replace(microsecond=0), 1.0, delay)

        self.patch(BrokerClock, "reported", whole_seconds)

    def test_the_broker_is_asked_at_the_best_moments_until_its_time_is_exact(self) -> None:
        for milliseconds in (0, 370, 740):
            now = MONDAY_NOON + timedelta(milliseconds=milliseconds)
            self.daemon = PracticeDaemon(now=now, wall_ahead=30.0)
            self.addCleanup(self.daemon.close)
            asked: list[int] = []
            real = self.daemon.gateway.search_account
            self.patch(
                self.daemon.gateway,
                "search_account",
                lambda number, asked=asked, real=real: (asked.append(number), real(number))[1],
            )
            self.daemon.advance(20, step=0.02)
            error = self.daemon.engine.now() - self.daemon.broker_time()
            self.assertLess(abs(error.total_seconds()), 0.2)
            self.assertLessEqual(len(asked), 4)
            asked.clear()
            self.daemon.advance(60, step=0.02)
            # One of them reconciles the account.
            self.assertLessEqual(len(asked), 2)

    def test_a_broker_without_room_or_answer_is_not_pressed(self) -> None:
        daemon = self.daemon = PracticeDaemon(now=MONDAY_NOON + timedelta(milliseconds=370))
        self.addCleanup(daemon.close)
        asked: list[int] = []
        self.answer("search_account", lambda number: (asked.append(number), Deferred())[1])
        daemon.advance(55)
        self.assertLessEqual(len(asked), 5)
        asked.clear()
        self.answer("has_room", lambda _requests: False)
        daemon.advance(55)
        self.assertEqual(asked, [])


class StepTests(ClocksTestCase):
    """The broker's own clock is set while riskd runs."""

    def test_it_is_followed_within_seconds_of_the_first_answer(self) -> None:
        for step in (45.0, -45.0):
            self.daemon = PracticeDaemon()
            self.addCleanup(self.daemon.close)
            self.daemon.advance(2)
            self.daemon.gateway.faults = Faults(clock_offset_seconds=step)
            self.daemon.engine.accounts[ACCOUNT].flatten("to ask the broker", "trader")
            self.daemon.advance(20)
            error = self.daemon.engine.now() - self.daemon.gateway.broker_time()
            self.assertLess(abs(error.total_seconds()), 0.3)
            self.assertIn(
                f"The broker's clock is 45.0 s {'ahead of' if step > 0 else 'behind'} riskd's estimate; "
                "riskd follows the broker's clock",
                self.clock_notes(),
            )

    def test_a_stamp_of_the_future_makes_it_ask(self) -> None:
        self.daemon.advance(2)
        self.daemon.gateway.faults = Faults(clock_offset_seconds=45.0)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(20)
        error = self.daemon.engine.now() - self.daemon.gateway.broker_time()
        self.assertLess(abs(error.total_seconds()), 0.3)


class OffsetTests(ClocksTestCase):
    def test_a_clock_that_is_right_is_no_problem(self) -> None:
        for ahead in (0.0, 1.9, -1.9):
            self.start(ahead)
            self.daemon.advance(10)
            self.assertEqual(self.statuses()[-1], Status.RUNNING)

    def test_more_than_two_seconds_are_an_error_that_says_what_to_do(self) -> None:
        for ahead, side in ((2.5, "ahead of"), (-61.0, "behind")):
            self.start(ahead)
            self.daemon.advance(2)
            self.assertEqual(self.statuses()[-1], Status.ERROR)
            self.assertIn(f"s {side} the broker's", self.message())
            self.assertIn("timedatectl set-ntp true", self.message())

    def test_it_ends_when_the_clock_is_mended_and_only_then(self) -> None:
        self.start(3.0)
        self.daemon.advance(2)
        for ahead in (1.9, 2.1, 1.6):
            self.daemon.set_wall_clock(seconds=ahead)
            self.daemon.advance(SETTLING_SECONDS + 2)
            self.assertEqual(self.statuses()[-1], Status.ERROR, ahead)
        self.daemon.set_wall_clock(seconds=0.1)
        self.daemon.advance(SETTLING_SECONDS + 2)
        self.assertEqual(self.statuses()[-1], Status.RUNNING)

    def test_it_is_in_the_published_copy(self) -> None:
        self.start(-60.25)
        self.daemon.advance(2)
        self.assertEqual(self.published_offset(), timedelta(seconds=60.25))
        self.daemon.set_wall_clock(seconds=1)
        self.daemon.advance(3)
        self.assertEqual(self.published_offset(), timedelta(seconds=-1))

    def test_that_of_an_earlier_run_does_not_stay_there(self) -> None:
        self.start(5.0)
        self.daemon.advance(2)
        self.daemon.stop()
        self.patch(PracticeGateway, "start", lambda *_: Deferred())
        self.daemon.restart()
        self.daemon.advance(10)
        self.assertIsNone(self.published_offset())

    def published_offset(self) -> timedelta | None:
        return read_published(self.daemon.directory).clock_offset

    def test_a_graver_problem_is_announced_first(self) -> None:
        self.start(60.0)
        self.daemon.advance(2)
        self.daemon.engine.report_problem("disk", "The disk is full")
        self.assertEqual(self.message(), "The disk is full")
        self.daemon.engine.report_problem("disk", "")
        self.assertIn("60 s ahead of", self.message())

    def test_half_a_second_is_a_warning_in_the_log(self) -> None:
        lines = observed(self)
        self.start(0.7)
        # The broker's first times are not exact.
        self.daemon.advance(9)
        self.assertNotIn("ahead of the broker's", logged(lines))
        self.daemon.advance(3)
        (line,) = [text for text in map(formatEvent, lines) if "ahead of the broker's" in text]
        self.assertIn("0.700 s", line)


class JumpTests(ClocksTestCase):
    config = COOLDOWN + DAILY_LOSS

    def test_a_jump_is_journaled_and_broadcast(self) -> None:
        self.daemon.set_wall_clock(hours=6)
        self.daemon.advance(2)
        self.daemon.set_wall_clock(hours=-1)
        self.daemon.advance(2)
        notes = [
            f"This machine's clock was set {way}; locks and trading days follow the broker's clock"
            for way in ("forward by 6:00:00", "back by 7:00:00")
        ]
        self.assertEqual(self.clock_notes(), notes)
        told = self.statuses_told()
        for note in notes:
            self.assertIn((Status.RUNNING, note), told)

    def test_the_status_stays_as_it_is(self) -> None:
        self.daemon.engine.report_problem("disk", "The disk is full")
        self.daemon.set_wall_clock(hours=6)
        self.daemon.advance(2)
        note, standing = self.statuses_told()[-2:]
        self.assertEqual(note[0], Status.ERROR)
        self.assertIn("set forward", note[1])
        self.assertEqual(standing, (Status.ERROR, "The disk is full"))

    def test_no_lock_ends_early_and_no_day_begins(self) -> None:
        self.lose(51, 1)
        for hours in (24, -24, 1):
            self.daemon.set_wall_clock(hours=hours)
            self.daemon.advance(5)
        self.daemon.advance(43)
        self.assertEqual(self.daemon.cleared, [])
        self.assertEqual(self.daemon.news(DailyReset), [])
        self.assertEqual(self.daemon.state.trade_count, 1)
        self.daemon.advance(3)
        (cleared,) = self.daemon.cleared
        self.assertEqual(cleared.cleared_by, ClearedBy.TIMER_EXPIRY)

    def test_a_slow_adjustment_is_no_jump(self) -> None:
        for step in range(20):
            self.daemon.set_wall_clock(milliseconds=step * 50)
            self.daemon.advance(1)
        self.assertEqual(self.clock_notes(), [])

    def test_a_steady_clock_that_stood_still_is_made_up_for(self) -> None:
        """Some machines stop it while they sleep: the wall clock and the broker's have gone on."""
        self.lose(51, 1)
        self.daemon.stopped_for(hours=1)
        self.daemon.advance(2)
        self.assertEqual(self.daemon.engine.now(), self.daemon.broker_time())
        self.assertEqual(len(self.daemon.cleared), 1)
        self.daemon.advance(10)
        self.assertEqual(self.statuses()[-1], Status.RUNNING)


class SleepTests(ClocksTestCase):
    config = COOLDOWN + DAILY_LOSS

    def test_a_sleep_is_journaled_and_broadcast(self) -> None:
        self.daemon.sleep(hours=2)
        note = (
            "This machine slept, or riskd was stopped, for 2:00:00; "
            "riskd reconciles all accounts before it evaluates the rules"
        )
        self.assertEqual(self.clock_notes(), [note])
        self.assertIn((Status.RUNNING, note), self.statuses_told())

    def test_a_short_stall_is_no_sleep(self) -> None:
        self.daemon.sleep(seconds=SLEEP_SECONDS)
        self.assertEqual(self.clock_notes(), [])

    def test_what_was_due_meanwhile_is_done(self) -> None:
        self.lose(51, 1)
        self.daemon.sleep(hours=6)
        (reset,), (cleared,) = self.daemon.news(DailyReset), self.daemon.cleared
        self.assertEqual(reset.reset_time, MONDAY_NOON + timedelta(hours=5))
        self.assertEqual(cleared.cleared_by, ClearedBy.TIMER_EXPIRY)

    def test_the_rules_wait_for_the_broker(self) -> None:
        """What is known of the account is hours old; the broker's answer takes a while."""
        answers: list[Deferred[Any]] = []
        real = self.daemon.gateway.search_account

        def slow(account_id: int) -> Deferred[Any]:
            answer: Deferred[Any] = Deferred()
            answers.append(answer)
            return answer.addCallback(lambda _: real(account_id))

        self.patch(self.daemon.gateway, "search_account", slow)
        guard = self.daemon.engine.accounts[ACCOUNT].risk_engine
        self.daemon.sleep(hours=2)
        self.assertFalse(guard.is_active)
        self.daemon.advance(1)
        self.lose(51, 1)
        self.assertEqual(self.daemon.actions, [])
        for answer in answers:
            answer.callback(None)
        self.daemon.advance(1)
        self.assertTrue(guard.is_active)
        self.assertEqual([action.rule_id for action in self.daemon.actions], ["RULE-007"])

    def test_an_event_after_the_sleep_finds_the_account_reconciled(self) -> None:
        daemon = self.daemon
        daemon.trade(BUY, 1)
        daemon.clock.rightNow += 7200
        held: list[bool] = []
        guard = daemon.engine.accounts[ACCOUNT].risk_engine
        self.patch(guard, "begin", lambda begin=guard.begin: (held.append(True), begin()))
        daemon.trade(BUY, 1)
        self.assertEqual(held, [True])


class PausedTests(ClocksTestCase):
    def test_a_paused_engine_stays_paused(self) -> None:
        self.daemon.engine.pause()
        self.daemon.sleep(hours=1)
        self.daemon.set_wall_clock(hours=1)
        self.daemon.advance(5)
        self.assertFalse(self.daemon.engine.accounts[ACCOUNT].risk_engine.is_active)


class WrongStartTests(ClocksTestCase):
    """The daemon starts with a wrong clock, and at first the broker does not answer."""

    config = DAILY_LOSS + MAX_CONTRACTS

    def setUp(self) -> None:
        super().setUp()
        self.lose(125, 2)
        self.daemon.advance(2)
        self.daemon.stop()
        self.daemon.told.clear()

    def restart_cut_off(self, **wall: float) -> None:
        """Start again with a wrong clock; the gateway does not come up."""
        self.daemon.set_wall_clock(**wall)
        gateway = self.daemon.gateway
        self.start_of_gateway = gateway.start
        self.up: Deferred[None] = Deferred()

        def start(listener: Any) -> Deferred[None]:
            return self.up.addCallback(lambda _: self.start_of_gateway(listener))

        patched = self.patch(gateway, "start", start)
        silent = [
            self.answer(name, lambda *_, **__: Deferred())
            for name in ("search_account", "search_open_positions", "search_open_orders")
        ]
        self.repair = [patched, *silent]
        self.daemon.restart()

    def reach_the_broker(self) -> None:
        for each in self.repair:
            each.restore()
        self.up.callback(None)
        self.daemon.advance(5)

    def test_a_clock_a_day_ahead_ends_no_lock_and_begins_no_day(self) -> None:
        self.restart_cut_off(days=1, hours=6)
        self.daemon.advance(600, step=20)
        self.assertEqual(self.daemon.news(DailyReset, LockoutCleared), [])
        self.assertIn("RULE-003", self.daemon.state.lockouts)
        self.assertIsNone(self.daemon.engine.clock_offset)
        guarded = self.daemon.engine.accounts[ACCOUNT]
        self.assertTrue(guarded.risk_engine.needs_reconciliation())
        self.reach_the_broker()
        self.assertEqual(str(self.daemon.state.realized_pnl), "-502.00")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(5)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(self.daemon.news(DailyReset, LockoutCleared), [])

    def test_a_broker_that_answers_without_a_time_changes_nothing_in_that(self) -> None:
        self.daemon.set_wall_clock(days=1, hours=6)
        self.patch(Network, "_report_clock", lambda *_: None)
        self.daemon.restart()
        self.daemon.advance(30)
        self.assertTrue(self.daemon.engine.accounts[ACCOUNT].risk_engine.is_active)
        self.assertEqual(self.daemon.news(DailyReset, LockoutCleared), [])
        self.daemon.trade(BUY, 1)
        self.daemon.advance(10)
        self.assertEqual(self.daemon.held, {})

    def test_a_lock_whose_end_has_passed_ends_when_the_broker_says_so(self) -> None:
        self.daemon.stopped_for(hours=6)
        self.restart_cut_off(days=-1)
        self.daemon.advance(600, step=20)
        self.assertIn("RULE-003", self.daemon.state.lockouts)
        self.reach_the_broker()
        self.assertEqual(len(self.daemon.news(DailyReset)), 1)
        self.assertEqual(self.daemon.state.lockouts, {})

    def test_a_locks_old_limits_are_held_though_the_clock_says_that_it_is_over(self) -> None:
        self.restart_cut_off(days=2)
        self.daemon.advance(5)
        rules = self.daemon.engine.accounts[ACCOUNT].rules
        self.assertEqual({each.rule.rule_id for each in rules}, {"RULE-001", "RULE-003"})
        self.reach_the_broker()

    def test_the_day_of_a_fresh_account_is_the_brokers(self) -> None:
        self.daemon = PracticeDaemon(self.config, wall_ahead=-3 * A_DAY)
        self.addCleanup(self.daemon.close)
        self.lose(10)
        self.daemon.advance(5)
        self.assertEqual(self.daemon.state.day_began, MONDAY_NOON - timedelta(hours=19))
        self.assertEqual(self.daemon.state.trade_count, 1)
        self.assertEqual(self.daemon.news(DailyReset), [])
