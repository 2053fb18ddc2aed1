"""Counting contracts and choosing which to close."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.rules.interface import Flatten
from riskd.rules.reduction import by_root, close_position, net_size, reduce_largest, total_size
from tests.support.rules import ES, MNQ, MNQ_DEC, SHORT, UNKNOWN, position, state_after


class CountTests(SynchronousTestCase):
    def test_long_and_short_contracts(self) -> None:
        held = state_after(position(MNQ, 3), position(MNQ_DEC, 1, SHORT)).open_positions
        self.assertEqual((total_size(held), net_size(held)), (4, 2))

    def test_expiries_of_a_root_belong_together(self) -> None:
        roots = by_root(state_after(position(MNQ, 1), position(UNKNOWN, 1), position(MNQ_DEC, 1)))
        self.assertEqual(
            {root: total_size(held) for root, held in roots.items()}, {"MNQ": 2, UNKNOWN: 1}
        )


class ReductionTests(SynchronousTestCase):
    def test_the_largest_position_is_reduced_first(self) -> None:
        held = state_after(position(MNQ, 1), position(ES, 4), position(MNQ_DEC, 2)).open_positions
        self.assertEqual(reduce_largest(held, 3), {ES: 1})
        self.assertEqual(reduce_largest(held, 5), {ES: 0, MNQ_DEC: 1})

    def test_of_equal_sizes_the_first_is_reduced_first(self) -> None:
        held = state_after(position(MNQ, 2), position(ES, 2)).open_positions
        self.assertEqual(reduce_largest(held, 1), {MNQ: 1})

    def test_some_contracts_may_have_to_stay(self) -> None:
        held = state_after(position(MNQ, 3), position(ES, 2)).open_positions
        self.assertEqual(reduce_largest(held, 2, {MNQ: 2}), {MNQ: 2, ES: 1})

    def test_one_position_is_closed_and_the_others_are_not_touched(self) -> None:
        (held,) = state_after(position(MNQ, 2)).open_positions
        self.assertEqual(close_position(held, "why"), Flatten(reason="why", keep={MNQ: 0}))

    def test_the_broker_may_be_asked_first(self) -> None:
        (held,) = state_after(position(MNQ, 2)).open_positions
        self.assertTrue(close_position(held, "why", asks_broker_first=True).asks_broker_first)
