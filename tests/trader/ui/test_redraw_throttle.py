"""At most 20 draws in any second, 5 of them for quotes."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.clocks import most_in_a_second
from trader.ui.redraw_throttle import MAX_DRAWS_A_SECOND, RedrawThrottle


class RedrawThrottleTests(SynchronousTestCase):
    """Draws, and the waits between them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.throttle = RedrawThrottle(self.clock.seconds)

    def draw(self, *, important: bool) -> float:
        """Wait for a draw and make it; return when."""
        self.clock.advance(self.throttle.wait(important=important))
        self.throttle.record()
        return self.clock.seconds()

    def test_the_first_draw_is_made_at_once(self) -> None:
        self.assertEqual(self.throttle.wait(important=False), 0)
        self.assertEqual(self.throttle.wait(important=True), 0)

    def test_a_burst_of_twenty_important_draws_is_made_at_once(self) -> None:
        moments = [self.draw(important=True) for _ in range(MAX_DRAWS_A_SECOND)]
        self.assertEqual(moments, [0.0] * 20)
        self.assertEqual(self.throttle.wait(important=True), 1.0)

    def test_no_second_has_more_than_twenty_draws(self) -> None:
        moments = [self.draw(important=True) for _ in range(200)]
        self.assertEqual(most_in_a_second(moments), 20)

    def test_quotes_take_no_more_than_five_draws_a_second(self) -> None:
        moments = [self.draw(important=False) for _ in range(100)]
        self.assertEqual(most_in_a_second(moments), 5)

    def test_a_stream_of_quotes_leaves_draws_for_important_changes(self) -> None:
        for _ in range(100):
            self.draw(important=False)
            self.assertEqual(self.throttle.wait(important=True), 0)

    def test_after_a_second_of_rest_all_draws_are_free_again(self) -> None:
        for _ in range(20):
            self.draw(important=True)
        self.clock.advance(1.0)
        self.assertEqual(self.throttle.wait(important=False), 0)
