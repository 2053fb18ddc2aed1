"""The broker's time is right to 0.3 s, whatever this machine's clocks and some stamps say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.broker_clock import (
    AFTER_SLEEP,
    CONFIRMATIONS,
    CONFIRMED_AFTER,
    FORGOTTEN_AFTER,
    SPREAD,
    BrokerClock,
)
from tests import examples

NOON = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
A_DAY = timedelta(days=1)
RIGHT = 0.3


class Clocks:
    """The clocks of a broker and of a machine, and the link between them."""

    def __init__(
        self, *, wall_ahead: float = 0.0, drift: float = 0.0, booted: float = 0.0
    ) -> None:
        self.steady = booted
        self.elapsed = 0.0
        self.drift = drift
        self.wall_ahead = wall_ahead
        self.broker_ahead = 0.0
        self.clock = BrokerClock(lambda: self.steady, self.wall)

    def true_time(self) -> datetime:
        """The time that the broker's clock shows."""
        return NOON + timedelta(seconds=self.elapsed + self.broker_ahead)

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.elapsed + self.wall_ahead)

    def wait(self, seconds: float) -> None:
        self.elapsed += seconds
        self.steady += seconds * (1 + self.drift)

    def stamp(self, delay: float = 0.0) -> None:
        self.clock.stamped(self.true_time() - timedelta(seconds=delay))

    def report(self, round_trip: float = 0.0, share: float = 0.5, precision: float = 1.0) -> None:
        """Let a response arrive; the broker reads its clock after a share of the round trip."""
        shown = self.true_time() - timedelta(seconds=round_trip * (1 - share))
        if precision:
            shown = shown.replace(microsecond=0)
        self.clock.reported(shown, precision, round_trip)

    @property
    def error(self) -> float:
        return (self.clock.now() - self.true_time()).total_seconds()


class FirstReadingTests(SynchronousTestCase):
    def test_before_the_first_reading_it_is_the_wall_clocks_time(self) -> None:
        clocks = Clocks(wall_ahead=60.0)
        self.assertFalse(clocks.clock.is_known)
        self.assertEqual(clocks.clock.now(), clocks.wall())
        self.assertIsNone(clocks.clock.offset)

    def test_nothing_has_passed_for_sure_before_the_first_reading(self) -> None:
        clocks = Clocks(wall_ahead=86400.0)
        self.assertLess(clocks.clock.passed(), NOON - 1000 * A_DAY)
        clocks.report()
        self.assertEqual(clocks.clock.passed(), clocks.clock.now())

    def test_one_exact_report_sets_the_clock(self) -> None:
        for ahead in (-86400.0, -60.0, 60.0, 86400.0):
            clocks = Clocks(wall_ahead=ahead, booted=1e6)
            clocks.report(precision=0.0)
            self.assertEqual(clocks.clock.now(), clocks.true_time())
            assert clocks.clock.offset is not None
            self.assertEqual(clocks.clock.offset.total_seconds(), -ahead)

    def test_one_date_sets_it_to_half_a_second(self) -> None:
        clocks = Clocks(wall_ahead=60.0)
        clocks.wait(0.9)
        clocks.report(round_trip=0.08)
        self.assertLessEqual(abs(clocks.error), 0.54)

    def test_dates_at_many_phases_set_it_to_half_the_round_trip(self) -> None:
        clocks = Clocks(wall_ahead=-60.0)
        for _ in range(40):
            clocks.wait(0.97)
            clocks.report(round_trip=0.2)
        self.assertLessEqual(abs(clocks.error), 0.13)

    def test_stamps_alone_set_it_to_the_least_delay(self) -> None:
        clocks = Clocks(wall_ahead=60.0)
        for delay in (0.3, 0.1, 0.2):
            clocks.wait(SPREAD)
            clocks.stamp(delay)
        self.assertAlmostEqual(clocks.error, -0.1, places=2)

    def test_one_stamp_alone_is_not_believed(self) -> None:
        clocks = Clocks(wall_ahead=60.0)
        clocks.stamp()
        self.assertFalse(clocks.clock.is_known)


