"""Requests a minute: the broker's limit is kept, and enforcement's part is kept for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx.rate_limit import RateLimit

CLOSE = "Position/closeContract"

# Eighths of a second add up exactly.
eighths = st.integers(0, 8 * 70).map(lambda number: number / 8)
bursts = st.lists(
    st.tuples(eighths, st.integers(1, 220), st.booleans(), st.none() | eighths), max_size=8
)


def spend(limit: RateLimit, now: float, count: int) -> None:
    for _ in range(count):
        limit.spend(now)


class RateLimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.limit = RateLimit()

    def test_140_requests_a_minute_are_for_all_purposes(self) -> None:
        self.assertTrue(self.limit.has_room(0, 140))
        self.assertFalse(self.limit.has_room(0, 141))
        spend(self.limit, 0, 139)
        self.assertEqual(self.limit.wait(0, CLOSE, urgent=False), 0)
        self.assertTrue(self.limit.has_room(0, 1))
        self.limit.spend(0)
        self.assertEqual(self.limit.wait(0, CLOSE, urgent=False), 60)
        self.assertFalse(self.limit.has_room(0, 1))

    def test_60_more_are_for_enforcement(self) -> None:
        spend(self.limit, 0, 199)
        self.assertEqual(self.limit.wait(1, CLOSE, urgent=True), 0)
        self.limit.spend(1)
        self.assertEqual(self.limit.wait(1, CLOSE, urgent=True), 59)

    def test_30_of_these_are_kept_for_closing(self) -> None:
        spend(self.limit, 0, 169)
        self.assertEqual(self.limit.wait(1, "Order/cancel", urgent=True), 0)
        self.limit.spend(1)
        self.assertEqual(self.limit.wait(1, "Order/cancel", urgent=True), 59)
        self.assertEqual(self.limit.wait(1, CLOSE, urgent=True), 0)

    def test_requests_of_enforcement_count_for_all(self) -> None:
        for second in range(150):
            self.limit.spend(second / 10)
        self.assertEqual(self.limit.wait(20, CLOSE, urgent=True), 0)
        # The eleventh of them has to be gone.
        self.assertEqual(self.limit.wait(20, CLOSE, urgent=False), 41)

    def test_a_request_counts_for_a_minute(self) -> None:
        spend(self.limit, 0, 200)
        self.assertFalse(self.limit.has_room(59.9, 1))
        self.assertTrue(self.limit.has_room(60, 140))

    def test_during_a_hold_only_enforcement_goes_on(self) -> None:
        self.limit.hold(100, 7)
        self.assertEqual(self.limit.wait(102, CLOSE, urgent=False), 5)
        self.assertEqual(self.limit.wait(102, CLOSE, urgent=True), 0)
        self.assertFalse(self.limit.has_room(106.9, 1))
        self.assertTrue(self.limit.has_room(107, 1))

    def test_a_shorter_hold_does_not_end_a_longer_one(self) -> None:
        self.limit.hold(0, 60)
        self.limit.hold(1, 5)
        self.assertEqual(self.limit.wait(10, CLOSE, urgent=False), 50)

    def test_the_longer_of_a_hold_and_a_full_window_counts(self) -> None:
        spend(self.limit, 0, 140)
        self.limit.hold(0, 10)
        self.assertEqual(self.limit.wait(0, CLOSE, urgent=False), 60)
        self.limit.hold(30, 60)
        self.assertEqual(self.limit.wait(30, CLOSE, urgent=False), 60)

    @given(bursts)
    def test_no_window_has_too_many_requests(
        self, bursts: list[tuple[float, int, bool, float | None]]
    ) -> None:
        limit, now = RateLimit(), 0.0
        made: list[tuple[float, bool]] = []
        held_until = 0.0
        for gap, count, is_urgent, hold in bursts:
            now += gap
            if hold is not None:
                limit.hold(now, hold)
                held_until = max(held_until, now + hold)
            for _ in range(count):
                had_room = limit.has_room(now, 1)
                wait = limit.wait(now, CLOSE, urgent=is_urgent)
                self.assertTrue(0 <= wait <= 140)
                if not is_urgent:
                    self.assertEqual(had_room, wait == 0)
                now += wait
                self.assertEqual(limit.wait(now, CLOSE, urgent=is_urgent), 0, "it was not enough")
                if not is_urgent:
                    self.assertTrue(now >= held_until)
                limit.spend(now)
                made.append((now, is_urgent))
                window = [urgent for moment, urgent in made if moment > now - 60]
                self.assertTrue(len(window) <= (200 if is_urgent else 140), len(window))

    @given(st.lists(eighths, max_size=30), st.integers(0, 150))
    def test_no_wait_is_longer_than_necessary(self, gaps: list[float], more: int) -> None:
        """An eighth of a second earlier there is no room."""
        limit, now = RateLimit(), 0.0
        for gap in gaps:
            now += gap
            limit.spend(now)
        spend(limit, now, more)
        for is_urgent in (True, False):
            wait = limit.wait(now, CLOSE, urgent=is_urgent)
            if wait:
                self.assertTrue(limit.wait(now + wait - 0.125, CLOSE, urgent=is_urgent) > 0)
