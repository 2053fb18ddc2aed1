"""The positions and orders that a rule checks for each kind of trigger."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.rules.affected import affected_orders, affected_positions
from tests.support.rules import (
    ES,
    MNQ,
    order,
    position,
    quote,
    quote_trigger,
    review,
    state_after,
    trigger_of,
)

TWO_POSITIONS = (position(MNQ, 1), position(ES, 1))
TWO_ORDERS = (order(1, MNQ), order(2, ES))


class PositionTests(SynchronousTestCase):
    def test_a_quote_affects_the_position_of_its_contract(self) -> None:
        state = state_after(*TWO_POSITIONS, quote(ES, "5800"), quote(MNQ, "21000"))
        found = affected_positions(state, quote_trigger(state, ES))
        self.assertEqual([each.contract_id for each in found], [ES])

    def test_a_quote_of_a_closed_position_affects_none(self) -> None:
        state = state_after(position(MNQ, 0), quote(MNQ, "21000"))
        self.assertEqual(affected_positions(state, quote_trigger(state, MNQ)), ())

    def test_any_other_trigger_affects_all(self) -> None:
        state = state_after(*TWO_POSITIONS)
        for trigger in (review(), trigger_of(TWO_POSITIONS[0])):
            self.assertEqual(affected_positions(state, trigger), state.open_positions)


class OrderTests(SynchronousTestCase):
    def test_an_order_affects_itself(self) -> None:
        found = affected_orders(state_after(*TWO_ORDERS), trigger_of(TWO_ORDERS[1]))
        self.assertEqual([each.id for each in found], [2])

    def test_an_ended_order_affects_none(self) -> None:
        self.assertEqual(affected_orders(state_after(), trigger_of(TWO_ORDERS[0])), ())

    def test_a_position_affects_the_orders_of_its_contract(self) -> None:
        found = affected_orders(state_after(*TWO_ORDERS), trigger_of(position(ES, 1)))
        self.assertEqual([each.id for each in found], [2])

    def test_a_review_affects_all(self) -> None:
        state = state_after(*TWO_ORDERS)
        self.assertEqual(affected_orders(state, review()), state.working_orders)
