"""When the use of a limit is news."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from trader.alerts.limit_marks import AGAIN_AFTER, LimitMarks

NOW = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)
LOSS, CONTRACTS = ("RULE-003", "realized loss"), ("RULE-001", "contracts")


class LimitMarksTests(SynchronousTestCase):
    """Marks at 70 and 90 %."""

    def setUp(self) -> None:
        self.now = NOW
        self.marks = LimitMarks([Decimal("0.9"), Decimal("0.7")])

    def news(self, *shares: str, limit: tuple[str, str] = LOSS) -> list[str]:
        return [share for share in shares if self.marks.reach(limit, Decimal(share), self.now)]

    def test_each_mark_is_news_once(self) -> None:
        self.assertEqual(
            self.news("0.69", "0.7", "0.75", "0.71", "0.89", "0.9", "1.2"), ["0.7", "0.9"]
        )

    def test_two_marks_at_once_are_one_piece_of_news(self) -> None:
        self.assertEqual(self.news("0.2", "0.95", "0.96"), ["0.95"])

    def test_to_and_fro_around_a_mark_is_no_news(self) -> None:
        self.news("0.7")
        self.now += 2 * AGAIN_AFTER
        self.assertEqual(self.news("0.69", "0.7", "0.55", "0.8"), [])

    def test_after_a_fall_a_mark_is_news_again_but_not_within_the_hour(self) -> None:
        self.news("0.7")
        self.assertEqual(self.news("0.5", "0.7"), [])
        self.now += AGAIN_AFTER
        self.assertEqual(self.news("0.7"), ["0.7"])

    def test_limits_do_not_share_their_marks(self) -> None:
        self.assertEqual(self.news("0.7"), ["0.7"])
        self.assertEqual(self.news("0.7", limit=CONTRACTS), ["0.7"])

    def test_a_new_day_begins_anew(self) -> None:
        self.news("0.95")
        self.marks.begin_day()
        self.assertEqual(self.news("0.95"), ["0.95"])

    def test_a_clock_that_was_set_back_silences_nothing_for_long(self) -> None:
        self.news("0.7", "0.5")
        self.now -= timedelta(days=3)
        self.assertEqual(self.news("0.7"), ["0.7"])

    @given(st.lists(st.decimals(0, 2, places=2), max_size=100))
    def test_within_an_hour_there_is_at_most_one_piece_of_news_for_each_mark(
        self, shares: list[Decimal]
    ) -> None:
        marks = LimitMarks([Decimal("0.7"), Decimal("0.9")])
        news = [share for share in shares if marks.reach(LOSS, share, NOW)]
        self.assertLessEqual(len(news), 2)
        self.assertEqual(bool(news), any(share >= Decimal("0.7") for share in shares))
        self.assertEqual(
            any(share >= Decimal("0.9") for share in news),
            any(share >= Decimal("0.9") for share in shares),
        )
