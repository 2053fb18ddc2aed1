"""The waits between tries: quick at first, slow later, and never in step with others."""

from __future__ import annotations

from itertools import accumulate
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx.backoff import QUICK_SECONDS, SLOW_SECONDS, Backoff


class NoJitter(Random):
    """Luck that always picks the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


def waits(backoff: Backoff, count: int, begun: float = 0.0) -> list[float]:
    """Return so many waits of an outage in which each try fails at once."""
    found: list[float] = []
    for _ in range(count):
        found.append(backoff.next_wait(begun + sum(found)))
    return found


class BackoffTests(SynchronousTestCase):
    def test_the_first_waits_grow_to_three_seconds(self) -> None:
        found = waits(Backoff(NoJitter()), 8)
        self.assertEqual(found, [0.25, 0.5, 1, 2, 3, 3, 3, 3])

    def test_after_two_minutes_the_waits_grow_to_thirty_seconds(self) -> None:
        found = waits(Backoff(NoJitter()), 60, begun=1000.0)
        begins = [0.0, *accumulate(found)]
        slow = [wait for begin, wait in zip(begins, found, strict=False) if begin >= 120]
        self.assertEqual(slow[:6], [5, 10, 20, 30, 30, 30])
        quick = [wait for begin, wait in zip(begins, found, strict=False) if begin < 120]
        self.assertEqual(max(quick), 3)

    def test_an_outage_begins_with_its_first_failure(self) -> None:
        backoff = Backoff(NoJitter())
        self.assertEqual(backoff.next_wait(5000.0), 0.25)
        self.assertEqual(backoff.next_wait(5119.9), 0.5)
        self.assertEqual(backoff.next_wait(5120.0), 5)

    def test_after_a_success_the_waits_are_short_again(self) -> None:
        backoff = Backoff(NoJitter())
        waits(backoff, 60)
        backoff.succeeded()
        self.assertEqual(waits(backoff, 5, begun=9000.0), [0.25, 0.5, 1, 2, 3])

    @given(st.integers(), st.floats(0, 1e6), st.lists(st.floats(0, 100), max_size=30))
    def test_no_wait_is_longer_than_planned_or_shorter_than_four_fifths(
        self, seed: int, now: float, gaps: list[float]
    ) -> None:
        backoff, planned = Backoff(Random(seed)), Backoff(NoJitter())
        for gap in gaps:
            now += gap
            wait, limit = backoff.next_wait(now), planned.next_wait(now)
            self.assertTrue(0.8 * limit <= wait <= limit, (wait, limit))
            self.assertIn(limit, (*QUICK_SECONDS, *SLOW_SECONDS))

    def test_two_clients_that_fail_together_do_not_return_together(self) -> None:
        first, second = Backoff(Random(1)), Backoff(Random(2))
        self.assertNotEqual(waits(first, 5), waits(second, 5))
