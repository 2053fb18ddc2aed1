"""The benchmarks' arithmetic: ratios, goals, growth, and the receiver's counts."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.launch import utc_now
from riskd.engine.tracked_account import TrackedAccount
from riskd.model.events import Event
from tests.benchmarks import enforcement, goals, growth, link, real, steps, uplink
from tests.benchmarks.goals import COMPLETE, CPU, P99, RATE, Ratio, paired_ratio
from tests.benchmarks.journal_daemon import Source
from tests.benchmarks.link_proxy import DelayedPipe
from tests.benchmarks.outcome import Outcome
from tests.benchmarks.peer import PICOWS, RISKD, UVLOOP, WEBSOCKETS
from tests.benchmarks.process_counts import CALLS, TIMERS, TURNS, call_counts
from tests.benchmarks.receiver import Ages, percentiles
from tests.benchmarks.soak import GROWTH, Soaked
from tests.benchmarks.twisted_peers import hub_record
from tests.benchmarks.workload import FRAME_LENGTH, NO_STAMP, Stamps, age, text
from tests.support.websocket_frames import TEXT, server_frame


class RatioTests(SynchronousTestCase):
    """riskd beside a peer."""

    def outcome(self, load: str, figures: dict[str, dict[str, list[float]]]) -> Outcome:
        """Return an outcome of one load; figures by peer."""
        outcome = Outcome(tables={name: {} for name in (CPU, P99, RATE, COMPLETE)})
        for table in outcome.tables.values():
            table.update({peer: {} for peer in figures})
        for peer, each in figures.items():
            for figure, values in each.items():
                outcome.add(figure, peer, load, *values)
        return outcome

    def test_ratios_are_those_of_each_round(self) -> None:
        """A machine that slows down in one round changes neither peer's ratio."""
        outcome = self.outcome(
            "60x1@1", {"one": {CPU: [1.0, 20.0, 3.0]}, "other": {CPU: [2.0, 40.0, 4.0]}}
        )
        self.assertEqual(outcome.median(CPU, "one", "60x1@1"), 3.0)
        self.assertEqual(paired_ratio(outcome, CPU, "60x1@1", "one", "other"), 0.5)

    def test_a_cost_must_be_low_and_a_rate_high(self) -> None:
        cost, rate = Ratio("", CPU, "", 0.9), Ratio("", RATE, "", 10.0)
        self.assertEqual((cost.sign, rate.sign), ("<=", ">="))

    def test_a_peer_that_delivers_nothing_misses_every_goal(self) -> None:
        nothing = percentiles([])["p99"]
        # In any round: NaN cannot be ordered.
        for late in permutations([1.0, 1.0, nothing]):
            fine = {CPU: [1.0] * 3, P99: [1.0] * 3}
            riskd = {CPU: [1.0] * 3, P99: list(late), COMPLETE: [1.0, 0.0, 1.0]}
            outcome = self.outcome("60x1@100", {RISKD: riskd, WEBSOCKETS: fine, PICOWS: fine})
            goals.judge_ratios(outcome)
            p99 = [goal for goal in outcome.goals if P99 in goal.name]
            self.assertEqual([goal.is_met for goal in p99], [False, False])
            outcome.goals.clear()
            goals.judge_completeness(outcome)
            self.assertEqual([goal.is_met for goal in outcome.goals], [False])

    def test_every_event_must_be_delivered_at_every_load(self) -> None:
        outcome = Outcome(
            tables={COMPLETE: {RISKD: {"60x1@1": [1.0, 1.0], "0x10@1": [1.0, 0.999]}}}
        )
        outcome.add(COMPLETE, UVLOOP, "60x1@1", 0.999)
        goals.judge_completeness(outcome)
        judged = [(goal.name, goal.is_met) for goal in outcome.goals]
        self.assertEqual(judged, [("delivered, 60x1@1", True), ("delivered, 0x10@1", False)])

    def test_reactors_are_compared_by_the_loads_that_measure_cost(self) -> None:
        for cost, winner in ((1.2, "epoll"), (0.8, "uvloop")):
            outcome = self.outcome("60x1@1", {RISKD: {CPU: [1.0]}, UVLOOP: {CPU: [cost]}})
            outcome.add(COMPLETE, UVLOOP, "@5000", 1.0)
            (note,) = goals.reactor_notes(outcome)
            self.assertIn(f"60x1@1 {cost:.2f}; the winner: {winner}", note)


