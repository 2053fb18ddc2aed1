"""How long a desk's programs wait before they connect again."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from riskd.desk import pauses
from riskd.desk.pauses import GOOD_SECONDS, LONGEST_SECONDS, UNREACHABLE_SECONDS, Pauses


class PausesTests(SynchronousTestCase):
    """Each pause is random, up to a longest one."""

    def setUp(self) -> None:
        self.pauses = Pauses()
        self.patch(pauses.random, "uniform", lambda _least, most: most)

    def lost(self, seconds: float = 1.0) -> float:
        return self.pauses.after_connection(seconds, is_lost=True)

    def failed(self, seconds: float = 1.0) -> float:
        return self.pauses.after_connection(seconds, is_lost=False)

    def test_a_server_that_cannot_be_reached_is_tried_again_soon(self) -> None:
        """Also where each attempt hangs: a link that returns then must be seen within 3 seconds."""
        for _ in range(20):
            for lasted in (0.0, 1.0, UNREACHABLE_SECONDS, 5.0, 30.0):
                pause = self.pauses.after_attempt(lasted)
                self.assertLessEqual(pause + min(lasted, UNREACHABLE_SECONDS), 2.5)
                self.assertGreater(pause, 0)

    def test_pauses_grow_while_servers_do_not_do_what_they_should(self) -> None:
        found = [self.failed() for _ in range(7)]
        self.assertEqual(found, [1, 2, 4, 8, 16, LONGEST_SECONDS, LONGEST_SECONDS])

    def test_a_link_that_comes_and_goes_is_used_soon(self) -> None:
        self.assertEqual([self.lost() for _ in range(9)], [1] * 9)

    def test_a_connection_that_was_lost_or_good_ends_the_growth(self) -> None:
        endings: tuple[Callable[[], float], ...] = (self.lost, lambda: self.failed(GOOD_SECONDS))
        for ending in endings:
            self.failed()
            self.assertGreater(self.failed(), 1)
            self.assertEqual(ending(), 1)

    def test_not_all_come_at_once(self) -> None:
        self.patch(pauses.random, "uniform", lambda least, _most: least)
        self.assertEqual(self.lost(), 0.5)
