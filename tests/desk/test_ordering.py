"""The events of one daemon, put in order."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk import ordering
from riskd.desk.ordering import FIRST_SECONDS, HOLD_SECONDS, Gap, Ordering
from riskd.model.event_number import Number

LENGTHS = st.lists(st.integers(1, 8), min_size=1, max_size=4)
"""How many events each run of a daemon has."""


def all_numbers(lengths: Sequence[int]) -> list[Number]:
    """Return the numbers of some runs, with holes between their epochs."""
    return [
        Number(10 * run, seq)
        for run, length in enumerate(lengths, 1)
        for seq in range(1, length + 1)
    ]


def shuffled(numbers: Sequence[Number], seed: int) -> list[Number]:
    """Return numbers in any order, some of them twice."""
    rng = random.Random(seed)
    twice = [*numbers, *rng.sample(numbers, rng.randint(0, len(numbers)))]
    rng.shuffle(twice)
    return twice


class AnyOrderTests(SynchronousTestCase):
    """Whatever comes in whatever order, what is passed on is in order, and each once."""

    @given(LENGTHS, st.integers())
    def test_nothing_is_lost(self, lengths: list[int], seed: int) -> None:
        numbers = all_numbers(lengths)
        ordered: Ordering[Number] = Ordering(Number(0, 1))
        # What a heartbeat has said: where each run ends.
        for run, length in enumerate(lengths, 1):
            ordered.announce(Number(10 * run, length))
        passed = [
            item
            for number in shuffled(numbers, seed)
            for _, item in ordered.receive(number, number, 0)
        ]
        self.assertEqual(passed, numbers)
        self.assertEqual((ordered.take_gaps(), list(ordered.held)), ([], []))

    @given(LENGTHS, st.integers(), st.data())
    def test_what_is_lost_is_reported(
        self, lengths: list[int], seed: int, data: st.DataObject
    ) -> None:
        numbers = all_numbers(lengths)
        arriving = data.draw(st.lists(st.sampled_from(numbers), unique=True))
        ordered: Ordering[Number] = Ordering(Number(0, 1))
        for run, length in enumerate(lengths, 1):
            ordered.announce(Number(10 * run, length))
        passed = []
        for number in shuffled(arriving, seed):
            passed += ordered.receive(number, number, 0)
        for times, _ in enumerate(numbers, 1):
            passed += ordered.wait_no_more(times * HOLD_SECONDS)
        self.assertEqual([number for number, _ in passed], sorted(arriving))
        self.assertTrue(all(number == item for number, item in passed))
        lost = {
            number
            for gap in ordered.take_gaps()
            for number in numbers
            if gap.after < number < gap.before
        }
        # What comes after the last event may still come.
        last = max(arriving, default=Number(0, 1))
        self.assertEqual(lost, {each for each in numbers if each < last} - {*arriving})

    @given(LENGTHS, st.integers(), st.lists(st.floats(0, 40), max_size=40))
    def test_at_any_pace_numbers_rise(
        self, lengths: list[int], seed: int, pauses: list[float]
    ) -> None:
        """Nothing is known of the ends of runs here, and some events are passed over."""
        ordered: Ordering[None] = Ordering()
        passed: list[Number] = []
        now = 0.0
        for index, number in enumerate(shuffled(all_numbers(lengths), seed)):
            now += pauses[index % len(pauses)] if pauses else 0
            passed += [each for each, _ in ordered.wait_no_more(now)]
            passed += [each for each, _ in ordered.receive(number, None, now)]
        self.assertEqual(passed, sorted(set(passed)))
        self.assertEqual(ordered.last, passed[-1] if passed else None)


class GapTests(SynchronousTestCase):
    """A gap is waited for, for a bounded time and number."""

    def setUp(self) -> None:
        self.ordered: Ordering[str] = Ordering(Number(1, 4))

    def receive(self, epoch: int, seq: int, seconds: float = 0) -> list[str]:
        number = Number(epoch, seq)
        return [item for _, item in self.ordered.receive(number, str(number), seconds)]

    def wait(self, seconds: float) -> list[str]:
        return [item for _, item in self.ordered.wait_no_more(seconds)]

    def test_what_was_passed_on_is_dropped(self) -> None:
        self.assertEqual(self.receive(1, 5), ["1.5"])
        for seq in (1, 4, 5):
            self.assertFalse(self.ordered.is_new(Number(1, seq)))
            self.assertEqual(self.receive(1, seq), [])
        self.assertEqual(self.ordered.take_gaps(), [])

    def test_a_gap_that_stays_is_passed_over_and_reported(self) -> None:
        self.assertEqual(self.receive(1, 8, 100), [])
        self.assertEqual(list(self.ordered.held), ["1.8"])
        self.assertEqual(self.wait(100 + HOLD_SECONDS - 0.1), [])
        self.assertEqual(self.wait(100 + HOLD_SECONDS), ["1.8"])
        (gap,) = self.ordered.take_gaps()
        self.assertEqual(gap, Gap(Number(1, 4), Number(1, 8), 3))
        self.assertEqual(str(gap), "3 events between the numbers 1.4 and 1.8")
        self.assertEqual(self.ordered.take_gaps(), [])
        # What comes now is too late, and reported already.
        self.assertEqual((self.receive(1, 6), self.ordered.take_gaps()), ([], []))

    def test_the_wait_begins_anew_with_the_next_gap(self) -> None:
        self.receive(1, 6, 0)
        self.assertEqual(self.receive(1, 8, 20), [])
        self.assertEqual(self.receive(1, 5, 25), ["1.5", "1.6"])
        self.assertEqual(self.wait(30), [])
        self.assertEqual(self.wait(25 + HOLD_SECONDS), ["1.8"])

    def test_too_many_do_not_wait(self) -> None:
        self.patch(ordering, "MOST_HELD", 3)
        for seq in (10, 11, 12):
            self.assertEqual(self.receive(1, seq), [])
        self.assertEqual(self.receive(1, 20), ["1.10", "1.11", "1.12"])
        self.assertEqual(len(self.ordered.take_gaps()), 1)

    def test_a_new_run_begins_at_one(self) -> None:
        self.assertEqual(self.receive(3, 2), [])
        self.assertEqual(self.receive(3, 1), ["3.1", "3.2"])

    def test_the_announced_end_of_a_run_is_waited_for(self) -> None:
        self.ordered.announce(Number(1, 6))
        self.assertEqual(self.receive(2, 1), [])
        self.assertEqual(self.receive(1, 6), [])
        self.assertEqual(self.receive(1, 5), ["1.5", "1.6", "2.1"])

    def test_a_late_end_of_a_run_is_reported(self) -> None:
        self.assertEqual(self.receive(2, 1), ["2.1"])
        for seq, count in ((6, 2), (6, 0), (5, 0), (7, 1)):
            self.assertEqual(self.receive(1, seq), [])
            self.assertEqual(sum(gap.missing for gap in self.ordered.take_gaps()), count)

    def test_the_first_event_may_be_any(self) -> None:
        self.ordered = Ordering()
        self.assertEqual(self.receive(7, 100), [])
        self.assertEqual(self.receive(7, 99), [])
        self.assertEqual(self.wait(FIRST_SECONDS), ["7.99", "7.100"])
        # Nothing is known to be missing.
        self.assertEqual(self.ordered.take_gaps(), [])