class EnforcementTests(SynchronousTestCase):
    """Measurements from a breach to the call of the broker."""

    def result(self, clients: int) -> dict[str, Any]:
        return {
            "latencies": [0.002, 0.004],
            "clients": clients,
            "quotes": 1000.0,
            "longest burst": 0.003,
            "cpu": 0.25,
        }

    def test_a_run_that_lost_clients_is_refused(self) -> None:
        figures = enforcement.figures(self.result(enforcement.CLIENTS))
        self.assertEqual((figures["breaches"], figures["max, ms"]), (2, 4.0))
        with self.assertRaisesRegex(SystemExit, "expected 100 clients at the end, got 99"):
            enforcement.figures(self.result(enforcement.CLIENTS - 1))


class UplinkTests(SynchronousTestCase):
    """Breaches beside an uplink, whatever becomes of it."""

    def test_each_situation_is_held_against_the_daemon_alone(self) -> None:
        outcome = Outcome()
        for situation, p50, p99 in (
            (uplink.WITHOUT, 9.0, 99.0),
            (uplink.NOBODY, 1.0, 10.0),
            (uplink.UPLINK, 1.2, 15.0),
            (uplink.DEAD, 1.21, 10.0),
            (uplink.KILLED, 1.0, 15.1),
        ):
            outcome.add(uplink.TABLE, "p50 of all, ms", situation, p50)
            outcome.add(uplink.TABLE, "p99 of all, ms", situation, p99)
        uplink.judge(outcome)
        missed = [goal.name for goal in outcome.goals if not goal.is_met]
        self.assertEqual(
            missed,
            [
                "p50 of all, its server dead, times no uplink",
                "p99 of all, killed meanwhile, times no uplink",
            ],
        )
        self.assertEqual(len(outcome.goals), 6)


class JournalTests(SynchronousTestCase):
    """The events that measure the cost of the journal."""

    def test_each_event_is_broadcast(self) -> None:
        told: list[Event] = []
        journal: Any = SimpleNamespace(changed=lambda **_: None, note_event=lambda _: None)
        source = Source(TrackedAccount(123, [], journal, told.append, utc_now, Clock().seconds))
        for _ in range(200):
            source.emit()
        kinds = Counter(event.type for event in told)
        self.assertEqual(kinds, {"MarketQuote": 180, "GatewayUserPosition": 20})


class EventTests(SynchronousTestCase):
    """Events that all servers send."""

    def test_stamps_never_repeat_and_have_one_length(self) -> None:
        stamps = Stamps()
        taken = [stamp for _ in range(50) for stamp in stamps.take(10)]
        self.assertEqual(taken, sorted(set(taken)))
        self.assertEqual({len(server_frame(TEXT, text(stamp))) for stamp in taken}, {FRAME_LENGTH})
        self.assertEqual(len({len(hub_record(stamp)) for stamp in taken}), 1)

    def test_an_age_is_in_microseconds(self) -> None:
        self.assertEqual(age(NO_STAMP + 5_000, 5_250_999), 250)


