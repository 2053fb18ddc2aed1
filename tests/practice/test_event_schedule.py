"""When events arrive, and in what order."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import Faults
from riskd.gateway.targets import ACCOUNT, ORDER, POSITION, QUOTE, TRADE
from riskd.practice.event_schedule import SWAP_SECONDS, EventSchedule
from riskd.practice.fault_injection import FaultInjector
from riskd.practice.records import Message
from tests.support.swarm import some_faults

MNQ = "CON.F.US.MNQ.M26"
LONG = 10_000.0
"""Later than any event."""


class Sender:
    """Sends numbered events, and receives them."""

    def __init__(self, seed: int = 1, **faults: Any) -> None:
        self.injector = FaultInjector(Faults(**faults), Random(seed))
        self.schedule = EventSchedule(self.injector, Random(seed))
        self.now = 0.0
        self.sent = 0

    def send(self, *targets: str) -> None:
        for target in targets:
            self.sent += 1
            contract_id = MNQ if target == QUOTE else None
            self.schedule.add(Message(target, contract_id, {"number": self.sent}), self.now)

    def receive(self, seconds: float = 0.0) -> list[int]:
        """Let time pass; return the numbers of what has arrived."""
        self.now += seconds
        return [message.payload["number"] for message in self.schedule.due(self.now)]


class ScheduleTests(SynchronousTestCase):
    """One fault at a time."""

    def test_without_faults_events_arrive_at_once_and_in_order(self) -> None:
        sender = Sender()
        sender.send(ORDER, QUOTE, TRADE, POSITION, ACCOUNT, QUOTE, ORDER)
        self.assertEqual(sender.receive(), [1, 2, 3, 4, 5, 6, 7])
        self.assertIsNone(sender.schedule.next_at)
        self.assertEqual(sender.receive(LONG), [])

    def test_latency_delays_all_events(self) -> None:
        sender = Sender(latency_seconds=0.25)
        sender.send(ORDER, QUOTE, POSITION)
        self.assertEqual((sender.receive(), sender.schedule.next_at), ([], 0.25))
        self.assertEqual(sender.receive(0.24), [])
        self.assertEqual(sender.receive(0.01), [1, 2, 3])

    def test_jitter_keeps_the_order_of_each_hub(self) -> None:
        sender = Sender(latency_seconds=0.1, jitter_seconds=1.0)
        for _ in range(50):
            sender.send(ORDER, QUOTE)
            sender.now += 0.05
        received = sender.receive(LONG)
        self.assertEqual(sorted(received), list(range(1, 101)))
        for rest in (0, 1):
            hub = [number for number in received if number % 2 == rest]
            self.assertEqual(hub, sorted(hub))
        self.assertNotEqual(received, sorted(received), "the hubs are independent")

    def test_positions_and_accounts_follow_after_their_delay(self) -> None:
        sender = Sender(position_delay_seconds=0.1, latency_seconds=0.05)
        sender.send(ORDER, TRADE, POSITION, ACCOUNT, ORDER)
        self.assertEqual(sender.receive(0.05), [1, 2, 5])
        self.assertEqual(sender.receive(0.09), [])
        self.assertEqual(sender.receive(0.02), [3, 4])

    def test_a_swapped_event_arrives_right_behind_the_next_one(self) -> None:
        sender = Sender(swapped_events=1.0)
        sender.send(ORDER)
        self.assertEqual(sender.receive(0.5), [])
        sender.send(QUOTE, TRADE)
        self.assertEqual(sender.receive(), [2, 3, 1])
        self.assertEqual(sender.receive(LONG), [])

    def test_neighbors_sent_together_change_places(self) -> None:
        sender = Sender(swapped_events=1.0)
        sender.send(ORDER, TRADE, POSITION, ACCOUNT)
        self.assertEqual(sender.receive(), [2, 1, 4, 3])

    def test_a_swapped_event_without_a_neighbor_arrives_a_second_late(self) -> None:
        sender = Sender(swapped_events=1.0)
        sender.send(ORDER)
        self.assertEqual(sender.receive(SWAP_SECONDS - 0.01), [])
        self.assertEqual(sender.receive(0.01), [1])
        # It has no place to change any more.
        sender.injector.faults = Faults()
        sender.send(TRADE)
        self.assertEqual(sender.receive(LONG), [2])

    def test_a_doubled_event_keeps_both_copies_where_others_change_places(self) -> None:
        sender = Sender(swapped_events=1.0, doubled_events=1.0)
        sender.send(ORDER, TRADE)
        self.assertEqual(sorted(sender.receive(LONG)), [1, 1, 2, 2])

    def test_a_late_event_is_overtaken(self) -> None:
        sender = Sender(late_events=1.0, late_seconds=10.0)
        sender.send(ORDER)
        sender.injector.faults = Faults()
        sender.send(TRADE)
        self.assertEqual(sender.receive(), [2])
        self.assertEqual(sender.receive(10), [1])

    def test_lateness_is_up_to_its_limit(self) -> None:
        ages = []
        for seed in range(50):
            sender = Sender(seed, late_events=1.0, late_seconds=4.0)
            sender.send(ORDER)
            at = sender.schedule.next_at
            assert at is not None
            ages.append(at)
        self.assertTrue(0 <= min(ages) < 1, ages)
        self.assertTrue(3 < max(ages) <= 4, ages)

    def test_quotes_are_never_lost_doubled_late_or_swapped(self) -> None:
        for fault in ("lost_events", "doubled_events", "late_events", "swapped_events"):
            sender = Sender(**{fault: 1.0})
            sender.send(QUOTE, QUOTE)
            self.assertEqual(sender.receive(), [1, 2], fault)

    def test_a_cleared_schedule_delivers_nothing(self) -> None:
        sender = Sender(latency_seconds=1.0, swapped_events=0.5)
        sender.send(ORDER, TRADE, QUOTE, POSITION)
        sender.schedule.clear()
        self.assertEqual((sender.receive(LONG), sender.schedule.next_at), ([], None))

    def test_what_waited_for_its_neighbor_is_cleared_too(self) -> None:
        sender = Sender(swapped_events=1.0)
        sender.send(ORDER)
        sender.schedule.clear()
        sender.injector.faults = Faults()
        sender.send(TRADE)
        self.assertEqual(sender.receive(LONG), [2])

    def test_faults_may_change_while_events_are_under_way(self) -> None:
        sender = Sender(latency_seconds=5.0, position_delay_seconds=1.0)
        sender.send(ORDER, POSITION, QUOTE)
        sender.injector.faults = Faults()
        sender.send(ORDER, POSITION, QUOTE)
        self.assertEqual(sender.receive(), [])
        # The order of a hub stays, as that of a connection does.
        self.assertEqual(sender.receive(5), [1, 3, 4, 6])
        self.assertEqual(sender.receive(1), [2, 5])


sendings = st.lists(
    st.tuples(
        st.sampled_from((ORDER, TRADE, POSITION, ACCOUNT, QUOTE)),
        st.floats(0.0, 2.0, allow_nan=False),
    ),
    max_size=40,
)


class AllFaultsTests(SynchronousTestCase):
    """Any faults together."""

    def received(self, faults: Faults, sendings: list[tuple[str, float]]) -> list[tuple[int, str]]:
        sender = Sender()
        sender.injector.faults = faults
        targets = {}
        received: list[int] = []
        for target, wait in sendings:
            sender.send(target)
            targets[sender.sent] = target
            received += sender.receive(wait)
        received += sender.receive(LONG)
        self.assertIsNone(sender.schedule.next_at)
        return [(number, targets[number]) for number in received]

    @given(some_faults(), sendings)
    def test_nothing_is_lost_or_doubled_but_by_those_faults(
        self, faults: Faults, sendings: list[tuple[str, float]]
    ) -> None:
        counts = Counter(number for number, _target in self.received(faults, sendings))
        fewest = 0 if faults.lost_events else 1
        most = 2 if faults.doubled_events else 1
        for number, (target, _wait) in enumerate(sendings, 1):
            if target == QUOTE:
                self.assertEqual(counts[number], 1)
            self.assertTrue(fewest <= counts[number] <= most, (number, counts))

    @given(
        some_faults(without=("swapped_events", "late_events", "position_delay_seconds")), sendings
    )
    def test_a_hub_keeps_its_order_without_faults_of_order(
        self, faults: Faults, sendings: list[tuple[str, float]]
    ) -> None:
        received = self.received(faults, sendings)
        for is_quote in (True, False):
            hub = [number for number, target in received if (target == QUOTE) is is_quote]
            self.assertEqual(hub, sorted(hub))

    @given(some_faults(), sendings)
    def test_the_same_seed_gives_the_same_order(
        self, faults: Faults, sendings: list[tuple[str, float]]
    ) -> None:
        self.assertEqual(self.received(faults, sendings), self.received(faults, sendings))
