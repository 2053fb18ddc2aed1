"""The limit of requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.request_limit import RequestLimit


class RequestLimitTests(SynchronousTestCase):
    def test_there_is_room_again_once_the_oldest_request_is_past(self) -> None:
        limit = RequestLimit(2, 30)
        self.assertEqual([limit.wait(0), limit.wait(10), limit.wait(10)], [0, 0, 20])
        self.assertEqual([limit.wait(30), limit.wait(30)], [0, 10])

    # In quarters of a second, which add up without rounding.
    @given(st.lists(st.integers(0, 40).map(lambda n: n / 4), max_size=60), st.integers(1, 5))
    def test_no_stretch_of_time_has_more_than_the_limit(
        self, pauses: list[float], count: int
    ) -> None:
        limit = RequestLimit(count, 30)
        now, answered = 0.0, []
        for pause in pauses:
            now += pause
            wait = limit.wait(now)
            self.assertTrue(0 <= wait <= 30)
            self.assertEqual(bool(wait), sum(now - 30 < at for at in answered) >= count)
            if not wait:
                answered.append(now)
        for begin in answered:
            self.assertTrue(sum(begin <= at < begin + 30 for at in answered) <= count)
