"""Positions and their orders: affected ones, their contracts, their stops, and the closing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.events import OrderType
from riskd.rules.interface import Flatten
from riskd.rules.positions import (
    affected_orders,
    affected_positions,
    by_root,
    close_position,
    net_size,
    protected_size,
    protecting_stops,
    reduce_largest,
    total_size,
)
from tests.support.rules import (
    BUY,
    ES,
    MNQ,
    MNQ_DEC,
    SELL,
    SHORT,
    UNKNOWN,
    order,
    position,
    quote,
    quote_trigger,
    review,
    state_after,
    trigger_of,
    with_detail,
)

TWO_POSITIONS = (position(MNQ, 1), position(ES, 1))
TWO_ORDERS = (order(1, MNQ), order(2, ES))


class AffectedPositionTests(SynchronousTestCase):
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


class AffectedOrderTests(SynchronousTestCase):
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
        self.assertEqual(state.orders[1].remaining, 1)
