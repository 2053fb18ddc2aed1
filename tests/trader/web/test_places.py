"""Where pages were."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from trader.web.places import LONGEST_NAME, MOST, Places


class PlacesTests(SynchronousTestCase):
    """Numbers stand for places."""

    def setUp(self) -> None:
        self.places: Places[int] = Places()

    def test_the_latest_connection_of_a_page_says_where_it_is(self) -> None:
        first, second = (lambda: 1), (lambda: 2)
        self.places.keep("page", first)
        self.places.keep("page", second)
        self.places.end("page", first)
        self.assertEqual(self.places.last("page"), 2)

    def test_the_place_at_the_end_stays(self) -> None:
        place = [1]
        ask = lambda: place[0]  # noqa: E731
        self.places.keep("page", ask)
        place[0] = 2
        self.places.end("page", ask)
        place[0] = 3
        self.assertEqual(self.places.last("page"), 2)

    def test_few_are_kept_and_no_long_names(self) -> None:
        for number in range(MOST + 1):
            self.places.keep(f"page {number}", lambda: 1)
        self.assertIsNone(self.places.last("page 0"))
        self.assertEqual(self.places.last("page 1"), 1)
        self.places.keep("x" * (LONGEST_NAME + 1), lambda: 1)
        self.assertIsNone(self.places.last("x" * (LONGEST_NAME + 1)))
        self.places.keep("", lambda: 1)
        self.assertIsNone(self.places.last(""))