class StampTests(SynchronousTestCase):
    """Of stamps, only those that go along with the steady clock count."""

    def setUp(self) -> None:
        self.clocks = Clocks(wall_ahead=10.0)
        for _ in range(3):
            self.clocks.stamp(0.1)
            self.clocks.wait(SPREAD)
        self.assertAlmostEqual(self.clocks.error, -0.1, places=2)

    def test_a_stamp_from_the_future_counts_for_nothing(self) -> None:
        self.clocks.clock.stamped(self.clocks.true_time() + A_DAY)
        self.assertLess(abs(self.clocks.error), RIGHT)

    def test_a_future_stamp_that_is_sent_again_and_again_counts_for_nothing(self) -> None:
        ahead = self.clocks.true_time() + A_DAY
        for _ in range(100):
            self.clocks.clock.stamped(ahead)
            self.clocks.wait(0.3)
            self.assertLess(abs(self.clocks.error), RIGHT)

    def test_a_stamp_at_the_end_of_the_calendar_counts_for_nothing(self) -> None:
        for stamp in (
            datetime.max.replace(tzinfo=UTC),
            datetime.min.replace(tzinfo=UTC),
            datetime(9999, 1, 1, tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC),
        ):
            for _ in range(3):
                self.clocks.clock.stamped(stamp)
                self.clocks.clock.reported(stamp, 1.0, 0.1)
                self.clocks.wait(SPREAD)
            self.assertLess(abs(self.clocks.error), RIGHT)

    def test_old_stamps_lower_nothing(self) -> None:
        self.clocks.wait(2 * FORGOTTEN_AFTER)
        old = self.clocks.true_time() - timedelta(hours=1)
        for _ in range(20):
            self.clocks.clock.stamped(old)
            self.clocks.wait(0.4)
            self.assertLess(abs(self.clocks.error), RIGHT)

    def test_events_of_an_hour_that_come_at_once_lower_nothing(self) -> None:
        self.clocks.wait(2 * FORGOTTEN_AFTER)
        for minutes in range(60, 0, -1):
            self.clocks.clock.stamped(self.clocks.true_time() - timedelta(minutes=minutes))
            self.clocks.wait(0.01)
        self.assertLess(abs(self.clocks.error), RIGHT)

    def test_a_flood_of_senseless_stamps_does_not_crowd_out_the_right_ones(self) -> None:
        for number in range(100):
            self.clocks.clock.stamped(self.clocks.true_time() + number * timedelta(minutes=7))
            self.clocks.wait(0.1)
        self.clocks.stamp(0.1)
        self.assertLess(abs(self.clocks.error), RIGHT)

    def test_a_step_of_the_brokers_clock_is_followed_within_minutes(self) -> None:
        for step in (-30.0, 45.0):
            self.clocks.broker_ahead += step
            for _ in range(100):
                self.clocks.wait(FORGOTTEN_AFTER / 50)
                self.clocks.stamp(0.1)
            self.assertLess(abs(self.clocks.error), RIGHT)


class ReportTests(SynchronousTestCase):
    """Reports bound the stamps, and are not believed blindly."""

    def setUp(self) -> None:
        self.clocks = Clocks(wall_ahead=-7.0)
        self.report_often()

    def report_often(self) -> None:
        for _ in range(20):
            self.clocks.wait(0.97)
            self.clocks.report(round_trip=0.1)

    def test_stamps_that_agree_beyond_the_bounds_do_not_count(self) -> None:
        for _ in range(10):
            self.clocks.wait(SPREAD)
            self.clocks.stamp(delay=-5.0)
        self.assertLess(abs(self.clocks.error), RIGHT)

    def test_late_stamps_that_agree_do_not_count(self) -> None:
        for _ in range(10):
            self.clocks.wait(SPREAD)
            self.clocks.stamp(delay=5.0)
        self.assertLess(abs(self.clocks.error), RIGHT)

    def test_one_wrong_report_counts_for_nothing(self) -> None:
        self.clocks.clock.reported(self.clocks.true_time() + A_DAY, 1.0, 0.1)
        self.assertLess(abs(self.clocks.error), RIGHT)

    def test_wrong_reports_between_right_ones_count_for_nothing(self) -> None:
        for _ in range(10):
            self.clocks.wait(CONFIRMED_AFTER)
            self.clocks.clock.reported(self.clocks.true_time() + A_DAY, 1.0, 0.1)
            self.clocks.report(0.1)
            self.assertLess(abs(self.clocks.error), RIGHT)

    def test_a_step_of_the_brokers_clock_is_followed_when_it_is_confirmed(self) -> None:
        self.clocks.broker_ahead = -30.0
        for number in range(CONFIRMATIONS):
            self.assertEqual(abs(self.clocks.error) < RIGHT, False, number)
            self.clocks.wait(CONFIRMED_AFTER / 2 + 0.3)
            self.clocks.report(0.1)
        self.report_often()
        self.assertLess(abs(self.clocks.error), RIGHT)

    def test_a_slow_response_shows_less_and_harms_nothing(self) -> None:
        self.clocks.report(round_trip=8.0, share=1.0)
        self.clocks.report(round_trip=8.0, share=0.0)
        self.assertLess(abs(self.clocks.error), RIGHT)


