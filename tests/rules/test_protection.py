"""Which orders protect a position, and how much of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.events import OrderType
from riskd.rules.protection import protected_size, protecting_stops, remaining
from tests.support.rules import (
    BUY,
    ES,
    MNQ,
    SELL,
    order,
    position,
    state_after,
    with_detail,
)


class StopTests(SynchronousTestCase):
    def test_only_stops_that_exit_the_position_protect_it(self) -> None:
        state = state_after(
            position(MNQ, 4),
            order(1, size=1),
            order(2, size=2, kind=OrderType.STOP_LIMIT),
            order(3, kind=OrderType.LIMIT),
            order(4, side=BUY),
            order(5, ES, SELL),
        )
        (held,) = state.open_positions
        self.assertEqual([each.id for each in protecting_stops(state, held)], [1, 2])
        self.assertEqual(protected_size(state, held), 3)

    def test_a_stop_that_is_not_open_protects_nothing(self) -> None:
        state = with_detail(state_after(position(MNQ, 1), order(1)), 1, is_open=False)
        self.assertEqual(protected_size(state, state.open_positions[0]), 0)

    def test_filled_contracts_do_not_count(self) -> None:
        state = with_detail(state_after(order(1, size=3)), 1, filled=2)
        self.assertEqual(remaining(state, state.orders[1]), 1)