class AgesTests(SynchronousTestCase):
    """Ages of received events."""

    def frames(self, *stamps: int) -> bytes:
        return b"".join(server_frame(TEXT, text(NO_STAMP + stamp)) for stamp in stamps)

    def test_of_a_few_events_each_age_is_noted(self) -> None:
        ages = Ages()
        ages.note(self.frames(100, 300), 2, 400_000)
        self.assertEqual(ages.figures(), {"p50": 0.3, "p99": 0.3, "spread": 0.0})
        ages.note(self.frames(200), 1, 400_000)
        self.assertEqual(ages.figures(), {"p50": 0.2, "p99": 0.3, "spread": 0.0})

    def test_of_many_events_the_first_and_last_ages_are_noted(self) -> None:
        ages = Ages()
        ages.note(self.frames(*range(30)), 30, 100_000)
        ages.note(self.frames(50), 1, 100_000)
        self.assertEqual(ages.figures()["p50"], 0.071)

    def test_a_spread_is_from_the_first_client_to_the_last(self) -> None:
        ages = Ages()
        for received in (1_000_000, 3_000_000, 6_000_000):
            ages.note(self.frames(1), 1, received)
        self.assertEqual(ages.figures()["spread"], 5.0)

    def test_percentiles(self) -> None:
        self.assertEqual(percentiles([float(n) for n in range(100)]), {"p50": 50.0, "p99": 99.0})

    def test_without_ages_the_figures_are_nan(self) -> None:
        figures = Ages().figures()
        self.assertEqual(set(figures), {"p50", "p99", "spread"})
        self.assertTrue(all(map(math.isnan, figures.values())), figures)


class CallTests(SynchronousTestCase):
    """System calls in the output of strace."""

    def test_each_call_counts_once_and_timers_are_polls_that_end_by_themselves(self) -> None:
        output = """\
10 epoll_wait(4, [{events=EPOLLIN, data=0x7}], 5, 812) = 1
10 recvfrom(7, "\\201", 65536, 0, NULL, NULL) = 1
10 epoll_wait(4,  <unfinished ...>
11 fdatasync(9 <unfinished ...>
10 <... epoll_wait resumed>[], 5, 100) = 0
11 <... fdatasync resumed>) = 0
10 epoll_wait(4, [], 5, 0) = 0
10 epoll_wait(4, 0x7f, 5, 10) = -1 EINTR (Interrupted system call)
10 --- SIGCHLD {si_signo=SIGCHLD} ---
11 +++ exited with 0 +++
"""
        counts = call_counts(output.splitlines())
        self.assertEqual((counts[CALLS], counts[TURNS], counts[TIMERS]), (6, 4, 2))
        self.assertEqual((counts["recvfrom"], counts["fdatasync"]), (1, 1))

    def test_a_goal_is_a_third_less_beyond_what_an_event_needs(self) -> None:
        self.assertEqual([real.limits(clients)[CALLS] for clients in (1, 10)], [3.5, 12.5])


class StepTests(SynchronousTestCase):
    """The time of steps within steps."""

    def test_a_step_has_the_time_of_those_within_it_no_more(self) -> None:
        moments = iter([0, 10, 30, 60, 100, 150, 210])
        self.patch(steps.time, "perf_counter_ns", lambda: next(moments))
        watch = steps.Watch()
        watch.begin()
        with watch.step(steps.MAP):
            watch.timed(steps.APPLY, watch.timed(steps.ENCODE, lambda: None))()
        taken = watch.events[0]
        self.assertEqual(
            [taken[name] for name in (steps.ENCODE, steps.APPLY, steps.MAP)], [30, 60, 60]
        )
        self.assertEqual(sum(taken.values()), 150)


class GrowthTests(SynchronousTestCase):
    """Costs beside sizes."""

    def judged(self, *costs: float) -> list[bool]:
        """Return whether each figure's goal is reached, if all of them cost as much at 1, 10 and 100."""
        outcome = Outcome()
        for size, cost in zip((1, 10, 100), costs, strict=True):
            for figure in growth.FIGURES:
                outcome.add("accounts", str(size), figure, cost)
        growth.judge(outcome, "accounts", (1, 10, 100))
        self.shown = outcome.figures("accounts, exponent", "10 to 100", growth.FIGURES[0])
        return [goal.is_met for goal in outcome.goals]

    def test_n_log_n_is_reached_and_a_quadratic_part_misses(self) -> None:
        self.assertEqual(self.judged(1, 10 * math.log(20), 100 * math.log(200)), [True] * 5)
        self.assertEqual(self.judged(1, 10, 100), [True] * 5)
        self.assertEqual(self.shown, [1.0])
        # Of the larger size a third is in proportion.
        self.assertEqual(self.judged(1, 10, 30 + 0.03 * 100**2), [False] * 5)

    def test_what_does_not_grow_reaches_its_goal(self) -> None:
        self.assertEqual(self.judged(5, 5, 5), [True] * 5)
        self.assertEqual(self.shown, [0.0])