class BestReportTests(SynchronousTestCase):
    def test_some_reports_at_the_best_moments_are_enough(self) -> None:
        """Requests at equal intervals all come at the same fraction of the broker's second."""
        for phase in range(20):
            for round_trip in (0.02, 0.08, 0.3):
                clocks = Clocks(wall_ahead=60.0)
                clocks.wait(phase / 20)
                clocks.report(round_trip)
                asked = 0
                while (wait := clocks.clock.best_report_in()) is not None:
                    clocks.wait(wait + round_trip)
                    clocks.report(round_trip)
                    asked += 1
                    self.assertLessEqual(asked, 3)
                self.assertLess(abs(clocks.error), 0.26, (phase, round_trip))

    def test_nothing_is_asked_before_anything_is_known(self) -> None:
        self.assertIsNone(Clocks().clock.best_report_in())

    def test_an_exact_clock_is_not_asked_again(self) -> None:
        clocks = Clocks()
        clocks.report(precision=0.0)
        self.assertIsNone(clocks.clock.best_report_in())


class MachineTests(SynchronousTestCase):
    """What happens to this machine's clocks."""

    def setUp(self) -> None:
        self.clocks = Clocks()
        self.clocks.report(precision=0.0)

    def test_a_wall_clock_that_is_set_changes_nothing(self) -> None:
        for seconds in (86400.0, -86400.0, 3.0):
            self.clocks.wall_ahead = seconds
            self.clocks.clock.wall_jumped(timedelta(seconds=seconds))
            self.clocks.report(precision=0.0)
            self.assertEqual(self.clocks.error, 0.0)

    def test_after_a_sleep_the_next_report_counts_at_once(self) -> None:
        self.clocks.wait(3600)
        # The hardware's clock counts whole seconds.
        self.clocks.steady -= 1.2
        self.clocks.clock.slept()
        self.assertLess(abs(self.clocks.error), AFTER_SLEEP.total_seconds())
        self.clocks.report(precision=0.0)
        self.assertAlmostEqual(self.clocks.error, 0.0, places=3)

    def test_a_steady_clock_that_stood_still_is_found_by_one_report(self) -> None:
        self.clocks.elapsed += 3600
        self.clocks.clock.wall_jumped(timedelta(hours=1))
        self.clocks.report(precision=0.0)
        self.assertAlmostEqual(self.clocks.error, 0.0, places=3)

    def test_a_report_that_confirms_no_jump_needs_others(self) -> None:
        self.clocks.broker_ahead = 1.5
        self.clocks.report(precision=0.0)
        self.assertAlmostEqual(self.clocks.error, -1.5, places=3)

    def test_a_small_correction_back_makes_the_time_stand_still(self) -> None:
        clocks = Clocks()
        clocks.report(round_trip=0.4, share=1.0, precision=0.0)
        before = clocks.clock.now()
        clocks.report(round_trip=0.0, precision=0.0)
        self.assertEqual(clocks.clock.now(), before)
        clocks.wait(0.5)
        self.assertAlmostEqual(clocks.error, 0.0, places=2)


