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
from tests.benchmarks import enforcement, goals, link
from tests.benchmarks.goals import COMPLETE, CPU, P99, RATE, Ratio, median, paired_ratio
from tests.benchmarks.journal_daemon import Source
from tests.benchmarks.link_proxy import DelayedPipe
from tests.benchmarks.peer import PICOWS, RISKD, UVLOOP, WEBSOCKETS
from tests.benchmarks.receiver import Ages, percentiles
from tests.benchmarks.soak import GROWTH, Soaked
from tests.benchmarks.twisted_peers import hub_record
from tests.benchmarks.workload import FRAME_LENGTH, NO_STAMP, Stamps, age, text
from tests.support.websocket_frames import TEXT, server_frame


class RatioTests(SynchronousTestCase):
    """riskd beside a peer."""

    def test_ratios_are_those_of_each_repeat(self) -> None:
        """A machine that slows down in one round changes neither peer's ratio."""
        results = {
            "60x1@1": {
                "one": [{CPU: 1.0}, {CPU: 20.0}, {CPU: 3.0}],
                "other": [{CPU: 2.0}, {CPU: 40.0}, {CPU: 4.0}],
            }
        }
        self.assertEqual(median(results, "60x1@1", "one", CPU), 3.0)
        self.assertEqual(paired_ratio(results, "60x1@1", CPU, "one", "other"), 0.5)

    def test_a_cost_must_be_low_and_a_rate_high(self) -> None:
        cost, rate = Ratio("", CPU, "", 0.9), Ratio("", RATE, "", 10.0)
        self.assertEqual((cost.is_met(0.9), cost.is_met(0.91)), (True, False))
        self.assertEqual((rate.is_met(10.0), rate.is_met(9.9)), (True, False))

    def test_a_peer_that_delivers_nothing_misses_every_goal(self) -> None:
        said: list[str] = []
        self.patch(goals, "show", said.append)
        fine = {CPU: 1.0, P99: 1.0, COMPLETE: 1.0}
        nothing = {CPU: 9.0, P99: percentiles([])["p99"], COMPLETE: 0.0}
        # In any repeat: NaN cannot be ordered.
        for repeats in permutations([fine, fine, nothing]):
            others = {WEBSOCKETS: [fine] * 3, PICOWS: [fine] * 3}
            results = {"60x1@100": {RISKD: repeats, **others}}
            said.clear()
            goals.print_ratios(results)
            p99 = [line for line in said if P99 in line]
            self.assertEqual([line.split()[-1] for line in p99], ["MISS", "MISS"])
            said.clear()
            goals.print_completeness(results)
            self.assertEqual([line.split()[-1] for line in said], ["MISS"])

    def test_every_event_must_be_delivered_at_every_load(self) -> None:
        said: list[str] = []
        self.patch(goals, "show", said.append)
        everything, less = {COMPLETE: 1.0}, {COMPLETE: 0.999}
        goals.print_completeness(
            {
                "60x1@1": {RISKD: [everything] * 2, UVLOOP: [less] * 2},
                "0x10@1": {RISKD: [everything, less]},
                "@5000": {RISKD: [everything]},
            }
        )
        told = [(line.split()[1], line.split()[-1]) for line in said]
        self.assertEqual(told, [("60x1@1", "PASS"), ("0x10@1", "MISS"), ("@5000", "PASS")])

    def test_reactors_are_compared_by_the_loads_that_measure_cost(self) -> None:
        said: list[str] = []
        self.patch(goals, "show", said.append)
        for cost, winner in ((1.2, "epoll"), (0.8, "uvloop")):
            goals.print_reactors(
                {
                    "60x1@1": {RISKD: [{CPU: 1.0}], UVLOOP: [{CPU: cost}]},
                    "@5000": {RISKD: [{COMPLETE: 1.0}], UVLOOP: [{COMPLETE: 1.0}]},
                }
            )
            self.assertEqual(said[-2:], [f"  60x1@1 {cost:.2f}", f"  the winner: {winner}"])


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
        full = self.result(enforcement.CLIENTS)
        self.assertEqual(enforcement.table([full, full])["breaches"], 4)
        with self.assertRaisesRegex(SystemExit, "expected 100 clients at the end, got 99"):
            enforcement.table([full, self.result(enforcement.CLIENTS - 1)])


class JournalTests(SynchronousTestCase):
    """The events that measure the cost of the journal."""

    def test_each_event_is_broadcast(self) -> None:
        told: list[Event] = []
        journal: Any = SimpleNamespace(changed=lambda **_: None)
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
        said: list[str] = []
        self.patch(goals, "show", said.append)
        self.patch(link, "show", [].append)
        scenario = link.Scenario("one", ("MES", 6), 1.3, 1.6, requests=2)
        results = [link.Measured(1.3, 2.5, ["a", "b"]), link.Measured(1.3, 2.5, ["a"])]
        for last, verdicts in (
            (link.Measured(1.6, 2.9, ["a"]), ["PASS", "PASS", "PASS"]),
            (link.Measured(1.61, 2.9, ["a"]), ["PASS", "MISS", "PASS"]),
            (link.Measured(1.0, 2.9, ["a", "b", "c"]), ["PASS", "PASS", "MISS"]),
        ):
            said.clear()
            link.print_results(scenario, "plain", [*results, last])
            self.assertEqual([line.split()[-1] for line in said], verdicts)