class SoakedTests(SynchronousTestCase):
    """A soak is flat when nothing leaks."""

    def soaked(self, memory: list[float], descriptors: list[int] | None = None) -> Soaked:
        return Soaked(memory, descriptors or [100] * len(memory), 1000, 0)

    def test_a_warm_up_and_a_passing_peak_are_flat(self) -> None:
        soaked = self.soaked([40.0, 60, 70, 70, 70, 99, 70, 70, 70, 70, 70, 71])
        self.assertTrue(soaked.is_flat, soaked.growth)

    def test_growth_is_not_flat(self) -> None:
        growing = [70 + n * GROWTH / 5 for n in range(12)]
        self.assertFalse(self.soaked(growing).is_flat)
        self.assertFalse(self.soaked([70.0] * 12, list(range(100, 112))).is_flat)
        self.assertFalse(self.soaked([70.0] * 12)._replace(lost=1).is_flat)


class LinkTests(SynchronousTestCase):
    """The distant broker."""

    def test_bytes_take_half_a_round_trip_and_the_first_wait_for_a_whole_one_more(self) -> None:
        clock = Clock()
        arrived: list[tuple[str, float]] = []
        pipe = DelayedPipe(clock, 0.25, first_after=0.5)

        def put(data: str) -> None:
            pipe.put(lambda: arrived.append((data, clock.seconds())))

        put("hello")
        clock.advance(0.25)
        put("still held")
        clock.pump([0.25] * 4)
        put("open")
        clock.pump([0.25] * 4)
        self.assertEqual(arrived, [("hello", 0.75), ("still held", 0.75), ("open", 1.5)])

    def test_what_is_put_at_the_same_moment_stays_in_order(self) -> None:
        clock = Clock()
        arrived: list[int] = []
        pipe = DelayedPipe(clock, 0.25)
        for number in range(50):
            pipe.put(lambda number=number: arrived.append(number))
        clock.advance(0.25)
        self.assertEqual(arrived, list(range(50)))

    def test_median_worst_and_requests_each_have_a_goal(self) -> None:
        scenario = link.Scenario("one", ("MES", 6), 1.3, 1.6, requests=2)
        results = [link.Measured(1.3, 2.5, ["a", "b"]), link.Measured(1.3, 2.5, ["a"])]
        for last, met in (
            (link.Measured(1.6, 2.9, ["a"]), [True, True, True]),
            (link.Measured(1.61, 2.9, ["a"]), [True, False, True]),
            (link.Measured(1.0, 2.9, ["a", "b", "c"]), [True, True, False]),
        ):
            outcome = Outcome()
            link.add(outcome, scenario, "plain", [*results, last])
            self.assertEqual([goal.is_met for goal in outcome.goals], met)

    def test_requests_beyond_the_usual_are_named(self) -> None:
        usual = ["close", "search"]
        requests = [usual, ["search", "close"], [*usual, "search"], usual, [*usual, "b", "a"]]
        self.assertEqual(link.more_than_usual(requests), {("search",): 1, ("a", "b"): 1})
        scenario = link.Scenario("one", ("MES", 6), 1.3, 1.6, requests=2)
        outcome = Outcome()
        link.add(outcome, scenario, "TLS", [link.Measured(1.3, 2.5, each) for each in requests])
        self.assertEqual(outcome.notes[0], "one, TLS: search beyond the usual, 1 of 5")