class LongRunTests(SynchronousTestCase):
    def test_it_stays_right_for_hours(self) -> None:
        """The clocks drift by 100 parts per million, either way; the link takes up to 300 ms."""
        for seed, drift in enumerate((-1e-4, 1e-4, 0.0)):
            random = Random(seed)
            clocks = Clocks(wall_ahead=random.uniform(-60, 60), drift=drift, booted=12345.6)
            worst = 0.0
            for minute in range(6 * 60):
                for _ in range(4):
                    clocks.wait(random.uniform(0, 30))
                    clocks.report(random.uniform(0.08, 0.3), random.random())
                    if random.random() < 0.3:
                        clocks.stamp(random.uniform(0.04, 0.3))
                    if random.random() < 0.1:
                        clocks.stamp(random.choice((5.0, 3600.0, -86400.0, -31.0)))
                if minute >= 3:
                    worst = max(worst, abs(clocks.error))
            self.assertLess(worst, RIGHT, f"drift {drift}")

    def test_it_stays_right_by_stamps_alone(self) -> None:
        for drift in (-1e-4, 1e-4):
            random = Random(1)
            clocks = Clocks(wall_ahead=60, drift=drift)
            for minute in range(8 * 60):
                clocks.wait(random.uniform(0, 90))
                clocks.stamp(random.uniform(0.02, 0.25))
                if minute > 3:
                    self.assertLess(abs(clocks.error), RIGHT)


class BrokerClockMachine(RuleBasedStateMachine):
    """Readings of all kinds, in any order, over a link of up to 300 ms."""

    @initialize(
        wall_ahead=st.floats(-60, 60),
        drift=st.floats(-1e-4, 1e-4),
        booted=st.floats(0, 1e7),
    )
    def begin(self, wall_ahead: float, drift: float, booted: float) -> None:
        self.clocks = Clocks(wall_ahead=wall_ahead, drift=drift, booted=booted)
        self.latest = self.clocks.clock.now()
        self.was_known = self.has_reported = False
        self.wrong = 0

    @rule(seconds=st.floats(0, 120))
    def wait(self, seconds: float) -> None:
        self.clocks.wait(seconds)

    @rule(round_trip=st.floats(0.0, 0.3), share=st.floats(0, 1))
    def report(self, round_trip: float, share: float) -> None:
        self.clocks.report(round_trip, share)
        self.has_reported = True

    @rule(delay=st.floats(0.0, 0.25), seconds=st.floats(SPREAD, 20))
    def events(self, delay: float, seconds: float) -> None:
        """Let two events come that the broker has just stamped."""
        self.clocks.stamp(delay)
        self.clocks.wait(seconds)
        self.clocks.stamp(delay)

    @rule(delay=st.sampled_from([1.0, 10.0, 3600.0, 1e6, 6e10]))
    def old_event(self, delay: float) -> None:
        self.clocks.stamp(delay + self.different())

    @rule(ahead=st.sampled_from([2.0, 31.0, 86400.0, 2e11]))
    def event_of_the_future(self, ahead: float) -> None:
        self.clocks.stamp(-ahead - self.different())

    def different(self) -> float:
        """Return other seconds each time: wrong stamps do not agree with one another."""
        self.wrong += 1
        return 2.0 * self.wrong

    # The first report has nothing that it could contradict.
    @precondition(lambda self: self.has_reported)
    # Other figures than those by which the wall clock jumps.
    @rule(ahead=st.sampled_from([-80000.0, -35.0, 35.0, 80000.0]))
    def wrong_report(self, ahead: float) -> None:
        self.clocks.clock.reported(self.clocks.true_time() + timedelta(seconds=ahead), 1.0, 0.1)
        self.clocks.report(0.1)

    @rule(seconds=st.sampled_from([-86400.0, -3.0, 3.0, 3600.0, 86400.0]))
    def set_the_wall_clock(self, seconds: float) -> None:
        self.clocks.wall_ahead += seconds
        self.clocks.clock.wall_jumped(timedelta(seconds=seconds))

    @invariant()
    def it_is_right(self) -> None:
        if not self.clocks.clock.is_known:
            assert self.clocks.clock.now() == self.clocks.wall()
            return
        # One Date may be half a second and half the round trip wrong; the clocks drift after it.
        assert abs(self.clocks.error) < 0.75
        now = self.clocks.clock.now()
        assert now >= self.latest or not self.was_known
        self.latest, self.was_known = now, True

    @rule()
    def settle(self) -> None:
        """Once events come, it is right to 0.3 s."""
        for _ in range(3):
            self.events(0.2, SPREAD)
        assert abs(self.clocks.error) < RIGHT


BrokerClockTests = BrokerClockMachine.TestCase
BrokerClockTests.settings = settings(
    max_examples=examples(100),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
