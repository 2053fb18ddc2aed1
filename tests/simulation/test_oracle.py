"""What the oracle of the simulator remembers of the last seconds."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.balance_oracle import Held
from tests.support.exchange_oracle import Formers
from tests.support.extremes import Extreme

SECONDS = 10.0

steps = st.lists(
    st.tuples(st.sampled_from((0.0, 0.25, 1.0, 4.0)), st.integers(min_value=-3, max_value=3)),
    min_size=1,
    max_size=30,
)


class ExtremeTests(SynchronousTestCase):
    @given(steps, st.sampled_from((0.0, 0.25, 2.0, SECONDS)))
    def test_each_figure_is_there_until_the_next(
        self, steps: list[tuple[float, int]], window: float
    ) -> None:
        for is_most, extreme in ((True, max), (False, min)):
            now, figures = 0.0, [(0.0, Decimal(0))]
            known = Extreme(Decimal(0), SECONDS, is_most=is_most)
            for seconds, figure in steps:
                now += seconds
                figures.append((now, Decimal(figure)))
                known.note(now, Decimal(figure))
                there = [
                    was for (_at, was), (end, _is) in pairwise(figures) if end >= now - window
                ]
                expected = extreme([*there, figures[-1][1]])
                self.assertEqual(known.since(now - window), expected)


class FormersTests(SynchronousTestCase):
    def held(self, size: int) -> Held:
        return Held("MNQ", size, Decimal(21000), Decimal(2), Decimal("0.50"))

    def test_each_position_is_kept_once_and_until_it_is_too_old(self) -> None:
        formers = Formers()
        for now, size in ((0.0, 1), (1.0, 2), (2.0, 1)):
            formers.note(now, self.held(size))
        self.assertEqual(formers.held, (self.held(2), self.held(1)))
        formers.forget(1.0)
        self.assertEqual(len(formers.held), 2)
        formers.forget(1.5)
        self.assertEqual(formers.held, (self.held(1),))
